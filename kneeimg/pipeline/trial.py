"""The analysis by arm of a results folder: the only reader of the sealed arms."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kneeimg import __version__
from kneeimg.errors import ExitStatus, Finding, InputError, ReasonCode
from kneeimg.io.atomic import require_writable, sha256_file, write_json
from kneeimg.io.typed_tables import write_typed_table
from kneeimg.report.results import read_results
from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.analysis.adverse import adverse_rows
from kneeimg.trial.analysis.association import association_rows
from kneeimg.trial.analysis.between_arms import ancova_rows, sample_size_rows
from kneeimg.trial.analysis.over_visits import mixed_rows
from kneeimg.trial.analysis.rows import comparisons
from kneeimg.trial.analysis.within_arms import responder_rows, srm_rows
from kneeimg.trial.clinical import MARKERS, Clinical, read_clinical
from kneeimg.trial.columns import TABLES
from kneeimg.trial.dataset import People, Sample, baseline_visit, build_samples, follow_ups
from kneeimg.trial.outcomes import choose_outcomes
from kneeimg.trial.sealed import Arms, read_arms

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unblinded:
    """What is known once the arms are: handed to everything that had to wait for them.

    Attributes
    ----------
    out, target : The results folder, and where the analysis was written.
    arms : Participant to arm.
    order : The arms, the reference first.
    """

    out: Path
    target: Path
    arms: Mapping[str, str]
    order: tuple[str, ...]


Step = Callable[[Unblinded], object]

NOTICE = "For research. Not a medical device, not for diagnosis."
_SIDES = ("left", "right")


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What an analysis by arm gave.

    Attributes
    ----------
    tables : Name to rows, in the columns of `kneeimg.trial.columns`.
    statistics : What stands in `trial/statistics.json`.
    files : What was written.
    """

    tables: Mapping[str, Sequence[Row]]
    statistics: Mapping[str, Any]
    files: tuple[Path, ...] = ()

    @property
    def exit_status(self) -> ExitStatus:
        """0 all analysed, 2 something of the tables given was left out, 3 no primary result."""
        primary = [row for row in self.tables["ancova"] if row["role"] == "primary"]
        if all(row["status"] != "ok" for row in primary):
            return ExitStatus.ALL_REFUSED
        refused = any(row["status"] != "ok" for row in primary)
        excluded = bool(self.tables["excluded"])
        return ExitStatus.SOME_REFUSED if refused or excluded else ExitStatus.MEASURED


@dataclass(frozen=True, slots=True)
class _Results:
    """What the analysis needs of a results folder."""

    change: tuple[Row, ...]
    index_knees: Mapping[str, str]
    visits: frozenset[str]
    files: Mapping[str, Path] = field(default_factory=dict)


def analyse_trial(
    out: Path,
    arms_file: Path,
    clinical_files: Sequence[Path] = (),
    settings: TrialSettings | None = None,
    *,
    target: Path | None = None,
    then: Sequence[Step] = (),
) -> TrialResult:
    """Compare the arms and write `tables/trial/` and `trial/statistics.json`.

    Parameters
    ----------
    out : Results folder of `kneeimg run`; nothing is measured again.
    arms_file : The sealed arms: participant, arm.
    clinical_files : Clinical columns by participant and visit.
    settings : Outcomes, visits, resamples.
    target : Where to write; None for the results folder.
    then : What else becomes possible once the arms are known; called last, in order.

    Raises
    ------
    InputError
        OUTPUT_CHANGED when the folder has no change table.
    StudyError
        BAD_STUDY_FILE when the arms or a clinical file cannot be used as a whole.
    OutputError
        The target cannot be written.
    """
    settings = settings or TrialSettings()
    results = _read(out)
    arms = read_arms(arms_file, results.index_knees)
    clinical = read_clinical(clinical_files, results.index_knees, results.visits)
    tables = _tables(results, arms, clinical, settings)
    inputs = {**results.files, "arms": arms_file}
    inputs |= {f"clinical_{n}": path for n, path in enumerate(clinical_files, start=1)}
    statistics = _statistics(results, arms, tables, inputs, settings)
    target = target or out
    files = _write(target, tables, statistics)
    for step in then:
        step(Unblinded(out, target, arms.of, arms.names(settings.reference)))
    return TrialResult(tables, statistics, files)


def _read(out: Path) -> _Results:
    found = read_results(out)
    change = tuple(
        {str(name): value for name, value in row.items()} for row in found.change.to_dict("records")
    )
    if not change:
        raise InputError(
            "the results hold no change between visits",
            code=ReasonCode.OUTPUT_CHANGED,
            where=out.name,
            expected="tables/change.parquet or tables/change.csv with rows",
            found="none",
            action="run the study with its follow-up visits first",
        )
    people = dict.fromkeys(
        sorted({*found.measurements["participant"], *found.change["participant"]})
    )
    index = _index_knees(out / "participants.tsv")
    knees = {person: index.get(person, "") for person in {**index, **people} if person}
    visits = {*found.measurements["visit"], *found.change["visit_to"], *found.change["visit_from"]}
    names = ("tables/change.parquet", "tables/change.csv", "participants.tsv")
    files = {name: out / name for name in names if (out / name).is_file()}
    if len(files) == len(names):
        del files["tables/change.csv"]  # the Parquet file is the one that is read
    return _Results(change, knees, frozenset(visits - {""}), files)


def _index_knees(path: Path) -> dict[str, str]:
    """Participant to index knee, "" where none is named; empty without the file."""
    if not path.is_file():
        return {}
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    header = lines[0] if lines else []
    if "participant_id" not in header:
        return {}
    who = header.index("participant_id")
    knee = header.index("index_knee") if "index_knee" in header else None
    people = {}
    for cells in lines[1:]:
        side = cells[knee] if knee is not None and knee < len(cells) else ""
        people[cells[who].removeprefix("sub-")] = side if side in _SIDES else ""
    return people


def _tables(
    results: _Results, arms: Arms, clinical: Clinical, settings: TrialSettings
) -> dict[str, list[Row]]:
    names = arms.names(settings.reference)
    markers = {name: clinical.units[name] for name in clinical.columns if name in MARKERS}
    outcomes = choose_outcomes(results.change, markers, settings)
    people = People(results.index_knees, arms.of)
    samples, excluded = build_samples(results.change, people, outcomes, clinical, settings)
    pairs = comparisons(names)
    ancova = ancova_rows(samples, pairs, settings)
    srm = srm_rows(samples, names, settings)
    exclusions = (*arms.exclusions, *clinical.exclusions, *excluded)
    return {
        "ancova": ancova,
        "responders": responder_rows(samples, names, settings),
        "srm": srm,
        "sample_size": sample_size_rows(ancova, srm, settings),
        "association": association_rows(samples, names, settings),
        "mixed": mixed_rows(samples, pairs, settings) if settings.mixed_model else [],
        "ae": adverse_rows(clinical, arms.of, names, settings),
        "values": _value_rows(samples),
        "excluded": [item.as_row() for item in exclusions],
    }


def _value_rows(samples: Sequence[Sample]) -> list[Row]:
    return [row for sample in samples for row in sample.rows]


def _statistics(
    results: _Results,
    arms: Arms,
    tables: Mapping[str, Sequence[Row]],
    inputs: Mapping[str, Path],
    settings: TrialSettings,
) -> dict[str, Any]:
    """Everything that decides the numbers; no time stamp, so that a second run is the same."""
    names = arms.names(settings.reference)
    start = baseline_visit(results.change, settings)
    families = {row["role"]: row["n_tests"] for row in tables["ancova"]}
    association = tables["association"][0]["n_tests"] if tables["association"] else 0
    return {
        "notice": NOTICE,
        "software": {"kneeimg": __version__, **_versions(settings)},
        "settings": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "inputs": {
            name: {"file": path.name, "sha256": sha256_file(path)} for name, path in inputs.items()
        },
        "participants": len(results.index_knees),
        "arms": {name: sum(own == name for own in arms.of.values()) for name in names},
        "reference_arm": names[0],
        "baseline": start,
        "visits": list(follow_ups(results.change, start, settings)),
        "primary": list(settings.primary),
        "tests": {"ancova": families, "association": association},
        "rows": {name: len(rows) for name, rows in tables.items()},
        "excluded": dict(sorted(Counter(row["code"] for row in tables["excluded"]).items())),
    }


def _versions(settings: TrialSettings) -> dict[str, str]:
    import numpy as np
    import scipy

    versions = {"python": platform.python_version(), "numpy": np.__version__}
    versions["scipy"] = scipy.__version__
    if settings.mixed_model:
        import statsmodels

        versions["statsmodels"] = statsmodels.__version__
    return versions


def _write(
    target: Path, tables: Mapping[str, Sequence[Row]], statistics: Mapping[str, Any]
) -> tuple[Path, ...]:
    require_writable(target)
    files: list[Path] = []
    for name, columns in TABLES.items():
        types = {column.name: column.type for column in columns}
        files += write_typed_table(target / "tables" / "trial", name, types, tables[name])
    summary = target / "trial" / "statistics.json"
    write_json(summary, statistics)
    return (*files, summary)


def exclusion_findings(result: TrialResult) -> tuple[Finding, ...]:
    """What was left out, as findings for a person."""
    return tuple(
        Finding(
            ReasonCode(row["code"]),
            row["message"],
            _place(row),
            row["expected"],
            row["found"],
            row["action"],
        )
        for row in result.tables["excluded"]
    )


def _place(row: Row) -> str:
    line = f", line {row['line']}" if row["line"] is not None else ""
    parts = (f"{row['source']}{line}", row["participant"], row["visit"], row["column"])
    return " · ".join(part for part in parts if part)
