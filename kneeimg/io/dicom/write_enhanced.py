"""Write echoes as one multi-frame file, Enhanced MR Image Storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.io.dicom.write_mr import MrProtocol, cosines, scanner_layout, to_stored
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

_ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def write_enhanced_mr(
    volumes: Sequence[tuple[float, Volume]],
    path: Path,
    *,
    side: Side | None,
    origin: Origin | None = None,
    protocol: MrProtocol | None = None,
    encoding: str = "explicit",
    slice_axis: int | None = None,
    reverse_frames: bool = False,
) -> Path:
    """Write one multi-frame file (Enhanced MR Image Storage) with one or more echoes.

    Parameters
    ----------
    volumes : Echo time in ms and image, all on one grid; values must be integers in 0..65535 or
        are scaled together with one slope and intercept.
    path : File to write; its folder is made if absent.
    side : Written as Frame Laterality; None leaves it out.
    origin, protocol : Header values; echo times come from `volumes`.
    encoding, slice_axis : As in :func:`write_mr_series`.
    reverse_frames : Frames from last to first, which the standard allows.

    Raises
    ------
    GeometryError
        If the images lie on different grids.
    """
    origin, protocol = origin or Origin(), protocol or MrProtocol()
    for _, volume in volumes[1:]:
        volumes[0][1].grid.require_same(volume.grid)
    layouts = [scanner_layout(volume, slice_axis) for _, volume in volumes]
    grid = layouts[0][1]
    stored, slope, intercept = to_stored(np.stack([planes for planes, _ in layouts]))
    dataset = base_dataset(origin, _ENHANCED_MR, "MR", "enhanced")
    _enhanced_module(dataset, protocol, origin, grid)
    order = [(e, k) for e in range(len(volumes)) for k in range(grid.shape[2])]
    order = order[::-1] if reverse_frames else order
    set_pixels(dataset, np.stack([stored[e, k] for e, k in order]))
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = len(order)
    dataset.SharedFunctionalGroupsSequence = DicomSequence(
        [_shared_groups(grid, protocol, side, slope, intercept)]
    )
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(
        [_frame_groups(grid, e, k, volumes[e][0]) for e, k in order]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save(dataset, path, encoding=encoding)
    return path


def _item(**values: Any) -> Dataset:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def _one(**values: Any) -> DicomSequence:
    return DicomSequence([_item(**values)])


def _enhanced_module(dataset: Dataset, protocol: MrProtocol, origin: Origin, grid: Grid) -> None:
    frame_type = list(protocol.image_type[:2]) + ["VOLUME", "NONE"]
    dataset.ImageType = frame_type
    dataset.InstanceNumber = 1
    dataset.MagneticFieldStrength = protocol.field_strength_t
    dataset.ResonantNucleus = "1H"
    dataset.PulseSequenceName = protocol.sequence
    dataset.MRAcquisitionType = "3D"
    dataset.ComplexImageComponent = "MAGNITUDE"
    dataset.AcquisitionContrast = "UNKNOWN"
    dataset.PixelPresentation = "MONOCHROME"
    dataset.VolumetricProperties = "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ContentQualification = "RESEARCH"
    dataset.PatientPosition = "FFS"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.FrameOfReferenceUID = grid.frame_uid or uid(origin, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    organization = uid(origin, "dimensions")
    dataset.DimensionOrganizationSequence = _one(DimensionOrganizationUID=organization)
    dataset.DimensionIndexSequence = DicomSequence(
        [
            _item(
                DimensionOrganizationUID=organization,
                DimensionIndexPointer=pointer,
                FunctionalGroupPointer=group,
            )
            for pointer, group in (
                (0x00209056, 0x00209111),  # Stack ID
                (0x00209057, 0x00209111),  # In-Stack Position Number
                (0x00189082, 0x00189114),  # Effective Echo Time
            )
        ]
    )


def _shared_groups(
    grid: Grid, protocol: MrProtocol, side: Side | None, slope: float, intercept: float
) -> Dataset:
    spacing = grid.spacing_mm
    shared = _item(
        PixelMeasuresSequence=_one(
            PixelSpacing=decimals((spacing[1], spacing[0])),
            SliceThickness=decimal(spacing[2]),
            SpacingBetweenSlices=decimal(spacing[2]),
        ),
        PlaneOrientationSequence=_one(ImageOrientationPatient=decimals(cosines(grid))),
        PixelValueTransformationSequence=_one(
            RescaleIntercept=decimal(intercept), RescaleSlope=decimal(slope), RescaleType="US"
        ),
        MRTimingAndRelatedParametersSequence=_one(
            RepetitionTime=decimal(protocol.repetition_time_ms),
            FlipAngle=decimal(protocol.flip_angle_deg),
            EchoTrainLength=1,
        ),
        MRReceiveCoilSequence=_one(
            ReceiveCoilName=protocol.coil, ReceiveCoilType="SURFACE", QuadratureReceiveCoil="NO"
        ),
        MRImageFrameTypeSequence=_one(
            FrameType=[*protocol.image_type[:2], "VOLUME", "NONE"],
            ComplexImageComponent="MAGNITUDE",
            AcquisitionContrast="UNKNOWN",
        ),
    )
    if side is not None:
        region = _item(CodeValue="72696002", CodingSchemeDesignator="SCT", CodeMeaning="Knee")
        shared.FrameAnatomySequence = _one(
            FrameLaterality=laterality_code(side), AnatomicRegionSequence=DicomSequence([region])
        )
    return shared


def _frame_groups(grid: Grid, echo: int, k: int, echo_time_ms: float) -> Dataset:
    return _item(
        FrameContentSequence=_one(
            StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1, echo + 1]
        ),
        PlanePositionSequence=_one(ImagePositionPatient=decimals(grid.to_mm((0, 0, k)))),
        MREchoSequence=_one(EffectiveEchoTime=float(echo_time_ms)),
    )
