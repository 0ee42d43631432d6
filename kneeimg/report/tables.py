"""Reading tables of results into data frames: text stays text, absent numbers are NaN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kneeimg.core.result_tables import FLOAT_COLUMNS, INTEGER_COLUMNS, unquoted
from kneeimg.errors import unreadable_table

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, *, action: str = "") -> pd.DataFrame:
    """A Parquet table with its types, or a CSV with every cell as text.

    Parameters
    ----------
    path : The table.
    action : What to do when it is damaged; empty for tables that `kneeimg run` writes anew.

    Raises
    ------
    InputError
        OUTPUT_CHANGED when it cannot be read.
    """
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # as text: "NA" may be a participant or an arm, and "001" is a participant
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise unreadable_table(path.name, error, action=action) from error
    return frame.map(unquoted)


def clean_table(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The columns in order; absent text is "", absent numbers NaN, columns added where missing."""
    import pandas as pd

    cleaned = {}
    for name in columns:
        column = frame[name] if name in frame else pd.Series([None] * len(frame), dtype=object)
        if name in FLOAT_COLUMNS | INTEGER_COLUMNS:
            cleaned[name] = as_numbers(column).to_numpy()
        else:
            text = column.astype(object)
            cleaned[name] = text.where(text.notna(), "").map(str).to_numpy(dtype=object)
    return pd.DataFrame(cleaned, columns=list(columns))


def as_numbers(column: pd.Series) -> pd.Series:
    """float64, NaN for what is no number."""
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").astype("float64")
