"""Joint-space width on a film, from its bone margins (definitions: docs, radiographs).

Frame after Duryea: the x axis is the common tangent to the distal edge of both femoral condyles;
x = 0 and x = 1 are its perpendiculars that touch the medial and the lateral edge of the femur.

References
----------
.. [1] Duryea et al. 2010, PMC2937275; Mehta et al. 2017, PMC5624356.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.measurement import Measurement
from kneeimg.errors import MeasurementError, ReasonCode
from kneeimg.geometry.polylines import clip_to_band, closest_points, common_tangent, heights_at
from kneeimg.measure.sure_ends import area_range, searched_ranges
from kneeimg.settings.film import JointSpaceSettings

FloatArray = NDArray[np.float64]
Spacing = tuple[float, float]

KNEE = "knee"
METHOD = "duryea"
_AREA_SAMPLES = 401


@dataclass(frozen=True, slots=True, eq=False)
class JointFrame:
    """The tangent frame of one knee, in mm or, without a pixel size, in pixels.

    Attributes
    ----------
    origin : (2,) point at x = 0 on the tangent, in film units.
    along : (2,) unit vector from medial to lateral.
    down : (2,) unit vector from femur to tibia, perpendicular to `along`.
    width : Femoral width that x is a fraction of, in film units.
    pixel : (column, row) size of a pixel in film units.
    """

    origin: FloatArray
    along: FloatArray
    down: FloatArray
    width: float
    pixel: FloatArray

    def place(self, points: ArrayLike) -> FloatArray:
        """(N, 2) pixels to (N, 2) distance along the tangent and below it, in film units."""
        offset = np.asarray(points, dtype=np.float64) * self.pixel - self.origin
        return np.column_stack([offset @ self.along, offset @ self.down])

    def pixels(self, placed: ArrayLike) -> FloatArray:
        """Inverse of :meth:`place`, for drawing."""
        uv = np.asarray(placed, dtype=np.float64)
        points: FloatArray = self.origin + uv[:, :1] * self.along + uv[:, 1:] * self.down
        return points / self.pixel


def joint_frame(
    margins: JointMargins,
    spacing_mm: Spacing | None = None,
    *,
    femoral_width_mm: float | None = None,
) -> JointFrame:
    """Tangent frame of a knee.

    Parameters
    ----------
    margins : Margins in pixels.
    spacing_mm : (row, column) pixel size in mm; None makes the pixel the unit (taken as square).
    femoral_width_mm : Width to use instead of the one on this film, e.g. the baseline's.

    Raises
    ------
    MeasurementError
        If the femoral edges do not enclose a width.
    """
    pixel = np.array([1.0, 1.0] if spacing_mm is None else [spacing_mm[1], spacing_mm[0]])
    femur = [margins.femur[c].points * pixel for c in Compartment]
    tibia = np.concatenate([margins.tibia[c].points for c in Compartment]) * pixel
    downward = tibia.mean(axis=0) - np.concatenate(femur).mean(axis=0)
    touch = common_tangent(femur[0], femur[1], downward)
    along = touch[1] - touch[0]
    along = along / np.linalg.norm(along)
    down = np.array([-along[1], along[0]])
    down = down if down @ downward > 0 else -down
    edges = margins.femoral_edges
    start = float((edges[Compartment.MEDIAL].points * pixel @ along).min())
    stop = float((edges[Compartment.LATERAL].points * pixel @ along).max())
    width = stop - start if femoral_width_mm is None else femoral_width_mm
    if not (math.isfinite(width) and width > 0 and stop > start):
        raise MeasurementError(
            "the medial and lateral edge of the femur do not enclose a width",
            code=ReasonCode.FRAME_UNDEFINED,
            expected="medial edge before lateral edge along the condylar tangent",
            found=f"{start:.1f} and {stop:.1f}",
        )
    origin = touch[0] + (start - touch[0] @ along) * along
    return JointFrame(origin, along, down, width, pixel)


def planned_joint_space(
    settings: JointSpaceSettings | None = None,
) -> tuple[tuple[str, str, str], ...]:
    """(region, quantity, unit) of every row that a film yields, measured or refused.

    Examples
    --------
    >>> planned_joint_space()[:3]
    (('medial', 'mJSW', 'mm'), ('medial', 'nmJSW', 'ratio'), ('medial', 'mJSW_x', 'ratio'))
    """
    settings = settings or JointSpaceSettings()
    rows: list[tuple[str, str, str]] = []
    for compartment in Compartment:
        region = compartment.value
        rows += [(region, "mJSW", "mm"), (region, "nmJSW", "ratio"), (region, "mJSW_x", "ratio")]
        for x in _positions(compartment, settings):
            rows += [(region, fixed_name(x), "mm"), (region, f"n{fixed_name(x)}", "ratio")]
        rows += [(region, "JSA", "mm^2"), (region, "meanJSW", "mm")]
        rows += [(region, "nmeanJSW", "ratio"), (region, "rim_distance", "mm")]
    rows += [(KNEE, "femoral_width", "mm")]
    rows += [(KNEE, angle, "deg") for angle in ("JLCA", "TPA", "FTA")]
    return tuple(rows)


def fixed_name(x: float) -> str:
    """Column name of the joint-space width at a fixed x.

    >>> fixed_name(0.225)
    'fJSW_0225'
    """
    return f"fJSW_{round(x * 1000):04d}"


def refused_joint_space(
    reason: ReasonCode, settings: JointSpaceSettings | None = None
) -> tuple[Measurement, ...]:
    """One not-measurable row for every planned quantity of a film that was refused."""
    return tuple(
        Measurement.missing(region, quantity, unit, reason)
        for region, quantity, unit in planned_joint_space(settings)
    )


def measure_joint_space(
    margins: JointMargins,
    spacing_mm: Spacing | None,
    settings: JointSpaceSettings | None = None,
    *,
    femoral_width_mm: float | None = None,
) -> tuple[Measurement, ...]:
    """Joint-space width, area and angles of one knee.

    Parameters
    ----------
    margins : Margins in pixels of the film.
    spacing_mm : (row, column) pixel size in mm. None or zero: ratios and angles only, for pixels
        taken as square; each row in mm says NO_PIXEL_SPACING or ZERO_PIXEL_SPACING.
    settings : Positions and ranges.
    femoral_width_mm : The baseline's femoral width, to place x and to normalise at follow-up;
        needs a pixel size.

    Returns
    -------
    tuple of Measurement
        One row per entry of :func:`planned_joint_space`, in that order. `fJSW_0225` is the
        distance between margins perpendicular to the tangent at x = 0.225; `mJSW` the shortest
        distance in any direction, `mJSW_x` the x of its femoral end (without an outer end of the
        search range where a margin is less sure than `sure_confidence`); `JSA` the area between the
        margins; `n...` the same divided by femoral width; `JLCA` the angle of the line through
        the mean medial and mean lateral floor of the plateaus against the tangent, positive when
        the joint opens laterally; `TPA` the medial angle of that line with the tibial axis;
        `FTA` the lateral angle of the femoral with the tibial shaft axis: 180 when straight,
        less in valgus (anatomical axes, 174 to 176 in usual knees), more in varus.
        Where bone meets bone the width is 0 with the flag BONE_ON_BONE. NaN: not measured.

    Raises
    ------
    MeasurementError
        If the frame is undefined.

    Examples
    --------
    See `tests/measure/test_joint_space.py` for a joint worked by hand.
    """
    settings = settings or JointSpaceSettings()
    no_mm = _spacing_problem(spacing_mm)
    usable = None if no_mm else spacing_mm
    frame = joint_frame(
        margins, usable, femoral_width_mm=femoral_width_mm if usable is not None else None
    )
    rows: list[Measurement] = []
    floors: dict[Compartment, float] = {}
    for compartment in Compartment:
        space = _Space.of(margins, compartment, frame, settings)
        floors[compartment] = space.mean_floor()
        rows += space.rows()
    rows += _knee_rows(margins, frame, floors, settings)
    if no_mm is not None:
        rows = [_without_mm(row, no_mm) for row in rows]
    return tuple(rows)


def _positions(compartment: Compartment, settings: JointSpaceSettings) -> tuple[float, ...]:
    return settings.medial_x if compartment is Compartment.MEDIAL else settings.lateral_x


def _spacing_problem(spacing_mm: Spacing | None) -> ReasonCode | None:
    if spacing_mm is None:
        return ReasonCode.NO_PIXEL_SPACING
    if not all(math.isfinite(size) and size > 0 for size in spacing_mm):
        return ReasonCode.ZERO_PIXEL_SPACING
    return None


def _without_mm(row: Measurement, reason: ReasonCode) -> Measurement:
    if row.unit not in ("mm", "mm^2"):
        return row
    return Measurement.missing(row.region, row.quantity, row.unit, reason, method=row.method)


def _row(
    region: str, quantity: str, unit: str, value: float, flags: tuple[ReasonCode, ...]
) -> Measurement:
    if math.isfinite(value):
        return Measurement(region, quantity, value, unit, method=METHOD, flags=flags)
    return Measurement.missing(region, quantity, unit, ReasonCode.MARGIN_UNCERTAIN, method=METHOD)


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Both margins of one compartment, placed in the frame.

    Attributes
    ----------
    searched : Range of x in which the least space is looked for: without unsure ends.
    touching : Range of x in which bone may meet bone.
    """

    compartment: Compartment
    femur: FloatArray
    tibia: FloatArray
    rim: FloatArray | None
    width: float
    settings: JointSpaceSettings
    flags: tuple[ReasonCode, ...]
    searched: tuple[float, float]
    touching: tuple[float, float]

    @classmethod
    def of(
        cls,
        margins: JointMargins,
        compartment: Compartment,
        frame: JointFrame,
        settings: JointSpaceSettings,
    ) -> _Space:
        def placed(line: MarginLine) -> FloatArray:
            points = frame.place(line.points)
            return points if points[0, 0] <= points[-1, 0] else points[::-1]

        rim = margins.rim.get(compartment)
        flags = _flags(margins, compartment)
        unsure = margins.confidence(compartment) < settings.minimum_confidence
        if unsure and ReasonCode.MARGIN_UNCERTAIN not in flags:
            flags.append(ReasonCode.MARGIN_UNCERTAIN)
        femur, tibia = margins.femur[compartment], margins.tibia[compartment]
        across = [
            (frame.place(line.points)[:, 0] / frame.width, line.confidence)
            for line in (femur, tibia)
        ]
        return cls(
            compartment,
            placed(femur),
            placed(tibia),
            None if rim is None else placed(rim),
            frame.width,
            settings,
            tuple(flags),
            *searched_ranges(across, compartment, settings),
        )

    def gap(self, x: ArrayLike) -> FloatArray:
        """Width along y at each x, negative where the margins overlap, NaN outside them."""
        u = np.asarray(x, dtype=np.float64) * self.width
        femur = heights_at(self.femur, u, highest=True)
        return heights_at(self.tibia, u, highest=False) - femur

    def floor(self, x: FloatArray) -> FloatArray:
        """Height of the tibial floor below the tangent at each x."""
        return heights_at(self.tibia, x * self.width, highest=False)

    def mean_floor(self) -> float:
        """Mean of the floor below the tangent over the range of the area."""
        x = self._area_positions()
        return _mean(self.floor(x), x)

    def _area_positions(self) -> FloatArray:
        return np.linspace(*area_range(self.compartment, self.settings), _AREA_SAMPLES)

    def minimum(self) -> tuple[float, float]:
        """Shortest distance between the margins within the search range, and its x."""
        femur, tibia = self._between(*self.touching)
        if len(femur) == 0 or len(tibia) == 0:
            return math.nan, math.nan
        x = np.unique(np.concatenate([femur[:, 0], tibia[:, 0]])) / self.width
        closed = x[np.nan_to_num(self.gap(x), nan=1.0) <= 0]
        if len(closed):
            return 0.0, float(np.median(closed))
        femur, tibia = self._between(*self.searched)
        if len(femur) == 0 or len(tibia) == 0:
            return math.nan, math.nan
        distance, on_femur, _ = closest_points(femur, tibia)
        return distance, float(on_femur[0] / self.width)

    def _between(self, low: float, high: float) -> tuple[FloatArray, FloatArray]:
        """Both margins between two x."""
        ends = low * self.width, high * self.width
        femur = clip_to_band(self.femur, *ends, highest=True)
        return femur, clip_to_band(self.tibia, *ends, highest=False)

    def rim_distance(self) -> float:
        """Mean height of the rim above the floor over the range of the area, where both reach."""
        if self.rim is None:
            return math.nan
        x = self._area_positions()
        gap = self.floor(x) - heights_at(self.rim, x * self.width, highest=False)
        return float(np.mean(gap[np.isfinite(gap)])) if np.isfinite(gap).any() else math.nan

    def rows(self) -> Iterator[Measurement]:
        """Rows of this compartment, in the planned order."""
        smallest, where = self.minimum()
        yield from self._pair("mJSW", smallest)
        yield self._named("mJSW_x", "ratio", where, smallest)
        for x in _positions(self.compartment, self.settings):
            yield from self._pair(fixed_name(x), _not_negative(float(self.gap([x])[0])))
        x_area = self._area_positions()
        mean = _mean(np.maximum(self.gap(x_area), 0.0), x_area)
        yield self._named("JSA", "mm^2", mean * (x_area[-1] - x_area[0]) * self.width, smallest)
        yield from self._pair("meanJSW", mean)
        yield self._named("rim_distance", "mm", self.rim_distance(), math.nan)

    def _pair(self, quantity: str, value: float) -> Iterator[Measurement]:
        yield self._named(quantity, "mm", value, value)
        yield self._named(f"n{quantity}", "ratio", value / self.width, value)

    def _named(self, quantity: str, unit: str, value: float, space: float) -> Measurement:
        flags = (*self.flags, ReasonCode.BONE_ON_BONE) if space == 0 else self.flags
        return _row(self.compartment.value, quantity, unit, value, flags)


def _flags(margins: JointMargins, compartment: Compartment) -> list[ReasonCode]:
    """Flags of the rows of a compartment: doubt about the margins of the other is none here."""
    other = next(c for c in Compartment if c is not compartment)
    elsewhere = (ReasonCode.MARGIN_UNCERTAIN, other.value)
    codes = [f.code for f in margins.findings if (f.code, f.where) != elsewhere]
    return [code for code in dict.fromkeys(codes) if code is not ReasonCode.BONE_ON_BONE]


def _not_negative(value: float) -> float:
    return value if math.isnan(value) else max(value, 0.0)


def _mean(values: FloatArray, x: FloatArray) -> float:
    """Mean over x by the trapezium rule; NaN if any value is."""
    return float(np.trapezoid(values, x) / (x[-1] - x[0]))


def _knee_rows(
    margins: JointMargins,
    frame: JointFrame,
    floors: dict[Compartment, float],
    settings: JointSpaceSettings,
) -> Iterator[Measurement]:
    flags = tuple(code for code in margins.flags if code is not ReasonCode.BONE_ON_BONE)
    middles = [sum(area_range(c, settings)) / 2 * frame.width for c in Compartment]
    run = middles[1] - middles[0]
    fall = floors[Compartment.LATERAL] - floors[Compartment.MEDIAL]
    yield _row(KNEE, "femoral_width", "mm", frame.width, flags)
    yield _row(KNEE, "JLCA", "deg", math.degrees(math.atan2(fall, run)), flags)
    yield _angle_row("TPA", _plateau_angle_deg(margins, frame, np.array([-run, -fall])), flags)
    yield _angle_row("FTA", _femorotibial_angle_deg(margins, frame), flags)


def _angle_row(quantity: str, value: float, flags: tuple[ReasonCode, ...]) -> Measurement:
    if math.isnan(value):  # no shaft, or too little of it, is in view
        reason = ReasonCode.BONE_CUT_BY_VIEW
        return Measurement.missing(KNEE, quantity, "deg", reason, method=METHOD)
    return _row(KNEE, quantity, "deg", value, flags)


def _plateau_angle_deg(margins: JointMargins, frame: JointFrame, medial: FloatArray) -> float:
    """Angle of the plateaus, running to `medial`, with the tibial shaft."""
    if margins.tibial_axis is None:
        return math.nan
    top, bottom = frame.place(margins.tibial_axis)
    return _angle_deg(medial, bottom - top)


def _femorotibial_angle_deg(margins: JointMargins, frame: JointFrame) -> float:
    """Lateral angle of the femoral shaft, seen from the joint, with the tibial shaft."""
    if margins.tibial_axis is None or margins.femoral_axis is None:
        return math.nan
    proximal, distal = frame.place(margins.femoral_axis)
    top, bottom = frame.place(margins.tibial_axis)
    up, down = proximal - distal, bottom - top
    # turned from up through lateral (+x) to down, y pointing down: clockwise on the film
    turn = math.atan2(up[0] * down[1] - up[1] * down[0], float(up @ down))
    return math.degrees(turn % (2 * math.pi))


def _angle_deg(first: FloatArray, second: FloatArray) -> float:
    cross = first[0] * second[1] - first[1] * second[0]
    return math.degrees(math.atan2(abs(cross), float(first @ second)))
