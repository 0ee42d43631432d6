"""Settings of cartilage morphometry on MR label maps."""

from __future__ import annotations

from pydantic import Field

from kneeimg.settings.base import Settings
from kneeimg.settings.plate_model import PlateModelSettings


class MorphometrySettings(Settings):
    """How cartilage thickness, areas and volumes are measured.

    Attributes
    ----------
    sigma_soft_mm : Gaussian smoothing of the level sets of a soft label map, mm. Small: voxel
        fractions already place the surfaces between the voxels.
    sigma_hard_mm : The same for a hard label map, mm. Bone and bone + cartilage are smoothed
        alike, so the distance between their surfaces does not shrink.
    sigma_normal_mm : Gaussian smoothing of the bone before its normals are taken, mm.
    sigma_articular_mm : Smoothing of the normals of the articular surface along it, mm.
    max_thickness_mm : A longer ray is a failed ray (undetermined), never a measurement, mm.
    denuded_below_mm : Bone under less cartilage than this counts as denuded, mm. Below it a
        voxel fraction cannot tell a film of cartilage from the edge of the bone.
    wall_foot_share : A ray below this share of a neighbouring one stands at the foot of the
        cartilage's side wall, on bare bone.
    min_patch_mm2 : Covered patches smaller than this are specks, not cartilage plates, mm².
    max_hole_mm2 : A bare spot surrounded by cartilage belongs to the plate when it is smaller
        than this, mm²; a larger one is open bone (intercondylar notch).
    femur_fraction : Part of the distance from the trochlear notch line to the posterior end of a
        condyle that is its central, weight-bearing part; 0.75 (OAI) and 0.60 are published.
    undetermined_flag_pct : Share of undetermined area above which a value is flagged, %.
    coarse_voxel_mm : A voxel edge of this length or more is flagged, mm.
    min_defect_mm2 : A connected denuded part of tAB of at least this area is a full-thickness
        defect, mm². 5 mm² is a disc of 2.5 mm: some 20 pixels of a 0.365 × 0.7 mm grid.
    meniscus_min_mm : Bone counts as covered by a meniscus that is at least this thick along the
        bone normal, mm.
    meniscus_reach_mm : A meniscus is looked for up to this height above the bone, mm.
    meniscus_body_share : Central part of a plateau's front-to-back extent over which extrusion
        is taken; a third is the meniscal body, between the anterior and posterior horn.
    plausible_mean_mm : Lowest and highest plausible mean thickness over covered bone, mm. The
        Framingham normals lie between 1.7 and 2.1 mm with an SD near 0.25 mm
        (doi:10.1016/j.joca.2010.07.010); the limits are far outside on both sides.
    plate_model : How bone area lost at the rim of a plate is recovered.
    """

    sigma_soft_mm: float = Field(default=0.1, ge=0.0, le=1.0)
    sigma_hard_mm: float = Field(default=0.3, ge=0.0, le=1.5)
    sigma_normal_mm: float = Field(default=1.5, gt=0.0, le=4.0)
    sigma_articular_mm: float = Field(default=0.5, gt=0.0, le=4.0)
    max_thickness_mm: float = Field(default=10.0, gt=1.0, le=20.0)
    wall_foot_share: float = Field(default=0.35, ge=0.0, le=0.9)
    denuded_below_mm: float = Field(default=0.2, gt=0.0, le=1.0)
    min_patch_mm2: float = Field(default=25.0, ge=0.0)
    max_hole_mm2: float = Field(default=800.0, ge=0.0)
    femur_fraction: float = Field(default=0.75, gt=0.0, lt=1.0)
    undetermined_flag_pct: float = Field(default=5.0, ge=0.0, le=100.0)
    coarse_voxel_mm: float = Field(default=2.0, gt=0.0)
    min_defect_mm2: float = Field(default=5.0, ge=0.0)
    meniscus_min_mm: float = Field(default=0.2, gt=0.0, le=2.0)
    meniscus_reach_mm: float = Field(default=15.0, gt=1.0, le=30.0)
    meniscus_body_share: float = Field(default=1.0 / 3.0, gt=0.0, le=1.0)
    plausible_mean_mm: tuple[float, float] = (0.8, 3.8)
    plate_model: PlateModelSettings = Field(default_factory=PlateModelSettings)
