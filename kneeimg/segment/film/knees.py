"""Which part of a film shows which knee: one knee, or two with air between the legs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import Finding, InputError, ReasonCode

FloatArray = NDArray[np.float64]

_MIDDLE = (0.3, 0.7)  # share of the width in which the gap of a bilateral film is looked for
_GAP_DEPTH = 0.5  # how far the gap falls below the legs, share of their brightness
_WIDE = 1.25  # a bilateral film is at least this many times as wide as high


@dataclass(frozen=True, slots=True)
class KneeView:
    """The columns of a film that show one knee.

    Attributes
    ----------
    columns : First column and the one after the last.
    side : Which knee, when the film's hanging says; None when nothing says.
    """

    columns: tuple[int, int]
    side: Side | None

    def crop(self, image: NDArray[np.float32]) -> FloatArray:
        """The part of the film as float64."""
        return image[:, self.columns[0] : self.columns[1]].astype(np.float64)


def find_knees(radiograph: Radiograph) -> tuple[KneeView, ...]:
    """Knees on a film, from the image's left to its right.

    A film is split in two when it says that it is bilateral, or when it is wide and has a gap of
    air in its middle. Sides of a bilateral film come from the way it hangs
    (`patient_left_on_image_right`); the side of a single knee is that of the film.
    """
    rows, columns = radiograph.image.shape
    gap = _gap_column(radiograph.image)
    wide = columns >= _WIDE * rows
    if not (radiograph.bilateral or (wide and gap is not None)):
        return (KneeView((0, columns), radiograph.side),)
    middle = columns // 2 if gap is None else gap
    left_side: Side | None = None
    if radiograph.patient_left_on_image_right is not None:
        left_side = Side.RIGHT if radiograph.patient_left_on_image_right else Side.LEFT
    right_side = None if left_side is None else left_side.opposite
    return (KneeView((0, middle), left_side), KneeView((middle, columns), right_side))


def _gap_column(image: NDArray[np.float32]) -> int | None:
    """Middle of the dark gap between two legs; None without one."""
    rows, columns = image.shape
    band = image[rows // 4 : 3 * rows // 4].astype(np.float64)
    brightness = np.median(band, axis=0)
    rim = max(1, columns // 50)
    outside = np.median(np.concatenate([brightness[:rim], brightness[-rim:]]))
    if outside > np.median(brightness):  # air is bright: grey values are turned round
        brightness = brightness.max() - brightness
    brightness = brightness - brightness.min()
    start, stop = (int(share * columns) for share in _MIDDLE)
    legs = min(np.percentile(brightness[:start], 75), np.percentile(brightness[stop:], 75))
    middle = brightness[start:stop]
    dark = middle < (1 - _GAP_DEPTH) * legs
    if not dark.any():
        return None
    return start + int(np.median(_darkest_run(dark)))


def _darkest_run(dark: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Columns of the longest run that is dark."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], dark.astype(np.int8), [0]])))
    starts, stops = edges[::2], edges[1::2]
    longest = int((stops - starts).argmax())
    return np.arange(starts[longest], stops[longest])


def choose_view(radiograph: Radiograph, side: Side | None) -> KneeView:
    """The view of the wanted knee.

    Raises
    ------
    InputError
        NO_LATERALITY when a bilateral film does not say which knee is which, or two knees are on
        it and no side is asked for; KNEE_NOT_FOUND when the side is not on the film.
    """
    views = find_knees(radiograph)
    if len(views) == 1:
        return views[0]
    if side is None or any(view.side is None for view in views):
        raise InputError(
            "two knees are on the film and nothing says which to measure",
            code=ReasonCode.NO_LATERALITY,
            expected="a side, and a film that says how it hangs (Patient Orientation)",
            found=f"side {side}, hanging unknown" if side else "no side",
            action="state the side; write Patient Orientation into the film's header",
        )
    return next(view for view in views if view.side is side)


def medial_on_left(side: Side, patient_left_on_image_right: bool | None) -> bool:
    """Whether the medial side of this knee is on the image's left.

    PA and AP films hang with the patient's left on the image's right unless the film says
    otherwise.
    """
    usual = patient_left_on_image_right is not False
    return (side is Side.LEFT) == usual


def polarity_finding() -> Finding:
    """Record that grey values were turned round."""
    return Finding(
        ReasonCode.INVERTED_POLARITY,
        "bone is dark and air bright on this film; grey values were inverted",
        expected="bright where dense",
        found="dark where dense",
        action="none needed; check the photometric interpretation of the source",
    )
