"""Rim loss: found again with a model learned from phantoms, never invented on a healthy knee."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial import KDTree

from kneeimg.core.anatomy import KNEE_V1, Bone, Plate, Side, Tissue, VertexState
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.plate_model import BonePlates
from kneeimg.core.surface import Surface
from kneeimg.geometry.rigid import rotation
from kneeimg.io.plate_model import shipped_plate_model
from kneeimg.measure.bones import MeasuredBone, measure_bone
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.morphometry import KneeMorphometry, _recovered_regions, measure_knee
from kneeimg.measure.plate_fit import lay_on
from kneeimg.measure.plate_learning import laid_on, learn_mean, near_joint, with_modes
from kneeimg.measure.plate_model import Recovered, recover_lost
from kneeimg.phantoms.grids import demo_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings
from kneeimg.settings.plate_model import PlateModelSettings

SETTINGS = PlateModelSettings()


@lru_cache(maxsize=1)
def healthy() -> LabelMap:
    return KneePhantom(Side.RIGHT).label_map(demo_grid())


@lru_cache(maxsize=1)
def tibia() -> Surface:
    """Tibia of the phantom around its plates, canonical mm."""
    found = measure_bone(canonical_knee(healthy(), Side.RIGHT), Bone.TIBIA, MorphometrySettings())
    assert found is not None
    return near_joint(found.surface)


@lru_cache(maxsize=1)
def learned() -> BonePlates:
    """The model of this phantom's tibia: one mean, no modes."""
    mean = learn_mean([tibia()], Bone.TIBIA)
    return with_modes(mean, [laid_on(mean, tibia())] * 2, 1)


def without(
    plate: np.ndarray, gone: np.ndarray, model: BonePlates | None = None
) -> tuple[np.ndarray, str]:
    """Plates after cover is lost and recovered; why the model was refused."""
    left = np.where(gone, np.uint8(0), plate)
    edge = np.zeros(len(plate), dtype=bool)
    found = recover_lost(tibia(), left, tibia_would_be(), edge, model or learned(), SETTINGS)
    assert (found.plate[left > 0] == left[left > 0]).all()  # never shrinks
    return found.plate, found.refused


def tibia_would_be() -> np.ndarray:
    surface = tibia()
    inside = np.flatnonzero(surface.fields["plate"])
    nearest = KDTree(surface.vertices[inside]).query(surface.vertices)[1]
    result: np.ndarray = surface.fields["plate"][inside[nearest]]
    return result


def area(plate: np.ndarray, code: int) -> float:
    return float(tibia().fields["area_mm2"][plate == code].sum())


def rim(size_mm: float) -> np.ndarray:
    """Vertices of MT within a distance of its most medial point."""
    surface = tibia()
    own = surface.fields["plate"] == int(Plate.MT)
    edge = surface.vertices[own][surface.vertices[own][:, 0].argmax()]
    gone: np.ndarray = own & (np.linalg.norm(surface.vertices - edge, axis=1) < size_mm)
    return gone


def test_nothing_is_added_to_a_plate_that_is_whole() -> None:
    plate = tibia().fields["plate"]
    found, refused = without(plate, np.zeros(len(plate), dtype=bool))
    assert refused == ""
    assert (found == plate).all()


@pytest.mark.parametrize("size_mm", [7.0, 9.0, 15.0])
def test_a_bite_at_the_rim_is_found_again(size_mm: float) -> None:
    plate, gone = tibia().fields["plate"], rim(size_mm)
    found, refused = without(plate, gone)
    assert refused == ""
    lost = float(tibia().fields["area_mm2"][gone].sum())
    again = float(tibia().fields["area_mm2"][(found > 0) & gone].sum())
    assert again == pytest.approx(lost, rel=0.15)
    assert area(found, 1) == pytest.approx(area(plate, 1), rel=0.02)
    assert area(found, 2) == area(plate, 2)


def test_a_third_and_a_whole_plate() -> None:
    plate, x = tibia().fields["plate"], tibia().vertices[:, 0]
    medial = plate == int(Plate.MT)
    third = medial & (x > np.quantile(x[medial], 2 / 3))
    for gone in (third, medial):
        found, refused = without(plate, gone)
        assert refused == ""
        assert area(found, 1) == pytest.approx(area(plate, 1), rel=0.05)
        assert area(found, 2) == area(plate, 2)


def test_a_bone_of_another_kind_is_left_alone() -> None:
    ball = learned()
    away = ball.points_mm / np.linalg.norm(ball.points_mm, axis=1, keepdims=True)
    sphere = BonePlates(25.0 * away, away, ball.inside_mm, ball.modes_mm)
    plate, gone = tibia().fields["plate"], rim(9.0)
    found, refused = without(plate, gone, sphere)
    assert refused
    assert (found == np.where(gone, 0, plate)).all()


def test_too_little_border_is_left_alone() -> None:
    plate = tibia().fields["plate"]
    found, refused = without(plate, plate > 0)
    assert refused == "no border to fit an outline to"
    assert not found.any()


def test_the_fit_follows_the_bone_in_any_pose() -> None:
    surface = tibia()
    inside = surface.fields["plate"] > 0
    still = lay_on(learned(), surface.vertices, surface.fields["normals"], inside)
    turn = rotation([0.3, 0.5, 1.0], 20.0)
    moved = lay_on(
        learned(), 1.2 * surface.vertices @ turn.T, surface.fields["normals"] @ turn.T, inside
    )
    assert moved.scale == pytest.approx(1.2 * still.scale, rel=0.03)
    gap = np.linalg.norm(moved.points_mm - 1.2 * still.points_mm @ turn.T, axis=1)
    assert np.median(gap) < 1.0


@pytest.mark.parametrize(
    "refused, added, source",
    [
        ("border unlike the model's", False, "holes filled, plate model refused"),
        ("", True, "plate model"),
        ("", False, None),
    ],
)
def test_the_rows_say_what_the_model_said(refused: str, added: bool, source: str | None) -> None:
    surface = tibia()
    medial = surface.fields["plate"] == int(Plate.MT)
    state = np.where(surface.fields["plate"] > 0, int(VertexState.MEASURED), 0).astype(np.uint8)
    state[np.flatnonzero(medial)[:5]] = int(VertexState.DENUDED)
    rim = Recovered(surface.fields["plate"], medial & added, refused=refused)
    bone = MeasuredBone(surface.with_fields(state=state), True, rim=rim)
    found = _recovered_regions({Bone.TIBIA: bone})
    assert found.get("MT") == source
    assert found.get("LT") == ("covered, plate model refused" if refused else None)
    assert "MF" not in found


# ---- the shipped model


def by_name(knee: KneeMorphometry) -> dict[str, float]:
    return {row.name: row.value for row in knee.measurements}


def test_the_phantom_gains_nothing_from_the_shipped_model() -> None:
    plain = by_name(measure_knee(healthy(), Side.RIGHT))
    rows = by_name(measure_knee(healthy(), Side.RIGHT, plate_model=shipped_plate_model()))
    for region in ("MT", "LT", "MF", "LF", "TrF", "P"):
        assert rows[f"{region}_tAB"] == pytest.approx(plain[f"{region}_tAB"], rel=0.01)


def test_a_run_uses_the_model_only_when_the_settings_say_so() -> None:
    assert not MorphometrySettings().plate_model.enabled


def _read(path: Path) -> LabelMap:
    image = nib.load(path)
    table = np.zeros(256, dtype=np.uint8)
    for value, tissue in KNEE_V1.tissues.items():
        table[value] = int(tissue)
    labels = table[np.asarray(image.dataobj).astype(np.uint8)]
    return LabelMap(labels, Grid(labels.shape, np.diag([-1, -1, 1, 1]) @ image.affine, None))


def _bitten(label_map: LabelMap, radius_mm: float) -> LabelMap:
    """Cartilage gone around the outermost point of the medial tibial plate (right knee: +x)."""
    labels = label_map.labels.copy()
    voxels = np.argwhere(labels == int(Tissue.TIBIAL_CARTILAGE))
    points = label_map.grid.to_mm(voxels)
    near = np.linalg.norm(points - points[points[:, 0].argmax()], axis=1) < radius_mm
    labels[tuple(voxels[near].T)] = 0
    return LabelMap(labels, label_map.grid)


@pytest.mark.real
@pytest.mark.slow
def test_a_real_knee_with_a_rim_taken_away(real_data: Path) -> None:
    label_map = _read(real_data / "mri" / "labels" / "P10_M00.nii.gz")
    measure: Callable[[LabelMap, Side], KneeMorphometry] = lambda m, side: measure_knee(  # noqa: E731
        m, side, plate_model=shipped_plate_model()
    )
    whole, bitten = measure(label_map, Side.RIGHT), _bitten(label_map, 9.0)
    rows = {row.name: row for row in measure(bitten, Side.RIGHT).measurements}
    plain = by_name(measure_knee(bitten, Side.RIGHT))
    before = by_name(whole)
    assert plain["MT_tAB"] < 0.95 * before["MT_tAB"]
    assert rows["MT_tAB"].value == pytest.approx(before["MT_tAB"], rel=0.03)
    assert rows["MT_tAB"].tab_source == "plate model"
    lost = before["MT_cAB"] - rows["MT_cAB"].value
    assert rows["MT_dAB"].value - before["MT_dAB"] == pytest.approx(lost, rel=0.2)
    mirror = Grid(bitten.grid.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ bitten.grid.affine, None)
    left = measure(LabelMap(bitten.labels, mirror), Side.LEFT)
    assert by_name(left) == pytest.approx({name: r.value for name, r in rows.items()}, nan_ok=True)
