"""Films of a knee whose joint space is known exactly: analytic margins, rendered by attenuation.

Knee frame of a film: u in mm from the medial (0) to the lateral (femoral width) edge of the femur
along the common tangent of the condyles, v in mm from that tangent, positive towards the tibia.
Both condyles touch v = 0 and both femoral edges are vertical at u = 0 and u = width, so the frame
of the definitions holds by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph, SpacingSource

FloatArray = NDArray[np.float64]
Truth = Mapping[tuple[str, str], float]

#: Ranges of x that truth is given over: (search, area, fixed positions), as the definitions say.
_RANGES = {
    Compartment.MEDIAL: ((0.05, 0.30), (0.10, 0.30), np.arange(150, 301, 25)),
    Compartment.LATERAL: ((0.70, 0.95), (0.70, 0.90), np.arange(700, 901, 25)),
}
_MARGIN_X = {Compartment.MEDIAL: (0.03, 0.40), Compartment.LATERAL: (0.60, 0.97)}


@dataclass(frozen=True)
class FilmKnee:
    """One knee as it projects on a PA film; lengths in mm at the knee, fractions of the width.

    Attributes
    ----------
    side : Which knee.
    femoral_width_mm : Distance of the medial and lateral edge of the femur.
    medial_jsw_mm, lateral_jsw_mm : Joint space at the lowest point of each condyle; a value below
        zero closes the joint there.
    medial_x, lateral_x : x of the lowest point of each condyle.
    jlca_deg : Fall of each plateau towards lateral, positive opens the joint laterally.
    medial_dish_mm, lateral_dish_mm : Depth of each plateau's floor below its ends (negative for a
        convex plateau).
    condyle_height_mm : Height of the widest point of the femur above the tangent.
    notch_height_mm : Height of the roof of the notch above the tangent.
    spine_height_mm : Height of the tibial spines above the plateaus.
    beam_angle_deg : Angle of the beam to the plateaus; it lifts the rim off the floor by the sine
        times half the plateau's depth.
    femur_medial_osteophyte_mm, femur_lateral_osteophyte_mm, tibia_medial_osteophyte_mm,
    tibia_lateral_osteophyte_mm : How far a lip of bone stands out beyond the side of the bone.
    medial_sclerosis_neper, lateral_sclerosis_neper : Attenuation that a dense band of 2.4 mm below
        the floor of the plateau adds.
    femoral_shaft_deg : Lean of the femoral shaft to lateral from the perpendicular of the tangent;
        the tibial shaft stands along that perpendicular.
    """

    side: Side = Side.RIGHT
    femoral_width_mm: float = 80.0
    medial_jsw_mm: float = 4.0
    lateral_jsw_mm: float = 5.5
    medial_x: float = 0.21
    lateral_x: float = 0.79
    jlca_deg: float = 0.5
    medial_dish_mm: float = 1.2
    lateral_dish_mm: float = -0.4
    condyle_height_mm: float = 22.0
    notch_height_mm: float = 17.0
    spine_height_mm: float = 9.0
    beam_angle_deg: float = 0.0

    plateau_depth_mm: float = 45.0
    femur_medial_osteophyte_mm: float = 0.0
    femur_lateral_osteophyte_mm: float = 0.0
    tibia_medial_osteophyte_mm: float = 0.0
    tibia_lateral_osteophyte_mm: float = 0.0
    medial_sclerosis_neper: float = 0.0
    lateral_sclerosis_neper: float = 0.0
    femoral_shaft_deg: float = 0.0

    @property
    def femorotibial_angle_deg(self) -> float:
        """Lateral angle of the femoral with the tibial shaft."""
        return 180.0 - self.femoral_shaft_deg

    def osteophyte_mm(self, bone: Bone, compartment: Compartment) -> float:
        """Size of the osteophyte at one margin."""
        size: float = getattr(self, f"{bone.value}_{compartment.value}_osteophyte_mm")
        return size

    def femur_v(self, u_mm: ArrayLike) -> FloatArray:
        """Distal femoral margin, v in mm at each u in 0..width (negative: proximal)."""
        x = np.asarray(u_mm, dtype=np.float64) / self.femoral_width_mm
        outer_m = np.clip((self.medial_x - x) / self.medial_x, 0, 1)
        outer_l = np.clip((x - self.lateral_x) / (1 - self.lateral_x), 0, 1)
        middle = (self.medial_x + self.lateral_x) / 2
        inner = np.where(x < middle, x - self.medial_x, self.lateral_x - x)
        inner = np.clip(inner / (middle - self.medial_x), 0, 1)
        rise = self.condyle_height_mm * (_quarter(outer_m) + _quarter(outer_l))
        return -rise - self.notch_height_mm * (1 - np.cos(np.pi * inner**1.5)) / 2

    def tibia_v(self, u_mm: ArrayLike) -> FloatArray:
        """Floor of the plateaus with the spines between, v in mm at each u."""
        u = np.asarray(u_mm, dtype=np.float64)
        x = u / self.femoral_width_mm
        medial = self._plateau(u, self.medial_x, self.medial_jsw_mm, self.medial_dish_mm)
        lateral = self._plateau(u, self.lateral_x, self.lateral_jsw_mm, self.lateral_dish_mm)
        share = np.clip((x - 0.40) / 0.20, 0, 1)
        floor = medial + (lateral - medial) * share**2 * (3 - 2 * share)
        spines = np.exp(-(((x - 0.455) / 0.030) ** 2)) + 0.8 * np.exp(-(((x - 0.545) / 0.030) ** 2))
        floor = floor - self.spine_height_mm * spines
        closed: FloatArray = np.maximum(floor, self.femur_v(u))  # bones do not overlap
        return closed

    def _plateau(self, u: FloatArray, x_low: float, jsw_mm: float, dish_mm: float) -> FloatArray:
        offset = u - x_low * self.femoral_width_mm
        span = 0.20 * self.femoral_width_mm
        dish = dish_mm * (np.clip(offset / span, -1.5, 1.5)) ** 2
        # the cubic part makes the two ends of a plateau differ
        skew = 0.3 * np.clip(offset / span, -1.5, 1.5) ** 3
        fall = np.tan(np.deg2rad(self.jlca_deg)) * offset
        height: FloatArray = jsw_mm + fall - dish + skew
        return height

    @property
    def rim_mm(self) -> float:
        """Height of the projected rim above the floor."""
        return float(np.sin(np.deg2rad(abs(self.beam_angle_deg))) * self.plateau_depth_mm / 2)

    def jsw_mm(self, x: ArrayLike) -> FloatArray:
        """Exact joint-space width perpendicular to the tangent at each x."""
        u = np.asarray(x, dtype=np.float64) * self.femoral_width_mm
        return self.tibia_v(u) - self.femur_v(u)

    @cached_property
    def truth(self) -> Truth:
        """Exact value of every quantity: (region, quantity) to mm, mm², degrees or ratio.

        Widths at fixed x are closed formulas; areas and the shortest distance are found on the
        formulas with steps of 0.01 mm (error below 1e-4 mm).
        """
        truth = {("knee", "femoral_width"): self.femoral_width_mm, ("knee", "JLCA"): self._jlca()}
        for compartment, (search, area, positions) in _RANGES.items():
            values = self._compartment_truth(search, area, positions)
            truth.update({(compartment.value, name): value for name, value in values.items()})
        return truth

    def _compartment_truth(
        self, search: tuple[float, float], area: tuple[float, float], positions: NDArray[np.int64]
    ) -> dict[str, float]:
        width = self.femoral_width_mm
        smallest, where = self._minimum(search)
        x = np.linspace(*area, 4001)
        mean = float(np.trapezoid(self.jsw_mm(x), x) / (area[1] - area[0]))
        lengths = {"mJSW": smallest, "meanJSW": mean}
        lengths |= {f"fJSW_{p:04d}": float(self.jsw_mm(p / 1000)) for p in positions}
        rest = {"mJSW_x": where, "JSA": mean * (area[1] - area[0]) * width}
        rest |= {f"n{name}": value / width for name, value in lengths.items()}
        if self.beam_angle_deg:
            rest["rim_distance"] = self.rim_mm
        return lengths | rest

    def _minimum(self, search: tuple[float, float]) -> tuple[float, float]:
        width = self.femoral_width_mm
        u = np.arange(search[0] * width, search[1] * width, 0.01)
        femur, tibia = self.femur_v(u), self.tibia_v(u)
        closed = u[tibia - femur <= 0]
        if len(closed):
            return 0.0, float(np.median(closed) / width)
        reach = 600  # 6 mm to either side: the foot of the shortest distance lies below its head
        best, where = np.inf, np.nan
        for shift in range(-reach, reach + 1, 2):
            low, high = max(0, -shift), min(len(u), len(u) - shift)
            gap = tibia[low + shift : high + shift] - femur[low:high]
            i = int(gap.argmin())
            distance = float(np.hypot(gap[i], shift * 0.01))
            if distance < best:
                best, where = distance, float(u[low + i] / width)
        return best, where

    def _jlca(self) -> float:
        floors = []
        for _, area, _ in _RANGES.values():
            x = np.linspace(*area, 4001)
            floor = np.trapezoid(self.tibia_v(x * self.femoral_width_mm), x) / (area[1] - area[0])
            floors.append(float(floor))
        run = (0.80 - 0.20) * self.femoral_width_mm
        return float(np.degrees(np.arctan2(floors[1] - floors[0], run)))

    def lines_mm(self) -> dict[str, dict[Compartment, FloatArray]]:
        """Margins, rims and edges as dense (N, 2) u, v polylines in mm."""
        lines: dict[str, dict[Compartment, FloatArray]] = {
            name: {} for name in ("femur", "tibia", "rim", "edge")
        }
        for compartment, (low, high) in _MARGIN_X.items():
            u = np.linspace(low, high, 400) * self.femoral_width_mm
            floor = self.tibia_v(u)
            lines["femur"][compartment] = np.column_stack([u, self.femur_v(u)])
            lines["tibia"][compartment] = np.column_stack([u, floor])
            lines["rim"][compartment] = np.column_stack([u, floor - self.rim_mm])
            edge = 0.0 if compartment is Compartment.MEDIAL else self.femoral_width_mm
            lines["edge"][compartment] = np.array([[edge, -self.condyle_height_mm]])
        return lines


def _quarter(t: FloatArray) -> FloatArray:
    """Rise 0..1 of a superellipse from its lowest point (t = 0) to its side (t = 1)."""
    return 1 - (1 - t**2.2) ** (1 / 2.2)


@dataclass(frozen=True)
class FilmSetup:
    """How a film is taken.

    Attributes
    ----------
    pixel_mm : Detector pixel size.
    magnification : Detector distance over knee distance from the focus; pixels are
        `pixel_mm / magnification` at the knee.
    size_mm : (height, width) of the film of one knee, at the knee.
    centre_mm : (u, v) of the knee frame that lies at the film's centre, u from mid width.
    rotation_deg : In-plane turn of the knee, positive lifts its lateral side.
    blur_mm : SD of the blur at the knee (focal spot and detector).
    scatter : Scattered share of the signal.
    photons : Quanta per pixel without a patient.
    texture : Contrast of the trabeculae, share of bone attenuation.
    seed : Seed of noise and texture.
    """

    pixel_mm: float = 0.15
    magnification: float = 1.0
    size_mm: tuple[float, float] = (130.0, 140.0)
    centre_mm: tuple[float, float] = (0.0, 2.0)
    rotation_deg: float = 0.0
    blur_mm: float = 0.15
    scatter: float = 0.15
    photons: float = 4e5
    texture: float = 0.06
    seed: int = 0

    @property
    def knee_pixel_mm(self) -> float:
        """Pixel size at the knee."""
        return self.pixel_mm / self.magnification

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the film of one knee."""
        rows, columns = (round(size / self.knee_pixel_mm) for size in self.size_mm)
        return rows, columns


@dataclass(frozen=True, eq=False)
class FilmPhantom:
    """A film and everything that is true about it.

    Attributes
    ----------
    radiograph : The film.
    margins : Exact margins in its pixels.
    truth : (region, quantity) to exact value in mm, mm², degrees or ratio.
    """

    radiograph: Radiograph
    margins: JointMargins
    truth: Truth


def knee_film(knee: FilmKnee, setup: FilmSetup | None = None) -> FilmPhantom:
    """Film of one knee with exact margins and joint space.

    Parameters
    ----------
    knee : Anatomy in mm.
    setup : How the film is taken.

    Returns
    -------
    FilmPhantom
        Right knees have their lateral side on the image's left, as PA films are hung. The film of
        the other knee with the same setup is its exact mirror image.

    Examples
    --------
    >>> film = knee_film(FilmKnee(medial_jsw_mm=3.0), FilmSetup(pixel_mm=0.4))
    >>> film.radiograph.image.shape, film.radiograph.spacing_mm
    ((325, 350), (0.4, 0.4))
    >>> film.truth["medial", "fJSW_0225"] > 2.5
    True
    """
    from kneeimg.phantoms.film_render import render

    setup = setup or FilmSetup()
    image = render(knee, setup)
    margins = exact_margins(knee, setup)
    return as_hung(image, margins, knee, setup)


def as_hung(
    image: FloatArray, margins: JointMargins, knee: FilmKnee, setup: FilmSetup
) -> FilmPhantom:
    """A film drawn as a left knee, medial to the left, as PA films of its own side hang.

    Parameters
    ----------
    image : (rows, columns) grey values.
    margins : Exact margins on it.
    knee : What was drawn, with its side and truth.
    setup : How the film was taken.
    """
    if knee.side is Side.RIGHT:
        image, margins = np.ascontiguousarray(image[:, ::-1]), margins.mirrored()
    spacing = setup.knee_pixel_mm
    source = SpacingSource.ERMF if setup.magnification != 1 else SpacingSource.DETECTOR_PLANE
    film = Radiograph(
        image.astype(np.float32),
        (spacing, spacing),
        source,
        knee.side,
        patient_left_on_image_right=True,
        view="PA",
    )
    return FilmPhantom(film, margins, knee.truth)


def to_pixels(points_mm: ArrayLike, knee: FilmKnee, setup: FilmSetup) -> FloatArray:
    """(N, 2) u, v in mm to (N, 2) column, row on the film of a left knee."""
    turn = np.deg2rad(setup.rotation_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    rows, columns = setup.shape
    offset = np.asarray(points_mm, dtype=np.float64) - _centre(knee, setup)
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    placed: FloatArray = offset @ matrix.T / setup.knee_pixel_mm + middle
    return placed


def from_pixels(pixels: ArrayLike, knee: FilmKnee, setup: FilmSetup) -> FloatArray:
    """Inverse of :func:`to_pixels`."""
    turn = np.deg2rad(setup.rotation_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    rows, columns = setup.shape
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    offset = (np.asarray(pixels, dtype=np.float64) - middle) * setup.knee_pixel_mm
    points: FloatArray = offset @ matrix + _centre(knee, setup)
    return points


def _centre(knee: FilmKnee, setup: FilmSetup) -> FloatArray:
    return np.array([knee.femoral_width_mm / 2 + setup.centre_mm[0], setup.centre_mm[1]])


def exact_margins(knee: FilmKnee, setup: FilmSetup) -> JointMargins:
    """Exact margins of the knee in pixels of its film, drawn as a left knee whatever its side."""
    lines = {
        name: {c: MarginLine.certain(to_pixels(line, knee, setup)) for c, line in pair.items()}
        for name, pair in knee.lines_mm().items()
    }
    touch = np.array([[x * knee.femoral_width_mm, 0.0] for x in (knee.medial_x, knee.lateral_x)])
    return JointMargins(
        side=Side.LEFT,
        shape=setup.shape,
        femur=lines["femur"],
        tibia=lines["tibia"],
        femoral_edges=lines["edge"],
        tangent=to_pixels(touch, knee, setup),
        rim=lines["rim"] if knee.beam_angle_deg else {},
        method="exact",
    )


def random_knee(rng: np.random.Generator, side: Side | None = None) -> FilmKnee:
    """A knee with anatomy drawn from plausible ranges; equal generator states, equal knees."""
    drawn = Side.LEFT if rng.random() < 0.5 else Side.RIGHT
    return FilmKnee(
        side=side or drawn,
        femoral_width_mm=rng.uniform(70, 92),
        medial_jsw_mm=rng.uniform(1.5, 6.0),
        lateral_jsw_mm=rng.uniform(3.0, 8.0),
        medial_x=rng.uniform(0.19, 0.23),
        lateral_x=rng.uniform(0.77, 0.81),
        jlca_deg=rng.uniform(-1.5, 2.5),
        medial_dish_mm=rng.uniform(0.4, 1.6),
        lateral_dish_mm=rng.uniform(-0.8, 0.6),
        condyle_height_mm=rng.uniform(19, 25),
        notch_height_mm=rng.uniform(14, 20),
        spine_height_mm=rng.uniform(7, 11),
        beam_angle_deg=rng.choice([0.0, rng.uniform(1.0, 5.0)]),
    )


def random_setup(rng: np.random.Generator, **fixed: float) -> FilmSetup:
    """A film taken with plausible, random technique; `fixed` attributes are kept."""
    setup = FilmSetup(
        pixel_mm=rng.uniform(0.10, 0.20),
        magnification=rng.uniform(1.0, 1.15),
        centre_mm=(rng.uniform(-6, 6), rng.uniform(-10, 10)),
        rotation_deg=rng.uniform(-6, 6),
        blur_mm=rng.uniform(0.10, 0.22),
        scatter=rng.uniform(0.05, 0.3),
        photons=rng.uniform(2e5, 6e5),
        seed=int(rng.integers(2**31)),
    )
    return replace(setup, **fixed)  # type: ignore[arg-type]
