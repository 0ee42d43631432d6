"""Grids keep voxels in place and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.volume import Volume
from kneeimg.errors import GeometryError
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.rigid import rotation

OBLIQUE = from_linear(rotation([1, 2, 3], 25.0) @ np.diag([0.7, 0.365, 0.365]), (10, -20, 30))


def grid(**changes: object) -> Grid:
    return Grid(**{"shape": (4, 5, 6), "affine": OBLIQUE, "frame_uid": "1.2.3", **changes})  # type: ignore[arg-type]


def test_affine_is_a_read_only_copy() -> None:
    affine = np.eye(4)
    made = grid(affine=affine)
    affine[0, 3] = 99.0
    assert made.affine[0, 3] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        made.affine[0, 0] = 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"affine": np.full((4, 4), np.nan)},
        {"affine": np.eye(3)},
        {"affine": np.diag([1.0, 1.0, 0.0, 1.0])},
        {"shape": (4, 5)},
        {"shape": (4, 5, 0)},
    ],
)
def test_impossible_grids_are_refused(changes: dict) -> None:
    with pytest.raises(GeometryError):
        grid(**changes)


def test_indices_go_to_mm_and_back() -> None:
    index = np.random.default_rng(0).random((7, 3)) * 5
    np.testing.assert_allclose(grid().to_index(grid().to_mm(index)), index, atol=1e-12)


def test_spacing_and_voxel_volume() -> None:
    np.testing.assert_allclose(grid().spacing_mm, [0.7, 0.365, 0.365])
    assert grid().voxel_volume_mm3 == pytest.approx(0.7 * 0.365 * 0.365)


def test_voxel_volume_of_sheared_axes_is_the_determinant() -> None:
    sheared = from_linear([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    assert grid(affine=sheared).voxel_volume_mm3 == pytest.approx(1.0)


def test_crop_keeps_voxels_in_place() -> None:
    np.testing.assert_allclose(
        grid().crop((1, 2, 3), (2, 2, 2)).to_mm([0, 0, 0]), grid().to_mm([1, 2, 3])
    )


def test_reorient_matches_the_array() -> None:
    data = np.arange(120).reshape(4, 5, 6)
    axes, flips = (2, 0, 1), (-1, 1, -1)
    moved = reorient_array(data, axes, flips)
    new = grid().reorient(axes, flips)
    assert new.shape == moved.shape
    index = np.argwhere(moved == data[3, 1, 2])[0]
    np.testing.assert_allclose(new.to_mm(index), grid().to_mm([3, 1, 2]), atol=1e-12)


def test_same_grid_is_accepted_and_each_difference_refused() -> None:
    grid().require_same(grid())
    moved = OBLIQUE.copy()
    moved[0, 3] += 0.01
    for other in (grid(frame_uid="9"), grid(shape=(4, 5, 7)), grid(affine=moved)):
        with pytest.raises(GeometryError):
            grid().require_same(other)
    with pytest.raises(GeometryError, match="frames of reference"):
        grid(frame_uid=None).require_same(grid(frame_uid=None))


def test_a_rotation_about_the_origin_shows_at_the_far_corner() -> None:
    turned = from_linear(rotation([0, 0, 1], 0.1)) @ np.diag([0.5, 0.5, 0.5, 1.0])
    big = {"shape": (300, 300, 10), "frame_uid": "1"}
    with pytest.raises(GeometryError, match="corners differ"):
        Grid(affine=turned, **big).require_same(Grid(affine=np.diag([0.5, 0.5, 0.5, 1.0]), **big))


def test_volume_must_fit_its_grid() -> None:
    with pytest.raises(GeometryError):
        Volume(np.zeros((4, 5, 5)), grid(), "a.u.")
    assert (
        Volume(np.zeros((4, 5, 6)), grid(), "a.u.").with_data(np.ones((4, 5, 6)), unit="mm").unit
        == "mm"
    )
