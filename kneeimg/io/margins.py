"""Joint margins of a film as plain JSON: polylines in pixels that any program can draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import Finding, InputError, ReasonCode


def margins_to_json(margins: JointMargins, radiograph: Radiograph) -> dict[str, Any]:
    """Plain values of the margins of one knee.

    Points are (column x, row y) in pixels of the film, (0, 0) the centre of its first pixel.
    `spacing_mm` is (row, column), null where the film has no pixel size.
    """
    spacing = radiograph.spacing_mm
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
        "tibial_axis": _axis(margins.tibial_axis),
        "femoral_axis": _axis(margins.femoral_axis),
        "findings": [finding.as_dict() for finding in margins.findings],
    }


def margins_from_json(values: Mapping[str, Any]) -> JointMargins:
    """Joint margins of what :func:`margins_to_json` made, lines and findings alike.

    Raises
    ------
    InputError
        OUTPUT_CHANGED where a part is missing or is no margin.
    """
    try:
        rows, columns = (int(size) for size in values["image_shape"])
        return JointMargins(
            side=Side(values["side"]),
            shape=(rows, columns),
            femur=_read_lines(values["femur"]),
            tibia=_read_lines(values["tibia"]),
            femoral_edges=_read_lines(values["femoral_edges"]),
            tangent=np.array(values["tangent"], dtype=np.float64),
            rim=_read_lines(values["rim"]),
            tibial_axis=_read_axis(values["tibial_axis"]),
            # files written before the femoral shaft was looked for lack it
            femoral_axis=_read_axis(values.get("femoral_axis")),
            findings=tuple(
                Finding(**{**finding, "code": ReasonCode(finding["code"])})
                for finding in values["findings"]
            ),
            method=str(values["method"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the file does not hold the margins of a knee",
            code=ReasonCode.OUTPUT_CHANGED,
            expected="a file *_margins.json of kneeimg",
            found=f"{type(error).__name__}: {error}",
            action="run again: the film is then measured again",
        ) from error


def spacing_from_json(values: Mapping[str, Any]) -> tuple[float, float] | None:
    """(row, column) pixel size in mm of what :func:`margins_to_json` made; None if unknown."""
    spacing = values["spacing_mm"]
    return None if spacing is None else (float(spacing[0]), float(spacing[1]))


def _axis(axis: NDArray[np.float64] | None) -> list[list[float]] | None:
    return None if axis is None else axis.tolist()


def _read_axis(points: Any) -> NDArray[np.float64] | None:
    return None if points is None else np.array(points, dtype=np.float64)


def _read_lines(lines: Mapping[str, Any]) -> dict[Compartment, MarginLine]:
    return {
        Compartment(name): MarginLine(
            np.array(line["points"], dtype=np.float64),
            np.array(line["confidence"], dtype=np.float64),
        )
        for name, line in lines.items()
    }


def _lines(lines: Mapping[Compartment, MarginLine]) -> dict[str, Any]:
    return {
        compartment.value: {
            "points": line.points.tolist(),
            "confidence": line.confidence.tolist(),
        }
        for compartment, line in lines.items()
    }
