"""The tables of `kneeimg trial`, read as they stand: nothing by arm is ever made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kneeimg.report.tables import as_numbers, read_table

if TYPE_CHECKING:
    import pandas as pd

_NAMES = (
    "ancova", "responders", "srm", "sample_size", "association", "mixed", "ae", "values",
    "excluded",
)  # fmt: skip
#: Columns that hold text; every other column is a number.
_TEXT = frozenset(
    {
        "role", "endpoint", "kind", "region", "quantity", "unit", "visit", "arm", "reference_arm",
        "outcome", "design", "marker", "marker_unit", "population", "participant", "side",
        "change_class", "sdc_source", "drift", "status", "reason", "message", "source", "column",
        "code", "expected", "found", "action", "ci_method", "permutation_method", "method",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class TrialTables:
    """Tables by name, those that are there; text cells are strings, absent numbers NaN."""

    tables: Mapping[str, pd.DataFrame]

    def __bool__(self) -> bool:
        return bool(self.tables)

    def rows(self, name: str, *needed: str) -> pd.DataFrame | None:
        """A table that has rows and the columns needed; None otherwise."""
        table = self.tables.get(name)
        if table is None or not len(table) or not set(needed) <= set(table.columns):
            return None
        return table

    def arms(self) -> dict[str, str]:
        """Participant to arm, from `values`; empty without it."""
        values = self.rows("values", "participant", "arm")
        if values is None:
            return {}
        known = values[values["arm"] != ""]
        return {str(p): str(a) for p, a in zip(known["participant"], known["arm"], strict=True)}


def read_trial_tables(folder: Path) -> TrialTables:
    """Read what is in OUT/tables/trial; nothing is there before unblinding.

    Raises
    ------
    InputError
        If a table cannot be read.
    """
    found = {}
    for name in _NAMES:
        path = folder / f"{name}.csv"
        if path.is_file():
            found[name] = _read(path)
    return TrialTables(found)


def _read(path: Path) -> pd.DataFrame:
    frame = read_table(path, action="call `kneeimg trial` again")
    for column in frame.columns:
        if column not in _TEXT:
            frame[column] = as_numbers(frame[column])
    return frame
