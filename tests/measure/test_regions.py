"""Rows from vertex values, worked by hand; tAB with holes, specks and notches; carried tAB."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Plate, Subregion, VertexState
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.measure.regions import (
    QUANTITY_UNITS,
    SUMMED,
    planned_measurements,
    region_share,
    summarise,
)
from kneeimg.measure.tab import plates_from_cover, with_tab
from kneeimg.settings.morphometry import MorphometrySettings

SETTINGS = MorphometrySettings(min_patch_mm2=3.0, max_hole_mm2=20.0)


def sheet(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Square grid of vertices 1 mm apart in the plane z = 0, and its triangles."""
    i, j = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    vertices = np.stack([i.ravel(), j.ravel(), np.zeros(i.size)], axis=1).astype(float)
    corner = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)[None, :]).ravel()
    first = np.stack([corner, corner + count, corner + 1], axis=1)
    second = np.stack([corner + 1, corner + count, corner + count + 1], axis=1)
    return vertices, np.concatenate([first, second]).astype(np.int64)


def patella(ray_mm: np.ndarray, plate: np.ndarray | None = None, **extra: np.ndarray) -> Surface:
    """A patella whose vertices own 1 mm² each and carry the given rays."""
    vertices, faces = sheet(round(len(ray_mm) ** 0.5))
    ones, zeros = np.ones(len(ray_mm)), np.zeros(len(ray_mm))
    fields = {
        "ray_mm": ray_mm,
        "area_mm2": ones,
        "normals": np.tile([0.0, 0.0, 1.0], (len(ray_mm), 1)),
        "volume_mm3": zeros,
        "articular_mm2": zeros,
        "articular_mm3": zeros,
        **extra,
    }
    where = np.full(len(ray_mm), int(Plate.P), dtype=np.uint8) if plate is None else plate
    return with_tab(Surface(vertices, faces, fields), where, SETTINGS)


def rows_of(surface: Surface, region: str = "P") -> dict[str, Measurement]:
    rows = summarise({Bone.PATELLA: surface}, method="ray/hard", settings=SETTINGS)
    return {row.quantity: row for row in rows if row.region == region}


def test_hand_worked_values() -> None:
    ray_mm = np.array([1.0, 3.0, 0.0, np.nan] * 4)
    rows = rows_of(patella(ray_mm, volume_mm3=np.full(16, 2.0)))
    value = {name: row.value for name, row in rows.items()}
    assert value["tAB"] == 16.0
    assert value["cAB"] == 12.0  # an undetermined vertex is covered, its thickness unknown
    assert value["dAB"] == 4.0
    assert value["dABp"] == 25.0
    assert value["VC"] == 32.0
    assert value["VCtAB"] == 2.0
    assert value["ThCcAB_aMe"] == 2.0
    assert value["ThCcAB_aSD"] == 1.0
    assert value["ThCtAB_aMe"] == pytest.approx(2.0 * 12.0 / 16.0)
    assert value["ThCtAB_aSD"] == pytest.approx(np.std([1.0, 3.0, 0.0]))
    assert rows["tAB"].tab_source == "holes filled"
    assert ReasonCode.UNDETERMINED_SHARE in rows["ThCtAB_aMe"].flags


def test_means_are_weighted_by_area() -> None:
    ray_mm = np.array([1.0, 3.0, 0.0, 2.0])
    rows = rows_of(patella(ray_mm, area_mm2=np.array([6.0, 1.0, 2.0, 1.0])))
    assert rows["ThCcAB_aMe"].value == pytest.approx((6 * 1 + 1 * 3 + 1 * 2) / 8)
    assert rows["ThCtAB_aMe"].value == pytest.approx((6 * 1 + 1 * 3 + 1 * 2) / 10)
    variance = (6 * 1 + 9 + 4) / 8 - (11 / 8) ** 2
    assert rows["ThCcAB_aSD"].value == pytest.approx(variance**0.5)
    assert rows["dABp"].value == pytest.approx(20.0)


def test_both_directions_are_averaged() -> None:
    ray_mm = np.array([1.0, 3.0, 1.0, 3.0])
    area = np.array([1.0, 2.0, 1.0, 2.0])
    rows = rows_of(patella(ray_mm, articular_mm2=area, articular_mm3=area * ray_mm))
    assert rows["ThCcAB_aMe"].value == pytest.approx(0.5 * (2.0 + 14.0 / 6.0))
    assert rows["AC"].value == 6.0


def test_the_lowest_and_highest_hundredth_of_a_central_subregion() -> None:
    # 400 mm²: the lowest 1 % are 4 mm², of which two are bare and count 0
    ray_mm = np.linspace(1.0, 3.0, 400)
    ray_mm[[7, 300]] = 0.0
    surface = patella(ray_mm, np.full(400, int(Plate.MT), dtype=np.uint8))
    surface = surface.with_fields(subregion=np.full(400, int(Subregion.cMT), dtype=np.uint8))
    rows = summarise({Bone.TIBIA: surface}, method="ray/hard", settings=SETTINGS)
    value = {row.quantity: row.value for row in rows if row.region == "cMT"}
    assert value["ThCtAB_aMiv"] == pytest.approx((0.0 + 0.0 + ray_mm[0] + ray_mm[1]) / 4)
    assert value["ThCtAB_aMav"] == pytest.approx(ray_mm[-4:].mean())
    assert value["ThCtAB_aSD"] == pytest.approx(ray_mm.std())
    assert value["ThCtAB_aCV"] == pytest.approx(100.0 * ray_mm.std() / ray_mm.mean())
    assert not any(row.quantity == "ThCtAB_aMiv" for row in rows if row.region in ("MT", "aMT"))


def facets(medial: np.ndarray, codes: np.ndarray) -> Surface:
    """A patella whose vertices belong to both facets by shares; 0, 1, 2, ... mm of cartilage."""
    surface = patella(np.arange(len(medial)) + 1.0, volume_mm3=np.full(len(medial), 2.0))
    shares = np.stack([medial, 1.0 - medial], axis=1).astype(np.float32)
    return surface.with_fields(subregion=codes.astype(np.uint8), shares=shares)


def test_a_vertex_on_a_border_belongs_to_both_sides() -> None:
    codes = np.array([Subregion.mP, Subregion.mP, Subregion.lP, Subregion.lP])
    surface = facets(np.array([1.0, 0.75, 0.25, 0.0]), codes)
    medial, lateral, whole = (
        {name: row.value for name, row in rows_of(surface, region).items()}
        for region in ("mP", "lP", "P")
    )
    assert (medial["tAB"], lateral["tAB"], whole["tAB"]) == (2.0, 2.0, 4.0)
    assert (medial["VC"], lateral["VC"], whole["VC"]) == (4.0, 4.0, 8.0)
    assert medial["ThCtAB_aMe"] == pytest.approx((1.0 + 0.75 * 2.0 + 0.25 * 3.0) / 2.0)
    assert lateral["ThCtAB_aMe"] == pytest.approx((0.25 * 2.0 + 0.75 * 3.0 + 4.0) / 2.0)
    assert region_share(surface, "mP").tolist() == [1.0, 0.75, 0.25, 0.0]
    assert region_share(surface, "lP", np.array([1])).tolist() == [0.25]
    assert region_share(surface, "P").tolist() == [1.0] * 4


def test_a_sliver_of_the_part_beside_it_is_no_region() -> None:
    surface = facets(np.array([1.0, 1.0, 1.0, 0.9]), np.full(4, int(Subregion.mP)))
    assert rows_of(surface, "lP")["tAB"].reason is ReasonCode.REGION_EMPTY
    assert rows_of(surface, "P")["tAB"].value == pytest.approx(4.0)


def test_shares_that_do_not_cover_tab_are_not_used() -> None:
    codes = np.array([Subregion.mP, Subregion.mP, Subregion.lP, Subregion.lP])
    surface = facets(np.array([1.0, 0.75, 0.25, 0.0]), codes)
    shares = surface.fields["shares"].copy()
    shares[2] = 0.0
    rows = rows_of(surface.with_fields(shares=shares), "lP")
    assert rows["tAB"].value == 2.0
    assert rows["ThCtAB_aMe"].value == pytest.approx(3.5)
    without = {name: f for name, f in surface.fields.items() if name != "shares"}
    plain = Surface(surface.vertices, surface.faces, without)
    assert region_share(plain, "lP").tolist() == [0.0, 0.0, 1.0, 1.0]


def test_fully_denuded_is_zero_over_tab_and_not_measurable_over_cover() -> None:
    rows = rows_of(patella(np.zeros(16)))
    assert rows["ThCtAB_aMe"].value == 0.0
    assert rows["dABp"].value == 100.0
    assert rows["ThCcAB_aMe"].status is Status.NOT_MEASURABLE
    assert rows["ThCcAB_aMe"].reason is ReasonCode.REGION_EMPTY


def test_states() -> None:
    plate = np.full(16, int(Plate.P), dtype=np.uint8)
    plate[:4] = Plate.NONE
    surface = patella(np.array([1.0, 3.0, 0.0, np.nan] * 4), plate)
    state, thickness = surface.fields["state"], surface.fields["thickness_mm"]
    assert (state[:4] == VertexState.OUTSIDE).all()
    assert list(state[4:8]) == [
        VertexState.MEASURED,
        VertexState.MEASURED,
        VertexState.DENUDED,
        VertexState.UNDETERMINED,
    ]
    assert thickness[4:8] == pytest.approx([1.0, 3.0, 0.0, np.nan], nan_ok=True)
    assert np.isnan(thickness[:4]).all()


def test_a_carried_tab_keeps_all_cartilage_and_sees_the_loss() -> None:
    ray_mm = np.full(16, 2.0)
    ray_mm[:8] = 0.0  # half of the baseline's plate is gone
    volume = np.where(ray_mm > 0, 2.0, 0.0)
    plate = np.full(16, int(Plate.P), dtype=np.uint8)
    plate[12:] = Plate.NONE  # cartilage that lies outside the baseline's plate
    surface = patella(ray_mm, plate, volume_mm3=volume)
    rows = rows_of(surface)
    assert rows["tAB"].value == 12.0
    assert rows["dAB"].value == 8.0
    assert rows["VC"].value == 16.0
    again = summarise(
        {Bone.PATELLA: surface}, method="ray/hard", settings=SETTINGS, tab_source="baseline tAB"
    )
    assert {row.tab_source for row in again if row.region == "P"} == {"baseline tAB"}


def test_no_bone_yields_every_row_with_a_reason() -> None:
    rows = summarise(
        {},
        method="ray/hard",
        settings=SETTINGS,
        absent={"P": ReasonCode.TISSUE_MISSING},
        flags={"P": (ReasonCode.COARSE_GRID,)},
    )
    assert len(rows) == len(planned_measurements())
    assert {row.reason for row in rows if row.region == "P"} == {ReasonCode.TISSUE_MISSING}
    assert {row.reason for row in rows if row.region == "MT"} == {ReasonCode.REGION_EMPTY}
    assert set(SUMMED) <= set(QUANTITY_UNITS)


def _plates(ray_mm: np.ndarray, would_be: np.ndarray | None = None) -> np.ndarray:
    _vertices, faces = sheet(round(len(ray_mm) ** 0.5))
    count = len(ray_mm)
    plates = np.full(count, int(Plate.P), dtype=np.uint8) if would_be is None else would_be
    edge = np.zeros(count, dtype=bool)
    return plates_from_cover(ray_mm, np.ones(count), faces, plates, edge, SETTINGS)


def _ring() -> np.ndarray:
    """12 × 12 vertices: cartilage in rows and columns 2 to 9, bare in 5 to 6."""
    ray_mm = np.zeros((12, 12))
    ray_mm[2:10, 2:10] = 2.0
    ray_mm[5:7, 5:7] = 0.0
    return ray_mm


def test_a_hole_is_filled_and_the_outside_is_not() -> None:
    inside = (_plates(_ring().ravel()) == Plate.P).reshape(12, 12)
    assert inside[2:10, 2:10].all()
    assert inside.sum() == 64


def test_a_bay_of_the_rim_is_not_a_hole() -> None:
    ray_mm = _ring()
    ray_mm[5:7, 5:] = 0.0
    assert (_plates(ray_mm.ravel()) == Plate.P).sum() == 64 - 10


def test_a_large_hole_is_open_bone() -> None:
    ray_mm = _ring()
    ray_mm[3:9, 3:9] = 0.0  # 36 mm² against a limit of 20
    assert (_plates(ray_mm.ravel()) == Plate.P).sum() == 64 - 36


def test_bone_between_a_medial_and_a_lateral_plate_is_no_hole() -> None:
    sides = np.full((12, 12), int(Plate.LT), dtype=np.uint8)
    sides[6:] = Plate.MT
    assert (_plates(_ring().ravel(), sides.ravel()) != Plate.NONE).sum() == 60


def test_specks_are_dropped() -> None:
    ray_mm = _ring()
    ray_mm[0, 0] = 1.0
    assert (_plates(ray_mm.ravel()) == Plate.P).sum() == 64
