"""The report: refusals first, nothing invented, nothing from outside, nothing unescaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kneeimg.core.result_tables import CHANGE_COLUMNS, DISPOSITION_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.errors import InputError, OutputError, ReasonCode
from kneeimg.report.figures.canvas import new_figure, png_bytes
from kneeimg.report.html import render_report, write_report
from kneeimg.report.results import Results, read_results
from kneeimg.report.tables import clean_table

NASTY = "<script>alert(1)</script>"
EMPTY: list[dict[str, object]] = []


def measurement(visit="BL", **changes):
    row = {
        "participant": "P01", "side": "right", "visit": visit, "kind": "mri", "region": "MT",
        "day": {"BL": 0, "M06": 183}.get(visit), "quantity": "ThCtAB_aMe", "value": 1.7314,
        "unit": "mm", "status": "ok", "software_version": "9.8.7", "femur_fraction": 0.75,
    }  # fmt: skip
    return row | changes


def absent(visit="BL", reason="REGION_EMPTY", **changes):
    return measurement(visit, value=np.nan, status="not_measurable", reason=reason, **changes)


def change(**changes):
    row = {
        "participant": "P01", "side": "right", "kind": "mri", "region": "MT", "unit": "mm",
        "quantity": "ThCtAB_aMe", "visit_from": "BL", "visit_to": "M06", "days": 183,
        "baseline": 1.7314, "followup": 1.7, "change": -0.0314, "change_pct": -1.81,
        "change_per_year": -0.0627, "status": "ok", "change_class": "within measurement error",
    }  # fmt: skip
    return row | changes


def scan(status="measured", **changes):
    row = {
        "participant": "P01", "visit": "BL", "side": "right", "kind": "mri",
        "source": "a/series", "status": status,
    }  # fmt: skip
    return row | changes


def results(measurements=EMPTY, changes=EMPTY, scans=EMPTY, **other) -> Results:
    return Results(
        measurements=clean_table(pd.DataFrame(measurements), MEASUREMENT_COLUMNS),
        change=clean_table(pd.DataFrame(changes), CHANGE_COLUMNS),
        disposition=clean_table(pd.DataFrame(scans), DISPOSITION_COLUMNS),
        **other,
    )


def pages_of(given: Results) -> dict[str, str]:
    return {
        name: content.decode() for name, content in render_report(given) if name.endswith(".html")
    }


class _Text(HTMLParser):
    """Visible text, and every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = 0

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag == "style"

    def handle_endtag(self, tag):
        self._hidden -= tag == "style"

    def handle_data(self, data):
        if not self._hidden:
            self.text.append(data)


def parsed(page: str) -> _Text:
    parser = _Text()
    parser.feed(page)
    return parser


def text_of(page: str) -> str:
    return " ".join(" ".join(parsed(page).text).split())


@pytest.fixture(scope="module")
def pages(full) -> dict[str, str]:
    return pages_of(full)


@pytest.fixture(scope="module")
def full() -> Results:
    return results(
        [
            measurement(),
            absent("M06"),
            measurement("M06", region="LT", value=0.0, qc_flags="COARSE_GRID;RAY_MISSED"),
            measurement(quantity="VC", unit="mm^3", value=3967.4),
        ],
        [change()],
        [
            scan(),
            scan("refused", participant="P02", code="MISSING_SLICES", message="Slice 41",
                 expected="0.70 mm", found="1.40 mm", action="send the file"),
            scan("missing", participant="P03", visit="M06", code="VISIT_MISSING"),
            scan("skipped", participant="", code="LOCALIZER"),
        ],
    )  # fmt: skip


def test_a_page_for_everybody_and_the_index_last(full):
    names = [name for name, _ in render_report(full)]
    assert names[-1] == "index.html"
    assert {"sub-P01.html", "sub-P02.html", "sub-P03.html"} <= set(names)


def test_refusals_come_first_and_all_of_them(pages):
    page = text_of(pages["index.html"])
    for text in ("MISSING_SLICES", "Slice 41", "0.70 mm", "1.40 mm", "send the file", "P02"):
        assert text in page
    assert "VISIT_MISSING" in page
    assert page.index("MISSING_SLICES") < page.index("Participants and visits")
    assert "P02" in pages["sub-P02.html"]
    assert "MISSING_SLICES" in pages["sub-P02.html"]


def test_fifty_refusals_are_fifty_rows():
    scans = [
        scan("refused", participant=f"P{n}", source=f"s-{n:02}.", code="BAD_DICOM")
        for n in range(50)
    ]
    page = pages_of(results(scans=scans))["index.html"]
    assert all(f"s-{n:02}." in page for n in range(50))


def test_zero_is_zero_absent_is_said_and_nan_is_never_printed(pages):
    page = text_of(pages["sub-P01.html"])
    assert "not measured: REGION_EMPTY" in page
    assert re.search(r"LT lateral tibia ThCtAB_aMe mm not planned 0 COARSE_GRID RAY_MISSED", page)
    for content in pages.values():
        assert not re.search(r"\b[Nn][Aa][Nn]\b|\bNone\b|\binf\b", text_of(content))


def test_a_planned_value_that_is_absent_is_never_blank():
    page = text_of(pages_of(results([absent(reason="")]))["sub-P01.html"])
    assert "not measured: no reason given" in page


def test_values_units_flags_and_change_stand_on_the_page(pages):
    page = text_of(pages["sub-P01.html"])
    for text in ("1.731", "3967", "mm³", "−0.031", "−1.8", "within measurement error", "BL → M06"):
        assert text in page


def test_reasons_are_explained_in_the_words_of_the_error_tree(pages):
    page = text_of(pages["index.html"])
    assert "The region has no surface on this knee" in page
    assert "Voxels too large for the thickness that is claimed" in page


def test_what_was_read_is_escaped():
    nasty = results(
        [measurement(method=NASTY, qc_flags=NASTY, tab_source=NASTY, region=NASTY)],
        [change(drift=NASTY, change_class=NASTY)],
        [scan("refused", source=NASTY, message=NASTY, code=NASTY, found=NASTY, participant=NASTY)],
        study=NASTY,
        configurations=(("run-1", NASTY),),
    )
    for content in pages_of(nasty).values():
        assert "<script" not in content
        assert "&lt;script&gt;" in content


def test_an_id_that_is_no_study_id_gets_no_file():
    given = results(scans=[scan("refused", participant="../../evil", code="BAD_STUDY_ID")])
    pages = pages_of(given)
    assert list(pages) == ["index.html"]
    assert "../../evil" in pages["index.html"]
    assert 'href="sub-../' not in pages["index.html"]


def test_nothing_is_loaded_from_outside(pages):
    for content in pages.values():
        assert "://" not in content
        page = parsed(content)
        assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]


def test_the_notice_stands_on_every_page(pages):
    for content in pages.values():
        assert "For research. Not a medical device, not for diagnosis." in text_of(content)


def test_versions_and_terms_are_stated(pages):
    page = text_of(pages["index.html"])
    assert "kneeimg 9.8.7" in page
    assert "0.75 of their length" in page
    assert "mean cartilage thickness over the total subchondral bone area" in page


def test_group_change_counts_only_rows_with_a_value():
    rows = [
        change(participant="P01", change=-0.1, change_pct=-5.0, baseline=2.0),
        change(participant="P02", change=-0.3, change_pct=-10.0, baseline=3.0, change_class="loss"),
        change(participant="P03", change=np.nan, status="not_measurable", reason="NO_BASELINE"),
    ]
    page = text_of(pages_of(results(changes=rows))["index.html"])
    # mean of -0.1 and -0.3; SD = 0.2 / sqrt(2)
    assert "MT ThCtAB_aMe BL → M06 2 of 3 2.500 −0.200 0.141 mm −7.5 1 1 0 0" in page


def test_nothing_but_refusals_still_makes_a_report():
    page = text_of(pages_of(results(scans=[scan("refused", code="EMPTY_MASK")]))["index.html"])
    assert "EMPTY_MASK" in page
    assert "No change is listed" in page


def test_one_visit_without_films_says_that_there_is_no_change():
    page = text_of(pages_of(results([measurement()], scans=[scan()]))["sub-P01.html"])
    assert "No change is listed for this knee" in page


def test_a_course_is_drawn_from_two_visits_on():
    one = [name for name, _ in render_report(results([measurement()]))]
    two = [name for name, _ in render_report(results([measurement(), measurement("M06")]))]
    assert not [name for name in one if name.endswith(".png")]
    assert "pictures/sub-P01_right_course.png" in two


def test_remarks_on_measured_scans_are_seen_in_the_matrix():
    page = text_of(pages_of(results(scans=[scan(code="COARSE_GRID")]))["index.html"])
    assert "MR right COARSE_GRID" in page


def test_visits_are_in_the_order_of_their_days():
    rows = [measurement(v, day=d) for v, d in (("M12", 365), ("BL", 0), ("M06", 183))]
    page = text_of(pages_of(results(rows))["sub-P01.html"])
    assert "Unit BL M06 M12" in page


def test_equal_results_give_equal_bytes(full):
    assert list(render_report(full)) == list(render_report(full))


def write_results(out: Path, suffix: str) -> Path:
    """A small results folder as a run leaves it."""
    (out / "tables").mkdir(parents=True)
    both = [measurement(v, participant="001") for v in ("BL", "M06")]
    rows = pd.DataFrame([*both, absent("M06", participant="001", region="LT")])
    rows.loc[0, "tab_source"] = "'=1+1" if suffix == "csv" else "=1+1"
    if suffix == "csv":
        rows.to_csv(out / "tables" / "measurements.csv", index=False)
    else:
        rows.to_parquet(out / "tables" / "measurements.parquet")
    pd.DataFrame([scan(participant="001")]).to_csv(out / "disposition.csv", index=False)
    folder = out / "sub-001" / "ses-BL" / "mri"
    folder.mkdir(parents=True)
    picture = png_bytes(new_figure(64, 32))
    (folder / "sub-001_ses-BL_side-R_qc.png").write_bytes(picture)
    (out / "run-1").mkdir()
    (out / "run-1" / "config.toml").write_text("femur_fraction = 0.75\n")
    return out


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_results_folder_becomes_pages_whose_links_resolve(tmp_path, suffix):
    out = write_results(tmp_path / "OUT", suffix)
    index = write_report(out)
    assert index == out / "report" / "index.html"
    for page in (out / "report").glob("*.html"):
        for tag, attributes in parsed(page.read_text()).tags:
            target = attributes.get("src") or attributes.get("href") or "#"
            if not target.startswith("#"):
                assert (page.parent / target).is_file(), target
            if tag == "img":
                assert attributes["alt"]
                assert attributes["width"]
    page = (out / "report" / "sub-001.html").read_text()
    assert "../sub-001/ses-BL/mri/sub-001_ses-BL_side-R_qc.png" in page
    assert "=1+1" in page
    assert "'=1+1" not in page


def test_csv_and_parquet_give_one_report(tmp_path):
    reports = []
    for suffix in ("csv", "parquet"):
        write_report(write_results(tmp_path / suffix, suffix))
        files = sorted((tmp_path / suffix / "report").rglob("*.*"))
        reports.append({path.name: path.read_bytes() for path in files})
    assert reports[0] == reports[1]


def test_pages_of_people_who_left_the_tables_are_removed(tmp_path):
    out = write_results(tmp_path / "OUT", "csv")
    write_report(out)
    stale = out / "report" / "sub-gone.html"
    stale.write_text("old")
    write_report(out)
    assert not stale.exists()
    assert not list(out.rglob("*.kneeimg-tmp"))


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        read_results(tmp_path)


def test_a_broken_table_is_refused(tmp_path):
    out = write_results(tmp_path / "OUT", "csv")
    (out / "tables" / "measurements.parquet").write_bytes(b"not a table")
    with pytest.raises(InputError, match=r"measurements\.parquet"):
        write_report(out)


def test_a_report_that_cannot_be_written_is_an_output_error(tmp_path):
    out = write_results(tmp_path / "OUT", "csv")
    (out / "report").write_text("a file where the folder should be")
    with pytest.raises(OutputError) as caught:
        write_report(out)
    assert caught.value.code is ReasonCode.OUTPUT_NOT_WRITABLE
