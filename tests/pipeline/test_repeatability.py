"""A repeatability table is used for what it was made for, and for nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement
from kneeimg.core.precision import PrecisionHeader, PrecisionRow, PrecisionStudy, StudyKind
from kneeimg.core.visit import Visit
from kneeimg.errors import ReasonCode, StudyError
from kneeimg.io.atomic import canonical_json, sha256_text
from kneeimg.io.precision import header_path, read_precision, write_precision
from kneeimg.io.results import KneeRecord
from kneeimg.longitudinal.ordered import planned_ordered
from kneeimg.longitudinal.vertices import VERTEX_QUANTITY
from kneeimg.pipeline.cases import Plan
from kneeimg.pipeline.longitudinal import pairs_of, run_pair
from kneeimg.pipeline.planned import planned_rows, row_context
from kneeimg.pipeline.repeatability import (
    Repeatability,
    load_repeatability,
    repeatability_for,
    settings_hash,
)
from kneeimg.settings.study import StageSettings, StudyFile
from kneeimg.settings.toml import validate

SETTINGS = StageSettings()
CARTILAGE = (Measurement("MT", "ThCtAB_aMe", 2.0, "mm", method="ray/hard"),)


def study(sdc: float = 0.4, **header: object) -> PrecisionStudy:
    """A table for films and one cartilage row."""
    own = PrecisionHeader(
        kind=StudyKind.RETEST,
        study="RT1",
        software_version=__version__,
        models={"mri": "", "film": ""},
        settings={kind: settings_hash(kind, SETTINGS) for kind in ("mri", "film")},
        n_people=9,
    )
    shared = PrecisionRow(
        kind="film", method="duryea", procedure="paired", region="medial", quantity="mJSW",
        unit="mm", sample="study RT1", n_people=9, n_knees=9, n_scans=18, sdc95=sdc,
    )  # fmt: skip
    hard = {"kind": "mri", "method": "ray/hard", "region": "MT", "quantity": "ThCtAB_aMe"}
    rows = (shared, replace(shared, **hard))  # type: ignore[arg-type]
    return PrecisionStudy(replace(own, **header), rows, "f" * 64)


def used(table: PrecisionStudy | None, **options: object) -> Repeatability:
    settings = options.get("settings", SETTINGS)
    scans = [(CARTILAGE, options.get("model", "")), (CARTILAGE, "")]
    return repeatability_for(table, "mri", scans, settings)  # type: ignore[arg-type]


def test_a_table_made_alike_is_used() -> None:
    found = used(study())
    entry = found.table.get("MT", "ThCtAB_aMe")
    assert entry is not None
    assert (entry.sdc, entry.source) == (0.4, "retest: study RT1, n=9")
    assert (found.sha256, found.findings) == ("f" * 64, ())
    assert used(None).table.get("MT", "ThCtAB_aMe") is None


def _settings(**morphometry: object) -> StageSettings:
    return validate({"morphometry": morphometry}, StageSettings, where="test")


@pytest.mark.parametrize(
    "table, options, what",
    [
        (study(software_version="0.0.9"), {}, "software"),
        (study(software_version=""), {}, "software"),
        (study(models={"mri": "a" * 64}), {}, "model"),
        (study(), {"model": "b" * 64}, "model"),
        (study(models={"film": ""}), {}, "kind of scan"),
        (study(settings={"mri": "other"}), {}, "settings"),
        (study(), {"settings": _settings(femur_fraction=0.6)}, "settings"),
    ],
)
def test_a_table_for_something_else_is_refused_and_says_why(
    table: PrecisionStudy, options: dict[str, object], what: str
) -> None:
    found = used(table, **options)
    assert found.table.get("MT", "ThCtAB_aMe") is None
    assert found.sha256 == ""
    (finding,) = found.findings
    assert finding.code is ReasonCode.NO_REPEATABILITY
    assert f"another {what}" in finding.message
    assert finding.expected != finding.found


def test_masks_of_another_kind_are_another_method() -> None:
    soft = (replace(CARTILAGE[0], method="ray/soft"),)
    (finding,) = repeatability_for(study(), "mri", [(soft, ""), (soft, "")], SETTINGS).findings
    assert (finding.expected, finding.found) == ("method ray/hard", "ray/soft")
    mixed = repeatability_for(study(), "mri", [(CARTILAGE, ""), (soft, "")], SETTINGS)
    assert mixed.findings[0].found == "ray/hard and ray/soft"
    assert not mixed.table.entries


def test_a_patch_release_and_the_place_of_the_table_do_not_matter() -> None:
    release = ".".join(__version__.split(".")[:2])
    assert used(study(software_version=f"{release}.77")).table.entries
    moved = validate({"change": {"precision": "x.csv"}}, StageSettings, where="test")
    assert settings_hash("mri", moved) == settings_hash("mri", SETTINGS)
    rim = validate({"change": {"rim_mm": 1.0}}, StageSettings, where="test")
    assert settings_hash("mri", rim) != settings_hash("mri", SETTINGS)
    assert settings_hash("film", rim) == settings_hash("film", SETTINGS)


def test_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "precision.csv"
    write_precision(study(0.123456789123), path)
    again = load_repeatability("precision.csv", tmp_path)
    assert again is not None
    assert again.header == study().header
    assert again.rows[0].sdc95 == 0.1234568
    assert again.rows[0].key == study().rows[0].key
    assert len(again.sha256) == 64
    assert load_repeatability("none") is None


def test_a_table_that_was_edited_or_stands_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "precision.csv"
    write_precision(study(), path)
    path.write_text(path.read_text().replace("0.4", "0.1"))
    with pytest.raises(StudyError, match="header belongs"):
        read_precision(path)
    header_path(path).unlink()
    with pytest.raises(StudyError, match="header"):
        read_precision(path)
    with pytest.raises(StudyError, match="cannot be read"):
        read_precision(tmp_path / "gone.csv")


def test_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "precision.csv"
    write_precision(study(), path)
    header = json.loads(header_path(path).read_text())
    header_path(path).write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(StudyError, match="no repeatability table"):
        read_precision(path)


def _record(visit: str, day: int, value: float) -> KneeRecord:
    rows = tuple(
        Measurement(r, q, value, u, method="duryea") for r, q, u in planned_rows("film", SETTINGS)
    )
    context = row_context("film", SETTINGS, "", spacing_source="user")
    return KneeRecord(Visit("P01", visit, Side.LEFT, day), "film", "measured", rows, context,
                      protocol=(("model", visit),))  # fmt: skip


def _plan(table: PrecisionStudy | None) -> Plan:
    return Plan("T1", StudyFile(), (), (), {"P01": None}, {"P01": ("BL", "M12")}, table)


def _rows(table: PrecisionStudy | None, out: Path) -> dict[str, dict[str, object]]:
    (pair,) = pairs_of(_plan(table), [_record("BL", 0, 4.0), _record("M12", 365, 3.2)])
    report = run_pair(pair, out)
    return {f"{r['region']}_{r['quantity']}": r for r in report.rows}


def test_change_rows_are_classed_and_say_by_what(tmp_path: Path) -> None:
    row = _rows(study(), tmp_path)["medial_mJSW"]
    assert (row["change_class"], row["sdc"]) == ("loss", 0.4)
    assert row["sdc_source"] == "retest: study RT1, n=9"
    assert row["progression"] == "progression"
    assert row["drift"] == "model: BL -> M12"
    other = _rows(study(), tmp_path)["lateral_mJSW"]
    assert (other["change_class"], other["sdc_source"]) == ("no repeatability data", "")


def test_another_table_compares_again_and_a_refused_one_says_why(tmp_path: Path) -> None:
    assert _rows(study(0.4), tmp_path)["medial_mJSW"]["change_class"] == "loss"
    larger = replace(study(0.9), sha256="e" * 64)
    assert _rows(larger, tmp_path)["medial_mJSW"]["change_class"] == "within measurement error"
    old = study(software_version="0.0.1")
    assert _rows(old, tmp_path)["medial_mJSW"]["change_class"] == "no repeatability data"
    (written,) = (tmp_path / "sub-P01/longitudinal").glob("*_change.json")
    (finding,) = json.loads(written.read_text())["findings"]
    assert finding["code"] == "NO_REPEATABILITY"


def test_an_mr_pair_that_cannot_be_compared_has_its_ordered_rows(tmp_path: Path) -> None:
    rows = tuple(Measurement(r, q, 2.0, u) for r, q, u in planned_rows("mri", SETTINGS))
    record = KneeRecord(
        Visit("P01", "BL", Side.LEFT, 0), "mri", "measured", rows, row_context("mri", SETTINGS, "")
    )
    gone = replace(record, visit=Visit("P01", "M12", Side.LEFT), status="missing", measurements=())
    (pair,) = pairs_of(_plan(None), [record, gone])
    found = [(r["region"], r["quantity"], r["unit"]) for r in run_pair(pair, tmp_path).rows]
    assert found == [*planned_rows("mri", SETTINGS), *planned_ordered()]
    assert {r["reason"] for r in run_pair(pair, tmp_path).rows} == {"VISIT_MISSING"}


def test_the_shipped_table_holds_and_says_that_it_is_simulated() -> None:
    shipped = load_repeatability("simulated")
    assert shipped is not None
    assert shipped.header.kind is StudyKind.SIMULATED
    assert shipped.header.assumptions["not simulated"]
    found = {m: used_with(shipped, "mri", m) for m in ("ray/hard", "ray/soft")}
    found["film"] = used_with(shipped, "film", "duryea")
    assert [r.findings for r in found.values()] == [(), (), ()]
    for name, known in found.items():
        planned = planned_rows("film" if name == "film" else "mri", SETTINGS)
        sources = {e.source for e in known.table.entries.values()}
        assert all(source.startswith("simulated: ") for source in sources)
        if name != "film":
            wanted = [(r, q) for r, q, _ in planned if q == "ThCtAB_aMe"]
            wanted += [(r, q) for r, q, _ in planned_ordered()] + [("cMF", VERTEX_QUANTITY)]
            assert [key for key in wanted if known.table.get(*key) is None] == []


def used_with(table: PrecisionStudy, kind: str, method: str) -> Repeatability:
    row = Measurement("any", "ThCtAB_aMe", 1.0, "mm", method=method)
    return repeatability_for(table, kind, [((row,), ""), ((row,), "")], SETTINGS)


#: Hash of every default that decides how well scans repeat, for each release (major and minor).
DEFAULTS_OF = {"0.1": "44fddb0fda4f7a82"}


def test_the_defaults_that_a_table_takes_for_granted_belong_to_the_release() -> None:
    """A table keeps only settings that differ from the defaults, so these may not move unseen.

    Fails when such a default changes: raise the minor version, make the shipped table anew with
    scripts/simulate_retest.py and add the new release here. A setting that is new and off by
    default changes the hash as well; then only the hash here is renewed.
    """
    stages = {"morphometry", "change", "film"}
    content = SETTINGS.model_dump(mode="json", include=stages)
    release = ".".join(__version__.split(".")[:2])
    assert sha256_text(canonical_json(content))[:16] == DEFAULTS_OF[release]
