"""NIfTI images: RAS mm in the file, LPS mm in kneeimg; the change is made here and only here."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.grid import Grid
from kneeimg.core.volume import Unit, Volume
from kneeimg.errors import GeometryError, InputError, OutputError, ReasonCode
from kneeimg.io.content import content_uid

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown (taken as mm), m, mm, um

#: Packed bytes that are handed over at once, and unpacked bytes that come back at most: a label
#: map unpacks to a hundred times its size, and pieces that stay in the cache need no new memory.
_PIECE, _UNPACKED = 1 << 16, 1 << 18

#: What nibabel raises on files that are not NIfTI or are cut short.
READ_ERRORS = (OSError, ValueError, KeyError, EOFError, TypeError, zlib.error, OverflowError)


@dataclass(frozen=True, slots=True, eq=False)
class NiftiFile:
    """What a NIfTI file of any dimension holds.

    Attributes
    ----------
    stored : Values as stored.
    affine : (4, 4) index to LPS+ mm.
    slope, intercept : Stored to true value.
    """

    stored: NDArray[Any]
    affine: NDArray[np.float64]
    slope: float
    intercept: float

    @property
    def data(self) -> NDArray[Any]:
        """True values; the stored array itself when nothing is scaled."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return self.stored
        scaled: NDArray[Any] = self.stored * np.float32(self.slope) + np.float32(self.intercept)
        return scaled


def read_nifti(path: Path, *, narrow: bool = False) -> NiftiFile:
    """Read a NIfTI file of any dimension.

    The sform counts if its code is set, else the qform; a file with neither is refused, since
    its orientation would be a guess. With `narrow`, whole numbers of a packed file come back as one
    byte each where all of them fit into it, as labels do: the wide array is never made.

    Raises
    ------
    InputError
        If the file cannot be read (BAD_MASK_FILE) or has no orientation (NO_GEOMETRY).
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image):  # NIfTI-2 is a subclass
            raise ImageFileError(f"{type(image).__name__} is not NIfTI")
        stored = _stored(image, path, narrow)
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        sform, sform_code = image.header.get_sform(coded=True)
        qform, qform_code = image.header.get_qform(coded=True)
    except (ImageFileError, HeaderDataError, *READ_ERRORS) as error:
        raise InputError(
            "the file cannot be read as NIfTI",
            code=ReasonCode.BAD_MASK_FILE,
            where=path.name,
            found=type(error).__name__,
            action="save it again as .nii.gz",
        ) from error
    if not sform_code and not qform_code:
        raise InputError(
            "the NIfTI file has neither sform nor qform, so nobody knows how it lies",
            code=ReasonCode.NO_GEOMETRY,
            where=path.name,
            expected="sform_code or qform_code above 0",
            found="0 and 0",
            action="save it again from the program that made it, with its orientation",
        )
    ras = np.asarray(sform if sform_code else qform, dtype=np.float64)
    scale = _MM_PER_UNIT.get(int(image.header["xyzt_units"]) & 7, 1.0)
    affine = _LPS_TO_RAS @ np.diag([scale, scale, scale, 1.0]) @ ras
    return NiftiFile(stored, affine, slope, intercept)


def _stored(image: Any, path: Path, narrow: bool) -> NDArray[Any]:
    """Values as stored; a packed file is unpacked straight into its array."""
    proxy = image.dataobj
    if path.suffix.lower() != ".gz":
        return np.asanyarray(proxy.get_unscaled())
    packed, count = path.read_bytes(), math.prod(proxy.shape)
    values = None
    if narrow and proxy.dtype.kind in "iu":
        values = _narrowed(_unpacked(packed, proxy.offset, count * proxy.dtype.itemsize), proxy)
    if values is None:
        values = np.empty(count, dtype=proxy.dtype)
        into, filled = values.view(np.uint8).data, 0
        for piece in _unpacked(packed, proxy.offset, len(into)):
            into[filled : filled + len(piece)] = piece
            filled += len(piece)
    return values.reshape(proxy.shape, order="F")


def _narrowed(pieces: Iterator[bytes], proxy: Any) -> NDArray[np.uint8] | None:
    """The numbers in these bytes, in one byte each; None when one of them does not fit."""
    values = np.empty(math.prod(proxy.shape), dtype=np.uint8)
    filled, rest = 0, b""
    for piece in pieces:
        piece = rest + piece
        wide = np.frombuffer(piece, proxy.dtype, len(piece) // proxy.dtype.itemsize)
        rest = piece[wide.nbytes :]
        own = values[filled : filled + len(wide)]
        np.copyto(own, wide, casting="unsafe")
        if not np.array_equal(own, wide):
            return None
        filled += len(wide)
    return values


def _unpacked(packed: bytes, offset: int, size: int) -> Iterator[bytes]:
    """`size` bytes of what a gzip file holds from `offset` on; its checksum is compared."""
    at, end = -offset, size
    while packed and at < end:  # a gzip file may have several members
        reader = zlib.decompressobj(wbits=31)
        for start in range(0, len(packed), _PIECE):
            for piece in _pieces(reader, packed[start : start + _PIECE]):
                kept = piece[max(-at, 0) : max(end - at, 0)]
                at += len(piece)
                yield kept
            if reader.eof:
                break
        packed = reader.unused_data + packed[start + _PIECE :]
    if at < end:
        raise EOFError(f"{at + offset} bytes of {end + offset}")


def _pieces(reader: Any, packed: bytes) -> Iterator[bytes]:
    """What a decompressor makes of these bytes, a little at a time."""
    full = True
    while full and not reader.eof:
        piece = reader.decompress(packed, _UNPACKED)
        packed = reader.unconsumed_tail
        full = len(piece) == _UNPACKED  # there may be more, also when all bytes are taken
        yield piece


def read_volume(path: Path, unit: Unit = "a.u.") -> Volume:
    """A three-dimensional NIfTI image on an LPS+ mm grid.

    The frame of reference is derived from the content: two files share a frame only if they
    hold the same image.

    Raises
    ------
    InputError
        If the file cannot be read, is not three-dimensional or has no usable orientation.
    """
    file = read_nifti(path)
    data = file.data
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise InputError(
            "not a three-dimensional image",
            code=ReasonCode.BAD_MASK_FILE,
            where=path.name,
            expected="i x j x k",
            found=" x ".join(map(str, data.shape)),
        )
    return Volume(data, grid_of(data, file.affine, path.name), unit)


def grid_of(
    data: NDArray[Any], affine: NDArray[np.float64], where: str, uid: str | None = None
) -> Grid:
    """Grid of the first three axes, with a frame of reference made from the content.

    `uid` is that frame where :func:`content_uid` has made it already.
    """
    shape = (data.shape[0], data.shape[1], data.shape[2])
    try:
        return Grid(shape, affine, uid or content_uid(data, affine))
    except GeometryError as error:
        raise InputError(
            "the orientation in the file is impossible",
            code=ReasonCode.NO_GEOMETRY,
            where=where,
            found=error.finding.message,
        ) from error


def write_volume(volume: Volume, path: Path) -> Path:
    """Write an image for viewing; the same volume always gives the same bytes.

    Parameters
    ----------
    volume : Any dtype that NIfTI knows; booleans become uint8, float64 becomes float32.
    path : `.nii` or `.nii.gz`; its folder must exist.

    Notes
    -----
    NIfTI holds the affine as float32. Nothing is measured from a file that was written here.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    data = volume.data
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    elif data.dtype == np.float64:
        data = data.astype(np.float32)
    return write_array(data, volume.grid.affine, path, description=f"kneeimg, {volume.unit}")


def write_array(
    data: NDArray[Any],
    affine: NDArray[np.float64],
    path: Path,
    *,
    description: str = "",
    slope: float | None = None,
) -> Path:
    """Write stored values and an LPS+ mm affine as NIfTI-1, sform and qform, unit mm.

    `slope` is the factor from stored to true values (scl_slope).
    """
    import nibabel as nib

    ras = _LPS_TO_RAS @ np.asarray(affine, dtype=np.float64)
    image = nib.Nifti1Image(data, ras)
    header = image.header
    image.set_sform(ras, code="scanner")
    image.set_qform(ras, code="scanner", strip_shears=True)
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = description.encode("ascii", "replace")[:79]
    if slope is not None:
        header.set_slope_inter(slope, 0.0)
    try:
        path.write_bytes(_packed(image.to_bytes(), path))
    except OSError as error:
        raise OutputError(
            "the NIfTI file cannot be written",
            code=ReasonCode.OUTPUT_NOT_WRITABLE,
            where=str(path),
            found=error.strerror or type(error).__name__,
        ) from error
    return path


def _packed(raw: bytes, path: Path) -> bytes:
    # No file name and no time in the gzip header: equal images give equal bytes.
    return gzip.compress(raw, compresslevel=6, mtime=0) if path.suffix == ".gz" else raw
