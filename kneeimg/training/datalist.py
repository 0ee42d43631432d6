"""The datalist: what there is to learn from, in the Decathlon layout.

    {"training": [
        {"label": "P01.nii.gz", "participant": "P01", "side": "right"},
        {"image": "a.nii.gz", "label": "a_dseg.nii.gz", "participant": "A", "side": "left",
         "scheme": "oai-zib", "unknown": ["patella", "patellar cartilage"]}]}

A label map alone is learned from through synthetic scans, an image with its labels as it is; both
may stand in one list. Paths are relative to the list.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from kneeimg.core.anatomy import Side
from kneeimg.errors import StudyError
from kneeimg.networks.spec import CLASS_NAMES
from kneeimg.settings.base import Settings


class DataEntry(Settings):
    """One knee.

    Attributes
    ----------
    label : Label map.
    participant : Whose knee; splits go by participant. Letters, digits and hyphens.
    side : Which knee.
    image : The scan that was labelled; None for a label map alone.
    visit : Tells scans of one participant apart.
    scheme : How the values of `label` name tissues.
    unknown : Classes that the labels do not have though the knee does; they are left open.
    """

    label: str
    participant: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")]
    side: Side
    image: str | None = None
    visit: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")] = "V1"
    scheme: str = "knee-v1"
    unknown: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _classes_exist(self) -> DataEntry:
        strangers = sorted(set(self.unknown) - set(CLASS_NAMES[1:]))
        if strangers:
            raise ValueError(f"unknown classes {strangers}; choose among {CLASS_NAMES[1:]}")
        return self

    @property
    def unknown_classes(self) -> tuple[int, ...]:
        """Values of the classes that are left open."""
        return tuple(CLASS_NAMES.index(name) for name in self.unknown)


class Datalist(Settings):
    """A datalist file.

    Attributes
    ----------
    training : Knees to learn from, held-out participants among them.
    name, description, licence : What the data are; the licence goes into the model card.
    """

    training: tuple[DataEntry, ...]
    name: str = ""
    description: str = ""
    licence: str = ""


def read_datalist(path: Path) -> Datalist:
    """Read and check a datalist.

    Raises
    ------
    StudyError
        If it is not JSON, has an unknown key, is empty, names a file that is not there, or names
        one scan twice.
    """
    try:
        found = Datalist.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise StudyError(
            "the datalist cannot be read",
            where=path.name,
            expected='{"training": [{"label": ..., "participant": ..., "side": ...}]}',
            found="; ".join(str(error).splitlines()[:4]),
        ) from error
    if not found.training:
        raise StudyError("the datalist is empty", where=path.name, expected="at least one knee")
    named = [name for entry in found.training for name in (entry.label, entry.image) if name]
    missing = [name for name in named if not (path.parent / name).is_file()]
    if missing:
        raise StudyError(
            "the datalist names files that are not there",
            where=path.name,
            found=", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else ""),
            action="paths are relative to the datalist",
        )
    keys = [(entry.participant, entry.visit, entry.side) for entry in found.training]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise StudyError(
            "two entries of the datalist are one scan",
            where=path.name,
            found=", ".join(f"{who} {visit} {side.value}" for who, visit, side in twice),
            action="give each scan its own visit",
        )
    return found
