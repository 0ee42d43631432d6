"""Write a Volume as the MR series that a scanner would have made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.volume import Volume
from kneeimg.io.dicom.writing import (
    Origin,
    base_dataset,
    decimal,
    decimals,
    laterality_code,
    save,
    set_pixels,
    uid,
)

_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True, slots=True)
class MrProtocol:
    """Acquisition values that stand in the header.

    Attributes
    ----------
    echo_time_ms, echo_number : Of this echo.
    repetition_time_ms, flip_angle_deg, field_strength_t : As scanned.
    coil, sequence : Receive coil and sequence name.
    image_type : Values of ImageType.
    """

    echo_time_ms: float = 4.7
    echo_number: int = 1
    repetition_time_ms: float = 16.3
    flip_angle_deg: float = 25.0
    field_strength_t: float = 3.0
    coil: str = "KNEE"
    sequence: str = "DESS3D"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M", "ND")


@dataclass(frozen=True, slots=True)
class FileStyle:
    """How the files of a series look from outside.

    Attributes
    ----------
    encoding : "explicit", "implicit", "big-endian", "deflated", "jpeg2000", "jpeg-ls" or "rle".
    preamble : False leaves out preamble and file meta information.
    shuffle : Instance numbers and file names in random order (seeded), as some archives give them.
    suffix : Of the file names.
    """

    encoding: str = "explicit"
    preamble: bool = True
    shuffle: bool = False
    suffix: str = ".dcm"


def write_mr_series(
    volume: Volume,
    folder: Path,
    *,
    side: Side | None,
    origin: Origin | None = None,
    protocol: MrProtocol | None = None,
    style: FileStyle | None = None,
    slice_axis: int | None = None,
    first_number: int = 1,
) -> tuple[Path, ...]:
    """Write one file per slice; the same arguments always give the same bytes.

    Parameters
    ----------
    volume : Image on an LPS+ mm grid, in any array layout. Integers within 0..65535 are stored
        unchanged; anything else is scaled to 16 bits with rescale slope and intercept.
    folder : Made if absent.
    side : Written as Laterality; None writes an empty tag.
    origin, protocol, style : Header values and file form.
    slice_axis : Array axis along which slices are stacked; the coarsest if None.
    first_number : Instance number of the first slice, for several echoes in one series.

    Returns
    -------
    Paths in order of position.
    """
    origin, protocol = origin or Origin(), protocol or MrProtocol()
    style = style or FileStyle()
    planes, grid = scanner_layout(volume, slice_axis)
    stored, slope, intercept = to_stored(planes)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = _instance_numbers(len(stored), first_number, style, origin)
    paths = []
    for k, (pixels, number) in enumerate(zip(stored, numbers, strict=True)):
        dataset = base_dataset(origin, _MR_IMAGE, "MR", protocol.echo_number, first_number + k)
        _mr_module(dataset, protocol)
        _plane(dataset, grid, k, origin)
        dataset.ImageType = list(protocol.image_type)
        dataset.InstanceNumber = number
        dataset.Laterality = laterality_code(side)
        set_pixels(dataset, pixels)
        dataset.PhotometricInterpretation = "MONOCHROME2"
        if (slope, intercept) != (1.0, 0.0):
            dataset.RescaleIntercept, dataset.RescaleSlope = decimal(intercept), decimal(slope)
            dataset.RescaleType = "US"
        path = folder / f"IM{number:05d}{style.suffix}"
        save(dataset, path, encoding=style.encoding, preamble=style.preamble)
        paths.append(path)
    return tuple(paths)


def scanner_layout(volume: Volume, slice_axis: int | None = None) -> tuple[NDArray[Any], Grid]:
    """(slices, rows, columns) image and its (column, row, slice) grid, as a scanner lays it out.

    Columns run towards the patient's left or back, rows towards the back or the feet. The
    lattice is the same; only array axes are exchanged and flipped.
    """
    grid = volume.grid
    if slice_axis is None:
        spacing = np.round(grid.spacing_mm, 6)
        slice_axis = max(range(3), key=lambda axis: (spacing[axis], axis))
    steps = grid.affine[:3, :3] / grid.spacing_mm
    first, second = (axis for axis in range(3) if axis != slice_axis)
    # The image column direction is the axis that runs most along the body.
    down = second if abs(steps[2, second]) >= abs(steps[2, first]) else first
    if max(abs(steps[2, first]), abs(steps[2, second])) < 0.5:
        down = second if abs(steps[1, second]) >= abs(steps[1, first]) else first
    across = first if down == second else second
    axes = (across, down, slice_axis)
    flips = (_flip(steps[:, across]), _flip(steps[:, down]), 1)
    right_handed = np.linalg.det(grid.reorient(axes, flips).affine[:3, :3]) > 0
    flips = (flips[0], flips[1], 1 if right_handed else -1)
    data = reorient_array(volume.data, axes, flips)
    return data.transpose(2, 1, 0), grid.reorient(axes, flips)


def _flip(step: NDArray[np.float64]) -> int:
    """+1 if an image axis runs left, back or down already, else -1."""
    main = int(np.abs(step).argmax())
    wanted = (1.0, 1.0, -1.0)[main]
    return 1 if step[main] * wanted > 0 else -1


def to_stored(image: NDArray[Any]) -> tuple[NDArray[np.uint16], float, float]:
    """Values as uint16, and the slope and intercept that give them back.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    if not np.isfinite(image).all():
        raise ValueError("a DICOM image cannot hold NaN or infinity")
    low, high = float(image.min()), float(image.max())
    whole = np.issubdtype(image.dtype, np.integer) or image.dtype == np.bool_
    if whole and low >= 0 and high <= 65535:
        return image.astype(np.uint16), 1.0, 0.0
    slope = float(decimal((high - low) / 65535 or 1.0))
    low = float(decimal(low))
    scaled = np.rint((image.astype(np.float64) - low) / slope)
    return np.clip(scaled, 0, 65535).astype(np.uint16), slope, low


def _instance_numbers(count: int, first: int, style: FileStyle, origin: Origin) -> list[int]:
    numbers = np.arange(first, first + count)
    if style.shuffle:
        entropy = [int(byte) for byte in f"{origin.seed}{origin.description}".encode()]
        numbers = np.random.default_rng(entropy).permutation(numbers)
    return [int(number) for number in numbers]


def _mr_module(dataset: Dataset, protocol: MrProtocol) -> None:
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "SS"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "3D"
    dataset.SequenceName = protocol.sequence
    dataset.RepetitionTime = decimal(protocol.repetition_time_ms)
    dataset.EchoTime = decimal(protocol.echo_time_ms)
    dataset.NumberOfAverages = "1"
    dataset.EchoNumbers = protocol.echo_number
    dataset.MagneticFieldStrength = decimal(protocol.field_strength_t)
    dataset.EchoTrainLength = 1
    dataset.ReceiveCoilName = protocol.coil
    dataset.FlipAngle = decimal(protocol.flip_angle_deg)
    dataset.PatientPosition = "FFS"


def _plane(dataset: Dataset, grid: Grid, k: int, origin: Origin) -> None:
    spacing = grid.spacing_mm
    normal = np.cross(grid.affine[:3, 0] / spacing[0], grid.affine[:3, 1] / spacing[1])
    dataset.SliceThickness = decimal(spacing[2])
    dataset.SpacingBetweenSlices = decimal(abs(float(normal @ grid.affine[:3, 2])))
    dataset.ImagePositionPatient = decimals(grid.to_mm((0, 0, k)))
    dataset.ImageOrientationPatient = decimals(cosines(grid))
    dataset.PixelSpacing = decimals((spacing[1], spacing[0]))
    dataset.SliceLocation = decimal(float(normal @ grid.to_mm((0, 0, k))))
    dataset.FrameOfReferenceUID = grid.frame_uid or uid(origin, "frame of reference")
    dataset.PositionReferenceIndicator = ""


def cosines(grid: Grid) -> NDArray[np.float64]:
    return np.concatenate([grid.affine[:3, n] / grid.spacing_mm[n] for n in (0, 1)])
