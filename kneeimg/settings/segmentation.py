"""Settings of the segmentation of MR scans by a network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kneeimg.settings.base import Settings

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]
Range = tuple[float, float]


class CleanupSettings(Settings):
    """What is removed from a network's output because no knee looks like that.

    Attributes
    ----------
    enabled : Whether anything is removed or filled at all.
    bone_contact_share : A piece of bone is kept when its contact with its own cartilage is at
        least this share of that of the piece with the most. Not by size: the largest blob may be
        muscle.
    min_contact_mm2 : A piece of cartilage that touches its bone over less is not on the bone, mm².
    min_cartilage_mm3 : Smaller pieces of cartilage are specks, mm³; 20 mm³ is 4 × 4 × 1.25 mm.
    halo_mm : Probability farther than this from what is kept is set to 0, mm: a haze of 0.1 % over
        a whole scan would add up to millilitres.
    max_hole_mm3 : Holes inside a bone up to this size are filled, mm³. A marrow lesion or a vessel
        is bone.
    """

    enabled: bool = True
    bone_contact_share: float = Field(default=0.25, ge=0.0, le=1.0)
    min_contact_mm2: float = Field(default=8.0, ge=0.0)
    min_cartilage_mm3: float = Field(default=20.0, ge=0.0)
    halo_mm: float = Field(default=1.5, gt=0.0, le=10.0)
    max_hole_mm3: float = Field(default=20_000.0, ge=0.0)


class ConfidenceSettings(Settings):
    """When a network's output is no knee, or too unsure to be measured.

    Certainty is the mean probability of the winning tissue over the voxels where it wins, 0..1.

    Attributes
    ----------
    enabled : Whether anything is refused at all; certainty and volumes are reported either way.
    present_mm3 : Femur, tibia and their cartilages must each have at least this volume, or there
        is no knee in the image, mm³: bone, cartilage.
    knee_certainty : Below this certainty of femur or tibia there is no knee.
    max_joint_gap_mm : Femoral and tibial cartilage come at least this near to each other, mm.
    min_certainty : Below this certainty a tissue is not measured: bone, cartilage.
    femoral_cartilage_mm3, tibial_cartilage_mm3, patellar_cartilage_mm3 : Plausible volumes, mm³.
        Far outside of what adults have: advanced disease must not be refused.
    joint_width_mm : Plausible width of the tibial cartilages from medial to lateral, mm. Half a
        knee is narrower; what is wider is no knee.
    max_plateau_sd_mm : Tibial cartilages lie this near to their mean plane (SD), or there is no
        knee, mm.
    max_plateau_depth_mm : Extent of the tibial cartilages along the shorter axis of that plane, mm.
    max_cut_mm2 : Cartilage of femur or tibia that ends at the edge of the image over more than
        this is in view only in part, mm².
    """

    enabled: bool = True
    present_mm3: tuple[float, float] = (5_000.0, 200.0)
    knee_certainty: float = Field(default=0.6, ge=0.0, le=1.0)
    max_joint_gap_mm: float = Field(default=12.0, gt=0.0)
    min_certainty: tuple[float, float] = (0.75, 0.6)
    femoral_cartilage_mm3: Range = (2_000.0, 40_000.0)
    tibial_cartilage_mm3: Range = (600.0, 15_000.0)
    patellar_cartilage_mm3: Range = (200.0, 9_000.0)
    joint_width_mm: Range = (48.0, 110.0)
    max_plateau_sd_mm: float = Field(default=5.0, gt=0.0)
    max_plateau_depth_mm: float = Field(default=75.0, gt=0.0)
    max_cut_mm2: float = Field(default=15.0, ge=0.0)


class SegmentationSettings(Settings):
    """Table `[segmentation]`: what is done with an MR scan that has no mask.

    Attributes
    ----------
    model : Name of an installed model, path of its folder, or path of a foreign model (`.onnx`,
        `.ts`) with its description beside it; "none" refuses scans without a mask.
    scheme : How the channels of a foreign model (a file) name tissues.
    trust : Whether a foreign model that can run code (TorchScript) may be loaded.
    device : Where the network runs; "auto" takes a CUDA device where there is one.
    precision : Arithmetic of the network. "auto" is bfloat16 where the device computes it in
        hardware, else float32.
    cleanup, confidence : What is removed from the output, and when it is refused.
    """

    model: str = Field(default="knee_mr", min_length=1)
    scheme: str = "knee-v1"
    trust: bool = False
    device: Device = "auto"
    precision: Precision = "auto"
    cleanup: CleanupSettings = CleanupSettings()
    confidence: ConfidenceSettings = ConfidenceSettings()
