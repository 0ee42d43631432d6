"""Synthetic scans: what is drawn is what the target says, and everything follows from the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kneeimg.settings.training import PoseSettings, ScanSettings, TrainingSettings
from kneeimg.training.acquisition import Box, acquire, draw_acquisition
from kneeimg.training.batches import disturbed_truth
from kneeimg.training.contrast import FAMILIES, Seam, draw_contrast, draw_seam
from kneeimg.training.scans import Knee, SyntheticScan, _box_mean
from kneeimg.training.tissues import Substance, classes_of

STILL = PoseSettings(
    rotation_deg=0, scale=(1.0, 1.0), shift_mm=0, elastic_mm=0, bone_shift_mm=0, bone_turn_deg=0
)
CLEAN = ScanSettings(
    noise=0,
    bias=0,
    ghosting=0,
    chemical_shift=0,
    bands=0,
    slice_mm=(0.5, 0.6),
    in_plane_mm=(0.3, 0.4),
)


def ball_knee(radius_mm: float = 12.0) -> Knee:
    """A ball of femur in a shell of cartilage, in muscle."""
    spacing = (0.7, 0.4, 0.4)
    shape = (64, 112, 112)
    lines = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True)]
    far = np.sqrt(sum(np.square(x) for x in np.meshgrid(*lines, indexing="ij")))
    codes = np.full(shape, Substance.MUSCLE, np.uint8)
    codes[far < radius_mm + 2.0] = Substance.FEMORAL_CARTILAGE
    codes[far < radius_mm] = Substance.MARROW_FEMUR
    return Knee(torch.from_numpy(codes), torch.from_numpy(classes_of(codes)), spacing)


def scan_of(knee: Knee, seed: int = 1, pose: PoseSettings = STILL, scan: ScanSettings = CLEAN):
    return SyntheticScan(knee, (44.8, 44.8, 44.8), pose, scan, (seed,))


def test_a_knee_that_is_not_moved_keeps_its_classes() -> None:
    knee = ball_knee()
    sample = scan_of(knee).sample((64, 112, 112), (0.7, 0.4, 0.4), (0, 0, 0), (1, 1, 1))
    assert torch.equal(sample.target, knee.classes)


def test_cartilage_is_as_bright_as_its_contrast_says() -> None:
    knee = ball_knee(6.0)
    scan = SyntheticScan(
        knee, (44.8,) * 3, STILL, CLEAN.model_copy(update={"families": {"dess": 1.0}}), (3,)
    )
    sample = scan.sample((64, 112, 112), (0.7, 0.4, 0.4), (0, 0, 0), (1, 1, 1))
    marrow = sample.image[sample.target == 1].median() ** (1 / scan.acquisition.gamma)
    assert float(marrow) == pytest.approx(scan.contrast.mean[Substance.MARROW_FEMUR], abs=0.05)
    assert (
        sample.image[sample.target == 2].median() > 1.8 * sample.image[sample.target == 1].median()
    )


def test_the_same_seed_gives_the_same_scan_and_another_another() -> None:
    knee = ball_knee()
    pose, scan = PoseSettings(), ScanSettings()

    def image(seed: int) -> torch.Tensor:
        made = scan_of(knee, seed, pose, scan)
        return made.sample((16, 32, 32), (0.7, 0.4, 0.4), (2, -3, 1), (1, 2, 2)).image

    assert torch.equal(image(5), image(5))
    assert not torch.equal(image(5), image(6))


def test_a_window_shows_the_same_place_as_the_whole() -> None:
    knee = ball_knee()
    made = scan_of(knee, 7, PoseSettings(shift_mm=3))
    whole = made.sample((64, 112, 112), (0.7, 0.4, 0.4), (0, 0, 0), (1, 1, 1)).target
    # 16 voxels of 0.7 mm and 32 of 0.4 mm around a centre on the lattice of the whole
    part = made.sample((16, 32, 32), (0.7, 0.4, 0.4), (0.7 * 8, 0.4 * 16, 0), (1, 1, 1)).target
    inside = whole[32:48, 56:88, 40:72][: part.shape[0]]
    assert (inside == part).float().mean() > 0.985  # displacement is interpolated per box


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_tells_cartilage_from_bone(family: str) -> None:
    for seed in range(20):
        mean = draw_contrast({family: 1.0}, np.random.default_rng(seed)).mean
        gap = abs(mean[Substance.FEMORAL_CARTILAGE] - mean[Substance.CORTEX_FEMUR])
        assert gap > 0.1


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(ValueError, match="dessert"):
        draw_contrast({"dessert": 1.0}, np.random.default_rng(0))


def test_thick_slices_blur_across_but_not_along_them() -> None:
    box = Box((48, 48, 48), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (24.0, 24.0, 24.0))
    rng = np.random.default_rng(0)
    scan = draw_acquisition(CLEAN.model_copy(update={"sagittal": 1.0, "slice_mm": (3.5, 3.5)}), rng)
    edge_across, edge_along = torch.zeros(48, 48, 48), torch.zeros(48, 48, 48)
    edge_across[24:], edge_along[:, 24:] = 1.0, 1.0
    generator = torch.Generator().manual_seed(0)
    across = acquire(edge_across, box, scan, generator)[:, 24, 24] ** (1 / scan.gamma)
    along = acquire(edge_along, box, scan, generator)[24, :, 24] ** (1 / scan.gamma)

    def width_mm(profile: torch.Tensor) -> float:
        return 0.5 * float(((profile > 0.1) & (profile < 0.9)).sum())

    assert width_mm(across) > 2.5
    assert width_mm(along) < 1.6


def test_noise_is_rician_and_as_strong_as_asked() -> None:
    box = Box((40, 40, 40), (0.4, 0.4, 0.4), (0.0, 0.0, 0.0), (16.0, 16.0, 16.0))
    settings = CLEAN.model_copy(
        update={"noise": 0.1, "in_plane_mm": (0.4, 0.4), "slice_mm": (0.4, 0.4)}
    )
    scan = draw_acquisition(settings, np.random.default_rng(4))
    image = acquire(torch.zeros(40, 40, 40), box, scan, torch.Generator().manual_seed(1))
    # without signal a Rician magnitude has the mean sd x sqrt(pi / 2)
    mean = float((image ** (1 / scan.gamma)).mean())
    assert mean == pytest.approx(scan.noise * np.sqrt(np.pi / 2), rel=0.05)


def test_disturbed_truth_is_a_distribution_that_follows_the_truth() -> None:
    target = ball_knee().classes[::2, ::4, ::4]
    classes = disturbed_truth(target, np.random.default_rng(2))
    assert classes.shape == (8, *target.shape)
    assert float(classes.min()) >= 0.0
    assert float(classes.sum(dim=0).max()) <= 1.0 + 1e-5
    assert float(classes[0][target == 1].mean()) > 0.6 > float(classes[0][target == 0].mean()) + 0.4


def test_real_scans_keep_their_signal() -> None:
    knee = ball_knee()
    signal = (knee.classes.float() / 4.0 + 0.1).half()
    real = Knee(signal, knee.classes, knee.spacing_mm, unknown=(5, 6))
    made = scan_of(real)
    sample = made.sample((64, 112, 112), (0.7, 0.4, 0.4), (0, 0, 0), (1, 1, 1))
    bone = sample.image[sample.target == 1].mean()
    around = sample.image[sample.target == 0].mean()
    assert bone > 1.5 * around


def test_settings_refuse_an_unknown_key() -> None:
    with pytest.raises(ValueError, match="nois"):
        TrainingSettings(stage="fine", scan={"nois": 1})


def test_the_mean_of_a_box_is_that_of_the_voxels_in_view() -> None:
    volume = torch.from_numpy(np.random.default_rng(1).random((9, 12, 7), dtype=np.float32))
    mean = _box_mean(volume, [1, 3, 2])
    assert float(mean[4, 5, 3]) == pytest.approx(float(volume[3:6, 2:9, 1:6].mean()), rel=1e-5)
    assert float(mean[0, 11, 6]) == pytest.approx(float(volume[:2, 8:, 4:].mean()), rel=1e-5)


def test_t2_weighting_may_hide_the_deep_layer() -> None:
    rng = np.random.default_rng(5)
    layering = [draw_contrast({"t2_fs": 1.0}, rng).layering for _ in range(50)]
    assert min(layering) >= 0.0
    assert max(layering) > 0.9
    assert max(draw_contrast({"dess": 1.0}, rng).layering for _ in range(50)) <= 0.5


def slabs(gap: bool) -> Knee:
    """Femoral cartilage above tibial cartilage; fluid of two voxels between them, or nothing."""
    codes = np.full((64, 96, 48), Substance.MARROW_FEMUR, np.uint8)
    codes[:, :, :30] = Substance.FEMORAL_CARTILAGE
    codes[:, :, :24] = Substance.FLUID if gap else Substance.TIBIAL_CARTILAGE
    codes[:, :, :22] = Substance.TIBIAL_CARTILAGE
    codes[:, :, :16] = Substance.MARROW_TIBIA
    return Knee(torch.from_numpy(codes), torch.from_numpy(classes_of(codes)), (0.7, 0.4, 0.4))


def profile(gap: bool, seam: Seam | None) -> np.ndarray:
    """Mean signal along k of a scan without texture in which both cartilages are equally bright."""
    scan = SyntheticScan(slabs(gap), (44.8, 38.4, 19.2), STILL, CLEAN, (5,))
    scan.contrast = replace(scan.contrast, layering=0.0)
    scan.seam = seam
    scan._texture = torch.zeros(256)
    scan._mean = torch.zeros(256)
    scan._mean[[int(Substance.FEMORAL_CARTILAGE), int(Substance.TIBIAL_CARTILAGE)]] = 1.0
    scan._mean[int(Substance.FLUID)] = 1.0
    codes = scan.knee.content
    return scan._coloured(codes, [0.7, 0.4, 0.4]).mean(dim=(0, 1)).numpy()


def test_a_line_is_drawn_where_two_cartilages_touch_and_nowhere_else() -> None:
    plain = profile(False, None)
    drawn = profile(False, Seam(signal=0.2, width_mm=0.4))
    lost = plain - drawn
    assert lost[[23, 24]] == pytest.approx(np.full(2, lost[23]), abs=0.02)
    # half of the width of 0.4 mm on each side, in voxels of 0.4 mm: half of a voxel, where it is
    assert 0.5 * 0.5 * 0.8 < lost[23] <= 0.5 * 0.8
    assert np.abs(np.delete(lost, [23, 24])).max() < 1e-6


def test_cartilages_with_fluid_between_them_have_no_line() -> None:
    seam = Seam(signal=0.2, width_mm=0.4)
    assert np.array_equal(profile(True, None), profile(True, seam))


def test_lines_are_dark_bright_or_absent() -> None:
    contrast = draw_contrast({"dess": 1.0}, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    seams = [draw_seam(contrast, rng) for _ in range(300)]
    level = contrast.mean[Substance.FEMORAL_CARTILAGE]
    drawn = [seam for seam in seams if seam is not None]
    assert 40 <= len(seams) - len(drawn) <= 80
    dark = sum(seam.signal < 0.81 * level for seam in drawn)
    assert 140 <= dark <= 190
    fluid = contrast.mean[Substance.FLUID]
    assert {seam.signal for seam in drawn if seam.signal > 0.81 * level} == {float(fluid)}
