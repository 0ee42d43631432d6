"""The knee model of a bundle as a segmenter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.networks.bundle import Bundle, load_cascade
from kneeimg.segment.cleanup import clean_up
from kneeimg.segment.confidence import confidence_of, judge
from kneeimg.segment.devices import (
    Attempt,
    attempts,
    choose_device,
    choose_precision,
    first_that_fits,
)
from kneeimg.segment.mr import ModelCard, Segmentation
from kneeimg.settings.segmentation import SegmentationSettings

if TYPE_CHECKING:
    from kneeimg.networks.cascade import CascadeResult, KneeCascade

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


class BundleSegmenter:
    """A knee model that was read from a bundle, on a device.

    Parameters
    ----------
    bundle : Its metadata, checked.
    settings : Device, precision, clean-up and limits of confidence.
    model : The networks with their weights; None reads them from the bundle.

    Raises
    ------
    ModelError
        MODEL_HASH_MISMATCH or MODEL_REFUSED when the weights are read.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: SegmentationSettings | None = None,
        model: KneeCascade | None = None,
    ) -> None:
        self._settings = settings or SegmentationSettings()
        self._device = choose_device(self._settings.device)
        self._model = load_cascade(bundle) if model is None else model.eval()
        self._card = card_of(bundle)
        self._notes = _preview_note(bundle)

    @property
    def card(self) -> ModelCard:
        """Name, version and hash of the bundle."""
        return self._card

    def segment(self, image: Volume, side: Side | None = None) -> LabelMap:
        """The soft label map alone; see :meth:`segment_knee`."""
        return self.segment_knee(image, side).label_map

    def segment_knee(self, image: Volume, side: Side | None) -> Segmentation:
        """Bones, cartilage and menisci of a knee.

        Parameters
        ----------
        image : One knee, any sequence and orientation.
        side : Which knee; None runs it as a right one and leaves out the menisci, which cannot be
            told apart then.

        Raises
        ------
        InputError
            NOT_A_KNEE or LOW_CONFIDENCE.
        ModelError
            OUT_OF_MEMORY.
        """
        clock = Clock()
        require_image(image)
        with clock.step("networks"):
            result, notes = self._run(image, side)
        with clock.step("resampling"):
            from kneeimg.segment.carry import label_map_of

            label_map = label_map_of(result, image.grid, side)
            del result
        with clock.step("cleanup"):
            if self._settings.cleanup.enabled:
                label_map = clean_up(label_map, self._settings.cleanup)
        with clock.step("confidence"):
            confidence = confidence_of(label_map)
            doubts = judge(label_map, confidence, self._settings.confidence)
        return Segmentation(
            label_map,
            findings=(*self._notes, *notes, *_side_note(side), *doubts),
            confidence=confidence,
            unsure=tuple(dict.fromkeys(Bone(doubt.where) for doubt in doubts)),
            seconds=clock.seconds,
        )

    def _run(self, image: Volume, side: Side | None) -> tuple[CascadeResult, tuple[Finding, ...]]:
        spec = self._model.spec
        ways = tuple(attempts(self._device, spec.window, spec.fine.multiple))

        def run(way: Attempt) -> CascadeResult:
            from kneeimg.networks.cascade import run_cascade
            from kneeimg.segment.carry import as_tensor

            return run_cascade(
                self._model.to(way.device),
                as_tensor(image.data, way.device),
                image.grid,
                side or Side.RIGHT,
                precision=choose_precision(self._settings.precision, way.device),
                window=way.window,
            )

        return first_that_fits(ways, run)


def card_of(bundle: Bundle) -> ModelCard:
    """The card of a bundle; no weights are opened."""
    return ModelCard(bundle.name, bundle.version, bundle.sha256)


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


def _preview_note(bundle: Bundle) -> tuple[Finding, ...]:
    if bundle.table.maturity == "release":
        return ()
    text = "the model is a preview: its cartilage is not yet exact enough for thickness"
    return (Finding(ReasonCode.MODEL_PREVIEW, text, found=f"{bundle.name} {bundle.version}"),)


def _side_note(side: Side | None) -> tuple[Finding, ...]:
    if side is not None:
        return ()
    text = "the side is unknown, so the menisci cannot be named and are left out"
    action = "give the side (--side, or the study file)"
    return (Finding(ReasonCode.NO_LATERALITY, text, action=action),)
