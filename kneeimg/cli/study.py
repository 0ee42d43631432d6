"""`kneeimg study init` and `study check`: draft the study files, and see what a study lacks."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import CommandGroup, echo_json, refusals, table
from kneeimg.cli.options import AsJson, SideIfUnsaid, study_file

if TYPE_CHECKING:
    from kneeimg.pipeline.checking import StudyCheck
    from kneeimg.pipeline.drafting import Draft

study_app = typer.Typer(
    cls=CommandGroup,
    help="Draft the files of a study, and check what it has and lacks.\n\n"
    "  kneeimg study init SCANS -o STUDY    study.toml, participants.csv and a key to seal\n\n"
    "  kneeimg study check STUDY SCANS      missing, late, doubled, of another scanner, ...\n\n"
    "For research. Not for diagnosis.",
    no_args_is_help=True,
)


@study_app.command("init")
def study_init(
    source: Annotated[
        Path, typer.Argument(help="Folder of DICOM to read.", metavar="SCANS", exists=True)
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Folder for the drafts; made if missing."),
    ] = Path("study"),
    force: Annotated[bool, typer.Option(help="Replace drafts that are already there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draft study.toml and participants.csv from the DICOM headers below SCANS.

    Every PatientID gets a study id (P01, P02, ...). Which is whose stands in key.csv alone, which
    only you can read: keep it sealed, apart from the results. Visits are proposed from the dates,
    series rules where a scan has several series. What the headers cannot decide is left empty and
    listed: nothing is guessed. Read the drafts, correct them, then run `kneeimg study check`.

    Example: kneeimg study init SCANS -o STUDY

    Only headers are read, and nothing is measured. Exit status: 0 complete, 2 something is left
    for you to fill in, 3 no scan was found.
    """
    from kneeimg.pipeline.drafting import draft_study, existing_drafts, known_ids, write_draft

    with refusals(as_json):
        there = existing_drafts(out)
        if there and not force:
            raise typer.BadParameter(
                f"{', '.join(there)} in {out} would be replaced; use --force, or another folder "
                "with -o"
            )
        draft = draft_study(source, known_ids(out))
        written = write_draft(draft, source, out)
    if as_json:
        echo_json(draft.to_json() | {"written": written})
    else:
        _show_draft(draft, source, out, written)
    raise typer.Exit(draft.exit_status)


def _show_draft(draft: Draft, source: Path, out: Path, written: list[str]) -> None:
    for name in written:
        sealed = "   keep it sealed: it says who is who" if name == "key.csv" else ""
        typer.echo(f"wrote {out / name}{sealed}")
    typer.echo(draft.headline())
    if draft.open_questions:
        typer.echo("")
        columns = ("participant", "left open", "what was found", "what to do")
        table(columns, [question.cells() for question in draft.open_questions], "For you to decide")
    if written:
        typer.echo(f"Next: kneeimg study check {out} SCANS")
    else:
        typer.echo(f"No scan was found in {source}; see kneeimg inspect {source}")


@study_app.command("check")
def study_check(
    study: Annotated[
        Path, typer.Argument(help="study.toml, or its folder.", metavar="STUDY", exists=True)
    ],
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of DICOM and masks; not needed when the study lists its scans.",
            metavar="SCANS",
            exists=True,
        ),
    ] = None,
    side: SideIfUnsaid = None,
    on: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day of the check; today if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a study lacks, before anything is measured.

    Names every visit that is missing, late, early, out of its window, unscheduled or scanned
    twice; scans of another scanner, field strength, sequence, software or voxel size than the
    participant's first; sides that are unknown or contradict; people who are not in the study.
    A visit whose window is still open is not missing yet.

    Examples:

      kneeimg study check STUDY SCANS

      kneeimg study check STUDY SCANS --json > check.json

    Only headers are read, and nothing is written. Exit status: 0 nothing needs attention, 1 a
    mistake in the study files, 2 something needs attention, 3 no scan can be measured.
    """
    from kneeimg.pipeline.checking import check_study
    from kneeimg.trial.study import load_study

    with refusals(as_json):
        path = study_file(study)
        assert path is not None
        loaded = load_study(path)
        day = on.date() if on else date.today()
        result = check_study(loaded, source, on=day, side=side)
    if as_json:
        echo_json(result.to_json())
    else:
        _show_check(result, [visit.name for visit in loaded.settings.visits])
    raise typer.Exit(result.exit_status)


def _show_check(result: StudyCheck, planned: list[str]) -> None:
    from kneeimg.pipeline.checking import TOPICS

    _show_matrix(result, planned)
    notes = [note for note in result.notes if note.topic != "not due"]
    if notes:
        columns = (
            "what",
            "participant",
            "visit",
            "scan",
            "code",
            "expected",
            "found",
            "what to do",
        )
        rows = [
            (
                note.topic,
                note.participant,
                note.visit,
                " ".join(filter(None, (note.kind, note.side, note.source))),
                note.finding.code.value,
                note.finding.expected or note.finding.message,
                note.finding.found,
                note.finding.action,
            )
            for note in notes
        ]
        table(columns, rows, "Needs attention")
        typer.echo("")
    for topic, number in result.counts.items():
        typer.echo(f"{number:5d} {topic}: {TOPICS[topic]}")  # type: ignore[index]
    if not result.looked:
        typer.echo("Only the tables were checked: name the folder of the scans to check those too.")
        return
    typer.echo(
        f"{result.n_scans} scans can be measured, {result.n_ignored} series are not asked for"
    )
    if not notes:
        typer.echo("Nothing needs attention.")


def _show_matrix(result: StudyCheck, planned: list[str]) -> None:
    found = {visit for visits in result.visits.values() for visit in visits}
    if not found:
        return
    extra = sorted(found - set(planned), key=lambda name: (len(name), name))
    columns = [visit for visit in planned if visit in found] + extra
    rows = [
        (name, *(visits.get(visit, "-") for visit in columns))
        for name, visits in result.visits.items()
    ]
    table(("participant", *columns), rows, f"Scans of study {result.study_id}")
    typer.echo("")
