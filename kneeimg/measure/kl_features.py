"""Features of a knee film that a Kellgren-Lawrence grade is read from, as rows of the film.

Joint-space narrowing, osteophytes at four margins, sclerosis, the shape of the bone ends and the
texture of trabecular bone; see the modules of each. Everything is also given as a share of the
femoral width, so films without millimetres are measured too.

References
----------
.. [1] Kellgren & Lawrence 1957, doi:10.1136/ard.16.4.494.
.. [2] Altman & Gold 2007, OARSI atlas, doi:10.1016/j.joca.2006.11.009.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.core.kl_support import GRADES, KlAppearance, KlSupport
from kneeimg.core.margins import Compartment, JointMargins
from kneeimg.core.measurement import Measurement
from kneeimg.errors import ReasonCode
from kneeimg.measure.appearance import look_scores, look_vector
from kneeimg.measure.bone_outline import trace_sides
from kneeimg.measure.film_level import LevelCompartment, level_joint
from kneeimg.measure.joint_space import KNEE, JointFrame, Spacing, joint_frame
from kneeimg.measure.osteophytes import Osteophyte, osteophyte
from kneeimg.measure.subchondral import sagitta, sclerosis
from kneeimg.measure.trabeculae import Direction, shows_trabeculae, trabecular_texture
from kneeimg.settings.kl_support import KlSupportSettings

METHOD = "level film"
BONES = (Bone.FEMUR, Bone.TIBIA)
MODEL_METHOD = "proportional odds"
GRADE_ROWS = tuple((KNEE, f"KL_P{grade}", "ratio") for grade in GRADES)
GRADE = (KNEE, "KL_grade", "grade")
_NARROWEST = (0.10, 0.30)  # s: the middle of a compartment, where both margins are surely seen
_LENGTHS = ("osteophyte_femur", "osteophyte_tibia", "floor_depth", "condyle_bulge")
_AREAS = ("osteophyte_femur_area", "osteophyte_tibia_area")


def planned_kl() -> tuple[tuple[str, str, str], ...]:
    """(region, quantity, unit) of every row of KL support, measured or not.

    >>> planned_kl()[0], planned_kl()[-1]
    (('medial', 'JSN', 'ratio'), ('knee', 'KL_grade', 'grade'))
    """
    rows: list[tuple[str, str, str]] = []
    for compartment in Compartment:
        region = compartment.value
        rows.append((region, "JSN", "ratio"))
        for name in _LENGTHS:
            rows += [(region, name, "mm"), (region, f"n{name}", "ratio")]
        rows += [(region, name, "mm^2") for name in _AREAS]
        rows += [(region, f"sclerosis_{bone.value}", "ratio") for bone in BONES]
        rows += [(region, f"FD_{direction.value}", "ratio") for direction in Direction]
    return (*rows, (KNEE, "JSW_share", "ratio"), *GRADE_ROWS, GRADE)


@dataclass(frozen=True, slots=True)
class CompartmentFeatures:
    """Features of one compartment; lengths in femoral widths, NaN: not measured.

    Attributes
    ----------
    narrowest, mean_space : Least and mean joint space over s 0.10-0.30.
    osteophytes : Of femur and tibia.
    sclerosis : Of femur and tibia, spreads of the film.
    bulge, floor_depth : Sagitta of the condyle and of the plateau.
    texture : Fractal dimension, both directions.
    """

    narrowest: float
    mean_space: float
    osteophytes: Mapping[Bone, Osteophyte]
    sclerosis: Mapping[Bone, float]
    bulge: float
    floor_depth: float
    texture: Mapping[Direction, float]


def compartment_features(
    level: LevelCompartment, texture: Mapping[Direction, float]
) -> CompartmentFeatures:
    """Features of one compartment of a level film; `texture` is measured on the film itself."""
    narrowest, mean = _space(level)
    sides = trace_sides(level)
    return CompartmentFeatures(
        narrowest,
        mean,
        {bone: osteophyte(sides[bone], bone) for bone in BONES},
        {bone: sclerosis(level, bone) for bone in BONES},
        sagitta(level, Bone.FEMUR),
        sagitta(level, Bone.TIBIA),
        texture,
    )


def _space(level: LevelCompartment) -> tuple[float, float]:
    """Least and mean gap of the smoothed margins, down the frame; NaN where one is absent.

    The ends of the margins, where spikes are likeliest, do not count; `mJSW` searches wider.
    """
    columns = (level.s >= _NARROWEST[0] - 1e-9) & (level.s <= _NARROWEST[1] + 1e-9)
    gap = np.maximum(level.tibia[columns] - level.femur[columns], 0.0)
    if not np.isfinite(gap).all():
        return math.nan, math.nan
    return float(gap.min()), float(gap.mean())


@dataclass(frozen=True, slots=True, eq=False)
class FilmFeatures:
    """Features of one knee on a film.

    Attributes
    ----------
    compartments : Of both compartments.
    look : How the bones look, of `measure.appearance.look_vector`.
    """

    compartments: Mapping[Compartment, CompartmentFeatures]
    look: NDArray[np.float64]

    def __getitem__(self, compartment: Compartment) -> CompartmentFeatures:
        return self.compartments[compartment]


def measure_features(
    image: NDArray[np.floating],
    margins: JointMargins,
    spacing_mm: Spacing | None,
) -> FilmFeatures:
    """Features of one knee on a film.

    Parameters
    ----------
    image : (rows, columns) film on which the margins lie.
    margins : Margins in pixels of the film.
    spacing_mm : (row, column) pixel size; None for ratios only.

    Raises
    ------
    MeasurementError
        FRAME_UNDEFINED.
    """
    usable = spacing_mm if spacing_mm and min(spacing_mm) > 0 else None
    frame = joint_frame(margins, usable)
    fine = shows_trabeculae(frame, usable)
    levels = level_joint(image, margins, frame)
    compartments = {
        compartment: compartment_features(level, _texture(image, margins, frame, compartment, fine))
        for compartment, level in levels.items()
    }
    return FilmFeatures(compartments, look_vector(levels))


def _texture(
    image: NDArray[np.floating],
    margins: JointMargins,
    frame: JointFrame,
    compartment: Compartment,
    fine: bool,
) -> Mapping[Direction, float]:
    if not fine:
        return dict.fromkeys(Direction, math.nan)
    return trabecular_texture(image, margins, frame, compartment)


def kl_vector(
    film: FilmFeatures,
    settings: KlSupportSettings | None = None,
    appearance: KlAppearance | None = None,
) -> dict[str, float]:
    """Values that the ordinal model knows, by name; NaN: not measured.

    Besides the rows themselves: `knee_JSN_worst` the greater narrowing of both compartments,
    `knee_nosteophyte_sum` and `knee_nosteophyte_largest` over the margins that were measured,
    `knee_sclerosis_most`; with an `appearance` the scores of `look_names`. The texture is no part
    of the model: no training film shows trabeculae.
    """
    settings = settings or KlSupportSettings()
    features = film.compartments
    vector: dict[str, float] = {}
    for compartment, one in features.items():
        region = compartment.value
        vector[f"{region}_JSN"] = narrowing(one.narrowest, compartment, settings)
        vector[f"{region}_space"] = one.mean_space
        vector[f"{region}_nfloor_depth"] = one.floor_depth
        vector[f"{region}_ncondyle_bulge"] = one.bulge
        for bone in BONES:
            vector[f"{region}_nosteophyte_{bone.value}"] = one.osteophytes[bone].length
            vector[f"{region}_sclerosis_{bone.value}"] = one.sclerosis[bone]
    lips = [one.osteophytes[bone].length for one in features.values() for bone in BONES]
    bands = [one.sclerosis[bone] for one in features.values() for bone in BONES]
    vector["knee_JSN_worst"] = max(
        _finite([vector[f"{c.value}_JSN"] for c in features], len(features))
    )
    vector["knee_nosteophyte_largest"] = max(_finite(lips, 3))
    vector["knee_nosteophyte_sum"] = sum(_finite(lips, len(lips)))
    vector["knee_sclerosis_most"] = max(_finite(bands, 3))
    vector["knee_JSW_share"] = space_share(features)
    return vector if appearance is None else vector | look_scores(film.look, appearance)


def narrowing(narrowest: float, compartment: Compartment, settings: KlSupportSettings) -> float:
    """Share of the normal joint space that is lost: 0 none, 1 closed, negative wider than normal.

    The atlas draws JSN grade 1 at about two thirds and grade 2 at about one third of normal.

    >>> round(narrowing(0.015, Compartment.MEDIAL, KlSupportSettings(medial_normal=0.045)), 3)
    0.667
    """
    medial = compartment is Compartment.MEDIAL
    return 1.0 - narrowest / (settings.medial_normal if medial else settings.lateral_normal)


def space_share(features: Mapping[Compartment, CompartmentFeatures]) -> float:
    """Medial share of both mean joint spaces, 0 to 1; NaN where one is absent or both closed."""
    medial = features[Compartment.MEDIAL].mean_space
    total = medial + features[Compartment.LATERAL].mean_space
    return medial / total if math.isfinite(total) and total > 0 else math.nan


def _finite(values: Sequence[float], least: int) -> list[float]:
    """The finite values, or a single NaN when there are fewer than `least`."""
    finite = [value for value in values if math.isfinite(value)]
    return finite if len(finite) >= least else [math.nan]


def kl_rows(
    film: FilmFeatures,
    margins: JointMargins,
    spacing_mm: Spacing | None,
    support: KlSupport | None,
    settings: KlSupportSettings | None = None,
) -> tuple[Measurement, ...]:
    """Every row of :func:`planned_kl`, in that order.

    Parameters
    ----------
    film : Features of the knee.
    margins : Of the film, for its flags and its width.
    spacing_mm : (row, column) pixel size; None: the rows in mm say NO_PIXEL_SPACING.
    support : What the model says; None: the rows of the grades are not measurable.

    Notes
    -----
    A feature that was not seen says BONE_CUT_BY_VIEW, the texture of a coarse film COARSE_PIXELS,
    a grade that is withheld KL_UNCERTAIN.
    """
    settings = settings or KlSupportSettings()
    usable = spacing_mm if spacing_mm and min(spacing_mm) > 0 else None
    frame = joint_frame(margins, usable)
    flags = tuple(code for code in margins.flags if code is not ReasonCode.BONE_ON_BONE)
    no_mm = None
    if usable is None:
        no_mm = ReasonCode.ZERO_PIXEL_SPACING if spacing_mm else ReasonCode.NO_PIXEL_SPACING
    writer = _Rows(frame.width, no_mm, shows_trabeculae(frame, usable), flags)
    rows: list[Measurement] = []
    for compartment, one in film.compartments.items():
        lost = narrowing(one.narrowest, compartment, settings)
        rows += writer.compartment(compartment.value, lost, one)
    rows.append(writer.row(KNEE, "JSW_share", "ratio", space_share(film.compartments)))
    return (*rows, *_grade_rows(support, flags))


@dataclass(frozen=True, slots=True)
class _Rows:
    """How values become rows on one film."""

    width: float
    no_mm: ReasonCode | None
    fine: bool
    flags: tuple[ReasonCode, ...]

    def compartment(
        self, region: str, lost: float, one: CompartmentFeatures
    ) -> Iterator[Measurement]:
        """Rows of one compartment in the planned order."""
        yield self.row(region, "JSN", "ratio", lost)
        lengths = [one.osteophytes[bone].length for bone in BONES] + [one.floor_depth, one.bulge]
        for name, value in zip(_LENGTHS, lengths, strict=True):
            yield self.row(region, name, "mm", value * self.width)
            yield self.row(region, f"n{name}", "ratio", value)
        for name, bone in zip(_AREAS, BONES, strict=True):
            yield self.row(region, name, "mm^2", one.osteophytes[bone].area * self.width**2)
        for bone in BONES:
            yield self.row(region, f"sclerosis_{bone.value}", "ratio", one.sclerosis[bone])
        coarse = ReasonCode.BONE_CUT_BY_VIEW if self.fine else ReasonCode.COARSE_PIXELS
        for direction, value in one.texture.items():
            yield self.row(region, f"FD_{direction.value}", "ratio", value, coarse)

    def row(
        self,
        region: str,
        quantity: str,
        unit: str,
        value: float,
        absent: ReasonCode = ReasonCode.BONE_CUT_BY_VIEW,
    ) -> Measurement:
        """A value, or why there is none: it was not seen, or the film has no millimetres."""
        reason = absent if not math.isfinite(value) else None
        if self.no_mm is not None and unit in ("mm", "mm^2"):
            reason = self.no_mm
        if reason is not None:
            return Measurement.missing(region, quantity, unit, reason, method=METHOD)
        return Measurement(region, quantity, value, unit, method=METHOD, flags=self.flags)


def _grade_rows(support: KlSupport | None, flags: tuple[ReasonCode, ...]) -> Iterator[Measurement]:
    """Probabilities and the suggested grade; what made the answer doubtful stands in the flags."""
    if support is None:
        for row in (*GRADE_ROWS, GRADE):
            yield Measurement.missing(*row, ReasonCode.KL_UNCERTAIN, method=MODEL_METHOD)
        return
    codes = tuple(dict.fromkeys((*flags, *(finding.code for finding in support.findings))))
    for (region, name, unit), value in zip(GRADE_ROWS, support.probabilities, strict=True):
        yield Measurement(region, name, value, unit, method=MODEL_METHOD, flags=codes)
    if support.grade is None:
        yield Measurement.missing(*GRADE, ReasonCode.KL_UNCERTAIN, method=MODEL_METHOD)
    else:
        grade = float(support.grade)
        yield Measurement(*GRADE[:2], grade, GRADE[2], method=MODEL_METHOD, flags=codes)
