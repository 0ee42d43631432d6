"""The parametric knee: bones, cartilage of exact thickness, any side, pose and voxel grid.

Canonical coordinates are those of a right knee in patient LPS+: +x medial, -y anterior, +z
proximal. A left knee is its mirror image x -> -x; `pose` then places it in the scanner's frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.core.anatomy import (
    AGGREGATE_SUMS,
    PLATE_UNIONS,
    Bone,
    Plate,
    Side,
    Subregion,
    Tissue,
)
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import RigidTransform
from kneeimg.errors import GeometryError
from kneeimg.phantoms.bones import CartilageBone
from kneeimg.phantoms.boundary_error import BoundaryError, RoughSheet
from kneeimg.phantoms.canvas import Canvas
from kneeimg.phantoms.cartilage import DenudedPatch, PlateThickness, Sheet
from kneeimg.phantoms.femur import Femur, FemurShape
from kneeimg.phantoms.fibula import Fibula, FibulaShape
from kneeimg.phantoms.meniscus import Meniscus, MeniscusShape
from kneeimg.phantoms.partial_volume import Raster, bone_and_cartilage
from kneeimg.phantoms.patella import Patella, PatellaShape
from kneeimg.phantoms.placement import denuded_centre, place_patella, place_tibia
from kneeimg.phantoms.subregions import subregion_borders
from kneeimg.phantoms.tibia import Tibia, TibiaShape
from kneeimg.phantoms.truth import STEP_MM, Borders, Totals, cells_of, sum_over

FloatArray = NDArray[np.float64]

_PLATES_OF: Mapping[Bone, tuple[Plate, ...]] = {
    Bone.FEMUR: (Plate.cMF, Plate.cLF, Plate.pMF, Plate.pLF, Plate.TrF),
    Bone.TIBIA: (Plate.MT, Plate.LT),
    Bone.PATELLA: (Plate.P,),
}


def no_motion() -> RigidTransform:
    """The pose that leaves canonical coordinates as they are."""
    return RigidTransform(np.eye(3), np.zeros(3))


@dataclass(frozen=True)
class KneePhantom:
    """A knee whose every measurement is known.

    Attributes
    ----------
    side : Which knee.
    thickness : Nominal cartilage thickness per plate, mm.
    thickness_variation : Relative variation within a plate; 0 gives constant thickness per plate.
    thickness_change_mm : Change per plate in mm, e.g. ``{"cMF": -0.10}`` for a follow-up visit.
        Added to the nominal value, so it scales with the variation and passes into neighbouring
        femoral plates over ± 2 mm; `truth` tells the exact change of every quantity.
    denuded : Patches of bare bone.
    rim_ramp_mm : Width over which cartilage thins to 0 at its border; 0 ends it in a cliff.
    contact_gap_mm : Smallest distance between the articular surfaces of femur and tibia (and
        patella). Bones move closer when cartilage thins.
    femur, tibia, patella, fibula : Sizes of the bones.
    menisci : Whether the knee has menisci; their exact answers are in `meniscus_truth`.
    meniscus : Form of both menisci.
    pose : From canonical (for a left knee: mirrored) coordinates to the scanner's frame.

    Examples
    --------
    >>> knee = KneePhantom(Side.RIGHT, PlateThickness.constant(2.0), thickness_variation=0.0)
    >>> round(knee.truth()["MT", "ThCtAB_aMe"], 6)
    2.0
    """

    side: Side
    thickness: PlateThickness = field(default_factory=PlateThickness)
    thickness_variation: float = 0.2
    thickness_change_mm: Mapping[str, float] = field(default_factory=dict)
    denuded: tuple[DenudedPatch, ...] = ()
    rim_ramp_mm: float = 0.0
    contact_gap_mm: float = 0.15
    femur: FemurShape = field(default_factory=FemurShape)
    tibia: TibiaShape = field(default_factory=TibiaShape)
    patella: PatellaShape = field(default_factory=PatellaShape)
    fibula: FibulaShape = field(default_factory=FibulaShape)
    menisci: bool = False
    meniscus: MeniscusShape = field(default_factory=MeniscusShape)
    pose: RigidTransform = field(default_factory=no_motion)

    # ---- bones and sheets in canonical coordinates

    @cached_property
    def _nominal(self) -> PlateThickness:
        return self.thickness.changed(self.thickness_change_mm)

    def _sheet_on(self, bone: CartilageBone, plates: tuple[Plate, ...]) -> Sheet:
        bare = tuple(
            (denuded_centre(bone, patch), patch.radius_mm)
            for patch in self.denuded
            if Plate[patch.plate] in plates
        )
        return Sheet(bone, self._nominal, self.thickness_variation, bare, self.rim_ramp_mm)

    @cached_property
    def sheets(self) -> Mapping[Bone, Sheet]:
        """Cartilage of every bone, in canonical coordinates, in joint contact."""
        femur = self._sheet_on(Femur(self.femur), _PLATES_OF[Bone.FEMUR])
        tibia = place_tibia(
            femur,
            lambda z: self._sheet_on(Tibia(self.tibia, z), _PLATES_OF[Bone.TIBIA]),
            self.contact_gap_mm,
        )
        patella = place_patella(
            femur,
            self.patella,
            lambda y, z: self._sheet_on(Patella(self.patella, y, z), _PLATES_OF[Bone.PATELLA]),
            self.contact_gap_mm,
        )
        return {Bone.FEMUR: femur, Bone.TIBIA: tibia, Bone.PATELLA: patella}

    @cached_property
    def _fibula(self) -> Fibula:
        tibia = self.sheets[Bone.TIBIA].bone
        assert isinstance(tibia, Tibia)
        return Fibula(self.fibula, tibia.height_mm)

    @cached_property
    def _menisci(self) -> Mapping[Tissue, Meniscus]:
        if not self.menisci:
            return {}
        tibia = self.sheets[Bone.TIBIA]
        return {
            Tissue.MEDIAL_MENISCUS: Meniscus(self.meniscus, tibia, True),
            Tissue.LATERAL_MENISCUS: Meniscus(self.meniscus, tibia, False),
        }

    @property
    def femur_bone(self) -> Femur:
        """The femur in canonical coordinates: notch line, posterior ends, sectors."""
        bone = self.sheets[Bone.FEMUR].bone
        assert isinstance(bone, Femur)
        return bone

    # ---- frames

    @cached_property
    def to_scanner(self) -> FloatArray:
        """(4, 4) canonical to scanner mm; a reflection for a left knee."""
        mirror = np.diag([1.0 if self.side is Side.RIGHT else -1.0, 1.0, 1.0, 1.0])
        return self.pose.matrix @ mirror

    def canonical(self, points_mm: ArrayLike) -> FloatArray:
        """(N, 3) scanner mm to canonical mm."""
        back = np.linalg.inv(self.to_scanner)
        points = np.asarray(points_mm, dtype=np.float64)
        result: FloatArray = points @ back[:3, :3].T + back[:3, 3]
        return result

    def scanner(self, points_mm: ArrayLike) -> FloatArray:
        """(N, 3) canonical mm to scanner mm."""
        points = np.asarray(points_mm, dtype=np.float64)
        result: FloatArray = points @ self.to_scanner[:3, :3].T + self.to_scanner[:3, 3]
        return result

    # ---- pointwise truth

    def signed_distance(self, bone: Bone | Tissue, points_mm: ArrayLike) -> FloatArray:
        """(N,) mm from a bone's surface, negative inside; exact where cartilage lies.

        Elsewhere the value is exact to first order at the surface and has the right sign.

        Parameters
        ----------
        bone : A bone, or `Tissue.FIBULA`.
        points_mm : (N, 3) scanner mm.
        """
        points = self.canonical(points_mm)
        if bone is Tissue.FIBULA:
            return self._fibula.bone_level(points)
        return self._sheet(bone).bone.distance(points)

    def _sheet(self, bone: Bone | Tissue) -> Sheet:
        for known, sheet in self.sheets.items():
            if bone in (known, known.tissue):
                return sheet
        raise GeometryError(f"the phantom has no bone {bone!r}", expected="femur, tibia, patella")

    def thickness_at(self, bone: Bone, points_mm: ArrayLike) -> FloatArray:
        """(N,) exact thickness at the bone point nearest to each point; 0 denuded, NaN off tAB."""
        sheet = self._sheet(bone)
        foot = sheet.bone.foot(self.canonical(points_mm)).points
        t_mm = np.where(sheet.bare_level(foot) > 0.0, 0.0, sheet.thickness(foot))
        result: FloatArray = np.where(sheet.bone.edge(foot) < 0.0, t_mm, np.nan)
        return result

    def plate_at(
        self, bone: Bone, points_mm: ArrayLike, femur_fraction: float = 0.75
    ) -> NDArray[np.uint8]:
        """(N,) `Plate` codes at the bone points nearest to each point; NONE off tAB."""
        solid = self._sheet(bone).bone
        foot = solid.foot(self.canonical(points_mm)).points
        if isinstance(solid, Femur):
            codes = solid.plates(foot, femur_fraction)
        else:
            assert isinstance(solid, Tibia | Patella)
            codes = solid.plates(foot)
        result: NDArray[np.uint8] = np.where(solid.edge(foot) < 0.0, codes, 0).astype(np.uint8)
        return result

    # ---- voxels

    def label_map(
        self,
        grid: Grid,
        *,
        hard: bool = False,
        error: BoundaryError | None = None,
        rng: np.random.Generator | None = None,
    ) -> LabelMap:
        """The knee on a voxel grid.

        Parameters
        ----------
        grid : Where the voxels lie, scanner LPS+ mm.
        hard : Whole voxels by what lies at their centres, instead of exact voxel fractions.
        error : How far the boundaries of bones and cartilage are drawn from where they are; None
            draws them exactly. `truth` is of the knee, not of the drawing.
        rng : Source of that error; needed with it.

        Returns
        -------
        Soft map (float32 fractions, sum at most 1) with every bone, its cartilage and the fibula;
        a hard one if asked.
        """
        self._require_frame(grid)
        raster = Raster(np.linalg.inv(self.to_scanner) @ grid.affine, grid.shape)
        canvas = Canvas(grid)
        for bone, sheet in self.sheets.items():
            drawn = _as_drawn(sheet, error, rng)
            canvas.draw(bone_and_cartilage(raster, drawn, hard=hard), bone.tissue, bone.cartilage)
        for tissue, meniscus in self._menisci.items():
            canvas.draw(bone_and_cartilage(raster, meniscus, hard=hard), tissue)
        canvas.draw(bone_and_cartilage(raster, self._fibula, hard=hard), Tissue.FIBULA)
        return canvas.label_map(hard=hard, side=self.side)

    def _require_frame(self, grid: Grid) -> None:
        if self.pose.to_uid is not None and self.pose.to_uid != grid.frame_uid:
            raise GeometryError(
                "the grid lies in another frame than the knee",
                expected=self.pose.to_uid,
                found=str(grid.frame_uid),
            )

    # ---- integrals

    def truth(self, femur_fraction: float = 0.75) -> dict[tuple[str, str], float]:
        """Exact (region, quantity) values; they do not depend on side and pose.

        Quantities are VC (mm³), tAB, cAB, dAB, AC (mm²), dABp (%), VCtAB, ThCtAB_aMe and
        ThCcAB_aMe (mm); regions are the reported plates, their subregions and the sums MFTC, LFTC,
        FTJ, cMFTC, cLFTC (thickness only). `aMe` is the mean of bone -> articular (area-weighted on
        the bone) and articular -> bone (area-weighted on the articular surface); ThCtAB is ThCcAB
        times cAB / tAB, so that denuded bone counts 0.

        Parameters
        ----------
        femur_fraction : Border between central and posterior condyle, as a fraction of the way
            from the notch line to the posterior end.
        """
        totals, parts_totals = self._totals(femur_fraction)
        result: dict[tuple[str, str], float] = {}
        for region, plates in PLATE_UNIONS.items():
            union = sum((totals[plate] for plate in plates), start=Totals())
            result.update({(region, name): v for name, v in union.quantities().items()})
        for part, values in parts_totals.items():
            result.update({(part.name, name): v for name, v in values.quantities().items()})
        for region, parts in AGGREGATE_SUMS.items():
            for name in ("ThCtAB_aMe", "ThCcAB_aMe"):
                result[region, name] = sum(result[part, name] for part in parts)
        return result

    def meniscus_truth(
        self, body_share: float = 1.0 / 3.0, least_mm: float = 0.2
    ) -> dict[tuple[str, str], float]:
        """Exact (region, quantity) values of the menisci; empty without menisci.

        Volume (mm³), coverage (% of the plateau under at least `least_mm` of meniscus along its
        normal), and mean and greatest extrusion (mm) over the middle `body_share` of the
        plateau; regions MM and LM.
        """
        result: dict[tuple[str, str], float] = {}
        for tissue, meniscus in self._menisci.items():
            region = "MM" if tissue is Tissue.MEDIAL_MENISCUS else "LM"
            mean, greatest = meniscus.extrusion_mm(body_share)
            result[region, "volume"] = meniscus.volume_mm3()
            result[region, "extrusion_mean"] = mean
            result[region, "extrusion_max"] = greatest
            share = meniscus.covered_mm2(least_mm) / meniscus.plateau_mm2()
            result[region, "coverage"] = 100.0 * share
        return result

    def _totals(self, femur_fraction: float) -> tuple[dict[Plate, Totals], dict[Subregion, Totals]]:
        """Integrals over every plate and over every subregion."""
        plates: dict[Plate, Totals] = {}
        parts: dict[Subregion, Totals] = {}
        for bone, sheet in self.sheets.items():
            own = {p: _borders(sheet.bone, p, femur_fraction) for p in _PLATES_OF[bone]}
            cells = cells_of(sheet, sheet.bone.patches(STEP_MM))
            cut: dict[Subregion, Borders] = {}
            for plate, borders in own.items():
                cut |= subregion_borders(cells, plate, borders)
            values = sum_over(cells, (*own.values(), *cut.values()))
            plates |= dict(zip(own, values, strict=False))
            parts |= dict(zip(cut, values[len(own) :], strict=True))
        return plates, parts


def _as_drawn(
    sheet: Sheet, error: BoundaryError | None, rng: np.random.Generator | None
) -> Sheet | RoughSheet:
    """The sheet itself, or with the errors of a segmenter."""
    if error is None:
        return sheet
    if rng is None:
        raise ValueError("a boundary error needs a source of randomness (rng)")
    return RoughSheet(sheet, error, rng)


def _borders(bone: CartilageBone, plate: Plate, femur_fraction: float) -> Borders:
    """Levels that are negative on one plate of a bone."""
    if isinstance(bone, Femur):
        return lambda points: _femoral_borders(bone, plate, femur_fraction, points)
    sign = {Plate.MT: -1.0, Plate.LT: 1.0}.get(plate)
    if sign is None:
        return lambda points: ()
    return lambda points: (sign * points[:, 0],)


def _femoral_borders(
    bone: Femur, plate: Plate, femur_fraction: float, points: FloatArray
) -> tuple[FloatArray, ...]:
    behind_notch = points[:, 1] - bone.notch_front_y_mm
    if plate is Plate.TrF:
        return (behind_notch,)
    medial = plate in (Plate.cMF, Plate.pMF)
    name = "medial" if medial else "lateral"
    behind_split = points[:, 1] - bone.split_y_mm(name, femur_fraction)
    sign = 1.0 if plate in (Plate.cMF, Plate.cLF) else -1.0
    return (-behind_notch, points[:, 0] * (-1.0 if medial else 1.0), sign * behind_split)
