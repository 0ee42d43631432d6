"""Write configs/parameters.csv, the published table of parameters, from what kneeimg measures."""

from __future__ import annotations

from pathlib import Path

from kneeimg.io.tables import csv_text
from kneeimg.pipeline.parameters import PARAMETER_COLUMNS, parameter_rows


def table() -> str:
    """The whole table as CSV."""
    return csv_text(PARAMETER_COLUMNS, parameter_rows())


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / "configs" / "parameters.csv"
    target.write_text(table(), encoding="utf-8")
