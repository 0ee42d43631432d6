"""`kneeimg trial`: compare the arms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kneeimg.cli.frame import echo_json, refusals, show_finding, table
from kneeimg.cli.options import AsJson, Results, User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kneeimg.pipeline.trial import TrialResult
    from kneeimg.settings.trial import TrialSettings


def trial(
    out: Results,
    arms: Annotated[
        Path,
        typer.Option(
            help="The sealed arms: CSV with participant, arm.", exists=True, dir_okay=False
        ),
    ],
    clinical: Annotated[
        list[Path] | None,
        typer.Option(
            help="CSV with participant, visit and any of vas, womac_pain, womac_stiffness, "
            "womac_function, womac_total, il1b, tnfa, il6, mmp13, ae_count; units in brackets, "
            "e.g. `il6 [pg/ml]`. May be given several times.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write here instead of into RESULTS."),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="TOML file of outcomes, visits, resamples.", exists=True, dir_okay=False),
    ] = None,
    visit: Annotated[
        list[str] | None,
        typer.Option(help="Follow-up visit to analyse [default: M06, M12]; several times."),
    ] = None,
    all_visits: Annotated[bool, typer.Option(help="Every planned follow-up visit.")] = False,
    reference: Annotated[
        str | None, typer.Option(help="Arm to compare with [default: first by alphabet].")
    ] = None,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Also a mixed model over all visits (large-sample).")
    ] = False,
    as_json: AsJson = False,
    user: User = "",
) -> None:
    """Compare the arms of a finished study. The only command that reads the sealed arms.

    At each follow-up visit: ANCOVA of follow-up on arm and baseline (difference, 95 % interval,
    permutation check), responders against the smallest detectable change, standardised response
    means, sample size of the next trial, association with symptoms and markers. Read the
    estimate and its interval first: in 25 people a p-value says little.

    Writes RESULTS/tables/trial/*.csv|parquet and RESULTS/trial/statistics.json. Rows and cells
    that cannot be used are listed with a reason code in excluded.csv; the rest is analysed.

    Examples:

      kneeimg trial RESULTS --arms arms.csv

      kneeimg trial RESULTS --arms arms.csv --clinical womac.csv --clinical markers.csv

      kneeimg trial RESULTS --arms arms.csv --reference placebo --all-visits --mixed

    Exit status: 0 all analysed, 1 usage or an unusable table, 2 something was left out, 3 no
    primary outcome could be analysed, 4 environment.

    For research. Not for diagnosis.
    """
    from kneeimg.batch.derived import recorded
    from kneeimg.pipeline.adam import write_unblinded_adknee
    from kneeimg.pipeline.trial import analyse_trial, exclusion_findings
    from kneeimg.report.html import write_report

    with refusals(as_json):
        chosen = _settings(settings, visit, all_visits, reference, mixed)
        read = (arms, *(clinical or ()))
        then = (write_unblinded_adknee,)
        with recorded(target or out, "trial.analysed", user=user, inputs=read):
            result = analyse_trial(out, arms, clinical or (), chosen, target=target, then=then)
            if target is None:  # the report gains its page by arm
                write_report(out)
    if as_json:
        echo_json({**result.statistics, "primary_results": _primary(result)})
    else:
        for finding in exclusion_findings(result):
            show_finding(finding)
        _show(result)
        typer.echo(f"wrote {result.files[-1]} and {result.files[0].parent}")
        typer.echo("For research. Not for diagnosis.")
    raise typer.Exit(int(result.exit_status))


def _settings(
    path: Path | None,
    visits: Sequence[str] | None,
    all_visits: bool,
    reference: str | None,
    mixed: bool,
) -> TrialSettings:
    """The settings file, and what the command line says on top of it."""
    from kneeimg.settings.toml import load_toml, validate
    from kneeimg.settings.trial import TrialSettings

    base = load_toml(path, TrialSettings) if path else TrialSettings()
    given: dict[str, Any] = {}
    if visits:
        given["visits"] = tuple(visits)
    if all_visits:
        given["all_visits"] = True
    if reference is not None:
        given["reference"] = reference
    if mixed:
        given["mixed_model"] = True
    return validate(base.model_dump() | given, TrialSettings, where="command line")


def _primary(result: TrialResult) -> list[dict[str, Any]]:
    return [row for row in result.tables["ancova"] if row["role"] == "primary"]


_COLUMNS = (
    "outcome", "visit", "arm − reference", "n", "difference", "95 % CI", "Hedges g", "p",
    "permutation p", "note",
)  # fmt: skip


def _show(result: TrialResult) -> None:
    """The primary outcomes: estimate and interval first."""
    level = round(100 * result.statistics["settings"]["confidence"])
    columns = [name.replace("95", str(level)) for name in _COLUMNS]
    table(columns, [_cells(row) for row in _primary(result)], "Primary outcomes (ANCOVA)")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    pair = f"{row['arm']} − {row['reference_arm']}" if row["reference_arm"] else row["arm"]
    interval = f"{_number(row, 'ci_low')} to {_number(row, 'ci_high')}"
    return (
        row["endpoint"],
        row["visit"],
        pair,
        f"{row['n_arm']} + {row['n_reference']}",
        f"{_number(row, 'difference')} {row['unit']}",
        interval,
        _number(row, "hedges_g", 2),
        _number(row, "p"),
        _number(row, "permutation_p"),
        f"{row['reason']}: {row['message']}" if row["reason"] else "",
    )


def _number(row: dict[str, Any], name: str, digits: int = 3) -> str:
    value = row.get(name, math.nan)
    if math.isnan(value):
        return "–"
    if name in ("p", "permutation_p"):
        return f"{value:.{digits}f}" if value >= 0.001 else "< 0.001"
    return f"{value:+.{digits}f}"
