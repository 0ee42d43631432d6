"""Segmenters of MR volumes: one protocol, a registry, and the mask that already exists.

A segmenter turns a `Volume` into a `LabelMap` on the same grid and says which model it is. A
network registers a factory under its name; the pipeline asks for it by that name. An existing
mask is a segmenter like any other, because readers edit masks and measure again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, MaskError, ReasonCode


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model made a segmentation.

    Attributes
    ----------
    name, version : As its model card says.
    sha256 : Hash of the weights; empty where there are none.
    """

    name: str
    version: str
    sha256: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain values for a manifest."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


@runtime_checkable
class Segmenter(Protocol):
    """Volume in, label map on the same grid out."""

    @property
    def card(self) -> ModelCard:
        """Which model this is."""
        ...

    def segment(self, image: Volume, side: Side | None = None) -> LabelMap:
        """Tissue of every voxel of the image, hard or soft, scheme `knee-v1`.

        `side` is which knee; None where nobody knows. A segmenter that needs it says what it
        cannot tell without it.
        """
        ...


@dataclass(frozen=True, slots=True)
class TissueConfidence:
    """How sure a network is of one tissue.

    Attributes
    ----------
    certainty : Mean probability of the tissue over the voxels where it wins, 0..1; NaN without any.
    blur_mm : Volume between 10 and 90 % probability over the area of the boundary, mm; NaN without
        a boundary. A sharp boundary is as wide as a voxel.
    volume_mm3 : Sum of the probabilities.
    """

    certainty: float
    blur_mm: float
    volume_mm3: float


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A label map and what its maker says about it.

    Attributes
    ----------
    label_map : On the grid of the image.
    findings : What was noticed while segmenting.
    confidence : Per tissue; empty for a maker that cannot tell.
    unsure : Bones whose values are withheld (LOW_CONFIDENCE); their tissues stay in the label map.
    seconds : Duration of each step.
    """

    label_map: LabelMap
    findings: tuple[Finding, ...] = ()
    confidence: Mapping[Tissue, TissueConfidence] = field(default_factory=dict)
    unsure: tuple[Bone, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class KneeSegmenter(Segmenter, Protocol):
    """A segmenter that also tells how sure it is."""

    def segment_knee(self, image: Volume, side: Side | None) -> Segmentation:
        """As :meth:`segment`, with findings and confidence."""
        ...


def segment_with(segmenter: Segmenter, image: Volume, side: Side | None) -> Segmentation:
    """The segmentation of any segmenter, with confidence where it has one."""
    if isinstance(segmenter, KneeSegmenter):
        return segmenter.segment_knee(image, side)
    return Segmentation(segmenter.segment(image, side))


#: A mask has no weights; its own hash stands among the inputs of the case.
EXISTING_MASK = ModelCard(name="existing-mask", version="1")


@dataclass(frozen=True, slots=True, eq=False)
class ExistingMask:
    """A label map that was drawn or corrected before, as a segmenter.

    Examples
    --------
    >>> import numpy as np
    >>> from kneeimg.core.grid import Grid
    >>> grid = Grid((2, 2, 2), np.eye(4), "1.2")
    >>> mask = ExistingMask(LabelMap(np.ones((2, 2, 2), np.uint8), grid))
    >>> mask.segment(Volume(np.zeros((2, 2, 2)), grid, "a.u.")) is mask.label_map
    True
    """

    label_map: LabelMap

    @property
    def card(self) -> ModelCard:
        """The existing mask has no model."""
        return EXISTING_MASK

    def segment(self, image: Volume, side: Side | None = None) -> LabelMap:
        """The mask itself, whatever the side.

        Raises
        ------
        MaskError
            MASK_GRID_MISMATCH if it does not lie on the grid of the image.
        """
        grid = self.label_map.grid
        same_shape = grid.shape == image.grid.shape
        gap_mm = grid.corner_gap_mm(image.grid) if same_shape else float("inf")
        if gap_mm > _CORNER_TOLERANCE_MM:
            raise MaskError(
                "the mask lies on another grid than its image",
                code=ReasonCode.MASK_GRID_MISMATCH,
                expected=f"shape {image.grid.shape}",
                found=f"shape {grid.shape}, corners {gap_mm:.3g} mm apart",
                action="resample the mask onto the image in the tool that made it",
            )
        return self.label_map


#: NIfTI keeps an affine in float32; its corners may move this far without meaning anything.
_CORNER_TOLERANCE_MM = 0.05
