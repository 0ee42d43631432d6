"""`kneeimg evaluate`: how good are segmentations, in Dice and in thickness."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import echo_json, number, refusals, table
from kneeimg.cli.options import AsJson, DeviceName
from kneeimg.cli.run import progress_bar
from kneeimg.errors import ExitStatus

if TYPE_CHECKING:
    from kneeimg.pipeline.evaluation import Case


def evaluate(
    datalist: Annotated[
        Path,
        typer.Argument(
            help="JSON list of images and labels; see docs/training.md.",
            metavar="DATALIST",
            exists=True,
            dir_okay=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Folder for tables and pictures."),
    ],
    model: Annotated[
        str, typer.Option(help="Model that segments the images: a name or a folder.")
    ] = "knee_mr",
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of masks named as their labels; no model is run then.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    device: DeviceName = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare segmentations with references.

    For each tissue Dice, surface distance and volume; for each cartilage plate the bias and the
    limits of agreement of thickness, which Dice hardly predicts; the worst cases as pictures.

    Examples:

      kneeimg evaluate test.json -o EVAL --model my-run/bundle/knee_mr

      kneeimg evaluate test.json -o EVAL --predictions nnunet-output

    Exit status: 0 all compared, 2 some cases refused, 3 all refused.

    For research. Not for diagnosis.
    """
    from kneeimg.pipeline.evaluation import evaluate as run_evaluation
    from kneeimg.pipeline.evaluation import segment_with_model
    from kneeimg.training.datalist import read_datalist

    with refusals(as_json), progress_bar(quiet=as_json) as progress:
        segment = None if predictions is not None else segment_with_model(model, device)
        cases = run_evaluation(
            read_datalist(datalist),
            datalist.parent,
            out,
            segment=segment,
            predictions=predictions,
            progress=progress,
        )
    _show(cases, out, as_json)
    raise typer.Exit(int(_status(cases)))


def _status(cases: tuple[Case, ...]) -> ExitStatus:
    refused = sum(case.finding is not None for case in cases)
    if not refused:
        return ExitStatus.MEASURED
    return ExitStatus.ALL_REFUSED if refused == len(cases) else ExitStatus.SOME_REFUSED


def _show(cases: tuple[Case, ...], out: Path, as_json: bool) -> None:
    from kneeimg.pipeline.evaluation import plate_summary, tissue_summary

    tissues, plates = tissue_summary(cases), plate_summary(cases)
    if as_json:
        echo_json({"tissues": tissues, "plates": plates})
        return
    table(
        ("tissue", "n", "Dice", "lowest", "ASSD mm", "HD95 mm", "volume bias %"),
        [
            [
                str(row["tissue"]),
                str(row["n"]),
                number(row["dice_mean"]),
                number(row["dice_min"]),
                number(row["assd_mm"], 2),
                number(row["hd95_mm"], 2),
                number(row["volume_bias_pct"], 1),
            ]
            for row in tissues
        ],
    )
    table(
        ("plate", "n", "missing", "bias mm", "SD mm", "worst mm"),
        [
            [str(row["region"]), str(row["n"]), str(row["missing"])]
            + [number(row[key]) for key in ("bias", "sd", "worst")]
            for row in plates
            if row["quantity"] == "ThCtAB_aMe"
        ],
        "ThCtAB_aMe, found − reference",
    )
    for case in cases:
        if case.finding is not None:
            typer.echo(f"refused: {case.name}: {case.finding}", err=True)
    typer.echo(f"page: {out / 'index.html'}")
    typer.echo("For research. Not for diagnosis.")
