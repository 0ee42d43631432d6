"""Columns of the result tables, and the apostrophe before what looks like a formula."""

from __future__ import annotations

import pytest

from kneeimg.core import result_tables
from kneeimg.core.result_tables import FLOAT_COLUMNS, INTEGER_COLUMNS, quoted, unquoted


@pytest.mark.parametrize("text", ["", "P01", "=1+1", "-2", "+x", "@cmd", "\tx", "\rx", "'tis", "'"])
def test_what_is_quoted_comes_back(text: str) -> None:
    assert unquoted(quoted(text)) == text


def test_a_formula_gets_an_apostrophe_and_other_text_none() -> None:
    assert quoted("=1+1") == "'=1+1"
    assert quoted("a=1") == "a=1"


def test_every_number_column_stands_in_a_table() -> None:
    tables = (
        result_tables.MEASUREMENT_COLUMNS,
        result_tables.CHANGE_COLUMNS,
        result_tables.DISPOSITION_COLUMNS,
    )
    assert {name for columns in tables for name in columns} >= FLOAT_COLUMNS | INTEGER_COLUMNS
    assert all(len(set(columns)) == len(columns) for columns in tables)
