"""How synthetic scans are drawn and how a network learns from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kneeimg.settings.base import Settings
from kneeimg.settings.segmentation import Precision

Range = tuple[float, float]
Share = Annotated[float, Field(ge=0, le=1)]


class PoseSettings(Settings):
    """How far a knee is moved and bent before it is scanned.

    Attributes
    ----------
    rotation_deg : Largest rotation about each axis.
    scale : Smallest and largest size, each axis on its own within a fifth of that.
    shift_mm : Largest shift of the knee in the view.
    elastic_mm : Largest SD of the smooth random displacement.
    elastic_step_mm : Distance between its control points.
    bone_shift_mm, bone_turn_deg : SD of each bone's own motion: joint space, flexion, patella.
    """

    rotation_deg: Annotated[float, Field(ge=0, le=90)] = 20.0
    scale: Range = (0.85, 1.15)
    shift_mm: Annotated[float, Field(ge=0)] = 12.0
    elastic_mm: Annotated[float, Field(ge=0)] = 2.0
    elastic_step_mm: Annotated[float, Field(gt=5)] = 24.0
    bone_shift_mm: Annotated[float, Field(ge=0)] = 0.7
    bone_turn_deg: Annotated[float, Field(ge=0)] = 2.0


class ScanSettings(Settings):
    """What the scanner does to a knee.

    Attributes
    ----------
    families : Contrast families and how often each is drawn; see `kneeimg.training.contrast`.
    sagittal : Share of scans with sagittal slices; the rest is coronal or axial.
    in_plane_mm : Smallest and largest acquired voxel in the slice.
    slice_mm : Smallest and largest slice thickness.
    noise : Largest SD of the noise in units of the brightest tissue.
    bias : Largest SD of the logarithm of the coil's sensitivity.
    ghosting, chemical_shift, bands : How often each artefact is there.
    """

    families: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={
            "dess": 4.0,
            "flash": 1.5,
            "pd_fs": 2.0,
            "t2_fs": 1.0,
            "t1": 1.0,
            "pd": 0.7,
            "gre": 0.8,
            "wild": 1.0,
        }
    )
    sagittal: Share = 0.7
    in_plane_mm: Range = (0.3, 0.8)
    slice_mm: Range = (0.5, 3.5)
    noise: Annotated[float, Field(ge=0, le=1)] = 0.08
    bias: Annotated[float, Field(ge=0, le=2)] = 0.35
    ghosting: Share = 0.1
    chemical_shift: Share = 0.15
    bands: Share = 0.1


class OptimiserSettings(Settings):
    """How weights are moved.

    Attributes
    ----------
    learning_rate : Of AdamW, reached after `warm_up` iterations and then kept.
    warm_up : Iterations of linear rise.
    cool_down : The last iterations, in which the rate falls to zero.
    weight_decay : Of AdamW.
    clip : Largest norm of the gradient.
    average : Decay of the running average of the weights that is kept and shipped.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    warm_up: Annotated[int, Field(ge=0)] = 100
    cool_down: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    clip: Annotated[float, Field(gt=0)] = 5.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998


class TrainingSettings(Settings):
    """One training of one stage of the cascade.

    Attributes
    ----------
    stage : Which network learns.
    iterations : Steps in all.
    seed : Everything random follows from it and the number of the step.
    held_out : Participants that are never trained on.
    scans_per_knee : Scans drawn of a knee before the next one is loaded.
    patches_per_scan : Windows of the fine network taken from one scan.
    coarse_size : Voxels of the coarse network's view.
    patch : Voxels of the fine network's window.
    simulated_coarse : Share of scans whose coarse classes are the truth, disturbed, instead of
        the coarse network's own.
    edge_steps : The last iterations, which learn from cross-entropy alone. Dice, which counts
        beside it until then, finds small tissues soon but draws them too large.
    precision : Arithmetic inside the network; `auto` takes bf16 where the device computes it.
    save_every : Iterations between checkpoints.
    pose, scan, optimiser : The parts.
    """

    stage: Literal["coarse", "fine"]
    iterations: Annotated[int, Field(ge=1)] = 20000
    seed: int = 1
    held_out: tuple[str, ...] = ()
    scans_per_knee: Annotated[int, Field(ge=1)] = 3
    patches_per_scan: Annotated[int, Field(ge=1)] = 4
    coarse_size: tuple[int, int, int] = (80, 96, 96)
    patch: tuple[int, int, int] = (40, 96, 96)
    simulated_coarse: Share = 0.3
    edge_steps: Annotated[int, Field(ge=0)] = 0
    precision: Precision = "auto"
    save_every: Annotated[int, Field(ge=1)] = 200
    pose: PoseSettings = PoseSettings()
    scan: ScanSettings = ScanSettings()
    optimiser: OptimiserSettings = OptimiserSettings()

    @model_validator(mode="after")
    def _ends(self) -> TrainingSettings:
        if max(self.optimiser.cool_down, self.edge_steps) > self.iterations:
            raise ValueError("cool_down or edge_steps is longer than the training")
        return self


class ValidationSettings(Settings):
    """How the checkpoint that is kept is chosen, table `[validation]`.

    Dice hardly predicts the error of thickness (Desai 2021, doi:10.1148/ryai.2021200078), so both
    count: the score is 1 - mean Dice of the cartilages + mean |error of ThCtAB| of the plates in
    mm, so a hundredth of Dice weighs as much as 10 µm. The lowest score is kept.

    Attributes
    ----------
    people : Participants on whom it is chosen; they are not learned from, and figures on them are
        not those of strangers. Empty takes the last checkpoint.
    every : Steps of the fine network between validations.
    families : Contrast families that each of their knees is scanned with.
    """

    people: tuple[str, ...] = ()
    every: Annotated[int, Field(ge=1)] = 1000
    families: Annotated[tuple[str, ...], Field(min_length=1)] = ("dess", "flash", "pd_fs", "t1")
