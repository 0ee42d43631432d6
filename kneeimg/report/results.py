"""What a results folder holds, read once: tables, pictures and how the run was set up."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from kneeimg.core.result_tables import (
    CHANGE_COLUMNS,
    DISPOSITION_COLUMNS,
    MEASUREMENT_COLUMNS,
)
from kneeimg.core.visit import STUDY_ID
from kneeimg.errors import InputError, ReasonCode
from kneeimg.report.tables import clean_table, read_table
from kneeimg.report.trial_tables import TrialTables, read_trial_tables

if TYPE_CHECKING:
    import pandas as pd

_SIDES = {"L": "left", "R": "right", "X": ""}


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG below OUT.

    Attributes
    ----------
    participant, visit, side : Study ids; side is empty when unknown. A picture of change has the
        visit that is compared with the baseline.
    kind : "mri", "film" or "change".
    role : Last part of the file name, such as "qc", "thickness", "change".
    href : Relative address from a page in OUT/report.
    width, height : Pixels.
    file : The picture itself.
    """

    participant: str
    visit: str
    side: str
    kind: str
    role: str
    href: str
    width: int
    height: int
    file: Path


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """Everything that the report shows.

    Attributes
    ----------
    measurements, change, disposition : Tables with the columns listed above; text cells are
        strings, absent numbers NaN.
    pictures : PNGs by path.
    study : Name of the study.
    configurations : (name, TOML text) of the runs.
    trial : Tables of the analysis by arm; none before unblinding.
    """

    measurements: pd.DataFrame
    change: pd.DataFrame
    disposition: pd.DataFrame
    pictures: tuple[Picture, ...] = ()
    study: str = ""
    configurations: tuple[tuple[str, str], ...] = field(default=())
    trial: TrialTables = field(default_factory=lambda: TrialTables({}))


def read_results(out: Path) -> Results:
    """Read tables and find pictures below OUT.

    Raises
    ------
    InputError
        If the folder holds neither a table of measurements nor a disposition table.
    """
    tables = out / "tables"
    disposition = out / "disposition.csv"
    if not disposition.is_file() and _table_file(tables, "measurements") is None:
        raise InputError(
            "the folder holds no results",
            code=ReasonCode.OUTPUT_CHANGED,
            where=out.name,
            expected="disposition.csv and tables/ as `kneeimg run` writes them",
            found="neither",
            action="give the folder that was named with -o",
        )
    measurements = _table(_table_file(tables, "measurements"), MEASUREMENT_COLUMNS)
    return Results(
        # of repeated scans the report shows the average
        measurements=measurements[measurements["scan"] == ""].reset_index(drop=True),
        change=_table(_table_file(tables, "change"), CHANGE_COLUMNS),
        disposition=_table(disposition if disposition.is_file() else None, DISPOSITION_COLUMNS),
        pictures=find_pictures(out),
        study=_study_name(out),
        configurations=tuple(
            (path.parent.name, path.read_text(encoding="utf-8"))
            for path in sorted(out.glob("run-*/config.toml"))
        ),
        trial=read_trial_tables(tables / "trial"),
    )


def _table_file(folder: Path, name: str) -> Path | None:
    found = [folder / f"{name}{suffix}" for suffix in (".parquet", ".csv")]
    return next((path for path in found if path.is_file()), None)


def _table(path: Path | None, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table with exactly these columns; without rows where there is no file."""
    import pandas as pd

    return clean_table(pd.DataFrame() if path is None else read_table(path), columns)


def find_pictures(out: Path) -> tuple[Picture, ...]:
    """PNGs of scans and of change, in a fixed order."""
    paths = sorted([*out.glob("sub-*/ses-*/*/*.png"), *out.glob("sub-*/longitudinal/*.png")])
    pictures = (_picture(out, path) for path in paths)
    return tuple(picture for picture in pictures if picture is not None)


def _picture(out: Path, path: Path) -> Picture | None:
    parts = path.relative_to(out).parts
    participant = parts[0].removeprefix("sub-")
    size = _png_size(path)
    if size is None or not STUDY_ID.fullmatch(participant):
        return None
    longitudinal = parts[1] == "longitudinal"
    side = re.search(r"_side-([LRX])(?=[_.])", path.name)
    return Picture(
        participant=participant,
        visit=_visit_of(path) if longitudinal else parts[1].removeprefix("ses-"),
        side=_SIDES[side[1]] if side else "",
        kind="change" if longitudinal else ("film" if parts[2] == "xr" else "mri"),
        role=path.stem.rsplit("_", 1)[-1],
        href="../" + quote("/".join(parts)),
        width=size[0],
        height=size[1],
        file=path,
    )


def _visit_of(path: Path) -> str:
    found = re.search(r"_ses-([A-Za-z0-9-]+)(?=[_.])", path.name)
    return found[1] if found else ""


def _png_size(path: Path) -> tuple[int, int] | None:
    """Width and height from the header; None if the file is no PNG."""
    with path.open("rb") as stream:
        head = stream.read(24)
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    width, height = struct.unpack(">II", head[16:24])
    return int(width), int(height)


def _study_name(out: Path) -> str:
    """Name in dataset_description.json, "" if there is none."""
    try:
        described = json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    name = described.get("Name", "") if isinstance(described, dict) else ""
    return name if isinstance(name, str) else ""
