"""From the network's frames back to the image: where each voxel's value comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.networks.cascade import CascadeResult
from kneeimg.networks.frame import frame_of
from kneeimg.networks.spec import CLASS_TISSUES
from kneeimg.phantoms.grids import slice_grid
from kneeimg.segment.carry import label_map_of, soft_label_map

FEMUR = CLASS_TISSUES.index(Tissue.FEMUR)
CARTILAGE = CLASS_TISSUES.index(Tissue.FEMORAL_CARTILAGE)
MENISCUS = CLASS_TISSUES.index(Tissue.MEDIAL_MENISCUS)


def _result(image: Grid, *, cut: tuple[int, int] = (10, 20)) -> CascadeResult:
    """Coarse says femur everywhere at 0.6; fine, over part of k, says femur at 1."""
    coarse_grid = frame_of(image, Side.RIGHT, (2.0, 2.0, 2.0))
    coarse = torch.zeros(9, *coarse_grid.shape)
    coarse[FEMUR], coarse[CARTILAGE] = 0.6, 0.3
    first, stop = cut
    i, j, _ = coarse_grid.shape
    region = coarse_grid.crop((0, 0, first), (i, j, stop - first))
    fine_grid = frame_of(region, Side.RIGHT, (1.0, 1.0, 1.0))
    fine = torch.zeros(9, *fine_grid.shape)
    fine[FEMUR] = 1.0
    return CascadeResult(coarse, coarse_grid, fine, fine_grid)


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_fine_inside_coarse_bones_outside_and_a_ramp_between(plane: str) -> None:
    image = slice_grid(plane, (1.0, 1.0, 1.0), (60, 60, 60))  # type: ignore[arg-type]
    made = label_map_of(_result(image), image, Side.RIGHT)
    femur = made.fraction(Tissue.FEMUR)
    axes, flips = image.closest_lps()
    line = femur.transpose(axes)[tuple(slice(None, None, f) for f in flips)][30, 30]
    # the region covers 20 to 40 mm of the axis, faces included
    assert np.allclose(line[:19], 0.6)
    assert np.allclose(line[41:], 0.6)
    assert np.allclose(line[24:36], 1.0)
    assert (np.diff(line[18:25]) >= -1e-6).all()
    assert 0.6 < line[21] < 1.0
    assert made.fraction(Tissue.FEMORAL_CARTILAGE).max() == 0.0  # coarse cartilage never counts


def test_where_the_view_ends_the_fine_network_counts_to_the_end() -> None:
    image = slice_grid("sagittal", (1.0, 1.0, 1.0), (60, 60, 60))
    made = label_map_of(_result(image, cut=(0, 30)), image, Side.RIGHT)
    assert np.allclose(made.fraction(Tissue.FEMUR), 1.0)


def test_without_a_joint_only_coarse_bones_come_back() -> None:
    image = slice_grid("sagittal", (1.0, 1.0, 1.0), (40, 40, 40))
    whole = _result(image)
    made = label_map_of(CascadeResult(whole.coarse, whole.coarse_grid, None, None), image, None)
    assert np.allclose(made.fraction(Tissue.FEMUR), 0.6)
    assert made.tissues() == {Tissue.FEMUR}


def test_menisci_need_a_side() -> None:
    image = slice_grid("sagittal", (1.0, 1.0, 1.0), (40, 40, 40))
    result = _result(image, cut=(0, 20))
    assert result.fine is not None
    result.fine[FEMUR], result.fine[MENISCUS] = 0.2, 0.8
    assert label_map_of(result, image, Side.RIGHT).tissues() == {Tissue.MEDIAL_MENISCUS}
    assert Tissue.MEDIAL_MENISCUS not in label_map_of(result, image, None).tissues()


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_thick_slices_average_the_fine_voxels(plane: str) -> None:
    """A voxel of 4 mm holds the share of the tissue that it covers, whatever its direction."""
    image = slice_grid(plane, (4.0, 1.0, 1.0), (10, 40, 40))  # type: ignore[arg-type]
    frame = frame_of(image, Side.RIGHT, (1.0, 1.0, 1.0))
    position_mm = np.moveaxis(frame.to_mm(np.indices(frame.shape).reshape(3, -1).T), -1, 0)
    axis = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    edge_mm = image.to_mm((4.75, 0, 0))[axis]  # a quarter voxel above the border of slices 4 and 5
    inside = (position_mm[axis] < edge_mm).reshape(frame.shape)
    made = soft_label_map(
        torch.from_numpy(inside.astype(np.float32))[None], frame, image, [Tissue.FEMUR]
    )
    profile = made.fraction(Tissue.FEMUR)[:, 20, 20]
    assert np.allclose(profile[:5], 1.0)
    assert profile[5] == pytest.approx(0.25)
    assert np.allclose(profile[6:], 0.0)
