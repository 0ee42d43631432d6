"""Pictures without a name: the heading goes, and everything that a PNG can carry beside pixels."""

from __future__ import annotations

import io

from kneeimg.errors import InputError, ReasonCode
from kneeimg.report.figures.canvas import HEADING_BAND_PX


def without_heading(png: bytes, *, where: str = "") -> bytes:
    """A picture of the report with its heading painted over and no metadata.

    The heading (participant, visit, knee) is the only place of a picture with study ids; the band
    that it stands in holds nothing else.

    Parameters
    ----------
    png : A picture that this package drew.
    where : How messages name it.

    Raises
    ------
    InputError
        OUTPUT_CHANGED if it is not a PNG.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            drawn = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(
            "the picture cannot be read", code=ReasonCode.OUTPUT_CHANGED, where=where
        ) from error
    # a picture made of pixels alone: nothing of the old file comes along
    plain = Image.frombytes("RGB", drawn.size, drawn.tobytes())
    ground = plain.crop((0, 0, 1, 1)).resize((plain.width, min(HEADING_BAND_PX, plain.height)))
    plain.paste(ground, (0, 0))
    buffer = io.BytesIO()
    plain.save(buffer, format="PNG")
    return buffer.getvalue()
