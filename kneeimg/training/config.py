"""The train file: where the data are, which networks, how each stage is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kneeimg.networks.spec import CascadeSpec
from kneeimg.settings.base import Settings
from kneeimg.settings.training import TrainingSettings, ValidationSettings


class DataSettings(Settings):
    """Table `[data]`.

    Attributes
    ----------
    datalist : JSON list of label maps and labelled images, relative to the train file; empty
        where the pool is already made.
    pool : Folder in which every knee is kept ready to be scanned.
    variants : Tissue maps made of each label map; the first is the knee as labelled, the others
        have disease drawn.
    donor : Label map of the SPL/NAC knee atlas that lends its soft tissue; empty draws simple
        soft tissue.
    held_out : Participants that are never trained on; both stages obey.
    """

    datalist: str = ""
    pool: str = "pool"
    variants: Annotated[int, Field(ge=1)] = 4
    donor: str = ""
    held_out: tuple[str, ...] = ()


class TrainFile(Settings):
    """The whole of a train file; an unknown key anywhere is an error.

    Attributes
    ----------
    name, version : What the trained model is called.
    output : Folder of checkpoints, logs and the finished bundle, relative to the train file.
    begin_from : A model bundle whose weights are trained on; empty starts from scratch.
    device : Where training runs; `auto` takes a graphics card when there is one.
    threads : Processor threads; 0 takes all.
    data, model, coarse, fine, validation : The parts.
    """

    name: str = "knee_mr"
    version: str = "0.1.0"
    output: str = "run"
    begin_from: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    data: DataSettings = DataSettings()
    model: CascadeSpec = CascadeSpec()
    coarse: TrainingSettings = TrainingSettings(stage="coarse")
    fine: TrainingSettings = TrainingSettings(stage="fine")
    validation: ValidationSettings = ValidationSettings()

    @model_validator(mode="before")
    @classmethod
    def _name_the_stages(cls, values: object) -> object:
        """A table `[coarse]` says by its name which stage it is."""
        if isinstance(values, dict):
            for stage in ("coarse", "fine"):
                if isinstance(values.get(stage), dict):
                    values = {**values, stage: {"stage": stage, **values[stage]}}
        return values

    @model_validator(mode="after")
    def _stages_fit(self) -> TrainFile:
        for stage in ("coarse", "fine"):
            if getattr(self, stage).stage != stage:
                raise ValueError(f"[{stage}] holds settings of the other stage")
        for stage, size, multiple in (
            ("coarse.coarse_size", self.coarse.coarse_size, self.model.coarse.multiple),
            ("fine.coarse_size", self.fine.coarse_size, self.model.coarse.multiple),
            ("fine.patch", self.fine.patch, self.model.fine.multiple),
        ):
            if any(n % m for n, m in zip(size, multiple, strict=True)):
                raise ValueError(f"{stage} must be a multiple of {multiple}, found {size}")
        return self
