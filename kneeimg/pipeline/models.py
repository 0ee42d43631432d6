"""Which segmenter the settings name: a bundle, or a foreign model with its scheme."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from kneeimg.segment.models import NO_MODEL, installed_card, open_segmenter
from kneeimg.segment.mr import ModelCard, Segmenter
from kneeimg.settings.segmentation import SegmentationSettings


def card_for(settings: SegmentationSettings) -> ModelCard | None:
    """Card of the model that the settings name, its weights unopened; None if there is none.

    Raises
    ------
    KneeimgError
        The model is there and refused.
    """
    if settings.model == NO_MODEL:
        return None
    path = Path(settings.model)
    if path.is_file():
        from kneeimg.io.label_schemes import load_scheme
        from kneeimg.segment.foreign import read_foreign

        return read_foreign(path, load_scheme(settings.scheme)).card
    return installed_card(settings.model)


def segmenter_for(settings: SegmentationSettings) -> Segmenter:
    """The segmenter that the settings name, read once per process while its files stay the same.

    Raises
    ------
    KneeimgError
        There is no such model, or it is refused.
    """
    if not Path(settings.model).is_file():
        return open_segmenter(settings)
    card = card_for(settings)
    assert card is not None
    return _foreign(settings, card.sha256)


@lru_cache(maxsize=1)
def _foreign(settings: SegmentationSettings, sha256: str) -> Segmenter:
    from kneeimg.io.label_schemes import load_scheme
    from kneeimg.segment.foreign import ForeignSegmenter, read_foreign

    model = read_foreign(Path(settings.model), load_scheme(settings.scheme))
    return ForeignSegmenter(model, settings)
