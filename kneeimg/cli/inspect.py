"""`kneeimg inspect`: what a folder holds and what kneeimg would do with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import echo_json, refusals, table
from kneeimg.cli.options import AsJson, SideIfUnsaid, StudyPath, study_file
from kneeimg.core.anatomy import Side
from kneeimg.errors import ReasonCode

if TYPE_CHECKING:
    from kneeimg.errors import Finding
    from kneeimg.io.dicom import Inventory, SeriesRecord
    from kneeimg.settings.reading import SeriesRule


def inspect(
    source: Annotated[
        Path, typer.Argument(help="Folder or file to look at.", metavar="SCANS", exists=True)
    ],
    study: StudyPath = None,
    side: SideIfUnsaid = None,
    as_json: AsJson = False,
) -> None:
    """List every series found: what it is, size, spacing, side, echo, rule, or why it is refused.

    Only headers are read, and nothing is written. Names and patient numbers are never shown. With
    --study the rule that takes a series is shown too.

    Example: kneeimg inspect SCANS

    For each series that a study could pick, --json also gives a `selector`: a rule to copy into
    study.toml.

    Exit status: 0 listed, 1 usage.
    """
    from kneeimg.io.dicom import find_series
    from kneeimg.pipeline.sources import public_inventory
    from kneeimg.settings.reading import ReadingSettings
    from kneeimg.settings.study import StudyFile
    from kneeimg.settings.toml import load_toml

    with refusals(as_json):
        path = study_file(study)
        settings = load_toml(path, StudyFile) if path else None
        reading = settings.reading if settings else ReadingSettings()
        found = find_series(source, reading)
        rules = settings.series if settings else ()
        # judged on what the files say, shown without what is private
        verdicts = [_verdict(record, rules, side) for record in found.records]
        inventory = public_inventory(found)
        if as_json:
            content = inventory.to_json()
            for entry, verdict in zip(content["series"], verdicts, strict=True):
                entry["verdict"] = verdict
            echo_json(content)
            return
        _show(inventory, verdicts, side)


def _verdict(record: SeriesRecord, rules: Sequence[SeriesRule], side: Side | None) -> str:
    """Which rule takes the series, or the code under which it is refused or skipped."""
    from kneeimg.io.dicom import matching_rule

    if record.refusal is not None:
        return str(record.refusal.code)
    rule = matching_rule(record, rules) if rules else None
    if rules and rule is None:
        return "NO_RULE_MATCHES"
    if side is not None and record.side not in (None, side) and not record.bilateral:
        return "LATERALITY_CONFLICT"
    if record.side is None and side is None and not record.bilateral:
        return "NO_LATERALITY"
    return f"rule {rule + 1}" if rule is not None else "ok"


def _show(inventory: Inventory, verdicts: Sequence[str], side: Side | None) -> None:
    columns = ("series", "kind", "plane", "size", "spacing mm", "echo", "side", "verdict", "in")
    rows = [
        (*_cells(record, side), verdict, record.folder)
        for record, verdict in zip(inventory.records, verdicts, strict=True)
    ]
    if rows:
        table(columns, rows)
    typer.echo(f"{len(inventory.records)} series in {inventory.n_files} files")
    if not inventory.records:
        typer.echo("No DICOM image is here; `kneeimg run` also takes a folder of masks alone.")
    notes: list[Finding] = [*inventory.findings]
    for record in inventory.records:
        notes += [*record.findings, *((record.refusal,) if record.refusal else ())]
    if side is not None:
        notes = [note for note in notes if note.code is not ReasonCode.NO_LATERALITY]
    if notes:
        typer.echo("")
        _show_notes(notes)
    if "NO_LATERALITY" in verdicts:
        typer.echo("The side of some series is not in their files: add --side, or a study file.")


def _show_notes(notes: Sequence[Finding]) -> None:
    """Each different note once, with how often it was made."""
    columns = ("n", "code", "where", "what", "expected", "found", "what to do")
    rows = [
        (str(n), str(note.code), note.where, note.message, note.expected, note.found, note.action)
        for note, n in Counter(notes).items()
    ]
    table(columns, rows, "Notes")


def _cells(record: SeriesRecord, given: Side | None) -> tuple[str, ...]:
    spacing = "unknown"
    if record.spacing_mm is not None:
        spacing = " × ".join(f"{step:.4g}" for step in record.spacing_mm)
    echo = ""
    if record.echo_number is not None:
        time = "" if record.echo_time_ms is None else f" ({record.echo_time_ms:g} ms)"
        echo = f"{record.echo_number}{time}"
    side = "both" if record.bilateral else str(record.side or "not in the file")
    if record.side is None and given is not None and not record.bilateral:
        side = f"{given} (given)"
    return (
        record.description or record.modality,
        record.kind if record.kind != "other" else record.modality,
        record.orientation or record.view,
        " × ".join(map(str, record.shape)),
        spacing,
        echo,
        side,
    )
