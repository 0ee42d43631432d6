"""One analysis dataset as Dataset-JSON 1.1, SAS transport, CSV and Parquet.

All are made from one frame with the columns of its `DatasetDescription`: text is `str` ("" for
none), floats `float64`, integers `Int64`, dates `datetime.date`. The same frame gives the same
bytes: no file holds the clock's time, only the one that the caller states.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg.core.dataset import TEXT_LENGTH, DatasetDescription, DataType, Variable
from kneeimg.errors import OutputError
from kneeimg.io.atomic import TEMPORARY_SUFFIX, output_errors, write_bytes, write_text
from kneeimg.io.tables import csv_of_columns

if TYPE_CHECKING:
    import pandas as pd

#: Creation time in the files unless the caller states another: results must not depend on a clock.
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)

DEFINE = "define.xml"
_SAS_START = date(1960, 1, 1)
_DATE_FORMAT = "DATE9"
#: Where the creation and modification times stand in a transport file with one dataset, in bytes.
_XPT_TIMES = (144, 160, 464, 480)
_XPT_HEADER = b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!"

_JSON_TYPES: dict[DataType, str] = {
    "text": "string",
    "integer": "integer",
    "float": "double",
    "date": "date",
}


def text_length(frame: pd.DataFrame, variable: Variable) -> int:
    """Bytes of the longest text of a column, at least 1."""
    lengths = {len(value.encode("utf-8")) for value in frame[variable.name].unique()}
    return max(lengths, default=0) or 1


def item_oid(dataset: str, variable: str) -> str:
    """Identifier of a column in Dataset-JSON and Define-XML.

    >>> item_oid("ADKNEE", "AVAL")
    'IT.ADKNEE.AVAL'
    """
    return f"IT.{dataset}.{variable}"


def group_oid(dataset: str) -> str:
    """Identifier of a dataset in Dataset-JSON and Define-XML."""
    return f"IG.{dataset}"


def study_oid(study: str) -> str:
    """Identifier of a study in Dataset-JSON and Define-XML."""
    return f"ST.{study}"


def metadata_oid(study: str) -> str:
    """Identifier of the metadata of a study in Dataset-JSON and Define-XML."""
    return f"MDV.{study}"


def write_dataset_json(
    path: Path, frame: pd.DataFrame, about: DatasetDescription, created: datetime = NO_TIME
) -> None:
    """Dataset-JSON 1.1, one row of the dataset per line; dates as ISO 8601, missing as null."""
    head: dict[str, Any] = {
        "datasetJSONCreationDateTime": iso_time(created),
        "datasetJSONVersion": "1.1.0",
        "fileOID": f"{study_oid(about.study)}.{about.name}",
        "originator": "kneeimg",
        "sourceSystem": {"name": "kneeimg", "version": about.software},
        "studyOID": study_oid(about.study),
        "metaDataVersionOID": metadata_oid(about.study),
        "metaDataRef": DEFINE,
        "itemGroupOID": group_oid(about.name),
        "records": len(frame),
        "name": about.name,
        "label": about.label,
        "columns": [_json_column(frame, about.name, variable) for variable in about.variables],
    }
    lines = [_compact(list(row)) for row in plain_rows(frame, about)]
    text = json.dumps(head, indent=1, ensure_ascii=False)
    rows = ",\n".join(lines)
    write_text(path, f'{text[:-2]},\n "rows": [\n{rows}\n ]\n}}\n')


def _compact(values: list[Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _json_column(frame: pd.DataFrame, dataset: str, variable: Variable) -> dict[str, Any]:
    column: dict[str, Any] = {
        "itemOID": item_oid(dataset, variable.name),
        "name": variable.name,
        "label": variable.label,
        "dataType": _JSON_TYPES[variable.data_type],
    }
    if variable.data_type == "date":
        column |= {"targetDataType": "integer", "displayFormat": "E8601DA."}
    if variable.data_type == "text":
        column["length"] = text_length(frame, variable)
    if variable.key is not None:
        column["keySequence"] = variable.key
    return column


def plain_rows(frame: pd.DataFrame, about: DatasetDescription) -> Iterator[tuple[Any, ...]]:
    """Rows of plain values: str, int, float and ISO dates; None where a number is missing."""
    columns = [_plain(frame[v.name], v.data_type) for v in about.variables]
    return zip(*columns, strict=True)


def _plain(column: pd.Series[Any], data_type: DataType) -> list[Any]:
    if data_type == "text":
        return list(column)
    if data_type == "date":
        return [None if value is None else value.isoformat() for value in column]
    missing = column.isna()
    return [None if m else v for v, m in zip(column.tolist(), missing, strict=True)]


def write_dataset_csv(path: Path, frame: pd.DataFrame, about: DatasetDescription) -> None:
    """CSV with a header; text that looks like a formula gets an apostrophe (see `io.tables`)."""
    columns = {v.name: _plain(frame[v.name], v.data_type) for v in about.variables}
    write_text(path, csv_of_columns(columns))


def write_dataset_parquet(path: Path, frame: pd.DataFrame, about: DatasetDescription) -> None:
    """Parquet with stated types; each column carries its label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "float": pa.float64(),
        "date": pa.date32(),
    }
    fields, arrays = [], []
    for variable in about.variables:
        column = frame[variable.name]
        plain = list(column) if variable.data_type == "date" else _plain(column, variable.data_type)
        arrays.append(pa.array(plain, type=types[variable.data_type]))
        label = {"label": variable.label}
        fields.append(pa.field(variable.name, types[variable.data_type], metadata=label))
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def write_xpt(
    path: Path, frame: pd.DataFrame, about: DatasetDescription, created: datetime = NO_TIME
) -> None:
    """SAS transport file, version 5; dates are days since 1960 with the format DATE9.

    Raises
    ------
    OutputError
        A text of more than 200 bytes: the format has no room for it.
    """
    import pyreadstat

    flat = _transportable(frame, about)
    temporary = path.with_name(f".{path.name}.raw{TEMPORARY_SUFFIX}")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            pyreadstat.write_xport(
                flat,
                str(temporary),
                file_label=about.label,
                column_labels=[variable.label for variable in about.variables],
                table_name=about.name,
                file_format_version=5,
                variable_format={
                    v.name: _DATE_FORMAT for v in about.variables if v.data_type == "date"
                },
            )
            data = temporary.read_bytes()
        finally:
            temporary.unlink(missing_ok=True)
    write_bytes(path, _with_time(data, created))


def _transportable(frame: pd.DataFrame, about: DatasetDescription) -> pd.DataFrame:
    """Text and float64 columns only."""
    import pandas as pd

    flat: dict[str, Any] = {}
    for variable in about.variables:
        column = frame[variable.name]
        if variable.data_type == "text":
            _require_short(frame, variable)
            flat[variable.name] = column
        elif variable.data_type == "date":
            days = [None if d is None else (d - _SAS_START).days for d in column]
            flat[variable.name] = pd.Series(days, dtype="float64")
        else:
            flat[variable.name] = column.astype("float64")
    return pd.DataFrame(flat)


def _require_short(frame: pd.DataFrame, variable: Variable) -> None:
    longest = text_length(frame, variable)
    if longest > TEXT_LENGTH:
        raise OutputError(
            f"a text of {variable.name} is too long for a SAS transport file",
            expected=f"at most {TEXT_LENGTH} bytes",
            found=f"{longest} bytes",
            action="shorten it in the study's tables",
        )


def _with_time(data: bytes, created: datetime) -> bytes:
    """The transport file with this time in place of the clock's."""
    if not data.startswith(_XPT_HEADER):
        raise ValueError("not a SAS transport file of version 5")
    stamp = created.strftime("%d%b%y:%H:%M:%S").upper().encode("ascii")
    changed = bytearray(data)
    for place in _XPT_TIMES:
        changed[place : place + len(stamp)] = stamp
    return bytes(changed)


def iso_time(moment: datetime) -> str:
    """UTC time to the second.

    >>> iso_time(NO_TIME)
    '1970-01-01T00:00:00Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
