"""Registration of bones: known motion first, then what must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.errors import ReasonCode, RegistrationError
from kneeimg.geometry.meshes import vertex_normals
from kneeimg.geometry.rigid import rotation, rotation_angle_deg
from kneeimg.longitudinal.registration import register_bone
from kneeimg.settings.registration import RegistrationSettings

FloatArray = NDArray[np.float64]


def lumpy_bone(step_mm: float = 0.8, shift: float = 0.0, scale: float = 1.0) -> Surface:
    """A closed bone with two unequal condyles and a shaft, meshed from a level function.

    `shift` moves the sampling grid, so that the mesh differs while the shape stays; `plate` marks
    the condyles' distal side.
    """
    from skimage.measure import marching_cubes

    axes = [np.arange(-38, 38, step_mm) + shift, np.arange(-30, 30, step_mm) + shift]
    x, y, z = np.meshgrid(*axes, np.arange(-24, 60, step_mm) + shift, indexing="ij")
    x, y, z = x / scale, y / scale, z / scale
    medial = np.sqrt((x - 16) ** 2 + (y * 0.8) ** 2 + z**2) - 17.0
    lateral = np.sqrt((x + 17) ** 2 + (y - 3) ** 2 + (z - 1) ** 2) - 14.0
    shaft = np.maximum(np.sqrt(x**2 + (y + 2) ** 2) - 12.0, np.abs(z - 20) - 30.0)
    softness = 3.0
    parts = np.stack([medial, lateral, shaft])
    level = -softness * np.log(np.exp(-parts / softness).sum(axis=0))
    vertices, faces, _, _ = marching_cubes(-level, 0.0, spacing=(step_mm,) * 3)
    vertices = vertices.astype(np.float64) + [axes[0][0], axes[1][0], -24 + shift]
    faces = faces.astype(np.int64)
    outward = np.einsum("fx,fx->", vertices[faces[:, 0]], _face_normals(vertices, faces))
    faces = faces if outward > 0 else faces[:, ::-1]
    plate = ((vertices[:, 2] < 2) & (np.abs(vertices[:, 0]) > 6)).astype(np.uint8)
    return Surface(vertices, faces, {"plate": plate}, "baseline")


def _face_normals(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def moved(surface: Surface, angle_deg: float, axis: tuple[float, ...], shift: tuple[float, ...]):
    """The surface in the follow-up frame, and the motion that brings it back."""
    turn = rotation(axis, angle_deg)
    there = RigidTransform(turn, np.asarray(shift, dtype=np.float64), "baseline", "followup")
    return there.move(surface), there.inverse()


def motion_error_mm(found: RigidTransform, truth: RigidTransform, points: FloatArray) -> float:
    """Root mean square distance between where both transforms put the points."""
    gap = found.apply(points) - truth.apply(points)
    return float(np.sqrt((gap**2).sum(axis=1).mean()))


def joint_points(surface: Surface) -> FloatArray:
    return surface.vertices[surface.fields["plate"] > 0]


@pytest.fixture(scope="module")
def bone() -> Surface:
    return lumpy_bone()


def test_the_same_surface_is_not_moved_at_all(bone: Surface) -> None:
    found = register_bone(bone, bone)
    np.testing.assert_array_equal(found.transform.matrix, np.eye(4))
    assert (found.rms_mm, found.overlap, found.angle_deg) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    "angle_deg, axis, shift",
    [
        (0.0, (0.0, 0.0, 1.0), (8.0, -6.0, 10.0)),
        (15.0, (1.0, 0.3, -0.2), (-10.0, 10.0, 5.0)),
        (-14.0, (0.2, 1.0, 0.5), (3.0, 0.0, -9.0)),
        (170.0, (0.0, 1.0, 0.1), (200.0, -50.0, 30.0)),  # another frame altogether
    ],
)
def test_known_motion_of_the_same_mesh(
    bone: Surface, angle_deg: float, axis: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    followup, truth = moved(bone, angle_deg, axis, shift)
    found = register_bone(followup, bone)
    assert motion_error_mm(found.transform, truth, joint_points(followup)) < 1e-4
    assert found.angle_deg == pytest.approx(abs(angle_deg), abs=1e-3)
    assert (found.transform.from_uid, found.transform.to_uid) == ("followup", "baseline")


def test_another_mesh_of_the_same_shape(bone: Surface) -> None:
    followup, truth = moved(lumpy_bone(shift=0.31), 12.0, (1.0, -0.5, 0.3), (4.0, -7.0, 2.0))
    found = register_bone(followup, bone)
    assert motion_error_mm(found.transform, truth, joint_points(followup)) < 0.01


def test_boundary_noise_a_cut_shaft_and_an_osteophyte(bone: Surface) -> None:
    rng = np.random.default_rng(11)
    followup = lumpy_bone(shift=0.17)
    normals = vertex_normals(followup.vertices, followup.faces)
    bump = 4.0 * np.exp(-(((followup.vertices - [33.0, 0.0, 4.0]) / 3.0) ** 2).sum(axis=1))
    height = bump + 0.35 * rng.standard_normal(len(normals))
    noisy = Surface(
        followup.vertices + normals * height[:, None],
        followup.faces[(followup.vertices[followup.faces, 2] < 38).all(axis=1)],
        followup.fields,
        "baseline",
    )
    noisy, truth = moved(noisy, -13.0, (0.4, 0.2, 1.0), (-8.0, 3.0, 6.0))
    found = register_bone(noisy, bone)
    assert motion_error_mm(found.transform, truth, joint_points(noisy)) < 0.05


def test_forth_and_back_are_inverse(bone: Surface) -> None:
    followup, _ = moved(lumpy_bone(shift=0.31), 9.0, (1.0, 1.0, 0.0), (5.0, 0.0, 0.0))
    forth, back = register_bone(followup, bone), register_bone(bone, followup)
    points = joint_points(followup)
    assert motion_error_mm(back.transform.inverse(), forth.transform, points) < 0.01


def test_swapping_noisy_visits_gives_the_inverse_motion(bone: Surface) -> None:
    """One directed distance alone leaves 5 µm here, and more where noise is smooth."""
    before = with_noise(bone, np.random.default_rng(5))
    after, _ = moved(
        with_noise(lumpy_bone(shift=0.31), np.random.default_rng(6)),
        9.0,
        (1.0, 1.0, 0.0),
        (5, 0, 0),
    )
    forth, back = register_bone(after, before), register_bone(before, after)
    gap_mm = motion_error_mm(back.transform.inverse(), forth.transform, joint_points(after))
    assert gap_mm < 1e-3


def with_noise(surface: Surface, rng: np.random.Generator) -> Surface:
    """The boundary moved along its normals by 0.35 mm (SD), independent from vertex to vertex."""
    height = 0.35 * rng.standard_normal((len(surface.vertices), 1))
    moved_mm = surface.vertices + height * vertex_normals(surface.vertices, surface.faces)
    return Surface(moved_mm, surface.faces, surface.fields, surface.frame_uid)


def test_the_mirrored_pair_moves_by_the_mirrored_motion(bone: Surface) -> None:
    followup, _ = moved(lumpy_bone(shift=0.31), 9.0, (1.0, 1.0, 0.0), (5.0, 0.0, 0.0))
    plain = register_bone(followup, bone)
    flipped = register_bone(mirrored(followup), mirrored(bone))
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(
        flipped.transform.matrix, flip @ plain.transform.matrix @ flip, atol=1e-6
    )
    assert flipped.rms_mm == pytest.approx(plain.rms_mm, abs=1e-6)


def mirrored(surface: Surface) -> Surface:
    """The opposite knee."""
    return Surface(
        surface.vertices * [-1.0, 1.0, 1.0],
        surface.faces[:, ::-1],
        surface.fields,
        surface.frame_uid,
    )


def test_the_opposite_knee_is_refused_and_named(bone: Surface) -> None:
    with pytest.raises(RegistrationError, match="opposite knee") as caught:
        register_bone(mirrored(bone), bone)
    assert caught.value.code is ReasonCode.REGISTRATION_FAILED
    assert "side" in caught.value.finding.action


def test_a_bone_of_another_size_is_refused(bone: Surface) -> None:
    with pytest.raises(RegistrationError, match="does not match") as caught:
        register_bone(lumpy_bone(scale=1.12), bone)
    finding = caught.value.finding
    assert finding.expected
    assert "mm" in finding.found
    assert finding.action


def test_a_surface_without_triangles_is_refused(bone: Surface) -> None:
    empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(RegistrationError, match="baseline bone has no surface"):
        register_bone(bone, empty)


def test_without_plates_the_whole_surface_is_used(bone: Surface) -> None:
    bare = Surface(bone.vertices, bone.faces)
    followup, truth = moved(
        Surface(bone.vertices, bone.faces, {}, "baseline"), 5.0, (0, 0, 1), (1, 2, 3)
    )
    found = register_bone(followup, bare)
    assert motion_error_mm(found.transform, truth, bone.vertices) < 1e-4


def test_sampling_is_deterministic(bone: Surface) -> None:
    followup, _ = moved(lumpy_bone(shift=0.31), 9.0, (1.0, 1.0, 0.0), (5.0, 0.0, 0.0))
    settings = RegistrationSettings(sample_points=1500)
    one, two = (register_bone(followup, bone, settings) for _ in range(2))
    np.testing.assert_array_equal(one.transform.matrix, two.transform.matrix)
    assert rotation_angle_deg(one.transform.rotation) == pytest.approx(9.0, abs=0.05)
