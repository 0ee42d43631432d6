"""`kneeimg precision`: how well repeated scans agree."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import echo_json, refusals, show_finding, table
from kneeimg.cli.options import AsJson, StudyPath, User, study_file
from kneeimg.errors import StudyError

if TYPE_CHECKING:
    from kneeimg.core.precision import PrecisionRow
    from kneeimg.pipeline.precision import PrecisionResult


def precision(
    out: Annotated[
        Path | None,
        typer.Argument(
            help="Results folder that `kneeimg run` wrote.",
            metavar="RESULTS",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    to: Annotated[
        Path, typer.Option("-o", "--out", help="Table to write; header and picture beside it.")
    ] = Path("precision.csv"),
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="CSV with participant, visit_a, visit_b: visits that repeat each other.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Repeated values instead of RESULTS: participant, region, quantity, value "
            "(side, scan, unit), one row per repeat.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    study: StudyPath = None,
    name: Annotated[str, typer.Option(help="Name of the repeatability study.")] = "",
    as_json: AsJson = False,
    user: User = "",
) -> None:
    """Repeatability from repeated scans: RMS SD, CV, SDC95, ICC and Bland-Altman limits.

    Scans of one participant, side and visit repeat each other; or name visits that do with --pairs.
    The table holds every quantity measured scan by scan (independent) and as the change table
    compares visits (paired). Only the latter is a smallest detectable change of that table; name
    the file in study.toml and later runs use it:

      [change]
      precision = "precision.csv"

    The settings of [change] are those of --study, else the defaults.

    Examples:

      kneeimg precision RETEST -o precision.csv

      kneeimg precision RESULTS --pairs pairs.csv

    Exit status: 0 written, 1 usage or a mistake in a table, 3 nothing was repeated, 4 environment.

    For research. Not for diagnosis.
    """
    from datetime import date

    from kneeimg.pipeline.precision import precision_of_csv, precision_of_results, write_result

    today, study = date.today().isoformat(), study_file(study)
    with refusals(as_json):
        if (out is None) == (values is None):
            raise StudyError(
                "give either a results folder or --csv",
                action="kneeimg precision RESULTS, or kneeimg precision --csv VALUES.csv",
            )
        if to.suffix != ".csv":
            raise StudyError("the table is a CSV file", found=to.name, expected="NAME.csv")
        if values is not None:
            result = precision_of_csv(values, study=name, date=today)
        else:
            assert out is not None
            result = precision_of_results(
                out, pairs=pairs, study_file=study, study=name, date=today
            )
        if out is None:  # values of another program: there is no log to write into
            written = write_result(result, to)
        else:
            written = _write_recorded(result, to, out, user, [p for p in (pairs, study) if p])
    _show(result, as_json)
    if not as_json:
        typer.echo(f"wrote {', '.join(str(path) for path in written)}")
        typer.echo("For research. Not for diagnosis.")


def _write_recorded(
    result: PrecisionResult, to: Path, out: Path, user: str, inputs: list[Path]
) -> list[Path]:
    """Write the table, and the line about it into the audit log."""
    from kneeimg.batch.derived import record_table
    from kneeimg.io.exclusive import only_writer
    from kneeimg.io.freeze import require_unlocked
    from kneeimg.pipeline.precision import write_result

    with only_writer(out):
        if to.resolve().is_relative_to(out.resolve()):
            require_unlocked(out)
        written = write_result(result, to)
        record_table(out, "precision.written", written, user=user, inputs=inputs)
    return written


def _show(result: PrecisionResult, as_json: bool) -> None:
    for finding in result.findings:
        show_finding(finding)
    header = result.study.header
    if as_json:
        echo_json(
            {
                "notice": "For research. Not for diagnosis.",
                "header": asdict(header),
                "rows": [asdict(row) for row in result.study.rows],
                "findings": [finding.as_dict() for finding in result.findings],
            }
        )
        return
    from kneeimg.pipeline.precision import PRIMARY

    rows = result.study.rows
    shown = [row for row in rows if (row.region, row.quantity) in PRIMARY] or list(rows[:40])
    table(_COLUMNS, [_cells(row) for row in shown], f"{header.kind} study {header.study}")
    if len(shown) < len(rows):
        typer.echo(f"{len(shown)} of {len(rows)} rows shown")


_COLUMNS = (
    "procedure",
    "region",
    "quantity",
    "people",
    "scans",
    "RMS SD",
    "CV %",
    "SDC95 (95 % CI)",
    "ICC(2,1)",
    "ICC(3,1)",
    "bias",
    "limits",
    "unit",
)


def _cells(row: PrecisionRow) -> tuple[str, ...]:
    return (
        row.procedure,
        row.region,
        row.quantity,
        str(row.n_people),
        str(row.n_scans),
        _text(row.rms_sd),
        _text(row.rms_cv_pct, 2),
        f"{_text(row.sdc95)} ({_text(row.sdc95_low)} to {_text(row.sdc95_high)})",
        _text(row.icc_2_1),
        _text(row.icc_3_1),
        _text(row.bias),
        f"{_text(row.loa_lower)} to {_text(row.loa_upper)}",
        row.unit,
    )


def _text(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
