"""Bone margins of the tibiofemoral joint on a film, as sub-pixel lines in pixel coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.errors import Finding, GeometryError, ReasonCode


class Compartment(StrEnum):
    """Half of the tibiofemoral joint."""

    MEDIAL = "medial"
    LATERAL = "lateral"


@dataclass(frozen=True, slots=True, eq=False)
class MarginLine:
    """A polyline on a film.

    Attributes
    ----------
    points : (N, 2) float64, column x and row y in pixels of the film; (0, 0) is the centre of the
        first pixel. Joint margins run from medial to lateral, bone edges from proximal to distal.
    confidence : (N,) float64 in 0..1, how surely the margin lies there.
    """

    points: NDArray[np.float64]
    confidence: NDArray[np.float64]

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        confidence = np.array(self.confidence, dtype=np.float64)
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 1:
            raise GeometryError(f"a margin is (N, 2) with N >= 1, got {points.shape}")
        if confidence.shape != points.shape[:1]:
            raise GeometryError(f"confidence {confidence.shape} for {len(points)} points")
        if not np.isfinite(points).all():
            raise GeometryError("margin points must be finite")
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise GeometryError("confidence must lie in 0..1")
        points.flags.writeable = False
        confidence.flags.writeable = False
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "confidence", confidence)

    @classmethod
    def certain(cls, points: NDArray[np.float64]) -> MarginLine:
        """A line that is known exactly, confidence 1 everywhere."""
        return cls(points, np.ones(len(points)))

    def mirrored(self, columns: int) -> MarginLine:
        """The line on the film flipped left-right, `columns` pixels wide."""
        points = self.points.copy()
        points[:, 0] = columns - 1 - points[:, 0]
        return MarginLine(points, self.confidence)

    def shifted(self, columns: float, rows: float) -> MarginLine:
        """The line moved by whole or broken pixels."""
        return MarginLine(self.points + (columns, rows), self.confidence)


MarginPair = Mapping[Compartment, MarginLine]


@dataclass(frozen=True, slots=True, eq=False)
class JointMargins:
    """Margins of one knee on one film, the input of every joint-space measurement.

    Attributes
    ----------
    side : Which knee.
    shape : (rows, columns) of the film on which the lines lie.
    femur : Distal edge of each femoral condyle, medial to lateral.
    tibia : Bright floor of each tibial plateau, medial to lateral.
    femoral_edges : Outer edge of the femur, medial (x = 0) and lateral (x = 1); the extreme point
        along the common tangent counts.
    tangent : (2, 2) pixels, where the common tangent touches the medial and the lateral condyle.
    rim : Anterior or posterior rim of a plateau where it was told apart from the floor.
    tibial_axis : (2, 2) pixels, proximal and distal point of the tibial shaft axis; None when too
        little shaft is in view.
    femoral_axis : The same of the femoral shaft.
    findings : What was noticed while finding the margins.
    method : How they were found.
    """

    side: Side
    shape: tuple[int, int]
    femur: MarginPair
    tibia: MarginPair
    femoral_edges: MarginPair
    tangent: NDArray[np.float64]
    rim: MarginPair = field(default_factory=dict)
    tibial_axis: NDArray[np.float64] | None = None
    findings: tuple[Finding, ...] = ()
    method: str = ""
    femoral_axis: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("femur", "tibia", "femoral_edges"):
            missing = [c for c in Compartment if c not in getattr(self, name)]
            if missing:
                raise GeometryError(f"{name} lacks {', '.join(missing)}")
        if self.tangent.shape != (2, 2):
            raise GeometryError(f"tangent must be (2, 2), got {self.tangent.shape}")

    @property
    def flags(self) -> tuple[ReasonCode, ...]:
        """Codes of the findings, each once, in order."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    def confidence(self, compartment: Compartment) -> float:
        """Median confidence of the weaker of the two margins of a compartment, 0..1."""
        lines = (self.femur[compartment], self.tibia[compartment])
        return min(float(np.median(line.confidence)) for line in lines)

    def mirrored(self) -> JointMargins:
        """The same knee on the film flipped left-right, as a knee of the other side."""
        columns = self.shape[1]

        def flip(lines: MarginPair) -> MarginPair:
            return {c: line.mirrored(columns) for c, line in lines.items()}

        def flip_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return MarginLine.certain(points).mirrored(columns).points

        def flip_axis(axis: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
            return None if axis is None else flip_points(axis)

        return replace(
            self,
            side=self.side.opposite,
            femur=flip(self.femur),
            tibia=flip(self.tibia),
            femoral_edges=flip(self.femoral_edges),
            rim=flip(self.rim),
            tangent=flip_points(self.tangent),
            tibial_axis=flip_axis(self.tibial_axis),
            femoral_axis=flip_axis(self.femoral_axis),
        )

    def on_film(self, shape: tuple[int, int], columns: float, rows: float = 0.0) -> JointMargins:
        """The same lines on a larger film of which this one was a part that began there."""

        def shift(lines: MarginPair) -> MarginPair:
            return {c: line.shifted(columns, rows) for c, line in lines.items()}

        def shift_axis(axis: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
            return None if axis is None else axis + (columns, rows)

        return replace(
            self,
            shape=shape,
            femur=shift(self.femur),
            tibia=shift(self.tibia),
            femoral_edges=shift(self.femoral_edges),
            rim=shift(self.rim),
            tangent=self.tangent + (columns, rows),
            tibial_axis=shift_axis(self.tibial_axis),
            femoral_axis=shift_axis(self.femoral_axis),
        )
