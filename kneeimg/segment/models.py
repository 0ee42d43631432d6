"""Models by name or by folder: what is installed, its card without weights, and loading once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from kneeimg.errors import StudyError
from kneeimg.networks.bundle import Bundle, is_bundle, read_bundle
from kneeimg.segment.mr import ModelCard, Segmenter
from kneeimg.settings.resources import model_path
from kneeimg.settings.segmentation import SegmentationSettings

#: The word in settings that switches networks off.
NO_MODEL = "none"
#: The model that ships with kneeimg.
DEFAULT_MODEL = "knee_mr"


def find_bundle(name_or_path: str) -> Path | None:
    """Folder of a model: a shipped one by its name, any by its path; None if there is none.

    >>> find_bundle("no such model") is None
    True
    """
    given = Path(name_or_path)
    if given.name == name_or_path:  # a name before a folder that happens to be called so
        try:
            folder = model_path(name_or_path)
        except StudyError:
            folder = given
        if is_bundle(folder):
            return folder
    return given if given.is_dir() else None


def require_bundle(
    name_or_path: str, *, action: str = "choose another one (--model), or give a mask"
) -> Path:
    """Folder of a model, as :func:`find_bundle`.

    Parameters
    ----------
    name_or_path : What the user gave.
    action : What the user can do when there is no such model.

    Raises
    ------
    StudyError
        If there is none.
    """
    folder = find_bundle(name_or_path)
    if folder is None:
        raise StudyError(
            "there is no such segmentation model",
            expected=f"the name of an installed model ({DEFAULT_MODEL}), or a model's folder",
            found=name_or_path,
            action=action,
        )
    return folder


def installed_card(name_or_path: str) -> ModelCard | None:
    """Card of a model from its metadata alone; None if no such model is installed.

    Raises
    ------
    ModelError
        The model is there and its metadata is refused.
    """
    from kneeimg.segment.bundle import card_of

    folder = find_bundle(name_or_path)
    return None if folder is None else card_of(read_bundle(folder))


def open_segmenter(settings: SegmentationSettings) -> Segmenter:
    """The segmenter of these settings, its weights read at most once per process.

    Raises
    ------
    StudyError
        No such model is installed.
    ModelError
        It is refused.
    """
    folder = require_bundle(settings.model)
    # the hash is part of the key: a model that was replaced meanwhile is read again
    bundle = read_bundle(folder)
    return _opened(bundle, settings)


@lru_cache(maxsize=1)
def _opened(bundle: Bundle, settings: SegmentationSettings) -> Segmenter:
    from kneeimg.segment.bundle import BundleSegmenter

    return BundleSegmenter(bundle, settings)
