"""`kneeimg segment`: bones and cartilage of one scan by a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kneeimg.cli.frame import echo_json, number, refusals, show_finding, table
from kneeimg.cli.options import AsJson, DeviceName, SideIfUnsaid

if TYPE_CHECKING:
    from kneeimg.pipeline.segmenting import SegmentedScan


def segment(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of one DICOM series, or a NIfTI image.",
            metavar="SCAN",
            exists=True,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Folder for masks and pictures."),
    ],
    side: SideIfUnsaid = None,
    model: Annotated[
        str, typer.Option(help="Model by name or folder; or an .onnx or TorchScript file.")
    ] = "knee_mr",
    scheme: Annotated[
        str, typer.Option(help="How the channels of such a file name tissues.")
    ] = "knee-v1",
    trust: Annotated[
        bool, typer.Option("--trust", help="Run a TorchScript file: it is a program.")
    ] = False,
    device: DeviceName = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="Arithmetic of the network.")
    ] = "auto",
    no_cleanup: Annotated[
        bool, typer.Option("--no-cleanup", help="Keep loose pieces, specks and holes.")
    ] = False,
    echo: Annotated[
        int | None, typer.Option(min=1, help="Echo number, for a series of several echoes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Segment bones, cartilage and menisci of one knee.

    Writes labels (_dseg.nii.gz), tissue fractions (_probseg.nii.gz), how sure the network is
    (_segmentation.json) and a picture to check (_qc.png). What is no knee, or seen only in part,
    is refused.

    Example: kneeimg segment scans/dess -o seg --side right

    A TorchScript file can run code on your machine. Give --trust only if you know its maker.

    Exit status: 0 segmented, 1 usage, 3 refused (nothing is written), 4 environment.

    For research. Not for diagnosis.
    """
    from kneeimg.pipeline.segmenting import segment_scan, segmentation_to_json, write_segmentation
    from kneeimg.settings.segmentation import CleanupSettings, SegmentationSettings

    settings = SegmentationSettings(
        model=model,
        scheme=scheme,
        trust=trust,
        device=device,
        precision=precision,
        cleanup=CleanupSettings(enabled=not no_cleanup),
    )
    with refusals(as_json):
        scan = segment_scan(source, side, settings, echo=echo)
        write_segmentation(scan, out)
    if as_json:
        echo_json(segmentation_to_json(scan))
    else:
        _show(scan, out)


def _show(scan: SegmentedScan, out: Path) -> None:
    rows = [
        (
            tissue.name.lower().replace("_", " "),
            number(found.volume_mm3 / 1000.0, 2),
            number(found.certainty, 2),
            number(found.blur_mm, 2),
        )
        for tissue, found in scan.segmentation.confidence.items()
    ]
    which = f"{scan.side} knee" if scan.side else "side unknown"
    title = f"{scan.name}, {which}, {scan.card.name} {scan.card.version}"
    table(("tissue", "ml", "certainty", "blur mm"), rows, title)
    for finding in scan.segmentation.findings:
        show_finding(finding)
    typer.echo(f"wrote {out} in {sum(scan.segmentation.seconds.values()):.1f} s")
    typer.echo("For research. Not for diagnosis.")
