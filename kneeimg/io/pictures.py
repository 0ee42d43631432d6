"""Films that come as plain pictures (PNG, TIFF): grey values and nothing else is known."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import Finding, InputError, ReasonCode

PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")

_MAX_PIXELS = 200_000_000
_MODES = {"1", "L", "P", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "F"}


def read_film_picture(
    path: Path,
    pixel_spacing_mm: float | tuple[float, float] | None = None,
    side: Side | None = None,
) -> Radiograph:
    """Read a film from a PNG, TIFF or JPEG file.

    Parameters
    ----------
    path : 8 or 16 bit grey; a colour picture must be grey in truth (equal channels).
    pixel_spacing_mm : Pixel size, mm; None gives ratios only. A resolution written in the
        picture (dots per inch) is not believed: it describes the print, not the knee.
    side : Which knee; a picture cannot say so itself.

    Returns
    -------
    Radiograph
        Grey values 0..1, taken as they are (bright = dense).

    Raises
    ------
    InputError
        UNSUPPORTED_IMAGE for colour or several pages, TOO_LARGE, BAD_DICOM if it cannot be read.
    """
    path = Path(path)
    values = _grey(path)
    findings = []
    spacing: tuple[float, float] | None = None
    if pixel_spacing_mm is None:
        findings.append(
            Finding(
                ReasonCode.NO_PIXEL_SPACING,
                "a picture has no pixel size: ratios only, no millimetres",
                where=path.name,
                action="give the pixel size if it is known (--pixel-spacing MM)",
            )
        )
    else:
        pair = pixel_spacing_mm if isinstance(pixel_spacing_mm, tuple) else (pixel_spacing_mm,) * 2
        spacing = (float(pair[0]), float(pair[1]))
    if side is None:
        findings.append(
            Finding(
                ReasonCode.NO_LATERALITY,
                "a picture does not say whether this is the left or the right knee",
                where=path.name,
                action="give the side (--side, or the study file)",
            )
        )
    if path.suffix.lower() in (".jpg", ".jpeg"):
        findings.append(
            Finding(ReasonCode.LOSSY_COMPRESSED, "a JPEG picture is lossy", where=path.name)
        )
    source = SpacingSource.NONE if spacing is None else SpacingSource.USER
    return Radiograph(values, spacing, source, side, findings=tuple(findings))


def _grey(path: Path) -> NDArray[np.float32]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                _require_readable(picture, path)
                mode = picture.mode
                shown = picture.convert("RGB") if mode in ("P", "RGBA") else picture
                values = np.asarray(shown)
    except InputError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(
            "the picture cannot be read", where=path.name, found=type(error).__name__
        ) from error
    return _scaled(values, mode, path)


def _require_readable(picture: Any, path: Path) -> None:
    pages = getattr(picture, "n_frames", 1)
    if picture.width * picture.height > _MAX_PIXELS:
        raise InputError(
            "the picture is larger than the limit",
            code=ReasonCode.TOO_LARGE,
            where=path.name,
            expected=f"at most {_MAX_PIXELS} pixels",
            found=f"{picture.width} x {picture.height}",
        )
    if picture.mode not in _MODES or pages != 1:
        raise InputError(
            "not one grey picture",
            code=ReasonCode.UNSUPPORTED_IMAGE,
            where=path.name,
            expected="8 or 16 bit grey, one page",
            found=f"mode {picture.mode}, {pages} page(s)",
        )


def _scaled(values: NDArray[Any], mode: str, path: Path) -> NDArray[np.float32]:
    if values.ndim == 3:
        colours = values[..., :3] if mode != "LA" else values[..., :1]
        spread = colours.max(axis=2).astype(np.int32) - colours.min(axis=2)
        if int(spread.max()) > 8:  # a burnt-in coloured mark, or no film at all
            raise InputError(
                "the picture is in colour",
                code=ReasonCode.UNSUPPORTED_IMAGE,
                where=path.name,
                expected="equal red, green and blue",
                found=f"channels that differ by up to {int(spread.max())}",
            )
        values = colours[..., 0]
    if values.dtype == np.bool_:
        return values.astype(np.float32)
    if values.dtype.kind == "f" or values.dtype.itemsize > 2:
        top = 65535.0 if values.dtype.kind != "f" and values.max() > 255 else float(values.max())
        return (values / max(top, 1e-6)).astype(np.float32)
    return (values / np.float32(np.iinfo(values.dtype).max)).astype(np.float32)
