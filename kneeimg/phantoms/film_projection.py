"""Films of the parametric 3-D knee: line integrals along a tilted beam, exact silhouettes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from kneeimg.core.anatomy import Bone, Tissue
from kneeimg.core.margins import Compartment
from kneeimg.phantoms.film import (
    FilmKnee,
    FilmPhantom,
    FilmSetup,
    as_hung,
    exact_margins,
    from_pixels,
)
from kneeimg.phantoms.film_render import CORTEX_PER_MM, SOFT_PER_MM, TRABECULAR_PER_MM, expose
from kneeimg.phantoms.knee import KneePhantom

FloatArray = NDArray[np.float64]

_STEP_MM = 1.2  # lattice of signed distances in the film plane
_DEPTH = np.arange(-42.0, 42.1, 1.2)  # samples along the beam, mm
_CORTEX_MM = 0.9
_PLATE_MM = 1.8  # subchondral plate and cortex of the tibia, thicker than the femur's
_TRACE_STEPS = 60
_OVERSAMPLING = 3


@dataclass(frozen=True)
class BeamFrame:
    """The beam's coordinates of a knee: medial to lateral, up on the film, along the beam.

    Attributes
    ----------
    knee : The 3-D knee.
    beam_angle_deg : Tilt of the beam about the medial-lateral axis, positive from above.
    """

    knee: KneePhantom
    beam_angle_deg: float

    def distance(self, bone: Bone | Tissue, points: FloatArray) -> FloatArray:
        """Signed distance in mm at (..., 3) points across, up, along."""
        tilt = np.deg2rad(self.beam_angle_deg)
        across, up, along = (points[..., k].ravel() for k in range(3))
        y = along * np.cos(tilt) - up * np.sin(tilt)
        z = along * np.sin(tilt) + up * np.cos(tilt)
        placed = self.knee.scanner(np.column_stack([-across, y, z]))  # +x is medial there
        distance: FloatArray = self.knee.signed_distance(bone, placed).reshape(points.shape[:-1])
        return distance

    def surface(self, bone: Bone, across: FloatArray, start: float, down: bool) -> FloatArray:
        """(across, along) height at which a vertical path from `start` meets the bone, or NaN."""
        x, s = np.meshgrid(across, _DEPTH, indexing="ij")
        height = np.full(x.shape, start)
        sign = -1.0 if down else 1.0
        for _ in range(_TRACE_STEPS):
            gap = self.distance(bone, np.stack([x, height, s], axis=-1))
            height = height + sign * np.clip(0.8 * gap, -1.0, 3.0)
        met = np.abs(self.distance(bone, np.stack([x, height, s], axis=-1))) < 0.02
        found: FloatArray = np.where(met, height, np.nan)
        return found


def _extreme(surface: FloatArray, highest: bool) -> FloatArray:
    """Extreme height of each row, by the parabola through the extreme sample."""
    sign = 1.0 if highest else -1.0
    signed = np.where(np.isfinite(surface), sign * surface, -np.inf)
    at = np.clip(signed.argmax(axis=1), 1, surface.shape[1] - 2)
    rows = np.arange(len(surface))
    before, here, after = (signed[rows, at + k] for k in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = (after - before) ** 2 / (8 * (2 * here - before - after))
    extreme: FloatArray = sign * (here + np.where(np.isfinite(gain), np.clip(gain, 0, 0.2), 0.0))
    return extreme


def _floor(surface: FloatArray) -> FloatArray:
    """Height at which the beam grazes each profile of a plateau: its dish, else its crest."""
    floor = np.full(len(surface), np.nan)
    crest = _extreme(surface, highest=True)
    for k, profile in enumerate(surface):
        hit = np.flatnonzero(np.isfinite(profile))
        if len(hit) < 8:
            continue
        inner = profile[hit[len(hit) // 6] : hit[-1 - len(hit) // 6] + 1]
        low = int(inner.argmin())
        dished = 0 < low < len(inner) - 1
        floor[k] = _extreme(inner[None], highest=False)[0] if dished else crest[k]
    return floor


@dataclass(frozen=True)
class ProjectedKnee(FilmKnee):
    """A projected 3-D knee in the tangent frame, its margins as splines through silhouettes.

    The frame, truth and lines of :class:`FilmKnee` hold; its shape parameters are not used,
    except those that :func:`project_knee` takes from the silhouettes.
    """

    femur_line: tuple[tuple[float, float], ...] = ()
    tibia_line: tuple[tuple[float, float], ...] = ()

    @cached_property
    def _splines(self) -> tuple[CubicSpline, CubicSpline]:
        femur, tibia = np.array(self.femur_line), np.array(self.tibia_line)
        return CubicSpline(femur[:, 0], femur[:, 1]), CubicSpline(tibia[:, 0], tibia[:, 1])

    def femur_v(self, u_mm: ArrayLike) -> FloatArray:
        """Silhouette of the condyles, v in mm at each u."""
        return np.asarray(self._splines[0](np.asarray(u_mm, dtype=np.float64)), dtype=np.float64)

    def tibia_v(self, u_mm: ArrayLike) -> FloatArray:
        """Floor of the plateaus, v in mm at each u."""
        return np.asarray(self._splines[1](np.asarray(u_mm, dtype=np.float64)), dtype=np.float64)

    def lines_mm(self) -> dict[str, dict[Compartment, FloatArray]]:
        """As for the analytic knee; plateaus end before the spines, where no floor is defined."""
        lines = super().lines_mm()
        for name in ("tibia", "rim"):
            for compartment, line in lines[name].items():
                x = line[:, 0] / self.femoral_width_mm
                lines[name][compartment] = line[(x < 0.34) | (x > 0.68)]
        return lines


def project_knee(
    knee: KneePhantom, setup: FilmSetup | None = None, *, beam_angle_deg: float = 0.0
) -> FilmPhantom:
    """PA film of the 3-D knee.

    Parameters
    ----------
    knee : The knee; its pose in the scanner does not matter, the film is taken in its own frame.
    setup : How the film is taken; the magnification applies to the whole knee, the divergence of
        the beam within the knee is left out.
    beam_angle_deg : Tilt of the beam about the medial-lateral axis.

    Returns
    -------
    FilmPhantom
        Truth by silhouettes: the distal envelope of the condyles along the beam, and the heights
        at which the beam grazes the plateaus (bottom of a dish, crest of a convex plateau).
    """
    setup = setup or FilmSetup(pixel_mm=0.25)
    frame = BeamFrame(knee, beam_angle_deg)
    projected, back = _silhouettes(frame)
    points = from_pixels(_pixel_grid(setup), projected, setup)
    film_plane = points @ back[:2] + back[2]
    neper = _attenuation(frame, film_plane).reshape(setup.shape)
    fine = np.repeat(np.repeat(neper, _OVERSAMPLING, axis=0), _OVERSAMPLING, axis=1)
    return as_hung(expose(fine, setup), exact_margins(projected, setup), projected, setup)


def _pixel_grid(setup: FilmSetup) -> FloatArray:
    rows, columns = setup.shape
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.column_stack([column.ravel(), row.ravel()]).astype(np.float64)


def _silhouettes(frame: BeamFrame) -> tuple[ProjectedKnee, FloatArray]:
    """The projected knee in its tangent frame, and (3, 2) from u, v to across, up."""
    across = np.arange(-50.0, 50.1, 0.5)
    femur = _extreme(frame.surface(Bone.FEMUR, across, -75.0, down=False), highest=False)
    tibia = _floor(frame.surface(Bone.TIBIA, across, 5.0, down=True))
    on_femur, on_tibia = np.isfinite(femur), np.isfinite(tibia)
    line = np.column_stack([across, femur])[on_femur]
    medial, lateral = line[line[:, 0] < 0], line[line[:, 0] >= 0]
    touch = np.stack([medial[medial[:, 1].argmin()], lateral[lateral[:, 1].argmin()]])
    for _ in range(20):
        along = (touch[1] - touch[0]) / np.linalg.norm(touch[1] - touch[0])
        down = np.array([along[1], -along[0]])
        touch = np.stack([part[(part @ down).argmax()] for part in (medial, lateral)])
    start, stop, height = _edges(frame, along, down, touch)
    origin = touch[0] + (start - touch[0] @ along) * along
    back = np.stack([along, down, origin])

    def placed(points: FloatArray) -> tuple[tuple[float, float], ...]:
        uv = (points - origin) @ np.stack([along, down]).T
        return tuple((float(u), float(v)) for u, v in uv)

    width = stop - start
    projected = ProjectedKnee(
        side=frame.knee.side,
        femoral_width_mm=width,
        medial_x=float((touch[0] - origin) @ along / width),
        lateral_x=float((touch[1] - origin) @ along / width),
        condyle_height_mm=height,
        femur_line=placed(line),
        tibia_line=placed(np.column_stack([across, tibia])[on_tibia]),
    )
    return projected, back


def _edges(
    frame: BeamFrame, along: FloatArray, down: FloatArray, touch: FloatArray
) -> tuple[float, float, float]:
    """Extent of the femur along the tangent, and the height of its medial edge above it."""
    rise = np.arange(6.0, 40.0, 1.0)
    ends = []
    for sign in (-1.0, 1.0):
        reach = np.linspace(20.0, 60.0, 81)
        heights, distances = np.meshgrid(rise, reach, indexing="ij")
        middle = touch.mean(axis=0)
        plane = middle + sign * distances[..., None] * along - heights[..., None] * down
        grid = np.broadcast_to(plane[:, :, None], (*plane.shape[:2], len(_DEPTH), 2))
        depth = np.broadcast_to(_DEPTH, grid.shape[:3])[..., None]
        least = frame.distance(Bone.FEMUR, np.concatenate([grid, depth], axis=-1)).min(axis=2)
        outer = [_last_crossing(reach, row) for row in least]
        ends.append((float(np.max(outer)), float(rise[int(np.argmax(outer))])))
    middle_along = float(touch.mean(axis=0) @ along)
    return middle_along - ends[0][0], middle_along + ends[1][0], ends[0][1]


def _last_crossing(reach: FloatArray, distance: FloatArray) -> float:
    inside = np.flatnonzero(distance <= 0)
    if len(inside) == 0 or inside[-1] + 1 >= len(reach):
        return float(reach[0])
    k = int(inside[-1])
    share = distance[k] / (distance[k] - distance[k + 1])
    return float(reach[k] + share * (reach[k + 1] - reach[k]))


def _attenuation(frame: BeamFrame, plane: FloatArray) -> FloatArray:
    """Neper at (N, 2) across, up: soft tissue, bones with a compact shell."""
    middle = 0.0
    share = np.clip(1 - ((plane[:, 0] - middle) / 60.0) ** 2, 0.0, 1.0)
    neper: FloatArray = SOFT_PER_MM * 120.0 * np.sqrt(share)
    low, high = plane.min(axis=0) - 2, plane.max(axis=0) + 2
    low, high = np.maximum(low, (-60.0, -110.0)), np.minimum(high, (60.0, 60.0))
    axes = [np.arange(low[k], high[k] + _STEP_MM, _STEP_MM) for k in (0, 1)]
    x, z = np.meshgrid(*axes, indexing="ij")
    where = [(plane[:, k] - axes[k][0]) / _STEP_MM for k in (0, 1)]
    for bone in (Bone.FEMUR, Bone.TIBIA, Tissue.FIBULA):
        lattice = np.stack(np.broadcast_arrays(x[None], z[None], _DEPTH[:, None, None]), axis=-1)
        distance = frame.distance(bone, lattice)
        slope = np.gradient(distance, _DEPTH, axis=0)
        shell = _PLATE_MM if bone is Bone.TIBIA else _CORTEX_MM
        for near, steep in zip(distance, slope, strict=True):
            if near.min() < 2.0:
                # linear: 9 um off on a surface of 20 mm radius
                at = map_coordinates(near, where, order=1, mode="nearest")
                tilt = map_coordinates(steep, where, order=1, mode="nearest")
                neper += _slab(at, tilt, shell)
    return neper


def _slab(distance: FloatArray, slope: FloatArray, shell_mm: float) -> FloatArray:
    """Neper of one slab along the beam, its share inside bone and inside the shell.

    The surface crosses a slab over `slope` times its depth; where it runs along the beam (at a
    silhouette) the slab is all inside or all outside.
    """
    step = float(_DEPTH[1] - _DEPTH[0])
    ramp = np.maximum(np.abs(slope) * step, 0.1)
    whole = np.clip(0.5 - distance / ramp, 0.0, 1.0) * step
    inner = np.clip(0.5 - (distance + shell_mm) / ramp, 0.0, 1.0) * step
    neper: FloatArray = CORTEX_PER_MM * (whole - inner) + TRABECULAR_PER_MM * inner
    return neper
