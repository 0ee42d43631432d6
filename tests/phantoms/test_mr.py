"""MR-like pictures of the phantom."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.label_map import LabelMap
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.mr import FULL_SCALE, SIGNALS, mr_image

GRID = slice_grid("sagittal", (2.0, 1.0, 1.0), (48, 110, 110))
LABELS = KneePhantom(Side.RIGHT).label_map(GRID)


def picture(contrast: str, **options: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    data: NDArray[np.float32] = mr_image(LABELS, contrast, rng=rng, **options).data  # type: ignore[arg-type]
    return data


@pytest.mark.parametrize("contrast", sorted(SIGNALS))
def test_cartilage_has_its_signal_where_it_fills_the_voxel(contrast: str) -> None:
    data = picture(contrast, noise_snr=np.inf, bias_field=0.0)
    whole = LABELS.fraction(Tissue.FEMORAL_CARTILAGE) > 0.999
    assert np.abs(data[whole] - FULL_SCALE * SIGNALS[contrast].cartilage).max() <= 2.0


def test_dess_order_of_tissues() -> None:
    data = picture("dess", noise_snr=np.inf, bias_field=0.0)
    marrow = data[LABELS.fraction(Tissue.FEMUR) > 0.999].mean()
    cartilage = data[LABELS.fraction(Tissue.FEMORAL_CARTILAGE) > 0.999].mean()
    assert marrow < 0.4 * cartilage < cartilage < 0.9 * data.max()


def test_partial_volume_mixes_linearly() -> None:
    # two tissues alone in a voxel: the picture is their weighted mean
    share = np.linspace(0.0, 1.0, 11, dtype=np.float32).reshape(11, 1, 1) * np.ones((11, 9, 9))
    share = share.astype(np.float32)
    grid = slice_grid("axial", (1.0, 1.0, 1.0), (11, 9, 9))
    labels = LabelMap.from_probabilities(
        {Tissue.FEMORAL_CARTILAGE: share, Tissue.TIBIAL_CARTILAGE: 1.0 - share}, grid
    )
    data = mr_image(labels, rng=np.random.default_rng(0), noise_snr=np.inf, bias_field=0.0).data
    assert np.abs(data - FULL_SCALE * SIGNALS["dess"].cartilage).max() <= 1.0


def test_noise_is_rician_with_the_stated_snr() -> None:
    clean = picture("dess", noise_snr=np.inf, bias_field=0.0)
    noisy = picture("dess", noise_snr=20.0, bias_field=0.0)
    sigma = FULL_SCALE * SIGNALS["dess"].cartilage / 20.0
    whole = LABELS.fraction(Tissue.FEMORAL_CARTILAGE) > 0.999
    assert np.std((noisy - clean)[whole]) == pytest.approx(sigma, rel=0.1)
    air = clean == 0.0
    assert noisy[air].mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.03)


def test_bias_field_is_smooth_and_bounded() -> None:
    clean = picture("dess", noise_snr=np.inf, bias_field=0.0)
    shaded = picture("dess", noise_snr=np.inf, bias_field=0.2)
    bright = clean > 300.0
    ratio = shaded[bright] / clean[bright]
    assert 0.82 < ratio.min() < ratio.max() < 1.21
    assert ratio.std() > 0.01


def test_values_fit_a_dicom_pixel_and_repeat() -> None:
    data = picture("pd_fs")
    assert data.dtype == np.float32
    assert data.min() >= 0.0
    assert data.max() < 65535
    assert np.array_equal(data, np.rint(data))
    assert np.array_equal(data, picture("pd_fs"))


def test_hard_labels_and_an_empty_map_make_a_picture_too() -> None:
    hard = LabelMap(LABELS.labels, GRID)
    assert mr_image(hard, "t1", rng=np.random.default_rng(0)).data.max() > 300.0
    empty = LabelMap(np.zeros(GRID.shape, dtype=np.uint8), GRID)
    assert np.isfinite(mr_image(empty, rng=np.random.default_rng(0)).data).all()
