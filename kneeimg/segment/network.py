"""What every segmenter that is a network has in common: before it runs, and after."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.segment.cleanup import clean_up
from kneeimg.segment.confidence import confidence_of, judge
from kneeimg.segment.mr import ModelCard, Segmentation
from kneeimg.settings.segmentation import SegmentationSettings

#: An image of less than this extent shows no knee, mm: shortest, middle and longest axis.
_LEAST_EXTENT_MM = (20.0, 50.0, 50.0)


@dataclass(slots=True)
class Clock:
    """Seconds that each named step took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


class NetworkSegmenter(ABC):
    """A network as a segmenter; a kind of network says how it is run.

    Parameters
    ----------
    card : Which model this is.
    settings : Clean-up and limits of confidence, among others.
    """

    def __init__(self, card: ModelCard, settings: SegmentationSettings) -> None:
        self._card = card
        self._settings = settings

    @property
    def card(self) -> ModelCard:
        """Name, version and hash of the model."""
        return self._card

    def segment(self, image: Volume, side: Side | None = None) -> LabelMap:
        """The soft label map alone; see :meth:`segment_knee`."""
        return self.segment_knee(image, side).label_map

    def segment_knee(self, image: Volume, side: Side | None) -> Segmentation:
        """What the network makes of an image, cleaned up, and how sure it is.

        Parameters
        ----------
        image : One knee, any sequence and orientation.
        side : Which knee; None where nobody knows.

        Raises
        ------
        InputError
            NOT_A_KNEE, LOW_CONFIDENCE; NO_LATERALITY if the network cannot do without the side.
        ModelError
            OUT_OF_MEMORY, MODEL_REFUSED.
        """
        clock = Clock()
        require_image(image)
        label_map, notes = self._label_map(image, side, clock)
        with clock.step("cleanup"):
            if self._settings.cleanup.enabled:
                label_map = clean_up(label_map, self._settings.cleanup)
        with clock.step("confidence"):
            confidence = confidence_of(label_map)
            doubts = judge(label_map, confidence, self._settings.confidence)
        return Segmentation(
            label_map,
            findings=(*notes, *doubts),
            confidence=confidence,
            unsure=tuple(dict.fromkeys(Bone(doubt.where) for doubt in doubts)),
            seconds=clock.seconds,
        )

    @abstractmethod
    def _label_map(
        self, image: Volume, side: Side | None, clock: Clock
    ) -> tuple[LabelMap, tuple[Finding, ...]]:
        """The soft label map on the grid of the image as the network gives it, and findings."""


def require_image(image: Volume) -> None:
    """Refuse what no network can find a knee in, before it takes its seconds."""
    extent_mm = np.asarray(image.grid.shape) * image.grid.spacing_mm
    least = " × ".join(f"{mm:g}" for mm in _LEAST_EXTENT_MM)
    expected = f"at least {least} mm, grey values that differ"
    if (np.sort(extent_mm) < _LEAST_EXTENT_MM).any():
        found = " × ".join(f"{mm:.0f}" for mm in extent_mm) + " mm"
        raise _no_knee(expected, found)
    if not np.isfinite(image.data).all():
        raise _no_knee(expected, "values that are not numbers")
    if image.data.min() == image.data.max():
        raise _no_knee(expected, "one grey value everywhere")


def _no_knee(expected: str, found: str) -> InputError:
    return InputError(
        "the image cannot show a knee", code=ReasonCode.NOT_A_KNEE, expected=expected, found=found
    )
