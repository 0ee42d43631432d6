"""Named tables that say which tissue each value of a label file means."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from kneeimg.core.anatomy import LabelScheme, Tissue
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.settings.base import Settings
from kneeimg.settings.resources import config_path


class SchemeFile(Settings):
    """A file in `configs/label_schemes/`; an unknown key or tissue is an error.

    Attributes
    ----------
    name : Name of the scheme.
    source : Where the values are published.
    labels : Label value to tissue; background 0 need not be listed.
    compartments : Label value to "medial" or "lateral", where the labels tell them apart.
    segments : Name of a DICOM segment ("femur bone"), or code of its property type
        ("SCT:71341001", with a region or modifier "SCT:309312004+SCT:71341001"), to label value;
        beside the names that every scheme knows, see :func:`segment_values`.
    """

    name: str = Field(min_length=1)
    source: str
    labels: dict[int, str] = Field(min_length=1)
    compartments: dict[int, Literal["medial", "lateral"]] = Field(default_factory=dict)
    segments: dict[str, int] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _known_tissues(cls, labels: dict[int, str]) -> dict[int, str]:
        known = {tissue.name.lower() for tissue in Tissue}
        unknown = sorted(set(labels.values()) - known)
        if unknown:
            raise ValueError(f"unknown tissue {', '.join(unknown)}; known: {sorted(known)}")
        if any(not 0 <= value <= 65535 for value in labels):
            raise ValueError("label values lie within 0 and 65535")
        if labels.get(0, "background") != "background":
            raise ValueError("label 0 is background")
        return labels

    @model_validator(mode="after")
    def _compartments_are_labels(self) -> SchemeFile:
        strangers = sorted(set(self.compartments) - set(self.labels))
        if strangers:
            raise ValueError(f"compartments of values that are not labels: {strangers}")
        strangers = sorted(set(self.segments.values()) - set(self.labels))
        if strangers:
            raise ValueError(f"segments of values that are not labels: {strangers}")
        return self

    def scheme(self) -> LabelScheme:
        """The scheme as the rest of kneeimg uses it."""
        tissues = {value: Tissue[name.upper()] for value, name in self.labels.items()}
        return LabelScheme(
            self.name,
            {0: Tissue.BACKGROUND, **tissues},
            dict(self.compartments),
            dict(self.segments),
        )


#: SNOMED CT codes as DICOM uses them (PS3.16): bones, and cartilage with the bone as its region.
_BONE_CODES = {
    Tissue.FEMUR: "SCT:71341001",
    Tissue.TIBIA: "SCT:12611008",
    Tissue.PATELLA: "SCT:64234005",
    Tissue.FIBULA: "SCT:87342007",
}
_CARTILAGE_CODE, _MENISCUS_CODE = "SCT:309312004", "SCT:74135004"
_CARTILAGE_OF = {
    Tissue.FEMORAL_CARTILAGE: Tissue.FEMUR,
    Tissue.TIBIAL_CARTILAGE: Tissue.TIBIA,
    Tissue.PATELLAR_CARTILAGE: Tissue.PATELLA,
}
_MENISCUS_OF = {
    Tissue.MEDIAL_MENISCUS: "SCT:255561001",
    Tissue.LATERAL_MENISCUS: "SCT:49370004",
}


def plain_name(label: str) -> str:
    """The name of a segment without capitals, hyphens and underscores.

    >>> plain_name("Femoral_Cartilage")
    'femoral cartilage'
    """
    return " ".join(re.findall(r"[^\W_]+", label.casefold()))


def segment_values(scheme: LabelScheme) -> dict[str, int]:
    """Name or code of a DICOM segment to the label value that it stands for in a scheme.

    Every scheme knows its tissues by name ("femoral cartilage", and "medial tibial cartilage"
    where it tells compartments apart) and by code; `[segments]` of its file adds more.

    >>> segment_values(load_scheme("oai-zib-cm"))["lateral tibial cartilage"]
    5
    """
    known: dict[str, int] = {}
    for tissue in Tissue:
        values = [v for v, own in sorted(scheme.tissues.items()) if own is tissue]
        places = {scheme.compartments.get(value) for value in values}
        if tissue is Tissue.BACKGROUND or not values:
            continue
        name = plain_name(tissue.name)
        if len(places) == 1:
            known |= dict.fromkeys((name, *_codes_of(tissue)), values[0])
        for value in values:
            if (place := scheme.compartments.get(value)) and place not in name:
                known.setdefault(f"{place} {name}", value)
    own = {n if ":" in n else plain_name(n): value for n, value in scheme.segments.items()}
    return known | own


def _codes_of(tissue: Tissue) -> tuple[str, ...]:
    if tissue in _BONE_CODES:
        return (_BONE_CODES[tissue],)
    if tissue in _CARTILAGE_OF:
        return (f"{_CARTILAGE_CODE}+{_BONE_CODES[_CARTILAGE_OF[tissue]]}",)
    return (f"{_MENISCUS_CODE}+{_MENISCUS_OF[tissue]}",)


def scheme_names() -> tuple[str, ...]:
    """Names of the schemes that ship with kneeimg, sorted.

    >>> "knee-v1" in scheme_names()
    True
    """
    return tuple(sorted(path.stem for path in config_path("label_schemes").glob("*.toml")))


def load_scheme(name_or_path: str | Path) -> LabelScheme:
    """A shipped scheme by its name, or any scheme by the path of its TOML file.

    Raises
    ------
    MaskError
        If there is no such scheme, or its file has a mistake.

    Examples
    --------
    >>> load_scheme("oai-zib").tissues[2].name
    'FEMORAL_CARTILAGE'
    """
    path = Path(name_or_path)
    if str(name_or_path) in scheme_names():
        path = config_path("label_schemes") / f"{name_or_path}.toml"
    elif path.suffix != ".toml" or not path.is_file():
        raise MaskError(
            "there is no such label scheme",
            code=ReasonCode.UNKNOWN_LABEL,
            expected=f"{', '.join(scheme_names())}, or the path of a .toml file",
            found=str(name_or_path),
            action="choose a scheme (--scheme), or write a file like those in configs/",
        )
    return _parse(path)


def _parse(path: Path) -> LabelScheme:
    try:
        with path.open("rb") as file:
            return SchemeFile.model_validate(tomllib.load(file)).scheme()
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        found = str(error)
    raise MaskError(
        "the label scheme file has a mistake",
        code=ReasonCode.UNKNOWN_LABEL,
        where=path.name,
        expected="name, source, [labels] and, if known, [compartments]",
        found=found,
    )
