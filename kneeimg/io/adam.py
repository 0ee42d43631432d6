"""An analysis dataset in every format that a trial analyst may ask for."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kneeimg.core.dataset import DatasetDescription
from kneeimg.io.dataset_files import (
    DEFINE,
    NO_TIME,
    write_dataset_csv,
    write_dataset_json,
    write_dataset_parquet,
    write_xpt,
)
from kneeimg.io.define_xml import write_define

if TYPE_CHECKING:
    import pandas as pd

#: Endings of the files that hold the rows.
SUFFIXES = (".json", ".xpt", ".csv", ".parquet")


def write_dataset(
    folder: Path, frame: pd.DataFrame, about: DatasetDescription, created: datetime = NO_TIME
) -> tuple[Path, ...]:
    """Write NAME.json, NAME.xpt, NAME.csv, NAME.parquet and define.xml from one frame.

    Each appears whole or not at all. The same frame and time give the same bytes.

    Parameters
    ----------
    folder : Made if missing.
    frame : Columns as `about.variables`; text `str`, floats `float64`, integers `Int64`, dates
        `datetime.date`.
    about : Names, labels and meanings.
    created : Time written into the files; by default 1970-01-01, which stands for none.

    Returns
    -------
    The files.

    Raises
    ------
    OutputError
        The disk is full or not writable, or a text is too long for the transport format.
    """
    json_path, xpt_path, csv_path, parquet_path = (
        folder / f"{about.name}{suffix}" for suffix in SUFFIXES
    )
    define_path = folder / DEFINE
    write_dataset_json(json_path, frame, about, created)
    write_xpt(xpt_path, frame, about, created)
    write_dataset_csv(csv_path, frame, about)
    write_dataset_parquet(parquet_path, frame, about)
    write_define(define_path, frame, about, created)
    return json_path, xpt_path, csv_path, parquet_path, define_path
