"""The second opinion under the film panel: where it comes from, and both answers side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.kl_opinion import KlOpinion
from kneeimg.core.kl_support import GRADES, KlSupport
from kneeimg.core.margins import Compartment, JointMargins
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import ReasonCode
from kneeimg.report import palette
from kneeimg.report.figures.canvas import fitted_lines, halo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from kneeimg.measure.joint_space import JointFrame

OPINION_HEIGHT_PX = 270
NOTICE = "Second opinion by small networks, not a diagnosis"
KEY = (
    "red speaks for a higher grade, blue for a lower one, against the mean training film; "
    "coarse: what is drawn in one place may come from up to 0.4 femoral widths around it"
)
_NETWORKS = "#8A3A7C"
_X, _V = (-0.10, 1.10), (-0.34, 0.34)  # part of the film that is drawn, femoral widths
_SAMPLES = 320  # per femoral width
_STRONG = 0.15  # log odds of a cell drawn in full colour, more where a film has stronger ones
_FULL = 0.55  # opacity of that
_FINER = 16  # rows and columns of the drawing per cell
_TEXT_LEFT, _RIGHT, _TOP, _STEP = 0.635, 0.992, 0.90, 0.093
_SIZE = 8.8
_LINES = 9


def draw_kl_opinion(
    figure: SubFigure,
    radiograph: Radiograph,
    margins: JointMargins,
    support: KlSupport,
    opinion: KlOpinion,
) -> None:
    """Map of the networks on the joint, both answers as bars, and whether they agree.

    Parameters
    ----------
    figure : Strip of OPINION_HEIGHT_PX under the panel.
    """
    from kneeimg.measure.joint_space import joint_frame

    frame = joint_frame(margins, radiograph.spacing_mm)
    axes = figure.add_axes((0.008, 0.03, 0.345, 0.94))
    draw_map(axes, radiograph, margins, frame, opinion)
    draw_both(figure.add_axes((0.375, 0.16, 0.24, 0.62)), support, opinion)
    width_px = (_RIGHT - _TEXT_LEFT) * figure.bbox.width
    for number, (line, bold) in enumerate(opinion_lines(support, opinion, width_px)):
        figure.text(
            _TEXT_LEFT, _TOP - number * _STEP, line, fontsize=_SIZE, va="center",
            fontweight="bold" if bold else "normal",
            color=palette.INK if bold else palette.QUIET_INK,
        )  # fmt: skip


def draw_map(
    axes: Axes,
    radiograph: Radiograph,
    margins: JointMargins,
    frame: JointFrame,
    opinion: KlOpinion,
) -> None:
    """The joint, level and hung as the film, under the log odds of each cell."""
    from matplotlib.colors import Normalize

    grey = level_picture(radiograph, margins, frame)
    low, high = np.percentile(grey, [1, 99.5])
    # the picture runs from medial; a film with medial on its right is shown from lateral
    flipped = frame.along[0] < 0
    axes.imshow(
        grey, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), extent=(*_X, _V[1], _V[0]),
        interpolation="bilinear",
    )  # fmt: skip
    strong = max(_STRONG, *(float(np.abs(cells).max()) for cells in opinion.maps.values()))
    for compartment, cells in opinion.maps.items():
        values = between_cells(cells if compartment is Compartment.MEDIAL else cells[:, ::-1])
        axes.imshow(
            values, cmap="RdBu_r", norm=Normalize(-strong, strong),
            alpha=_FULL * np.minimum(np.abs(values) / strong, 1.0),
            extent=cell_extent(opinion, compartment),
        )  # fmt: skip
    axes.set_xlim(*(_X[::-1] if flipped else _X))
    axes.set_ylim(_V[1], _V[0])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for x, compartment, inner in (
        (_X[0], Compartment.MEDIAL, 0.02),
        (_X[1], Compartment.LATERAL, -0.02),
    ):
        parts = float(opinion.maps[compartment].sum())
        axes.text(
            x + inner, _V[0] + 0.02, f"{compartment.value} {parts:+.1f}", va="top",
            ha="left" if (compartment is Compartment.MEDIAL) != flipped else "right",
            color=palette.LIGHT_INK, fontsize=9, fontweight="bold",
            path_effects=halo(palette.LIGHT_INK),
        )  # fmt: skip


def between_cells(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cells drawn finer, linear between their middles and flat at the edge.

    >>> between_cells(np.array([[0.0, 1.0]])).shape
    (16, 32)
    """
    from scipy.ndimage import zoom

    fine: NDArray[np.float64] = zoom(cells, _FINER, order=1, mode="nearest", grid_mode=True)
    return fine


def cell_extent(opinion: KlOpinion, compartment: Compartment) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the cells of a compartment, x and v in femoral widths."""
    crop = opinion.crop
    half = 0.5 / crop.samples_per_width
    s, v = crop.s, crop.v
    first, last = float(s[0]) - half, float(s[-1]) + half
    if compartment is Compartment.LATERAL:
        first, last = 1.0 - last, 1.0 - first
    return first, last, float(v[-1]) + half, float(v[0]) - half


def level_picture(
    radiograph: Radiograph, margins: JointMargins, frame: JointFrame
) -> NDArray[np.float64]:
    """The film around the joint in its tangent frame, medial on the left, bright where dense."""
    from scipy.ndimage import map_coordinates

    across = np.linspace(*_X, round((_X[1] - _X[0]) * _SAMPLES)) * frame.width
    down = np.linspace(*_V, round((_V[1] - _V[0]) * _SAMPLES)) * frame.width
    u, v = np.meshgrid(across, down)
    points = frame.pixels(np.column_stack([u.ravel(), v.ravel()]))
    image = np.asarray(radiograph.image, dtype=np.float64)
    image = np.where(np.isfinite(image), image, np.nanmin(image))
    if ReasonCode.INVERTED_POLARITY in margins.flags:
        image = image.max() - image
    grey: NDArray[np.float64] = map_coordinates(image, points.T[::-1], order=1, mode="nearest")
    return grey.reshape(u.shape)


def draw_both(axes: Axes, support: KlSupport, opinion: KlOpinion) -> None:
    """P(KL = 0 .. 4) of features and networks, two bars for each grade; never a mean of both."""
    answers = (
        ("features", support, palette.SERIES_STYLES["MT"][0], -0.21),
        ("networks", opinion, _NETWORKS, 0.21),
    )
    for name, answer, colour, aside in answers:
        for grade, height in zip(GRADES, answer.probabilities, strict=True):
            alpha = 1.0 if grade == answer.grade else 0.5
            axes.bar(grade + aside, height, width=0.38, color=colour, alpha=alpha)
            axes.text(grade + aside, height + 0.02, f"{100 * height:.0f}", ha="center",
                      fontsize=7.5, color=palette.QUIET_INK)  # fmt: skip
        axes.plot([], [], color=colour, linewidth=6, label=name)
    axes.set_ylim(0, 1.08)
    axes.set_yticks([])
    axes.set_ylabel("%", fontsize=8, color=palette.QUIET_INK)
    axes.set_xticks(list(GRADES), [f"KL{grade}" for grade in GRADES], fontsize=8)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=2, frameon=False, fontsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def opinion_lines(
    support: KlSupport, opinion: KlOpinion, width_px: float
) -> list[tuple[str, bool]]:
    """What is said beside the bars, line by line, and whether it is set in bold."""
    from kneeimg.measure.kl_opinion import comparison_text

    def lines(text: str, bold: bool) -> list[tuple[str, bool]]:
        # bold letters are about a tenth wider than those that are measured
        room = width_px / 1.1 if bold else width_px
        return [(line, bold) for line in fitted_lines(text, room, _SIZE)]

    reasons = [
        line for f in opinion.findings[:1] for line in lines(f"networks: {f.message}", False)
    ]
    said = lines(comparison_text(support, opinion), True)
    found = [
        (NOTICE, True),
        (f"features: {answer_text(support)}   networks: {answer_text(opinion)}", False),
        *said,
        *reasons,
        *lines(KEY, False),
    ]
    return found[:_LINES]


def answer_text(answer: KlSupport | KlOpinion) -> str:
    """The suggested grade in few letters.

    >>> answer_text(KlSupport((0.1, 0.2, 0.4, 0.2, 0.1), None, {}))
    'uncertain'
    """
    return "uncertain" if answer.grade is None else f"KL {answer.grade}"
