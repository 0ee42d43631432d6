"""The knee model of a bundle as a segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kneeimg.core.anatomy import Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, ReasonCode
from kneeimg.networks.arithmetic import choose_precision
from kneeimg.networks.bundle import Bundle, load_cascade
from kneeimg.segment.devices import (
    Attempt,
    attempts,
    choose_device,
    first_that_fits,
)
from kneeimg.segment.mr import ModelCard
from kneeimg.segment.network import Clock, NetworkSegmenter
from kneeimg.settings.segmentation import SegmentationSettings

if TYPE_CHECKING:
    from kneeimg.networks.cascade import CascadeResult, KneeCascade


class BundleSegmenter(NetworkSegmenter):
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
        super().__init__(card_of(bundle), settings or SegmentationSettings())
        self._device = choose_device(self._settings.device)
        self._model = load_cascade(bundle) if model is None else model.eval()
        self._notes = _preview_note(bundle)

    def _label_map(
        self, image: Volume, side: Side | None, clock: Clock
    ) -> tuple[LabelMap, tuple[Finding, ...]]:
        """Bones, cartilage and menisci; without a side as a right knee, and without menisci."""
        with clock.step("networks"):
            result, notes = self._run(image, side)
        with clock.step("resampling"):
            from kneeimg.segment.carry import label_map_of

            label_map = label_map_of(result, image.grid, side)
        return label_map, (*self._notes, *notes, *_side_note(side))

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
