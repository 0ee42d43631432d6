"""Nothing of a heading is left on a blinded picture, and nothing beside the heading is lost."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kneeimg.core.anatomy import Side
from kneeimg.errors import InputError, ReasonCode
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.report.figures import film_panel, qc_overlay
from kneeimg.report.figures.blind import without_heading
from kneeimg.report.figures.canvas import HEADING_BAND_PX

_TITLE = "Participant-gjpqy-32-characters1 · M12-jgpqy · right knee"


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module", params=["mri", "film"])
def pair(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    """The same picture with the longest heading that ids allow, and with another."""
    if request.param == "film":
        film = knee_film(FilmKnee(side=Side.RIGHT), FilmSetup(pixel_mm=0.5))
        titled = [film_panel(film.radiograph, film.margins, title=t) for t in (_TITLE, "Other")]
    else:
        labels = KneePhantom(Side.RIGHT).label_map(slice_grid("sagittal", (3, 2, 2), (36, 60, 60)))
        titled = [qc_overlay(None, labels, Side.RIGHT, title=t) for t in (_TITLE, "Other")]
    return titled[0], titled[1]


def test_headings_differ_before_and_not_after(pair: tuple[bytes, bytes]) -> None:
    assert pair[0] != pair[1]
    assert without_heading(pair[0]) == without_heading(pair[1])


def test_only_the_band_of_the_heading_is_painted_over(pair: tuple[bytes, bytes]) -> None:
    before, after = _pixels(pair[0]), _pixels(without_heading(pair[0]))
    assert before.shape == after.shape
    assert np.array_equal(before[HEADING_BAND_PX:], after[HEADING_BAND_PX:])
    assert len(np.unique(after[:HEADING_BAND_PX].reshape(-1, 3), axis=0)) == 1


def test_metadata_of_a_picture_do_not_come_along() -> None:
    info = PngInfo()
    info.add_text("Title", "P01 M06")
    info.add_itxt("Comment", "2026-01-01")
    buffer = io.BytesIO()
    image = Image.new("RGB", (40, 60), "navy")
    image.save(buffer, format="PNG", pnginfo=info, dpi=(100, 100), exif=b"Exif\0\0P01")
    assert b"P01" in buffer.getvalue()
    plain = without_heading(buffer.getvalue())
    kinds = {plain[at : at + 4] for at in range(len(plain)) if plain[at : at + 4].isalpha()}
    assert not kinds & {b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"tIME", b"pHYs"}
    assert b"P01" not in plain


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        without_heading(b"not a picture", where="x.png")
    assert caught.value.code is ReasonCode.OUTPUT_CHANGED
