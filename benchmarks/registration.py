"""Known motions of one bone, found again: error over the joint surface and seconds.

    python benchmarks/registration.py [--labels FILE] [--pairs 12] [--peer-pairs 1]

Without `--labels` the femur of the parametric knee is used; with a label map (NIfTI, scheme
`knee-v1`) its femur. Every follow-up is the bone with 0.35 mm of boundary noise (SD, smooth over
about 1 mm, drawn anew for both visits), 10 % of it cut off at the shaft, turned by up to 15
degrees and moved by up to 10 mm. `--noise followup` leaves the baseline without noise,
`--grain vertex` draws it for every vertex by itself.

Beside each error stands what the noise alone leaves: linear least squares over the same bone that
is told which points belong together and how the surface lies there. A registration that comes out
about the same has lost nothing. The peer registers the same pair as images: rigid
mutual information of SimpleITK on the voxelised bones (0.7 mm).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.geometry.meshes import vertex_normals
from kneeimg.geometry.rigid import rotation
from kneeimg.longitudinal.bone_patch import joint_patch
from kneeimg.longitudinal.registration import register_bone
from kneeimg.measure.morphometry import measure_knee
from kneeimg.settings.registration import RegistrationSettings

NOISE_MM = 0.35
CUT_SHARE = 0.10
FloatArray = NDArray[np.float64]


def main() -> int:
    """Print one line per pair and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, help="label map of a right knee (NIfTI)")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--peer-pairs", type=int, default=1)
    parser.add_argument("--noise", choices=("both", "followup"), default="both")
    parser.add_argument("--grain", choices=("smooth", "vertex"), default="smooth")
    args = parser.parse_args()
    bone = femur_of(args.labels)
    noise = BoundaryNoise(bone, smooth=args.grain == "smooth")
    rng = np.random.default_rng(20)
    errors, limits, apart, seconds = [], [], [], []
    peer_errors, peer_seconds = [], []
    for number in range(args.pairs):
        before_mm = noise.draw(rng) if args.noise == "both" else np.zeros(len(bone.vertices))
        baseline, after_mm = noise.moved(before_mm), noise.draw(rng)
        still = cut(noise.moved(after_mm))
        followup, truth = moved(still, rng)
        start = time.process_time()
        found = register_bone(followup, baseline)
        seconds.append(time.process_time() - start)
        errors.append(motion_error_um(found.transform, truth, followup))
        limits.append(noise.limit_um(before_mm - after_mm, np.unique(still.faces)))
        back = register_bone(baseline, followup).transform.inverse()
        apart.append(motion_error_um(found.transform, back, followup))
        line = f"{number:2d}  kneeimg {errors[-1]:6.1f} um (noise alone {limits[-1]:6.1f})"
        line += f"  {seconds[-1]:5.2f} s"
        if number < args.peer_pairs:
            start = time.process_time()
            peer = simpleitk_rigid(followup, baseline)
            peer_seconds.append(time.process_time() - start)
            peer_errors.append(motion_error_um(peer, truth, followup))
            line += f"   SimpleITK {peer_errors[-1]:6.1f} um  {peer_seconds[-1]:5.2f} s"
        print(line, flush=True)
    print(f"{len(bone.vertices)} vertices; CPU seconds median {np.median(seconds):.2f}")
    for name, values in (("motion error", errors), ("noise alone", limits)):
        print(
            f"{name}: median {np.median(values):.1f}, root mean square {_rms(values):.1f}, ", end=""
        )
        print(f"worst {max(values):.1f} um")
    print(f"baseline and follow-up swapped: at most {max(apart):.2g} um apart")
    if peer_errors:
        show_beside(errors, seconds, peer_errors, peer_seconds)
    return 0


def show_beside(
    errors: list[float], seconds: list[float], peer_errors: list[float], peer_seconds: list[float]
) -> None:
    """Both programs on the pairs that both registered: one pair says little, errors are random."""
    n = len(peer_errors)
    ratio = np.median(np.array(peer_seconds) / np.array(seconds[:n]))
    own, peer = np.array(errors[:n]), np.array(peer_errors)
    print(f"same {n} pairs, median / root mean square: kneeimg {np.median(own):.1f} /")
    print(f"{_rms(own):.1f} um, SimpleITK {np.median(peer):.1f} / {_rms(peer):.1f} um;")
    print(f"SimpleITK takes {ratio:.1f} times as long (median of the pairs)")


def _rms(values: ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def femur_of(labels: Path | None) -> Surface:
    """The measured femur of a label map or of the parametric knee."""
    if labels is None:
        from kneeimg.phantoms.grids import dess_grid
        from kneeimg.phantoms.knee import KneePhantom

        label_map = KneePhantom(Side.RIGHT).label_map(dess_grid())
    else:
        from kneeimg.io.label_maps import read_label_map
        from kneeimg.io.label_schemes import load_scheme

        label_map = read_label_map(labels, load_scheme("knee-v1"))
    return measure_knee(label_map, Side.RIGHT).surfaces[Bone.FEMUR]


class BoundaryNoise:
    """Random errors of the boundary of a bone, and what they alone make of its registration."""

    def __init__(self, bone: Surface, *, smooth: bool) -> None:
        self._bone = bone
        self._passes = 8 if smooth else 0
        self._normals = vertex_normals(bone.vertices, bone.faces)
        faces, size = bone.faces, len(bone.vertices)
        pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
        self._links = (links + links.T).tocsr()
        self._count = np.maximum(np.asarray(self._links.sum(axis=1)).ravel(), 1)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """(V,) heights, mm."""
        height = rng.standard_normal(len(self._normals))
        for _ in range(self._passes):
            height = 0.5 * height + 0.5 * (self._links @ height) / self._count
        return height * (NOISE_MM / height.std())

    def moved(self, height_mm: FloatArray) -> Surface:
        """The bone with its boundary moved by these heights."""
        fields = {"plate": self._bone.fields["plate"]}
        vertices = self._bone.vertices + self._normals * height_mm[:, None]
        return Surface(vertices, self._bone.faces, fields, "baseline")

    def limit_um(self, height_mm: FloatArray, seen: NDArray[np.int64]) -> float:
        """Motion error of least squares that knows every pair of points.

        `height_mm` is the difference of the noise of both visits, `seen` the vertices of both.
        """
        patch = joint_patch(self._bone, RegistrationSettings().joint_reach_mm, 0.0)
        number = cKDTree(self._bone.vertices).query(patch.vertices_mm)[1]
        weight = patch.area_mm2 * (patch.core & np.isin(number, seen))
        points, normals = self._bone.vertices[number], self._normals[number]
        centre, size_mm = points.mean(axis=0), 30.0
        jacobian = np.hstack([np.cross(points - centre, normals) / size_mm, normals])
        weighted = jacobian * weight[:, None]
        motion = np.linalg.solve(weighted.T @ jacobian, weighted.T @ height_mm[number])
        joint = self._bone.vertices[self._bone.fields["plate"] > 0]
        gap = np.cross(motion[:3] / size_mm, joint - centre) + motion[3:]
        return 1000.0 * _rms(np.linalg.norm(gap, axis=1))


def cut(bone: Surface) -> Surface:
    """The bone without the share of its vertices that lies farthest up the shaft."""
    joint = bone.vertices[bone.fields["plate"] > 0].mean(axis=0)
    up = bone.vertices.mean(axis=0) - joint
    height = (bone.vertices - joint) @ up
    keep = height < np.quantile(height, 1.0 - CUT_SHARE)
    faces = bone.faces[keep[bone.faces].all(axis=1)]
    return Surface(bone.vertices, faces, bone.fields, bone.frame_uid)


def moved(bone: Surface, rng: np.random.Generator) -> tuple[Surface, RigidTransform]:
    """The bone in another pose, and the motion that brings it back."""
    turn = rotation(rng.standard_normal(3), rng.uniform(-15.0, 15.0))
    centre = bone.vertices.mean(axis=0)
    shift = rng.uniform(-10.0, 10.0, 3) + centre - turn @ centre
    there = RigidTransform(turn, shift, "baseline", "followup")
    return there.move(bone), there.inverse()


def motion_error_um(found: RigidTransform, truth: RigidTransform, bone: Surface) -> float:
    """Root mean square over the joint surface of how far apart both transforms put a point."""
    points = bone.vertices[bone.fields["plate"] > 0]
    gap = found.apply(points) - truth.apply(points)
    return float(1000.0 * np.sqrt((gap**2).sum(axis=1).mean()))


def simpleitk_rigid(followup: Surface, baseline: Surface) -> RigidTransform:
    """Rigid mutual-information registration of the voxelised bones."""
    import SimpleITK as sitk  # noqa: N813

    fixed, moving = _voxelised(baseline), _voxelised(followup)
    start = sitk.CenteredTransformInitializer(
        fixed,
        moving,
        sitk.Euler3DTransform(),
        sitk.CenteredTransformInitializerFilter.MOMENTS,
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(start, inPlace=False)
    result = method.Execute(fixed, moving)  # baseline points to follow-up points
    at = np.array(result.TransformPoint((0.0, 0.0, 0.0)))
    turn = np.column_stack([np.array(result.TransformPoint(tuple(e))) - at for e in np.eye(3)])
    return RigidTransform(turn, at, "baseline", "followup").inverse()


def _voxelised(bone: Surface, step_mm: float = 0.7):
    """Signed distance within 3 mm of the surface, 3 mm elsewhere, as a SimpleITK image."""
    import SimpleITK as sitk  # noqa: N813

    used = np.unique(bone.faces)
    points, normals = bone.vertices[used], vertex_normals(bone.vertices, bone.faces)[used]
    low, high = points.min(axis=0) - 5.0, points.max(axis=0) + 5.0
    axes = [np.arange(a, b, step_mm) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distance, nearest = cKDTree(points).query(grid, distance_upper_bound=3.0)
    near = np.isfinite(distance)
    value = np.full(len(grid), 3.0)
    offset = grid[near] - points[nearest[near]]
    value[near] = np.einsum("nx,nx->n", offset, normals[nearest[near]])
    shape = tuple(len(axis) for axis in axes)
    image = sitk.GetImageFromArray(value.reshape(shape).transpose(2, 1, 0).astype(np.float32))
    image.SetOrigin(tuple(low))
    image.SetSpacing((step_mm,) * 3)
    return image


if __name__ == "__main__":
    sys.exit(main())
