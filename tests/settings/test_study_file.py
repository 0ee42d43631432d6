"""A study file is checked completely: unknown keys, types, visits."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kneeimg.errors import ReasonCode, StudyError
from kneeimg.settings.study import DEFAULT_VISITS, StudyFile
from kneeimg.settings.toml import dump_toml, load_toml


def _load(tmp_path: Path, text: str) -> StudyFile:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return load_toml(path, StudyFile)


def test_defaults(tmp_path: Path) -> None:
    study = _load(tmp_path, "")
    assert study.visits == DEFAULT_VISITS
    assert [(v.name, v.target_day, v.window_days) for v in study.visits] == [
        ("BL", 0, 14),
        ("M01", 30, 14),
        ("M03", 91, 14),
        ("M06", 182, 21),
        ("M12", 365, 28),
    ]


@pytest.mark.parametrize(
    "text, unknown, nearest",
    [
        ("[studdy]\nid = 'x'\n", "studdy", "study"),
        ("[study]\nparticipant = 'p.csv'\n", "study.participant", "study.participants"),
        (
            "[[visits]]\nname='BL'\ntarget_day=0\nwindow=3\n",
            "visits[1].window",
            "visits[1].window_days",
        ),
        (
            "[morphometry]\nfemur_fracton = 0.6\n",
            "morphometry.femur_fracton",
            "morphometry.femur_fraction",
        ),
        ("[[series]]\ndescripton = 'DESS'\n", "series[1].descripton", "series[1].description"),
    ],
)
def test_typo_names_file_key_and_nearest_key(
    tmp_path: Path, text: str, unknown: str, nearest: str
) -> None:
    with pytest.raises(StudyError) as caught:
        _load(tmp_path, text)
    finding = caught.value.finding
    assert finding.code is ReasonCode.BAD_STUDY_FILE
    assert finding.where == "study.toml"
    assert f"unknown key {unknown}" in finding.message
    assert f"did you mean {nearest}?" in finding.expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("[study\n", "not TOML"),
        ("[morphometry]\nfemur_fraction = 2.0\n", "morphometry.femur_fraction"),
        ("[study]\nid = '../x'\n", "study.id"),
        ("[[visits]]\nname='A'\ntarget_day=5\n[[visits]]\nname='B'\ntarget_day=0\n", "in order"),
        ("[[visits]]\nname='A'\ntarget_day=0\n[[visits]]\nname='A'\ntarget_day=5\n", "distinct"),
        ("[[series]]\ndescription = '('\n", "regular expression"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        _load(tmp_path, text)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        load_toml(tmp_path / "absent.toml", StudyFile)


def test_resolved_settings_survive_the_way_through_toml(tmp_path: Path) -> None:
    study = _load(
        tmp_path,
        "[study]\nid='T1'\n[[series]]\nkind='mri'\ndescription='say \"DESS\"'\nmatrix=[384, 384]\n"
        "[morphometry]\nfemur_fraction=0.6\n",
    )
    text = dump_toml(study.model_dump(mode="json"))
    assert StudyFile.model_validate(tomllib.loads(text)) == study
