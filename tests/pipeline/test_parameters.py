"""The published table of parameters: complete, unique, and the same as what is measured."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from kneeimg.core.result_tables import CHANGE_COLUMNS, DISPOSITION_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.longitudinal.ordered import planned_ordered
from kneeimg.pipeline.parameters import (
    PARAMETER_COLUMNS,
    all_parameters,
)
from kneeimg.pipeline.planned import planned_rows
from kneeimg.report.glossary import quantity_meaning, region_meaning
from kneeimg.settings.film import FilmSettings, JointSpaceSettings
from kneeimg.settings.resources import config_path
from kneeimg.settings.study import StageSettings
from kneeimg.trial.adam_variables import adam_variables

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def published() -> list[dict[str, str]]:
    text = config_path("parameters.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def test_the_published_table_is_what_is_measured() -> None:
    text = config_path("parameters.csv").read_text(encoding="utf-8")
    assert text == script("make_parameters").table(), "run scripts/make_parameters.py"


def test_every_planned_row_has_a_parameter(published: list[dict[str, str]]) -> None:
    known = {(row["region"], row["quantity"], row["unit"]) for row in published}
    settings = StageSettings()
    planned = {*planned_rows("mri", settings), *planned_rows("film", settings)}
    assert planned <= known
    assert set(planned_ordered()) <= known
    assert len(planned_ordered()) == 18
    assert tuple(published[0]) == PARAMETER_COLUMNS


def test_codes_and_numbers_are_unique_and_well_formed(published: list[dict[str, str]]) -> None:
    for column in ("PARAMCD", "PARAM", "PARAMN"):
        twice = [value for value, n in Counter(r[column] for r in published).items() if n > 1]
        assert twice == []
    for row in published:
        assert re.fullmatch(r"[A-Z][A-Z0-9]{0,7}", row["PARAMCD"])
        assert len(row["PARAM"].encode()) <= 200
        assert row["PARAM"].isascii()
        assert len(row["PARCAT1"]) <= 40


def test_the_last_four_characters_name_the_quantity_and_the_rest_the_region() -> None:
    quantities: dict[str, set[str]] = {}
    regions: dict[str, set[str]] = {}
    numbers: dict[str, set[int]] = {}
    for parameter in all_parameters():
        quantities.setdefault(parameter.paramcd[-4:], set()).add(parameter.quantity)
        regions.setdefault(parameter.paramcd[:-4], set()).add(parameter.region)
        numbers.setdefault(parameter.region, set()).add(parameter.paramn // 10000)
    assert all(len(names) == 1 for names in (*quantities.values(), *regions.values()))
    assert all(len(found) == 1 for found in numbers.values())
    assert len(set().union(*numbers.values())) == len(numbers)


def test_param_ends_with_the_unit(published: list[dict[str, str]]) -> None:
    words = {"count": "n"}
    for row in published:
        assert row["PARAM"].endswith(f"({words.get(row['unit'], row['unit'])})")


def test_every_parameter_is_defined_and_has_a_source(published: list[dict[str, str]]) -> None:
    for row in published:
        assert quantity_meaning(row["quantity"])
        assert region_meaning(row["region"])
        assert row["definition"].startswith(quantity_meaning(row["quantity"]))
        assert re.fullmatch(
            r"((doi:10\.\d{4,}/\S+|PMC\d+|PMID \d+|kneeimg)(; |$))+", row["source"]
        ), row


def test_published_codes_never_change() -> None:
    found = {(p.region, p.quantity): (p.paramcd, p.paramn) for p in all_parameters()}
    assert found["MT", "ThCtAB_aMe"] == ("MTTTME", 10007)
    assert found["cMFTC", "ThCtAB_aMe"] == ("CMFCTTME", 540007)
    assert found["ccMF", "ThCtAB_aMiv"] == ("CCMFTTMI", 320010)
    assert found["MM", "extrusion_max"] == ("MMEXMX", 640053)
    assert found["medial", "fJSW_0225"] == ("MEDJ225", 811225)
    assert found["lateral", "nfJSW_0700"] == ("LATN700", 822700)
    assert found["FTJ", "OV16"] == ("FTJOV16", 530116)
    assert found["P", "T2_deep"] == ("PT2DP", 100064)


def test_other_fixed_positions_get_codes_by_the_same_rule() -> None:
    film = FilmSettings(joint_space=JointSpaceSettings(medial_x=(0.1, 0.162, 0.25)))
    parameters = all_parameters(StageSettings(film=film))
    assert len({p.paramcd for p in parameters}) == len(parameters)
    assert len({p.paramn for p in parameters}) == len(parameters)
    codes = {
        p.paramcd for p in parameters if p.quantity.startswith("fJSW") and p.region == "medial"
    }
    assert codes == {"MEDJ100", "MEDJ162", "MEDJ250"}


def test_the_data_dictionary_is_current() -> None:
    page = (ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    assert page == script("make_data_dictionary").page(), "run scripts/make_data_dictionary.py"


def test_the_data_dictionary_has_every_column_code_and_variable(
    published: list[dict[str, str]],
) -> None:
    page = (ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    names = {*MEASUREMENT_COLUMNS, *CHANGE_COLUMNS, *DISPOSITION_COLUMNS}
    names |= {variable.name for variable in adam_variables(with_arms=True)}
    names |= {row["PARAMCD"] for row in published}
    assert [name for name in sorted(names) if f"| `{name}` |" not in page] == []


def test_a_column_without_a_meaning_stops_the_dictionary() -> None:
    with pytest.raises(SystemExit, match="brand_new"):
        script("make_data_dictionary").described(("brand_new",), {})
