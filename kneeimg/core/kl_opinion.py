"""A second opinion on the Kellgren-Lawrence grade: small networks and what they say of one film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.kl_support import GradeAnswer
from kneeimg.core.margins import Compartment
from kneeimg.errors import Finding, ModelError

FloatArray = NDArray[np.float64]
Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class JointCrop:
    """What a network sees of a compartment of the level film (`measure.film_level`).

    Attributes
    ----------
    samples_per_width : Samples per femoral width.
    rows, columns : Size of the crop in samples.
    middle_s, middle_v : Its centre, in femoral widths inward from the edge of the femur and below
        the condylar tangent.
    """

    samples_per_width: float
    rows: int
    columns: int
    middle_s: float
    middle_v: float

    @property
    def s(self) -> FloatArray:
        """(columns,) places of the samples, femoral widths inward from the edge of the femur."""
        places: FloatArray = self._places(self.columns) + self.middle_s
        return places

    @property
    def v(self) -> FloatArray:
        """(rows,) places of the samples, femoral widths below the condylar tangent."""
        places: FloatArray = self._places(self.rows) + self.middle_v
        return places

    def _places(self, count: int) -> FloatArray:
        steps = np.arange(count, dtype=np.float64) - (count - 1) / 2
        places: FloatArray = steps / self.samples_per_width
        return places


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution with its normalisation folded in; the image is padded with zeros.

    Attributes
    ----------
    weight : (out, in, k, k), k odd.
    bias : (out,).
    stride : Steps between the places where it is computed.
    """

    weight: Weights
    bias: Weights
    stride: int = 1

    def __post_init__(self) -> None:
        shape = self.weight.shape
        if len(shape) != 4 or shape[2] != shape[3] or shape[2] % 2 == 0:
            raise ModelError("a convolution needs (out, in, k, k) weights, k odd", found=str(shape))
        if self.bias.shape != shape[:1]:
            raise ModelError("bias and weights of a convolution do not belong together")


@dataclass(frozen=True, slots=True, eq=False)
class ResidualBlock:
    """Two convolutions beside a shortcut (He 2016, doi:10.1109/CVPR.2016.90).

    Attributes
    ----------
    first, second : The convolutions.
    shortcut : Brings the input to the size of the output; None where it has it already.
    """

    first: Convolution
    second: Convolution
    shortcut: Convolution | None


@dataclass(frozen=True, slots=True, eq=False)
class GradeNetwork:
    """One network: a film's compartments to features, their mean over the crop to log odds.

    Attributes
    ----------
    stem, blocks : Layers in order.
    weight : (2, C) log odds per unit of each mean feature, medial and lateral compartment.
    mean_map : (2, R, C) mean over the training films of the log odds that come from each cell.
    feature_mean, feature_sd : (2, C) of the mean features, over the training films.
    """

    stem: Convolution
    blocks: tuple[ResidualBlock, ...]
    weight: FloatArray
    mean_map: FloatArray
    feature_mean: FloatArray
    feature_sd: FloatArray

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ModelError("a network without blocks")
        channels = (len(Compartment), len(self.blocks[-1].second.bias))
        arrays = (self.weight, self.feature_mean, self.feature_sd)
        if any(array.shape != channels for array in arrays) or self.mean_map.ndim != 3:
            raise ModelError(
                "the head of a network does not fit its layers",
                expected=f"arrays of {channels}",
                found=", ".join(str(array.shape) for array in arrays),
            )
        if not all(np.isfinite(array).all() for array in (*arrays, self.mean_map)):
            raise ModelError("the head of a network has a value that is not finite")


@dataclass(frozen=True, slots=True, eq=False)
class GradeEnsemble:
    """Networks whose mean log odds give the probabilities of the grades.

    Attributes
    ----------
    crop : What they see.
    networks : Of equal weight.
    slope : Calibrated log odds per log odds of the networks.
    thresholds : Of the grades 1, 2, 3 and 4 on the calibrated scale, ascending.
    most_unlike : Greatest distance from the training films at which a grade is suggested.
    provenance : Data, licence, commands and figures, as the metadata state them.
    sha256 : Hash of the weights; "" when they came from memory.
    """

    crop: JointCrop
    networks: tuple[GradeNetwork, ...]
    slope: float
    thresholds: tuple[float, float, float, float]
    most_unlike: float
    provenance: Mapping[str, object] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.networks:
            raise ModelError("an ensemble without networks")
        if not (np.diff(self.thresholds) > 0).all() or not np.isfinite(self.thresholds).all():
            raise ModelError("thresholds must be four and ascend", found=str(self.thresholds))
        if not (self.slope > 0 and self.most_unlike > 0):
            raise ModelError("slope and greatest distance must be positive")


@dataclass(frozen=True, slots=True, eq=False)
class KlOpinion(GradeAnswer):
    """What the networks say of one film.

    Attributes
    ----------
    maps : (R, C) of each compartment, seen from its outer side: log odds of a higher grade that
        come from each cell of the crop, against the mean training film. Their sum over both
        compartments is the score.
    crop : Where the cells lie.
    spread : SD of the log odds over the networks.
    unlikeness : Distance from the training films; 1 is usual, see `measure.kl_opinion`.
    findings : Why no grade is suggested.
    model_sha256 : Hash of the weights.
    """

    maps: Mapping[Compartment, FloatArray]
    crop: JointCrop
    spread: float
    unlikeness: float
    findings: tuple[Finding, ...] = ()
    model_sha256: str = ""

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return self._answer() | {
            "log_odds_by_compartment": {c.value: float(m.sum()) for c, m in self.maps.items()},
            "spread_of_networks": self.spread,
            "unlikeness": self.unlikeness,
            "findings": [finding.as_dict() for finding in self.findings],
            "model_sha256": self.model_sha256,
        }
