"""Cartilage lost between two visits, to bare bone: its exact area is found, also at the rim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.spatial import cKDTree

from kneeimg.core.anatomy import SUBREGIONS_OF, Bone, Plate, Side
from kneeimg.core.surface import RigidTransform
from kneeimg.geometry.rigid import rotation
from kneeimg.longitudinal.change import CARRIED, WIDENED, KneeChange, compare_knees
from kneeimg.longitudinal.rows import ChangeRow
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.phantoms.cartilage import DenudedPatch
from kneeimg.phantoms.grids import demo_grid
from kneeimg.phantoms.knee import KneePhantom

POSE = RigidTransform(rotation([0.3, 1.0, -0.4], 8.0), np.array([3.0, -2.0, 4.0]))
#: Of both visits. Whole vertices of about 0.3 mm² count as bare or covered, so one pair of poses
#: says little about a bite of 10 mm².
PAIRS = (
    (None, POSE),
    (
        RigidTransform(rotation([-0.8, 0.2, 0.5], 6.0), np.array([-1.3, 2.2, 0.7])),
        RigidTransform(rotation([0.5, -0.3, 0.8], 10.0), np.array([2.4, 1.1, -3.6])),
    ),
    (
        RigidTransform(rotation([0.1, 0.9, 0.6], 4.0), np.array([0.6, -3.1, 1.9])),
        RigidTransform(rotation([-0.6, 0.7, -0.2], 11.0), np.array([-4.2, 0.3, 2.5])),
    ),
)
PLATES = ("MT", "LT", "MF", "LF", "TrF", "P")


@lru_cache(maxsize=4)
def visit(denuded: tuple[DenudedPatch, ...] = (), moved: bool = False) -> KneeMorphometry:
    return visit_in(POSE if moved else None, denuded)


def visit_in(pose: RigidTransform | None, denuded: tuple[DenudedPatch, ...]) -> KneeMorphometry:
    phantom = KneePhantom(Side.RIGHT, denuded=denuded, **({"pose": pose} if pose else {}))
    return measure_knee(phantom.label_map(demo_grid()), Side.RIGHT)


def compared(before: KneeMorphometry, after: KneeMorphometry) -> KneeChange:
    return compare_knees(
        before.surfaces, after.surfaces, 365.25, before.measurements, after.measurements
    )


def row_of(change: KneeChange, region: str, quantity: str) -> ChangeRow:
    row = next(r for r in change.rows if (r.region, r.quantity) == (region, quantity))
    assert row.tab_source == CARRIED
    return row


@lru_cache(maxsize=4)
def truth(denuded: tuple[DenudedPatch, ...] = ()) -> Mapping[tuple[str, str], float]:
    return KneePhantom(Side.RIGHT, denuded=denuded).truth()


#: Bites of 10 to 23 mm² at the rim of MT, MF and TrF, 10 mm² in the middle of the others.
SMALL = (
    DenudedPatch("MT", 1.0, 0.0, 2.7),
    DenudedPatch("LT", 0.0, 0.0, 1.8),
    DenudedPatch("cMF", 1.0, 0.0, 2.7),
    DenudedPatch("cLF", 0.0, 0.0, 1.8),
    DenudedPatch("TrF", 1.0, 0.0, 2.7),
    DenudedPatch("P", 0.0, 0.0, 1.8),
)
#: At the rim 110 mm² of MT, 160 of MF, more than a third of LT, LF and P; 100 mm² in the middle
#: of TrF (a bite of LF reaches into it).
LARGE = (
    DenudedPatch("MT", 1.0, 0.0, 8.5),
    DenudedPatch("LT", 1.0, 0.0, 20.0),
    DenudedPatch("cMF", 1.0, 0.0, 8.5),
    DenudedPatch("cLF", 1.0, 0.0, 15.0),
    DenudedPatch("TrF", 0.0, 0.0, 5.7),
    DenudedPatch("P", 1.0, 0.0, 15.0),
)


@pytest.mark.slow
@pytest.mark.parametrize("patches, pairs, tolerance_mm2", [(SMALL, 3, 1.2), (LARGE, 1, 6.0)])
def test_lost_area_is_found_and_bone_area_kept(
    patches: tuple[DenudedPatch, ...], pairs: int, tolerance_mm2: float
) -> None:
    """The follow-up lies in another pose on the same voxels; the area removed is exact.

    The tolerance holds for the mean over pairs of poses.
    """
    after, before = truth(patches), truth()
    lost: dict[str, list[float]] = {plate: [] for plate in PLATES}
    for first, second in PAIRS[:pairs]:
        found = compared(visit_in(first, ()), visit_in(second, patches))
        for plate in PLATES:
            lost[plate].append(row_of(found, plate, "dAB").change)
            area = row_of(found, plate, "tAB")
            assert area.baseline == area.followup
            assert area.baseline == pytest.approx(before[plate, "tAB"], rel=0.015), plate
            change = row_of(found, plate, "ThCtAB_aMe").change
            true = after[plate, "ThCtAB_aMe"] - before[plate, "ThCtAB_aMe"]
            assert change == pytest.approx(true, abs=0.020), plate
    for plate in PLATES:
        assert before[plate, "dAB"] == 0.0
        assert after[plate, "dAB"] > 9.0, plate
        assert np.mean(lost[plate]) == pytest.approx(after[plate, "dAB"], abs=tolerance_mm2), (
            plate,
            lost[plate],
        )


@pytest.mark.slow
def test_forth_and_back_are_opposite() -> None:
    """Loss at the rim forth, the same bone covered again back: neither sign is favoured."""
    forth = compared(visit(), visit(LARGE, moved=True))
    back = compared(visit(LARGE, moved=True), visit())
    for plate in PLATES:
        for quantity, tolerance in (("dAB", 0.04), ("ThCtAB_aMe", 0.03)):
            there, again = (
                next(r for r in c.rows if (r.region, r.quantity) == (plate, quantity)).change
                for c in (forth, back)
            )
            assert again == pytest.approx(-there, rel=tolerance), (plate, quantity)
    sources = {row.region: row.tab_source for row in back.rows if row.quantity == "tAB"}
    assert {sources[plate] for plate in PLATES} == {CARRIED + WIDENED}
    area = {row.region: row.baseline for row in back.rows if row.quantity == "tAB"}
    for plate, parts in SUBREGIONS_OF.items():  # bone that was added has its shares too
        assert sum(area[part.name] for part in parts) == pytest.approx(area[plate.name], rel=1e-9)


def test_covered_bone_elsewhere_is_not_added() -> None:
    """An island of cartilage on the shaft at one visit belongs to no plate of the comparison."""
    knee = visit()
    femur = knee.surfaces[Bone.FEMUR]
    top = femur.vertices[femur.vertices[:, 2].argmax()]
    island = np.linalg.norm(femur.vertices - (top - [0.0, 0.0, 15.0]), axis=1) < 12.0
    island &= femur.fields["plate"] == int(Plate.NONE)
    assert femur.fields["area_mm2"][island].sum() > 25.0
    fields = {
        "ray_mm": np.where(island, 1.5, femur.fields["ray_mm"]),
        "plate": np.where(island, int(Plate.TrF), femur.fields["plate"]).astype(np.uint8),
    }
    after = replace(knee, surfaces={**knee.surfaces, Bone.FEMUR: femur.with_fields(**fields)})
    found = compared(knee, after)
    assert row_of(found, "TrF", "tAB").baseline == pytest.approx(
        next(r.value for r in knee.measurements if r.name == "TrF_tAB"), rel=1e-6
    )


def bitten(knee: KneeMorphometry, drawn_mm: float, bite_mm: float) -> tuple[KneeMorphometry, float]:
    """The knee whose medial tibial plate is drawn smaller all around and lost a bite at its rim;
    and the area of the bite, mm²."""
    tibia = knee.surfaces[Bone.TIBIA]
    inside = tibia.fields["plate"] != int(Plate.NONE)
    medial = tibia.fields["plate"] == int(Plate.MT)
    gap_mm, _ = cKDTree(tibia.vertices[~inside]).query(tibia.vertices)
    outermost = tibia.vertices[medial][tibia.vertices[medial][:, 0].argmax()]
    bite = medial & (np.linalg.norm(tibia.vertices - outermost, axis=1) < bite_mm)
    gone = bite | (medial & (gap_mm < drawn_mm))
    fields = {
        "ray_mm": np.where(gone, 0.0, tibia.fields["ray_mm"]),
        "plate": np.where(gone, int(Plate.NONE), tibia.fields["plate"]).astype(np.uint8),
    }
    surfaces = {**knee.surfaces, Bone.TIBIA: tibia.with_fields(**fields)}
    return replace(knee, surfaces=surfaces), float(tibia.fields["area_mm2"][bite].sum())


@pytest.mark.parametrize("bite_mm", [4.0, 9.0, 14.0])
def test_a_bite_is_told_from_a_border_drawn_otherwise(bite_mm: float) -> None:
    after, area_mm2 = bitten(visit(), 0.8, bite_mm)
    lost = row_of(compared(visit(), after), "MT", "dAB").change
    assert lost == pytest.approx(area_mm2, rel=0.08)


def test_a_border_drawn_otherwise_alone_is_no_loss() -> None:
    after, area_mm2 = bitten(visit(), 1.5, 0.0)
    assert area_mm2 == 0.0
    found = compared(visit(), after)
    assert row_of(found, "MT", "dAB").change == pytest.approx(0.0, abs=1e-6)
    assert row_of(found, "MT", "ThCtAB_aMe").change == pytest.approx(0.0, abs=0.002)
