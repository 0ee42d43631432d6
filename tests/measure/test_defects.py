"""Full-thickness defects: found, counted once, areas that add up."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Plate, Side, VertexState
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.measure.defects import find_defects, measure_defects, planned_defects
from kneeimg.measure.morphometry import measure_knee
from kneeimg.phantoms.cartilage import DenudedPatch
from kneeimg.phantoms.grids import demo_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings

SETTINGS = MorphometrySettings()


def strip(states: list[int], plates: list[int]) -> Surface:
    """A ribbon of squares 1 × 2 mm: column n has 2 mm² at its two vertices."""
    count = len(states)
    x = np.repeat(np.arange(count, dtype=float), 2)
    vertices = np.stack([x, np.tile([0.0, 2.0], count), np.zeros(2 * count)], axis=1)
    faces = [
        f for n in range(0, 2 * count - 2, 2) for f in ([n, n + 2, n + 1], [n + 1, n + 2, n + 3])
    ]
    return Surface(vertices, np.array(faces)).with_fields(
        state=np.repeat(states, 2).astype(np.uint8),
        plate=np.repeat(plates, 2).astype(np.uint8),
        area_mm2=np.ones(2 * count),
    )


BARE, COVERED = int(VertexState.DENUDED), int(VertexState.MEASURED)


def test_parts_below_the_limit_are_no_defects() -> None:
    ribbon = strip([BARE, COVERED, BARE, BARE, BARE, COVERED], [1] * 6)
    number, plates = find_defects(ribbon, 5.0)
    assert number.tolist() == [-1] * 4 + [0] * 6 + [-1] * 2
    assert plates == (Plate.MT,)
    assert len(find_defects(ribbon, 0.0)[1]) == 2
    assert find_defects(ribbon, 100.0)[1] == ()


def test_bare_bone_outside_tab_and_failed_rays_are_no_defects() -> None:
    ribbon = strip(
        [int(VertexState.OUTSIDE)] * 3 + [int(VertexState.UNDETERMINED)] * 3, [0] * 3 + [1] * 3
    )
    assert find_defects(ribbon, 0.0)[1] == ()


def test_a_defect_across_a_border_is_counted_once_and_its_area_shared() -> None:
    ribbon = strip([BARE] * 6 + [COVERED], [int(Plate.cMF)] * 4 + [int(Plate.pMF)] * 3)
    like = tuple(
        Measurement(region, "dAB", 1.0, "mm^2", tab_source="covered")
        for region in ("cMF", "pMF", "MF", "cLF", "pLF", "LF", "TrF")
    )
    rows = {row.name: row for row in measure_defects({Bone.FEMUR: ribbon}, like, SETTINGS)}
    assert [rows[f"{r}_defect_count"].value for r in ("cMF", "pMF", "MF")] == [1.0, 0.0, 1.0]
    assert [rows[f"{r}_defect_area"].value for r in ("cMF", "pMF", "MF")] == [8.0, 4.0, 12.0]
    assert [rows[f"{r}_defect_largest"].value for r in ("cMF", "pMF", "MF")] == [8.0, 4.0, 12.0]
    assert rows["MF_defect_area"].tab_source == "covered"
    assert rows["MT_defect_count"].reason is ReasonCode.REGION_EMPTY


def test_reason_and_flags_come_from_the_plate() -> None:
    like = (
        Measurement.missing("P", "dAB", "mm^2", ReasonCode.TISSUE_MISSING),
        Measurement("MT", "dAB", 0.0, "mm^2", flags=(ReasonCode.BONE_CUT_BY_VIEW,)),
    )
    rows = measure_defects({Bone.TIBIA: strip([COVERED] * 3, [1] * 3)}, like, SETTINGS)
    assert tuple((r.region, r.quantity, r.unit) for r in rows) == planned_defects()
    found = {row.name: row for row in rows}
    assert found["P_defect_count"].reason is ReasonCode.TISSUE_MISSING
    assert found["MT_defect_count"].value == 0.0
    assert found["MT_defect_count"].flags == (ReasonCode.BONE_CUT_BY_VIEW,)


@pytest.mark.parametrize("hard", [False, True])
def test_the_patches_of_a_phantom_are_found(hard: bool) -> None:
    phantom = KneePhantom(
        Side.LEFT,
        denuded=(
            DenudedPatch("MT", -0.3, -0.4, 3.0),
            DenudedPatch("MT", 0.3, 0.4, 4.0),
            DenudedPatch("cLF", 0.0, 0.0, 3.0),
        ),
    )
    knee = measure_knee(phantom.label_map(demo_grid(), hard=hard), Side.LEFT)
    rows, truth = {row.name: row for row in knee.measurements}, phantom.truth()
    assert rows["MT_defect_count"].value == 2
    assert rows["cLF_defect_count"].value == 1
    assert rows["LF_defect_count"].value == 1
    assert rows["P_defect_count"].value == 0
    for region in ("MT", "cLF"):
        area = rows[f"{region}_defect_area"].value
        assert area == pytest.approx(truth[region, "dAB"], rel=0.06), region
        assert area <= rows[f"{region}_dAB"].value + 1e-9
    share = 16.0 / 25.0  # of two discs of 3 and 4 mm radius
    largest = rows["MT_defect_largest"].value
    assert largest == pytest.approx(share * rows["MT_defect_area"].value, rel=0.05)
    assert all(rows[f"{r}_{q}"].status is Status.OK for r, q, _ in planned_defects())
