"""How a model that was not made by kneeimg wants to see an image: a TOML file beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kneeimg.settings.base import Settings

PositiveMm = Annotated[float, Field(gt=0)]
Positive = Annotated[int, Field(ge=1)]

#: Array axis (0 left–right, 1 front–back, 2 up–down) of each letter of an orientation.
LETTER_AXES = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}


class ForeignInput(Settings):
    """Table `[input]`.

    Attributes
    ----------
    spacing_mm : Voxel size along the model's axes, mm; None for the image's own.
    orientation : Where each axis of the model's array runs to: one of L R, P A, S I each, in the
        order of the axes. nnU-Net reads NIfTI through SimpleITK: "SPL".
    mirror_left : A left knee is shown mirrored, as a right one.
    normalisation : "percentile" to 0..1, "zscore" to mean 0 and SD 1, or "none".
    percentiles : Percentiles of the whole image that become 0 and 1; beyond them it is clipped.
    """

    spacing_mm: tuple[PositiveMm, PositiveMm, PositiveMm] | None = None
    orientation: str = "LPS"
    mirror_left: bool = False
    normalisation: Literal["percentile", "zscore", "none"] = "percentile"
    percentiles: tuple[float, float] = (1.0, 99.0)

    @field_validator("orientation")
    @classmethod
    def _one_letter_each(cls, letters: str) -> str:
        if len(letters) != 3 or {LETTER_AXES.get(letter) for letter in letters} != {0, 1, 2}:
            raise ValueError("three letters, one of L R, one of P A, one of S I")
        return letters

    @field_validator("percentiles")
    @classmethod
    def _in_order(cls, pair: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= pair[0] < pair[1] <= 100:
            raise ValueError("two percentiles, the lower first, 0 to 100")
        return pair


class ForeignWindow(Settings):
    """Table `[window]`.

    Attributes
    ----------
    size : Voxels of a window along the model's axes.
    overlap : Share of a window that its neighbour sees too.
    """

    size: tuple[Positive, Positive, Positive]
    overlap: float = Field(default=0.25, ge=0.0, lt=1.0)


class ForeignOutput(Settings):
    """Table `[output]`.

    Attributes
    ----------
    values : Label value of each output channel, in the label scheme; 0 is background.
    activation : What makes probabilities of the output.
    """

    values: tuple[Annotated[int, Field(ge=0)], ...]
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"

    @model_validator(mode="after")
    def _distinct(self) -> ForeignOutput:
        if len(set(self.values)) != len(self.values) or len(self.values) < 1:
            raise ValueError("each channel has a label value of its own")
        if self.activation != "sigmoid" and 0 not in self.values:
            raise ValueError("one channel is the background, label value 0")
        return self


class ForeignModelFile(Settings):
    """The file beside a foreign model; an unknown key is an error.

    Attributes
    ----------
    name, version : Stand in every result.
    input, window, output : What the model sees and gives.
    """

    name: str = Field(min_length=1)
    version: str = "unknown"
    input: ForeignInput = ForeignInput()
    window: ForeignWindow
    output: ForeignOutput
