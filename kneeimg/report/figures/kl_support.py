"""KL support on the film panel: probabilities as bars, the suggestion, and what drove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kneeimg.core.kl_support import GRADES, KlSupport
from kneeimg.report import palette
from kneeimg.report.figures.canvas import fitted_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

NOTICE = "KL support, not a diagnosis"
_DRIVERS = 4
_LEFT, _TEXT, _RIGHT, _TOP, _STEP = 0.605, 0.795, 0.992, 0.196, 0.0275
_SIZE = 8.8
_LINES = 6  # that lie between the heading and the edge of the panel
_NAMES = {
    "JSN": "narrowing",
    "space": "mean joint space",
    "nfloor_depth": "floor of plateau",
    "ncondyle_bulge": "bulge of condyle",
    "nosteophyte_femur": "femoral osteophyte",
    "nosteophyte_tibia": "tibial osteophyte",
    "sclerosis_femur": "femoral sclerosis",
    "sclerosis_tibia": "tibial sclerosis",
    "JSN_worst": "greater narrowing",
    "nosteophyte_largest": "largest osteophyte",
    "nosteophyte_sum": "all osteophytes",
    "sclerosis_most": "strongest sclerosis",
    "JSW_share": "medial share of space",
    "look_femoral_margin": "look of femoral margin",
    "look_tibial_margin": "look of tibial margin",
    "look_femur": "look of femur",
    "look_tibia": "look of tibia",
    "look_centre": "look of notch and spines",
}


def draw_kl_support(figure: Figure | SubFigure, support: KlSupport) -> None:
    """Bars of P(KL = 0 .. 4) and the words beside them, in the lower right of the panel."""
    figure.text(_LEFT, _TOP, NOTICE, fontsize=9.5, fontweight="bold", color=palette.INK)
    _draw_bars(figure.add_axes((_LEFT + 0.008, 0.052, 0.155, 0.118)), support)
    width_px = (_RIGHT - _TEXT) * figure.bbox.width
    for number, line in enumerate(support_lines(support, width_px)):
        figure.text(
            _TEXT, _TOP - number * _STEP, line, fontsize=_SIZE,
            fontweight="bold" if number == 0 else "normal",
            color=palette.INK if number == 0 else palette.QUIET_INK,
        )  # fmt: skip


def _draw_bars(axes: Axes, support: KlSupport) -> None:
    colour = palette.SERIES_STYLES["MT"][0]
    faded = [1.0 if grade == support.grade else 0.55 for grade in GRADES]
    for grade, height, alpha in zip(GRADES, support.probabilities, faded, strict=True):
        axes.bar(grade, height, width=0.8, color=colour, alpha=alpha)
        axes.text(grade, height + 0.03, f"{100 * height:.0f}", ha="center", fontsize=7.5,
                  color=palette.QUIET_INK)  # fmt: skip
    axes.set_ylim(0, 1.15)
    axes.set_yticks([])
    axes.set_xticks(list(GRADES), [f"KL{grade}" for grade in GRADES], fontsize=7.5)
    axes.set_ylabel("%", fontsize=8, color=palette.QUIET_INK)
    for name in ("top", "right", "left"):
        axes.spines[name].set_visible(False)


def suggestion_text(support: KlSupport) -> str:
    """The suggested grade, or that there is none."""
    if support.grade is not None:
        return f"suggested: KL {support.grade}"
    return "uncertain: no grade is suggested"


def support_lines(support: KlSupport, width_px: float) -> list[str]:
    """The suggestion, the first reason of doubt and the features that moved the odds most.

    A reason is broken to the width; it takes the place of features, never the other way round.
    """
    reasons = [finding.message for finding in support.findings[:1]]
    doubt = [line for text in reasons for line in fitted_lines(text, width_px, _SIZE)]
    features = driver_texts(support)[: _LINES - 1 - len(doubt)]
    return [suggestion_text(support), *features, *doubt]


def driver_texts(support: KlSupport) -> list[str]:
    """The features that moved the odds most, with their sign.

    >>> from kneeimg.core.kl_support import KlSupport
    >>> film = KlSupport((0.1, 0.2, 0.4, 0.2, 0.1), 2, {"medial_JSN": 0.82, "knee_JSW_share": 0.0})
    >>> driver_texts(film)
    ['+0.82  medial narrowing']
    """
    parts = [(name, part) for name, part in support.contributions.items() if abs(part) >= 0.005]
    return [f"{part:+.2f}  {feature_name(name)}" for name, part in parts[:_DRIVERS]]


def feature_name(name: str) -> str:
    """A feature for a reader.

    >>> feature_name("lateral_nosteophyte_tibia")
    'lateral tibial osteophyte'
    """
    region, _, quantity = name.partition("_")
    words = _NAMES.get(quantity, quantity)
    return words if region == "knee" else f"{region} {words}"
