"""What an analysis dataset says about itself: its variables and its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

DataType = Literal["text", "integer", "float", "date"]
OriginType = Literal["Assigned", "Derived", "Protocol", "Collected"]

NAME_LENGTH = 8
LABEL_LENGTH = 40
TEXT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Variable:
    """A column of an analysis dataset, within the limits of SAS transport files of version 5.

    Attributes
    ----------
    name : At most 8 characters, capital letters and digits.
    label : At most 40 characters.
    data_type : "text" (missing: ""), "integer", "float" (missing: NaN) or "date" (missing: None).
    meaning : How the value comes about, for the metadata and the data dictionary.
    origin : As Define-XML names it.
    key : Place of the column among those that tell rows apart, from 1; None when it is none.
    codes : Every value that the column may hold, with its meaning; None when open.

    Examples
    --------
    >>> Variable("AVAL", "Analysis Value", "float", "The measurement.").name
    'AVAL'
    """

    name: str
    label: str
    data_type: DataType
    meaning: str
    origin: OriginType = "Derived"
    key: int | None = None
    codes: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        capital = self.name.isalnum() and self.name.isupper() and self.name[:1].isalpha()
        if len(self.name) > NAME_LENGTH or not capital:
            raise ValueError(f"{self.name!r} is no variable name of at most {NAME_LENGTH}")
        if not 0 < len(self.label) <= LABEL_LENGTH:
            raise ValueError(f"label of {self.name} has {len(self.label)} characters")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One quantity of one region under the names that a trial analyst uses.

    Attributes
    ----------
    paramcd : Code, at most 8 capital letters and digits, unique.
    param : Text with the unit in brackets.
    paramn : Number, unique; the same in every study.
    parcat1 : Group of parameters.
    region, quantity, unit : As in the measurements.
    source : Where the quantity (and the region, where it needs one) is defined: DOI, PMID or PMC.

    Examples
    --------
    >>> Parameter("MTTTME", "Medial tibia (mm)", 1, "X", "MT", "ThCtAB_aMe", "mm").key
    ('MT', 'ThCtAB_aMe')
    """

    paramcd: str
    param: str
    paramn: int
    parcat1: str
    region: str
    quantity: str
    unit: str
    source: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """region and quantity."""
        return self.region, self.quantity


@dataclass(frozen=True, slots=True)
class DatasetDescription:
    """Everything beside the values that the files of one dataset need.

    Attributes
    ----------
    name : At most 8 capital letters, the name of the files.
    label : At most 40 characters.
    structure : What one row is.
    study : Study id.
    software : Version of kneeimg.
    variables : The columns, in order.
    parameters : Those that occur in the rows.
    definitions : PARAMCD to what the parameter means, in words.
    """

    name: str
    label: str
    structure: str
    study: str
    software: str
    variables: Sequence[Variable]
    parameters: Sequence[Parameter] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
