"""Settings of the rigid registration of a bone between two visits."""

from __future__ import annotations

from pydantic import Field

from kneeimg.settings.base import Settings


class RegistrationSettings(Settings):
    """How a follow-up bone is aligned with the baseline bone, and when the result is refused."""

    joint_reach_mm: float = Field(25.0, gt=0)
    """Only bone within this distance of the joint surface (tAB) is aligned, mm. The shaft ends
    raggedly where the field of view or the segmentation ends, and differs between visits."""

    sample_points: int = Field(6000, ge=200)
    """Points of the follow-up bone that take part, spread evenly over its area."""

    coarse_points: int = Field(500, ge=100)
    """Points that take part while starting poses are compared."""

    normal_smoothing_mm: float = Field(1.5, ge=0)
    """Length over which surface normals are averaged, mm; about the size of voxel steps."""

    max_normal_angle_deg: float = Field(45.0, gt=0, le=90)
    """Pairs whose normals differ by more are left out (cut faces, other side), degrees."""

    min_scale_mm: float = Field(0.05, gt=0)
    """Smallest residual scale of the robust weights, mm; below it nothing is an outlier."""

    trim_share: float = Field(0.10, ge=0, lt=0.5)
    """Share of the farthest points left out of the reported residual: osteophytes, ragged ends."""

    max_iterations: int = Field(30, ge=1)
    """Steps of each stage at most."""

    step_tolerance_mm: float = Field(1e-4, gt=0)
    """The alignment has converged when a step moves no sampled point farther than this, mm."""

    pair_distance_mm: float = Field(2.0, gt=0)
    """A point counts as overlapping when the other bone lies within this distance, mm."""

    min_overlap: float = Field(0.75, gt=0, le=1)
    """Share of the sampled points that must overlap."""

    max_rms_mm: float = Field(0.80, gt=0)
    """Largest trimmed residual of two scans of one bone, mm."""

    max_median_mm: float = Field(0.53, gt=0)
    """Largest median distance of two scans of one bone, mm. Manual segmentations of 24 people 36
    to 96 months apart: femur up to 0.44; 72 pairs of different people: femur from 0.63. Tibia and
    patella of 13 people: up to 0.41 and 0.49, of others from 0.58 and 0.37: a patella alone does
    not tell people apart."""
