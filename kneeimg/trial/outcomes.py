"""The outcomes of an analysis: which quantities, in which role, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from kneeimg.settings.trial import TrialSettings

Role = Literal["primary", "secondary", "clinical"]

_MORE_IS_BETTER = re.compile(
    r"^(ThCtAB_a(Me|Miv|Mav)|ThCcAB_aMe|VC|VCtAB|cAB|AC|JSA|n?(m|mean)JSW|n?fJSW_\d+|coverage)$"
)
_LESS_IS_BETTER = re.compile(r"^(dABp?|defect_(count|area|largest)|extrusion_(mean|max))$")
_CLINICAL_LESS_IS_BETTER = re.compile(r"^(vas|womac_\w+)$")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One quantity of one region, or one clinical column.

    Attributes
    ----------
    role : How it counts.
    kind : "mri", "film" or "clinical".
    region : Empty for clinical columns.
    quantity : Quantity, or the clinical column.
    unit : Of the values.
    known : Whether the change table has it; a primary outcome may be missing.
    """

    role: Role
    kind: str
    region: str
    quantity: str
    unit: str
    known: bool = True

    @property
    def endpoint(self) -> str:
        """Name as in the wide table."""
        return f"{self.region}_{self.quantity}" if self.region else self.quantity

    def as_row(self, visit: str) -> dict[str, Any]:
        """The columns that say what a row is about."""
        return {
            "role": self.role,
            "endpoint": self.endpoint,
            "kind": self.kind,
            "region": self.region,
            "quantity": self.quantity,
            "unit": self.unit,
            "visit": visit,
        }


def direction(quantity: str) -> int:
    """1 when more is better, −1 when less is, 0 when neither is.

    >>> direction("ThCtAB_aMe"), direction("dABp"), direction("tAB")
    (1, -1, 0)
    """
    if _MORE_IS_BETTER.match(quantity):
        return 1
    less = _LESS_IS_BETTER.match(quantity) or _CLINICAL_LESS_IS_BETTER.match(quantity)
    return -1 if less else 0


def choose_outcomes(
    change: Iterable[Mapping[str, Any]], units: Mapping[str, str], settings: TrialSettings
) -> tuple[Outcome, ...]:
    """Outcomes in the order of the tables: primary as listed, secondary, clinical.

    Parameters
    ----------
    change : Rows of the change table.
    units : Clinical column to unit.
    settings : Names and patterns.

    Returns
    -------
    A primary outcome that the table does not have is there with `known` False.
    """
    table: dict[str, Outcome] = {}
    for row in change:
        outcome = Outcome("secondary", row["kind"], row["region"], row["quantity"], row["unit"])
        table.setdefault(outcome.endpoint, outcome)
    chosen = [_primary(name, table.get(name)) for name in settings.primary]
    for name, outcome in table.items():
        if name not in settings.primary and _matches(name, settings.secondary):
            chosen.append(outcome)
    chosen += [Outcome("clinical", "clinical", "", name, unit) for name, unit in units.items()]
    return tuple(chosen)


def associated(outcomes: Iterable[Outcome], settings: TrialSettings) -> tuple[Outcome, ...]:
    """Outcomes of structure that are set beside symptoms and markers."""
    return tuple(
        outcome
        for outcome in outcomes
        if outcome.role != "clinical" and _matches(outcome.endpoint, settings.associated)
    )


def _primary(name: str, found: Outcome | None) -> Outcome:
    if found is None:
        region, _, quantity = name.partition("_")
        return Outcome("primary", "", region, quantity, "", known=False)
    return Outcome("primary", found.kind, found.region, found.quantity, found.unit)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
