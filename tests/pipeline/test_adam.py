"""ADKNEE from rows to files and back, and the snippets that import it."""

from __future__ import annotations

import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pyreadstat
import pytest
from lxml import etree
from odmlib.schema_manager import get_schema_path

from kneeimg.core.anatomy import Side
from kneeimg.core.result_tables import CHANGE_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.errors import InputError
from kneeimg.io.tables import write_csv, write_parquet
from kneeimg.longitudinal.change import CARRIED
from kneeimg.pipeline.adam import (
    ADAM_FOLDER,
    UNBLINDED_FOLDER,
    adam_from_results,
    adam_study,
    remove_adam,
    write_adam,
    write_unblinded_adknee,
)
from kneeimg.pipeline.planned import planned_rows
from kneeimg.pipeline.trial import Unblinded
from kneeimg.settings.study import StudyFile
from kneeimg.settings.tables import TablesSettings
from kneeimg.trial.adam import AdamStudy, adknee, variables_of
from kneeimg.trial.study import Participant

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = sorted((ROOT / "docs" / "snippets").iterdir())
SETTINGS = StudyFile()
PEOPLE = {
    "001": Participant("001", Side.RIGHT, baseline_date=date(2024, 3, 1)),
    "002": Participant("002", Side.LEFT),
}
VISITS = ("BL", "M06")
DAYS = {"BL": 0, "M06": 180}


def measured(participant: str, visit: str, number: int, planned: tuple[str, ...]) -> dict[str, Any]:
    region, quantity, unit = planned
    missing = number % 7 == 3
    return dict.fromkeys(MEASUREMENT_COLUMNS, "") | {
        "participant": participant,
        "side": "right",
        "visit": visit,
        "day": DAYS[visit],
        "kind": "film" if "JSW" in quantity else "mri",
        "region": region,
        "quantity": quantity,
        "value": math.nan if missing else 1.0 + number / 7 + (visit == "M06") / 3,
        "unit": unit,
        "status": "not_measurable" if missing else "ok",
        "reason": "REGION_EMPTY" if missing else "",
        "femur_fraction": 0.75,
        "software_version": "0.1.0",
    }


def compared(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    change = second["value"] - first["value"] + 0.01
    own = {name: first[name] for name in ("participant", "side", "kind", "region", "quantity")}
    row = dict.fromkeys(CHANGE_COLUMNS, "") | own
    return row | {
        "visit_from": "BL",
        "visit_to": "M06",
        "days": 180,
        "baseline": first["value"],
        "followup": first["value"] + change,
        "change": first["value"] + change - first["value"],
        "change_pct": 100 * change / first["value"],
        "change_per_year": change * 2,
        "unit": first["unit"],
        "status": "not_measurable" if math.isnan(change) else "ok",
        "reason": second["reason"],
        "change_class": "" if math.isnan(change) else "no repeatability data",
        "sdc": math.nan,
        "tab_source": CARRIED,
        "registration_rms_mm": 0.03,
        "software_version": "0.1.0",
    }


@pytest.fixture(scope="module")
def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measurements of two people at two visits, every region and quantity, and their change."""
    planned = (*planned_rows("mri", SETTINGS), *planned_rows("film", SETTINGS))
    found = {
        (who, visit, n): measured(who, visit, n, plan)
        for who in PEOPLE
        for n, plan in enumerate(planned)
        for visit in VISITS
    }
    changes = [
        compared(row, found[who, "M06", n])
        for (who, visit, n), row in found.items()
        if visit == "BL"
    ]
    return list(found.values()), changes


@pytest.fixture(scope="module")
def study() -> AdamStudy:
    return adam_study(SETTINGS, PEOPLE)


@pytest.fixture(scope="module")
def frame(rows: tuple[list[dict[str, Any]], ...], study: AdamStudy) -> pd.DataFrame:
    return adknee(rows[0], rows[1], study)


@pytest.fixture(scope="module")
def out(
    rows: tuple[list[dict[str, Any]], ...],
    frame: pd.DataFrame,
    study: AdamStudy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A results folder with the tables of the rows."""
    folder = tmp_path_factory.mktemp("out")
    for name, columns, table in (
        ("measurements", MEASUREMENT_COLUMNS, rows[0]),
        ("change", CHANGE_COLUMNS, rows[1]),
    ):
        write_csv(folder / "tables" / f"{name}.csv", columns, table)
        write_parquet(folder / "tables" / f"{name}.parquet", columns, table)
    write_adam(folder / ADAM_FOLDER, frame, study)
    return folder


def test_every_measurement_is_one_row_and_every_change_one_chg(
    rows: tuple[list[dict[str, Any]], ...], frame: pd.DataFrame
) -> None:
    found = {
        (row["SUBJID"], row["REGION"], row["QUANTITY"], row["AVISIT"]): row
        for row in frame.to_dict("records")
    }
    assert len(found) == len(frame) == len(rows[0])
    for row in rows[0]:
        own = found[row["participant"], row["region"], row["quantity"], row["visit"]]
        assert own["AVAL"] == row["value"] or (math.isnan(row["value"]) and own["AVALRSN"])
    for row in rows[1]:
        own = found[row["participant"], row["region"], row["quantity"], row["visit_to"]]
        same = own["CHG"] == row["change"] and own["CHGMTHD"] == "PAIRED"
        assert same or (math.isnan(row["change"]) and own["CHGRSN"] == row["reason"])


def test_all_formats_hold_the_same_values(out: Path, frame: pd.DataFrame) -> None:
    folder = out / ADAM_FOLDER
    dataset = json.loads((folder / "ADKNEE.json").read_text(encoding="utf-8"))
    parquet = [list(row.values()) for row in pq.read_table(folder / "ADKNEE.parquet").to_pylist()]
    assert parquet == dataset["rows"]
    xpt, about = pyreadstat.read_xport(folder / "ADKNEE.xpt")
    for place, variable in enumerate(variables_of(frame)):
        column = [row[place] for row in dataset["rows"]]
        read = [None if v != v else v for v in xpt[variable.name].tolist()]
        assert read == column, variable.name
        if variable.data_type == "text":
            assert about.variable_storage_width[variable.name] == (max(map(len, column)) or 1)
    assert about.column_labels == [v.label for v in variables_of(frame)]


def test_define_describes_what_is_there(out: Path, frame: pd.DataFrame) -> None:
    document = etree.parse(out / ADAM_FOLDER / "define.xml")
    etree.XMLSchema(etree.parse(get_schema_path("define", "2.1"))).assertValid(document)
    text = (out / ADAM_FOLDER / "define.xml").read_text(encoding="utf-8")
    for code in frame["PARAMCD"].unique():
        assert text.count(f'OID="IT.ADKNEE.AVAL.{code}"') == 2  # its definition and its use
    assert "denuded bone counts as 0" in text
    assert "doi:10.1016/j.joca.2010.02.010" in text


def test_the_dataset_can_be_made_again_from_the_results_with_arms(
    out: Path, frame: pd.DataFrame
) -> None:
    again, study = adam_from_results(out)
    pd.testing.assert_frame_equal(again, frame)
    assert study.windows == SETTINGS.visits
    arms = {"001": "drug", "002": "placebo"}
    open_frame, _ = adam_from_results(out, arms, ("placebo", "drug"))
    assert set(open_frame["TRTP"] + open_frame["TRTPN"].astype(str)) == {"drug2", "placebo1"}
    blind = open_frame.drop(columns=["TRTP", "TRTPN"])
    pd.testing.assert_frame_equal(blind, frame)


def test_the_analysis_by_arm_writes_the_dataset_with_treatment_beside_the_blinded_one(
    out: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in (out / ADAM_FOLDER).iterdir()}
    known = Unblinded(out, tmp_path, {"001": "drug"}, ("placebo", "drug"))
    written = write_unblinded_adknee(known)
    assert {path.parent for path in written} == {tmp_path / UNBLINDED_FOLDER}
    arms = pd.read_parquet(tmp_path / UNBLINDED_FOLDER / "ADKNEE.parquet")
    assert set(zip(arms["SUBJID"], arms["TRTP"], strict=True)) == {("001", "drug"), ("002", "")}
    assert before == {path.name: path.read_bytes() for path in (out / ADAM_FOLDER).iterdir()}
    assert write_unblinded_adknee(Unblinded(tmp_path, tmp_path, {}, ())) == ()


def test_results_without_the_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study\.json"):
        adam_from_results(tmp_path)


def test_dates_and_site_come_only_by_the_study_file(rows: tuple[list[Any], ...]) -> None:
    tables = TablesSettings(site="07", analysis_dates=True)
    settings = SETTINGS.model_copy(update={"tables": tables})
    dated = adknee(rows[0][:2] + rows[0][-2:], [], adam_study(settings, PEOPLE))
    assert list(dated["ADT"]) == [date(2024, 3, 1), date(2024, 8, 28), None, None]
    assert set(dated["SITEID"]) == {"07"}
    assert adam_study(SETTINGS, PEOPLE).baseline_dates == {}


def test_a_dataset_of_another_study_is_taken_away(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adam"
    shutil.copytree(out / ADAM_FOLDER, folder)
    (folder / "mine.txt").write_text("x")
    remove_adam(folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    remove_adam(folder)
    assert not folder.exists()
    remove_adam(folder)


def _expected(out: Path, folder: str) -> str:
    """What every snippet must print, from the rows themselves."""
    table = pd.read_parquet(out / "tables" / "change.parquet")
    ok = table[(table.region == "MT") & (table.quantity == "ThCtAB_aMe") & table.change.notna()]
    total = (
        len(table)
        if folder == "tables"
        else len(pd.read_parquet(out / "tables/measurements.parquet"))
    )
    return f"{total} rows, {len(ok)} changes, mean {ok.change.mean():.6f} mm\n"


def _folder_of(snippet: Path) -> str:
    return "tables/adam" if snippet.name.startswith("adknee") else "tables"


@pytest.mark.parametrize(
    "snippet", [s for s in SNIPPETS if s.suffix == ".py"], ids=lambda s: s.name
)
def test_python_snippets_import_the_tables(
    out: Path,
    snippet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [str(snippet), str(out / _folder_of(snippet))])
    runpy.run_path(str(snippet), run_name="__main__")
    assert capsys.readouterr().out == _expected(out, _folder_of(snippet))


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if s.suffix == ".R"], ids=lambda s: s.name)
def test_r_snippets_import_the_tables(out: Path, snippet: Path) -> None:
    rscript = shutil.which("Rscript")
    if rscript is None:
        pytest.skip("R is not installed: no Rscript on the PATH")
    done = subprocess.run(
        [rscript, "--vanilla", str(snippet), str(out / _folder_of(snippet))],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if absent := re.search(r"there is no package called .(\w+)", done.stderr):
        pytest.skip(f"R has no package {absent[1]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == _expected(out, _folder_of(snippet))


def test_the_page_shows_every_snippet_as_it_is_run() -> None:
    page = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
    for snippet in SNIPPETS:
        language = {".R": "r", ".py": "python"}[snippet.suffix]
        block = f"```{language}\n{snippet.read_text(encoding='utf-8')}```"
        assert block in page, f"copy {snippet.name} into the page"
