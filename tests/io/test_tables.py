"""CSV that a spreadsheet cannot be tricked by, and Parquet with stated types."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement
from kneeimg.core.result_tables import CHANGE_COLUMNS, DISPOSITION_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.results import KneeRecord, RowContext, record_from_json, record_to_json
from kneeimg.io.tables import DispositionRow, csv_text, measurement_rows, wide_rows, write_parquet


def _record(side: Side | None = Side.RIGHT, visit: str = "BL") -> KneeRecord:
    return KneeRecord(
        visit=Visit("P01", visit, side, 3),
        kind="mri",
        status="measured",
        measurements=(
            Measurement("MT", "ThCtAB_aMe", 1.5, "mm", flags=(ReasonCode.COARSE_GRID,)),
            Measurement.missing("LT", "ThCtAB_aMe", "mm", ReasonCode.REGION_EMPTY),
        ),
        context=RowContext(femur_fraction=0.75, series_uid_hash="ab", software_version="1"),
        findings=(
            Finding(ReasonCode.COARSE_GRID, "coarse"),
            Finding(ReasonCode.LOSSY_COMPRESSED, "lossy"),
            Finding(ReasonCode.DUPLICATE_DROPPED, "a note is no flag"),
        ),
        protocol=(("model", "A"),),
    )


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_looks_like_a_formula_is_defused_and_numbers_stay(start: str) -> None:
    text = csv_text(("a", "b"), [{"a": f"{start}cmd|' /C calc'!A0", "b": -1.25}])
    cells = next(csv.DictReader(io.StringIO(text, newline="")))
    assert cells["a"].startswith("'" + start.replace("\r", "\n"))
    assert float(cells["b"]) == -1.25


def test_floats_are_written_exactly() -> None:
    values = [0.1, 1 / 3, 1e-17, 123456789.123456789]
    lines = csv_text(("x",), [{"x": value} for value in values]).splitlines()[1:]
    assert [float(line) for line in lines] == values


def test_rows_have_the_documented_columns_and_flags() -> None:
    first, second = measurement_rows(_record())
    assert tuple(first) == MEASUREMENT_COLUMNS
    assert first["qc_flags"] == "COARSE_GRID;LOSSY_COMPRESSED"
    assert second["reason"] == "REGION_EMPTY"
    assert math.isnan(second["value"])


def test_wide_form_is_named_as_the_oai_files() -> None:
    rows = measurement_rows(_record()) + measurement_rows(_record(Side.LEFT))
    columns, knees = wide_rows(rows)
    assert columns == ("participant", "side", "visit", "day", "MT_ThCtAB_aMe", "LT_ThCtAB_aMe")
    assert [(k["side"], k["MT_ThCtAB_aMe"]) for k in knees] == [("right", 1.5), ("left", 1.5)]


def test_record_survives_json_exactly_but_for_its_day() -> None:
    record = _record()
    record = replace(record, visit=replace(record.visit, scan="run-2"))
    dayless = replace(record, visit=replace(record.visit, day=None))
    assert "day" not in record_to_json(record)
    assert repr(record_from_json(record_to_json(record))) == repr(dayless)


def test_wide_form_leaves_repeated_scans_to_their_average() -> None:
    record = _record()
    repeats = [
        replace(record, visit=replace(record.visit, scan=scan)) for scan in ("run-1", "run-2")
    ]
    rows = [
        row for one in (*repeats, replace(record, dtype="AVERAGE")) for row in measurement_rows(one)
    ]
    assert [row["scan"] for row in rows[::2]] == ["run-1", "run-2", ""]
    assert len(wide_rows(rows)[1]) == 1


def test_parquet_types(tmp_path: Path) -> None:
    rows = measurement_rows(_record())
    write_parquet(tmp_path / "m.parquet", MEASUREMENT_COLUMNS, rows)
    table = pq.read_table(tmp_path / "m.parquet")
    assert table.column_names == list(MEASUREMENT_COLUMNS)
    assert table["value"].to_pylist() == [1.5, None]
    assert str(table.schema.field("day").type) == "int64"
    first = (tmp_path / "m.parquet").read_bytes()
    write_parquet(tmp_path / "m.parquet", MEASUREMENT_COLUMNS, rows)
    assert (tmp_path / "m.parquet").read_bytes() == first


def test_empty_change_table_keeps_its_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "c.parquet", CHANGE_COLUMNS, [])
    assert pq.read_table(tmp_path / "c.parquet").column_names == list(CHANGE_COLUMNS)


def test_disposition_columns() -> None:
    row = DispositionRow("P01", "BL", "right", "mri", "a.nii", "measured").as_row()
    assert tuple(row) == DISPOSITION_COLUMNS
