"""Named tables that say which tissue each value of a label file means."""

from __future__ import annotations

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
    """

    name: str = Field(min_length=1)
    source: str
    labels: dict[int, str] = Field(min_length=1)
    compartments: dict[int, Literal["medial", "lateral"]] = Field(default_factory=dict)

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
        return self

    def scheme(self) -> LabelScheme:
        """The scheme as the rest of kneeimg uses it."""
        tissues = {value: Tissue[name.upper()] for value, name in self.labels.items()}
        return LabelScheme(self.name, {0: Tissue.BACKGROUND, **tissues}, dict(self.compartments))


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
