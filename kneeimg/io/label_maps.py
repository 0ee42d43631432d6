"""Segmentations from files: NIfTI, NRRD, MetaImage, DICOM SEG, onto the image's own grid."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import LabelScheme, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import InputError, MaskError, OutputError, ReasonCode
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.sharing import each, team
from kneeimg.io.content import content_uid
from kneeimg.io.label_schemes import load_scheme
from kneeimg.io.label_sides import side_shown
from kneeimg.io.mask_content import no_voxel, soft_label_map
from kneeimg.io.mask_grid import onto_grid
from kneeimg.io.nifti import NiftiFile, grid_of, read_nifti, write_array

_ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
MASK_SUFFIXES = _NIFTI_SUFFIXES + _ITK_SUFFIXES
_SOFT_STEPS = 255
#: Voxels that are compared at once: their arrays stay in the cache.
_BLOCK = 1 << 18
#: Label values as integers, the tissue of each voxel, and which tissues there are.
_Mapped = tuple[NDArray[np.uint8 | np.uint16], NDArray[np.uint8], frozenset[Tissue]]


def read_label_map(
    path: Path, scheme: LabelScheme | str | Path = "knee-v1", image_grid: Grid | None = None
) -> LabelMap:
    """Read a segmentation.

    Parameters
    ----------
    path : `.nii`, `.nii.gz`, `.nrrd`, `.nhdr`, `.mha`, `.mhd`, or a DICOM segmentation (`.dcm`,
        or any name) whose segments have names or codes that the scheme knows. Four-dimensional
        NIfTI beside a `.json` with `{"LabelMap": ["femur", ...]}` is a soft map, one tissue per
        volume, values 0..1, and so is a fractional DICOM segmentation; everything else is a hard
        map of integers.
    scheme : What the integers mean: a scheme, its name or the path of its file.
    image_grid : Grid of the image that was segmented. The mask must lie on the same lattice, up
        to the order and direction of its axes, and comes back on exactly this grid. None: the
        grid of the file, with a frame of reference made from its content.

    Raises
    ------
    MaskError
        BAD_MASK_FILE, UNKNOWN_LABEL (with values and voxel counts), EMPTY_MASK,
        MASK_GRID_MISMATCH, NO_GEOMETRY, OVERLAPPING_SEGMENTS (DICOM), or LATERALITY_CONFLICT if
        the labels themselves show both sides.

    Notes
    -----
    `side_from_labels` is set where the scheme tells medial from lateral, or labels the fibula.
    """
    path = Path(path)
    scheme = scheme if isinstance(scheme, LabelScheme) else load_scheme(scheme)
    try:
        if is_dicom_mask(path):
            return _read_dicom(path, scheme, image_grid)
        file, tissues = _read(path)
        if tissues is not None:
            return _soft(file, tissues, image_grid, path.name)
        return _hard(file, scheme, image_grid, path.name)
    except MaskError:
        raise
    except InputError as error:
        raise MaskError.from_finding(error.finding) from error


def is_dicom_mask(path: Path) -> bool:
    """Whether a file that has not the name of another kind of mask is DICOM."""
    if not path.is_file() or path.name.lower().endswith(MASK_SUFFIXES):
        return False
    from kneeimg.io.dicom_seg import looks_like_seg

    return looks_like_seg(path)


def _read_dicom(path: Path, scheme: LabelScheme, image_grid: Grid | None) -> LabelMap:
    from kneeimg.io.dicom_seg import read_seg_label_map

    return read_seg_label_map(path, scheme, image_grid)


def _read(path: Path) -> tuple[NiftiFile, tuple[Tissue, ...] | None]:
    name = path.name.lower()
    if not path.is_file():
        raise MaskError("there is no such file", where=str(path), action="check the path")
    if name.endswith(_ITK_SUFFIXES):
        return _read_itk(path), None
    if not name.endswith(_NIFTI_SUFFIXES):
        raise MaskError(
            "not a file type for masks",
            where=path.name,
            expected=", ".join((*MASK_SUFFIXES, "DICOM SEG")),
            found=path.suffix or "no suffix",
        )
    file = read_nifti(path, narrow=True)
    sidecar = sidecar_path(path)
    if file.stored.ndim == 4 and sidecar.is_file():
        return file, _tissues_of(sidecar, file.stored.shape[3])
    return file, None


def sidecar_path(path: Path) -> Path:
    """The JSON file beside a NIfTI file.

    >>> sidecar_path(Path("knee_probseg.nii.gz")).name
    'knee_probseg.json'
    """
    name = path.name
    stem = name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else path.stem
    return path.with_name(f"{stem}.json")


def _tissues_of(sidecar: Path, volumes: int) -> tuple[Tissue, ...]:
    known = {tissue.name.lower(): tissue for tissue in Tissue}
    try:
        names = json.loads(sidecar.read_text(encoding="utf-8"))["LabelMap"]
        tissues = tuple(known[str(name).lower()] for name in names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MaskError(
            "the file that names the tissues of the soft mask has a mistake",
            where=sidecar.name,
            expected='{"LabelMap": [...]} with ' + ", ".join(sorted(known)),
            found=f"{type(error).__name__}: {error}",
        ) from error
    if len(tissues) != volumes or len(set(tissues)) != len(tissues):
        raise MaskError(
            "the soft mask has another number of volumes than named tissues",
            where=sidecar.name,
            expected=f"{volumes} different tissues",
            found=", ".join(tissue.name.lower() for tissue in tissues),
        )
    return tissues


def _read_itk(path: Path) -> NiftiFile:
    import SimpleITK

    try:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        image = reader.Execute()
    except RuntimeError as error:
        raise MaskError(
            "the mask file cannot be read",
            where=path.name,
            found=str(error).strip().splitlines()[-1],
            action="save it again, e.g. as .nii.gz",
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise MaskError(
            "not a three-dimensional label image",
            where=path.name,
            expected="one integer per voxel",
            found=f"{image.GetDimension()} dimensions, "
            f"{image.GetNumberOfComponentsPerPixel()} values per voxel",
        )
    if path.suffix in (".nrrd", ".nhdr") and "NRRD_space" not in image.GetMetaDataKeys():
        raise MaskError(
            "the NRRD file does not say in which space it lies",
            code=ReasonCode.NO_GEOMETRY,
            where=path.name,
            expected="space: left-posterior-superior, or another patient space",
            action="save it again from the program that made it, with its orientation",
        )
    linear = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    data = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)  # ITK is LPS already
    return NiftiFile(data, from_linear(linear, image.GetOrigin()), 1.0, 0.0)


def _hard(file: NiftiFile, scheme: LabelScheme, image_grid: Grid | None, where: str) -> LabelMap:
    values = file.data
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise MaskError(
            "not a three-dimensional label image",
            where=where,
            expected="i x j x k integers; a soft mask needs its .json beside it",
            found=" x ".join(map(str, values.shape)),
        )
    (values, tissues, present), uid = _mapped_and_named(values, scheme, file.affine, where)
    if not any(present):  # background is 0
        raise no_voxel(where, f"{values.size} background voxels")
    grid = grid_of(tissues, file.affine, where, uid)
    side = side_shown(values, tissues, scheme, grid, where, present)
    if image_grid is not None:
        tissues, grid = onto_grid(tissues, grid, image_grid, where), image_grid
    return LabelMap(tissues, grid, side_from_labels=side)


def _mapped_and_named(
    values: NDArray[Any], scheme: LabelScheme, affine: NDArray[np.float64], where: str
) -> tuple[_Mapped, str | None]:
    """Labels, and meanwhile the UID of the content where the values are the tissues' own."""
    own = values.dtype == np.uint8 and all(int(t) == v for v, t in scheme.tissues.items())
    if not own:
        return _mapped(values, scheme, where), None
    tasks: tuple[Callable[[], Any], ...] = (
        partial(_mapped, values, scheme, where),
        partial(content_uid, values, affine),
    )
    with team():
        mapped, uid = each(lambda task: task(), tasks)
    return mapped, uid


def _mapped(values: NDArray[Any], scheme: LabelScheme, where: str) -> _Mapped:
    """Label values as integers, the tissue of each voxel, and which tissues there are.

    Values of one byte that are the tissues' own are not copied.
    """
    if values.dtype.kind not in "iufb":
        raise MaskError("labels must be numbers", where=where, found=str(values.dtype))
    whole = values
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = np.rint(values)
        if not np.isfinite(values).all() or np.abs(values - whole).max() > 1e-6:
            raise MaskError(
                "the values of a hard mask must be whole numbers",
                where=where,
                expected="integers; a soft mask has four dimensions and a .json beside it",
                found=f"{values.dtype} from {np.nanmin(values)} to {np.nanmax(values)}",
                action="resample masks with nearest neighbour, or give a soft mask",
            )
    found = _distinct(whole)
    strange = any(int(value) not in scheme.tissues for value in found)
    if strange or found[0] < 0 or found[-1] > 65535:
        raise _unknown(whole, scheme, where)
    present = frozenset(scheme.tissues[int(value)] for value in found)
    if whole.dtype != np.uint8 or isinstance(whole, np.memmap):  # labels outlive their file
        whole = whole.astype(np.uint8 if found[-1] < 256 else np.uint16)
    table = scheme.lookup()
    if all(table[int(value)] == value for value in found):
        return whole, whole, present
    return whole, table[whole], present


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Distinct values, ascending: a new one can only stand where the array changes."""
    flat = values.ravel(order="K")
    found = [flat[:1]]
    for start in range(0, len(flat) - 1, _BLOCK):
        block = flat[start : start + _BLOCK + 1]
        found.append(block[1:][block[1:] != block[:-1]])
    return np.unique(np.concatenate(found))


def _unknown(values: NDArray[Any], scheme: LabelScheme, where: str) -> MaskError:
    found, counts = np.unique(values, return_counts=True)
    strange = [
        f"{int(value)} ({count} voxels)"
        for value, count in zip(found, counts, strict=True)
        if int(value) not in scheme.tissues
    ]
    return MaskError(
        f"the mask has label values that the scheme {scheme.name} does not name",
        code=ReasonCode.UNKNOWN_LABEL,
        where=where,
        expected=", ".join(map(str, sorted(scheme.tissues))),
        found=", ".join(strange[:12]) + (" ..." if len(strange) > 12 else ""),
        action="choose the scheme of the mask (--scheme), or write one",
    )


def _soft(
    file: NiftiFile, tissues: tuple[Tissue, ...], image_grid: Grid | None, where: str
) -> LabelMap:
    total = np.zeros(file.stored.shape[:3], dtype=np.float32)
    fractions: dict[Tissue, NDArray[np.float32]] = {}
    for n, tissue in enumerate(tissues):
        if tissue is Tissue.BACKGROUND:
            continue
        fraction = file.stored[..., n].astype(np.float32)
        fraction *= np.float32(file.slope)
        fraction += np.float32(file.intercept)
        if not np.isfinite(fraction).all() or fraction.min() < -1e-3 or fraction.max() > 1.001:
            raise MaskError(
                "the values of a soft mask are fractions",
                where=f"{where}, {tissue.name.lower()}",
                expected="0 to 1",
                found=f"{np.nanmin(fraction)} to {np.nanmax(fraction)}",
            )
        fractions[tissue] = np.clip(fraction, 0, 1, out=fraction)
        total += fraction
    _require_sound_total(total, where)
    grid = grid_of(file.stored[..., 0], file.affine, where)
    if image_grid is not None:
        fractions = {
            t: onto_grid(values, grid, image_grid, where) for t, values in fractions.items()
        }
        grid = image_grid
    return soft_label_map(fractions, grid, where)


def _require_sound_total(total: NDArray[np.float32], where: str) -> None:
    if float(total.max()) > 1.02:  # a few tissues, each rounded to 1/255
        raise MaskError(
            "the tissue fractions of a voxel add up to more than the voxel",
            where=where,
            expected="at most 1",
            found=f"{float(total.max()):.3f}",
        )


def write_label_map(label_map: LabelMap, path: Path, soft: bool = False) -> Path:
    """Write a segmentation as NIfTI in the scheme knee-v1.

    Parameters
    ----------
    label_map : What to write.
    path : `.nii` or `.nii.gz`; its folder must exist.
    soft : Write the tissue fractions, one volume per tissue, and a `.json` that names them.
        Fractions are stored as uint8 in steps of 1/255: the 0.5 crossing moves by at most 0.002
        voxel, less than 1.5 µm on a 0.7 mm grid. False writes the hard labels as uint8.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    affine = label_map.grid.affine
    if not soft:
        return write_array(label_map.labels, affine, path, description="kneeimg, knee-v1 labels")
    tissues = sorted(label_map.probabilities or label_map.tissues())
    stored = np.empty((*label_map.grid.shape, len(tissues)), dtype=np.uint8, order="F")
    for n, tissue in enumerate(tissues):
        stored[..., n] = np.rint(label_map.fraction(tissue) * _SOFT_STEPS)
    write_array(
        stored, affine, path, description="kneeimg, tissue fractions", slope=1 / _SOFT_STEPS
    )
    names = {"LabelMap": [tissue.name.lower() for tissue in tissues]}
    try:
        sidecar_path(path).write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            "the file beside the soft mask cannot be written", where=str(path)
        ) from error
    return path
