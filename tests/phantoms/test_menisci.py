"""The phantom's menisci: exact volume, clear of bone and cartilage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.phantoms.cartilage import PlateThickness
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.meniscus import Meniscus, MeniscusShape

NAMES = {"MM": Tissue.MEDIAL_MENISCUS, "LM": Tissue.LATERAL_MENISCUS}


def menisci(phantom: KneePhantom) -> Mapping[str, Meniscus]:
    tibia = phantom.sheets[Bone.TIBIA]
    return {name: Meniscus(phantom.meniscus, tibia, name == "MM") for name in NAMES}


@pytest.mark.parametrize(
    "phantom",
    [
        KneePhantom(Side.RIGHT, menisci=True),
        KneePhantom(Side.LEFT, PlateThickness.constant(2.0), thickness_variation=0.0, menisci=True),
    ],
)
def test_voxels_hold_the_exact_volume(phantom: KneePhantom) -> None:
    grid = slice_grid("sagittal", (0.8, 0.5, 0.5), (120, 120, 140))
    label_map = phantom.label_map(grid)
    for name, tissue in NAMES.items():
        volume = label_map.fraction(tissue).sum(dtype=float) * grid.voxel_volume_mm3
        assert volume == pytest.approx(phantom.meniscus_truth()[name, "volume"], rel=0.002)
    assert label_map.probabilities is not None
    assert sum(label_map.probabilities.values()).max() <= 1.0 + 1e-6  # type: ignore[union-attr]


def test_random_points_agree_with_the_quadrature_and_are_clear_of_everything() -> None:
    phantom = KneePhantom(Side.RIGHT, menisci=True)
    rng = np.random.default_rng(1)
    for name, meniscus in menisci(phantom).items():
        low, high = meniscus.bounds_mm
        points = rng.uniform(low, high, (300_000, 3))
        inside = meniscus.bone_level(points) < 0
        volume = inside.mean() * float(np.prod(high - low))
        assert volume == pytest.approx(phantom.meniscus_truth()[name, "volume"], rel=0.03)
        for bone in (Bone.FEMUR, Bone.TIBIA):
            sheet = phantom.sheets[bone]
            below, articular, border = sheet.sheet_levels(points[inside])
            assert below.min() > 0
            assert articular[border < 0].min() > 0


def test_a_flat_wedge_has_its_textbook_volume() -> None:
    """Equal height all round: area of an elliptic ring sector times the mean wedge height."""
    shape = MeniscusShape(body_height_mm=2.0, horn_height_mm=2.0, opening_deg=60.0)
    meniscus = menisci(KneePhantom(Side.RIGHT, meniscus=shape))["LM"]
    a, b, inner, outer = 12.5, 17.5, shape.inner, shape.outer
    sector = 2.0 * np.pi * (300.0 - 60.0) / 360.0
    moment = (outer**3 - inner**3) / 3.0 - inner * (outer**2 - inner**2) / 2.0
    flat = sector * a * b * 2.0 * moment / (outer - inner)
    stretched = meniscus.volume_mm3() / flat  # (1 + h / R)² and the slope of the sphere
    assert 1.0 < stretched < 1.2


def test_without_menisci_nothing_changes() -> None:
    grid = slice_grid("sagittal", (2.0, 2.0, 2.0), (40, 40, 40))
    plain = KneePhantom(Side.RIGHT)
    assert plain.meniscus_truth() == {}
    assert not set(NAMES.values()) & set(plain.label_map(grid).probabilities or {})
