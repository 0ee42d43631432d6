"""What must be true of a film before its margins are believed, and the refusals otherwise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kneeimg.core.margins import Compartment, MarginLine
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.trace import TracedPair

# Corners of the part of the joint that every measurement needs, x and v in femoral widths.
_NEEDED = np.array([(0.0, -0.20), (1.0, -0.20), (0.03, 0.10), (0.97, 0.10)])
_LEAST_IN_VIEW = 0.80  # share of the outline inside the film
_AT_BORDER, _NEAR_BORDER = 0.003, 0.040  # of the femoral width
_MOST_CUT = 0.02  # of the femoral width, that may lie outside the film
_FAINT = 0.65  # confidence of one femoral edge against the other
_CLEAR_EDGE = 0.6  # strength of a femoral edge, about 1; what is seen near a cut is fainter
_LEAST_CONTRAST = 0.25  # darkness of a joint space, in spreads of the film


def knee_not_found(score: float, least: float) -> InputError:
    """Refusal of a film on which nothing looks like a knee."""
    return InputError(
        "no knee joint was recognised on the film",
        code=ReasonCode.KNEE_NOT_FOUND,
        expected=f"agreement with the outline of a frontal knee of at least {least:.2f}",
        found=f"{score:.2f}",
        action="check that this is a frontal knee film",
    )


def width_uncertain(compartment: Compartment, what: str, expected: str, found: str) -> Finding:
    """The flag of a femoral edge, and with it of the width and every x, that may lie elsewhere."""
    return Finding(
        ReasonCode.WIDTH_UNCERTAIN,
        f"the {compartment} edge of the femur {what}",
        where=compartment.value,
        expected=expected,
        found=found,
        action="look at the femoral edges drawn on the film: x and the width depend on them",
    )


def check_in_view(shape: tuple[int, ...], pose: Pose) -> None:
    """Refuse a joint whose margins or condyles are cut off by the edge of the film."""
    corners = pose.pixels(_NEEDED)
    slack = 0.05 * pose.width  # the outline's own uncertainty
    limit = np.array([shape[1] - 1, shape[0] - 1])
    outside = ((corners < -slack) | (corners > limit + slack)).any()
    if outside or pose.in_view < _LEAST_IN_VIEW:
        raise InputError(
            "the edge of the film cuts the joint",
            code=ReasonCode.JOINT_OUT_OF_VIEW,
            expected="both condyles and both plateaus on the film",
            found=f"{100 * pose.in_view:.0f} % of the knee's outline in view",
            action="use a film that shows the whole joint",
        )


def check_edges(
    edges: Mapping[Compartment, MarginLine],
    shape: tuple[int, ...],
    pose: Pose,
    expected: Mapping[Compartment, float],
    clear: Mapping[Compartment, float],
) -> list[Finding]:
    """Refuse or flag a femur whose outer edge runs along the edge of the film: its width is cut.

    Where the end of the plateau says that the edge should lie on the film, or a clear edge is
    seen there (`clear`, its strength), little can be missing.
    """
    cut = [c for c in Compartment if _at_border(edges, c, shape, pose.width)]
    for compartment in cut:
        at = float(pose.pixels([expected[compartment], -0.25])[0])
        slack = _MOST_CUT * pose.width
        off = not -slack <= at <= shape[1] - 1 + slack
        if off and clear[compartment] < _CLEAR_EDGE:
            raise InputError(
                "the edge of the film cuts the femur",
                code=ReasonCode.JOINT_OUT_OF_VIEW,
                expected="medial and lateral edge of the femur on the film",
                found=f"the {compartment} edge at column {at:.0f} of {shape[1]}",
                action="use a film that shows the whole joint",
            )
    return [
        Finding(
            ReasonCode.BONE_CUT_BY_VIEW,
            f"the {c} edge of the femur lies at the edge of the film",
            where=c.value,
            expected="both edges of the femur clear of the edge of the film",
            action="the femoral width, and with it x, may be a little too small",
        )
        for c in cut
    ]


def _at_border(
    edges: Mapping[Compartment, MarginLine],
    compartment: Compartment,
    shape: tuple[int, ...],
    width: float,
) -> bool:
    columns = edges[compartment].points[:, 0]
    medial = compartment is Compartment.MEDIAL
    spare = columns.min() if medial else shape[1] - 1 - columns.max()
    other = Compartment.LATERAL if medial else Compartment.MEDIAL
    sure, sure_other = (float(np.median(edges[c].confidence)) for c in (compartment, other))
    # a cut femur shows some other line near the edge of the film, fainter than its own edge
    faint = spare < _NEAR_BORDER * width and sure < _FAINT * sure_other
    return bool(spare < _AT_BORDER * width or faint)


def check_trace(pairs: dict[Compartment, TracedPair]) -> list[Finding]:
    """Flag compartments whose space is not dark; refuse when neither is."""
    weak = [c for c, pair in pairs.items() if pair.contrast < _LEAST_CONTRAST]
    if len(weak) == len(pairs):
        raise InputError(
            "no joint space stands out between femur and tibia",
            code=ReasonCode.KNEE_NOT_FOUND,
            expected=f"a space darker than bone by {_LEAST_CONTRAST} spreads",
            found=", ".join(f"{c} {pair.contrast:.2f}" for c, pair in pairs.items()),
            action="check that this is a frontal knee film",
        )
    return [
        Finding(
            ReasonCode.MARGIN_UNCERTAIN,
            f"the {c} joint space is hardly darker than bone",
            where=c.value,
            found=f"{pairs[c].contrast:.2f} spreads",
            action="look at the margins drawn on the film",
        )
        for c in weak
    ]
