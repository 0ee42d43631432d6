"""One frame in every format, read back with foreign readers and compared exactly."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyreadstat
import pytest
from lxml import etree
from odmlib.define_loader import XMLDefineLoader
from odmlib.loader import ODMLoader
from odmlib.oid_generator import create_oid_checker
from odmlib.schema_manager import get_schema_path

from kneeimg.core.dataset import DatasetDescription, Parameter, Variable
from kneeimg.errors import OutputError
from kneeimg.io import dataset_files
from kneeimg.io.adam import SUFFIXES, write_dataset
from kneeimg.io.dataset_files import plain_rows, write_dataset_json, write_xpt

VARIABLES = (
    Variable("USUBJID", "Unique Subject Identifier", "text", "Who.", "Assigned", 1),
    Variable("PARAMCD", "Parameter Code", "text", "Code.", "Assigned", 2),
    Variable("PARAMN", "Parameter (N)", "integer", "Number.", "Assigned"),
    Variable("PARCAT1", "Parameter Category 1", "text", "Group.", "Assigned"),
    Variable("AVISIT", "Analysis Visit", "text", "Visit.", key=3),
    Variable("AVISITN", "Analysis Visit (N)", "integer", "Its day."),
    Variable("ADT", "Analysis Date", "date", "When.", "Collected"),
    Variable("AVAL", "Analysis Value", "float", "The measurement."),
    Variable("ABLFL", "Baseline Record Flag", "text", "Baseline.", codes={"Y": "Yes"}),
    Variable("NOTE", "A Column that Is Always Empty", "text", "Nothing."),
)
PARAMETERS = (
    Parameter("MTTTME", "Medial tibia (mm)", 1, "X", "MT", "ThCtAB_aMe", "mm", "doi:10.1/x"),
    Parameter("MTCVOL", "Medial tibia (mm^3)", 2, "X", "MT", "VC", "mm^3"),
)
ABOUT = DatasetDescription(
    name="ADKNEE",
    label="Knee Imaging Analysis Dataset",
    structure="One record per thing",
    study="T1",
    software="0.0.0",
    variables=VARIABLES,
    parameters=PARAMETERS,
    definitions={"MTTTME": "mean thickness <of> cartilage & more"},
)
VALUES = [0.1, 1 / 3, -0.0625, math.nan, 1e-17, 123456789.123456789]


def frame_of(values: list[float], subject: str = "T1-001") -> pd.DataFrame:
    n = len(values)
    text = {"USUBJID": [subject] * n, "PARCAT1": ["X"] * n, "NOTE": [""] * n}
    return pd.DataFrame(
        {
            "USUBJID": pd.Series(text["USUBJID"], dtype=object),
            "PARAMCD": pd.Series((["MTTTME", "MTCVOL"] * n)[:n], dtype=object),
            "PARAMN": pd.Series(([1, 2] * n)[:n], dtype="Int64"),
            "PARCAT1": pd.Series(text["PARCAT1"], dtype=object),
            "AVISIT": pd.Series((["BL", "=M06"] * n)[:n], dtype=object),
            "AVISITN": pd.Series(([0, None] * n)[:n], dtype="Int64"),
            "ADT": pd.Series(([date(2024, 2, 29), None] * n)[:n], dtype=object),
            "AVAL": pd.Series(values, dtype="float64"),
            "ABLFL": pd.Series((["Y", ""] * n)[:n], dtype=object),
            "NOTE": pd.Series(text["NOTE"], dtype=object),
        }
    )


def plain(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(plain_rows(frame, ABOUT))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return frame_of(VALUES)


@pytest.fixture(scope="module")
def folder(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset")
    write_dataset(out, frame, ABOUT)
    return out


def test_json_reads_back_exactly(folder: Path, frame: pd.DataFrame) -> None:
    dataset = json.loads((folder / "ADKNEE.json").read_text(encoding="utf-8"))
    assert [tuple(row) for row in dataset["rows"]] == plain(frame)
    assert dataset["records"] == len(frame)
    assert [c["name"] for c in dataset["columns"]] == [v.name for v in VARIABLES]


def test_csv_reads_back_exactly(folder: Path, frame: pd.DataFrame) -> None:
    with (folder / "ADKNEE.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert header == [v.name for v in VARIABLES]
    casts = {"text": str, "integer": int, "float": float, "date": str}
    for row, expected in zip(rows, plain(frame), strict=True):
        for cell, value, variable in zip(row, expected, VARIABLES, strict=True):
            if variable.data_type == "text":
                assert cell.removeprefix("'") == value
            else:
                assert (casts[variable.data_type](cell) if cell else None) == value


def test_csv_defuses_formulas_and_the_other_formats_keep_the_text(folder: Path) -> None:
    assert "'=M06" in (folder / "ADKNEE.csv").read_text(encoding="utf-8")
    assert pq.read_table(folder / "ADKNEE.parquet")["AVISIT"][1].as_py() == "=M06"


def test_parquet_reads_back_exactly(folder: Path, frame: pd.DataFrame) -> None:
    table = pq.read_table(folder / "ADKNEE.parquet")
    dated = [row["ADT"] for row in table.to_pylist()]
    assert dated == list(frame["ADT"])
    rows = [
        tuple(v.isoformat() if isinstance(v, date) else v for v in row.values())
        for row in table.to_pylist()
    ]
    assert rows == plain(frame)
    assert table.schema.field("AVAL").metadata[b"label"] == b"Analysis Value"


def read_xpt(path: Path) -> tuple[list[tuple[Any, ...]], Any]:
    """Rows as `plain_rows` gives them, and what the file says of itself."""
    read, about = pyreadstat.read_xport(path)
    columns = []
    for variable in VARIABLES:
        values = read[variable.name].tolist()
        if variable.data_type == "date":
            columns.append([d.isoformat() if isinstance(d, date) else None for d in values])
        elif variable.data_type == "text":
            columns.append(values)
        else:
            columns.append([None if math.isnan(v) else v for v in values])
    return list(zip(*columns, strict=True)), about


def test_xpt_reads_back_exactly(folder: Path, frame: pd.DataFrame) -> None:
    rows, about = read_xpt(folder / "ADKNEE.xpt")
    assert rows == plain(frame)
    assert about.table_name == "ADKNEE"
    assert about.file_label == ABOUT.label
    assert about.column_labels == [v.label for v in VARIABLES]
    assert about.variable_storage_width["USUBJID"] == len("T1-001")
    assert about.original_variable_types["ADT"].startswith("DATE")


def test_pandas_reads_the_xpt_too(folder: Path) -> None:
    read = pd.read_sas(folder / "ADKNEE.xpt", format="xport", encoding="utf-8")
    assert read["AVAL"].tolist()[:3] == VALUES[:3]


def test_every_float_survives_the_transport_format(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    size = 10.0 ** rng.uniform(-70, 70, 2000)
    values = [*(size * rng.choice([-1.0, 1.0], 2000)), 0.0, 16.0, 1 / 16, math.pi, 2.0**53 - 1]
    path = tmp_path / "ADKNEE.xpt"
    write_xpt(path, frame_of([float(v) for v in values]), ABOUT)
    read, _ = pyreadstat.read_xport(path)
    assert read["AVAL"].tolist() == values


def test_the_same_frame_gives_the_same_bytes_at_any_time(
    folder: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    write_dataset(tmp_path, frame, ABOUT)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([*(f"ADKNEE{suffix}" for suffix in SUFFIXES), "define.xml"])
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    year = str(datetime.now(UTC).year)
    head = (tmp_path / "ADKNEE.xpt").read_bytes()[:560].decode("ascii")
    assert head.count("01JAN70:00:00:00") == 4
    assert f"{year[2:]}:" not in head.replace("01JAN70:", "")


def test_a_stated_time_stands_in_every_file_that_has_one(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    write_dataset(tmp_path, frame, ABOUT, datetime(2025, 3, 1, 12, 30, 5, tzinfo=UTC))
    assert b"01MAR25:12:30:05" in (tmp_path / "ADKNEE.xpt").read_bytes()
    for name in ("ADKNEE.json", "define.xml"):
        assert "2025-03-01T12:30:05Z" in (tmp_path / name).read_text(encoding="utf-8")


def test_a_text_that_does_not_fit_is_refused_and_the_old_file_stays(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "ADKNEE.xpt"
    write_xpt(path, frame, ABOUT)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="USUBJID"):
        write_xpt(path, frame_of([1.0], subject="é" * 101), ABOUT)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ADKNEE.xpt"]


def test_a_killed_writer_leaves_the_old_file(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ADKNEE.xpt"
    path.write_bytes(b"old")

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pyreadstat, "write_xport", dies)
    with pytest.raises(KeyboardInterrupt):
        write_xpt(path, frame, ABOUT)
    assert path.read_bytes() == b"old"


def test_a_dataset_without_rows_can_be_written_and_read(tmp_path: Path) -> None:
    write_dataset(tmp_path, frame_of([]), ABOUT)
    read, _ = pyreadstat.read_xport(tmp_path / "ADKNEE.xpt")
    assert len(read) == 0
    assert json.loads((tmp_path / "ADKNEE.json").read_text())["rows"] == []


# The attribute tables of the Dataset-JSON 1.1 specification (final, 2024-12-05) as a JSON schema.
_TIME = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
    r"([+-]([01]\d|2[0-3]):[0-5]\d|Z)?$"
)
_TEXT = {"type": "string", "minLength": 1}
_TYPES = [
    "string",
    "integer",
    "decimal",
    "float",
    "double",
    "boolean",
    "datetime",
    "date",
    "time",
    "URI",
]
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "type": "object",
    "additionalProperties": False,
    "required": [
        "datasetJSONCreationDateTime",
        "datasetJSONVersion",
        "itemGroupOID",
        "records",
        "name",
        "label",
        "columns",
    ],
    "properties": {
        "datasetJSONCreationDateTime": {"type": "string", "pattern": _TIME},
        "datasetJSONVersion": {"type": "string", "pattern": r"^1\.1(\.(0|([1-9][0-9]*)))?$"},
        "fileOID": _TEXT,
        "dbLastModifiedDateTime": {"type": "string", "pattern": _TIME},
        "originator": {"type": "string"},
        "sourceSystem": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "version"],
            "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
        },
        "studyOID": _TEXT,
        "metaDataVersionOID": _TEXT,
        "metaDataRef": {"type": "string"},
        "itemGroupOID": _TEXT,
        "records": {"type": "integer", "minimum": 0},
        "name": _TEXT,
        "label": {"type": "string"},
        "columns": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["itemOID", "name", "label", "dataType"],
                "properties": {
                    "itemOID": _TEXT,
                    "name": _TEXT,
                    "label": {"type": "string"},
                    "dataType": {"enum": _TYPES},
                    "targetDataType": {"enum": ["integer", "decimal"]},
                    "length": {"type": "integer", "minimum": 1},
                    "displayFormat": {"type": "string"},
                    "keySequence": {"type": "integer", "minimum": 1},
                },
            },
        },
        "rows": {
            "type": "array",
            "items": {
                "type": "array",
                "items": {"type": ["string", "integer", "number", "boolean", "null"]},
            },
        },
    },
}


def test_json_keeps_the_schema_of_dataset_json(folder: Path) -> None:
    dataset = json.loads((folder / "ADKNEE.json").read_text(encoding="utf-8"))
    jsonschema.Draft201909Validator.check_schema(SCHEMA)
    jsonschema.validate(dataset, SCHEMA, cls=jsonschema.Draft201909Validator)
    assert all(len(row) == len(dataset["columns"]) for row in dataset["rows"])
    order = [name for name in SCHEMA["properties"] if name in dataset]  # type: ignore[attr-defined]
    assert list(dataset) == order


def test_the_schema_is_no_rubber_stamp(folder: Path) -> None:
    good = json.loads((folder / "ADKNEE.json").read_text(encoding="utf-8"))
    for bad in (
        {**good, "extra": 1},
        {**good, "datasetJSONVersion": "1.0"},
        {**good, "rows": [[{"a": 1}]]},
        {**good, "columns": [{**good["columns"][0], "dataType": "text"}]},
        {k: v for k, v in good.items() if k != "records"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SCHEMA, cls=jsonschema.Draft201909Validator)


def test_json_values_have_the_types_that_the_columns_promise(folder: Path) -> None:
    dataset = json.loads((folder / "ADKNEE.json").read_text(encoding="utf-8"))
    allowed = {"string": str, "integer": int, "double": (int, float), "date": str}
    for row in dataset["rows"]:
        for value, column in zip(row, dataset["columns"], strict=True):
            assert value is None or isinstance(value, allowed[column["dataType"]])
            if column["dataType"] == "string":
                assert len(value) <= column["length"]
    adt = next(c for c in dataset["columns"] if c["name"] == "ADT")
    assert (adt["targetDataType"], adt["displayFormat"]) == ("integer", "E8601DA.")


def test_odmlib_reads_the_json(folder: Path, frame: pd.DataFrame) -> None:
    from odmlib.dataset_json_1_1.model import DatasetJSON

    dataset = DatasetJSON.read_json(str(folder / "ADKNEE.json"))
    assert dataset.column_names == [v.name for v in VARIABLES]
    assert dataset.records == len(frame)


def test_define_keeps_the_schema_of_define_xml(folder: Path) -> None:
    schema = etree.XMLSchema(etree.parse(get_schema_path("define", "2.1")))
    document = etree.parse(folder / "define.xml")
    schema.assertValid(document)
    broken = etree.fromstring((folder / "define.xml").read_bytes().replace(b'"Snapshot"', b'"x"'))
    assert not schema.validate(broken)


def test_define_refers_to_nothing_that_is_not_there(folder: Path) -> None:
    loader = ODMLoader(XMLDefineLoader(model_package="define_2_1"))
    loader.open_odm_document(str(folder / "define.xml"))
    document = loader.root()
    errors = document.validate(collect_errors=True, oid_checker=create_oid_checker("define_2_1"))
    assert errors == []


def test_define_says_what_each_column_value_and_code_means(folder: Path) -> None:
    spaces = {"o": "http://www.cdisc.org/ns/odm/v1.3", "d": "http://www.cdisc.org/ns/def/v2.1"}
    root = etree.parse(folder / "define.xml").getroot()

    def texts(path: str) -> list[str]:
        return [node.strip() for node in root.xpath(path, namespaces=spaces)]

    refs = texts("//o:ItemGroupDef/o:ItemRef/@ItemOID")
    assert refs == [f"IT.ADKNEE.{v.name}" for v in VARIABLES]
    checks = texts("//d:WhereClauseDef/o:RangeCheck/o:CheckValue/text()")
    assert checks == ["MTTTME", "MTCVOL"]
    path = "//o:ItemDef[@OID='IT.ADKNEE.AVAL.MTTTME']/o:Description/o:TranslatedText/text()"
    assert texts(path) == ["mean thickness <of> cartilage & more; unit mm [doi:10.1/x]"]
    assert texts("//o:CodeList[@OID='CL.AVISIT']/o:CodeListItem/@CodedValue") == ["BL", "=M06"]
    assert texts("//o:CodeList[@OID='CL.PARAMCD']/o:CodeListItem/@CodedValue") == checks
    assert texts("//o:ItemDef[@OID='IT.ADKNEE.AVAL']/d:ValueListRef/@ValueListOID") == [
        "VL.ADKNEE.AVAL"
    ]
    methods = texts("//o:MethodDef/o:Description/o:TranslatedText/text()")
    assert methods == [v.meaning for v in VARIABLES if v.origin == "Derived"]


def test_infinity_is_refused_in_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_dataset_json(tmp_path / "ADKNEE.json", frame_of([math.inf]), ABOUT)


def test_only_transport_files_get_a_time() -> None:
    with pytest.raises(ValueError, match="not a SAS transport file"):
        dataset_files._with_time(b"something else", dataset_files.NO_TIME)
