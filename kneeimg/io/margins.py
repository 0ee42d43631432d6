"""Joint margins of a film as plain JSON: polylines in pixels that any program can draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph


def margins_to_json(margins: JointMargins, radiograph: Radiograph) -> dict[str, Any]:
    """Plain values of the margins of one knee.

    Points are (column x, row y) in pixels of the film, (0, 0) the centre of its first pixel.
    `spacing_mm` is (row, column), null where the film has no pixel size.
    """
    axis, spacing = margins.tibial_axis, radiograph.spacing_mm
    return {
        "side": margins.side.value,
        "method": margins.method,
        "coordinates": "pixels: x = column, y = row, (0, 0) = centre of the first pixel",
        "image_shape": list(margins.shape),
        "spacing_mm": None if spacing is None else list(spacing),
        "spacing_source": radiograph.spacing_source.value,
        "femur": _lines(margins.femur),
        "tibia": _lines(margins.tibia),
        "femoral_edges": _lines(margins.femoral_edges),
        "rim": _lines(margins.rim),
        "tangent": margins.tangent.tolist(),
        "tibial_axis": None if axis is None else axis.tolist(),
        "findings": [finding.as_dict() for finding in margins.findings],
    }


def _lines(lines: Mapping[Compartment, MarginLine]) -> dict[str, Any]:
    return {
        compartment.value: {
            "points": line.points.tolist(),
            "confidence": line.confidence.tolist(),
        }
        for compartment, line in lines.items()
    }
