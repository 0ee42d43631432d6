"""Tables with stated column types, as CSV and Parquet that hold the same."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kneeimg.io.atomic import write_bytes
from kneeimg.io.tables import Row, write_csv


def write_typed_table(
    folder: Path, name: str, types: Mapping[str, str], rows: Sequence[Row]
) -> tuple[Path, Path]:
    """Write `name.csv` and `name.parquet`, atomically; the two paths.

    Parameters
    ----------
    folder : Made if missing.
    name : File name without ending.
    types : Column to "text", "number" or "integer", in the order of the columns.
    rows : Cells that are absent, None or NaN are empty in CSV and null in Parquet.

    Raises
    ------
    OutputError
        OUTPUT_FULL or OUTPUT_NOT_WRITABLE.
    """
    unknown = sorted({key for row in rows for key in row} - set(types))
    if unknown:
        raise ValueError(f"{name} has no column {', '.join(unknown)}")
    csv_path, parquet_path = folder / f"{name}.csv", folder / f"{name}.parquet"
    write_csv(csv_path, tuple(types), rows)
    write_bytes(parquet_path, _parquet(types, rows))
    return csv_path, parquet_path


def _parquet(types: Mapping[str, str], rows: Sequence[Row]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"text": pa.string(), "number": pa.float64(), "integer": pa.int64()}
    arrays = [
        pa.array([_cell(row.get(column)) for row in rows], type=kinds[kind])
        for column, kind in types.items()
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(types)), buffer, compression="zstd")
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
