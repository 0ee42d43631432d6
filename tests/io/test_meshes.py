"""A surface read back is the surface that was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.surface import Surface
from kneeimg.errors import InputError
from kneeimg.io.meshes import read_sided_surface, read_surface, write_surface


def _surface() -> Surface:
    rng = np.random.default_rng(7)
    return Surface(
        vertices=rng.normal(size=(50, 3)) * 1e3 / 3,
        faces=rng.integers(0, 50, size=(80, 3)),
        fields={
            "thickness_mm": np.where(np.arange(50) % 5 == 0, np.nan, rng.random(50)),
            "state": (np.arange(50) % 4).astype(np.uint8),
            "normals": rng.normal(size=(50, 3)),
        },
        frame_uid="1.2.826.0.1.3680043",
    )


def test_round_trip_is_exact_to_the_bit(tmp_path: Path) -> None:
    surface = _surface()
    write_surface(surface, tmp_path / "femur.vtp", side=Side.LEFT)
    back, side = read_sided_surface(tmp_path / "femur.vtp")
    assert side is Side.LEFT
    assert back.frame_uid == surface.frame_uid
    np.testing.assert_array_equal(back.vertices, surface.vertices)
    assert back.vertices.dtype == np.float64
    np.testing.assert_array_equal(back.faces, surface.faces)
    assert set(back.fields) == set(surface.fields)
    for name, values in surface.fields.items():
        assert back.fields[name].dtype == values.dtype
        np.testing.assert_array_equal(back.fields[name], values)


def test_same_surface_gives_same_bytes(tmp_path: Path) -> None:
    write_surface(_surface(), tmp_path / "a.vtp", side=Side.RIGHT)
    write_surface(_surface(), tmp_path / "b.vtp", side=Side.RIGHT)
    assert (tmp_path / "a.vtp").read_bytes() == (tmp_path / "b.vtp").read_bytes()


def test_unknown_frame_and_side_stay_unknown(tmp_path: Path) -> None:
    bare = Surface(np.eye(3), np.array([[0, 1, 2]]))
    write_surface(bare, tmp_path / "a.vtp")
    back, side = read_sided_surface(tmp_path / "a.vtp")
    assert back.frame_uid is None
    assert side is None


def test_empty_surface(tmp_path: Path) -> None:
    empty = Surface(np.empty((0, 3)), np.empty((0, 3), dtype=np.int64))
    write_surface(empty, tmp_path / "a.vtp")
    assert read_surface(tmp_path / "a.vtp").vertices.shape == (0, 3)


@pytest.mark.parametrize("content", [b"", b"not a mesh", b"<VTKFile type='PolyData'>"])
def test_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.vtp").write_bytes(content)
    with pytest.raises(InputError, match="surface cannot be read"):
        read_surface(tmp_path / "bad.vtp")
    with pytest.raises(InputError):
        read_surface(tmp_path / "absent.vtp")
