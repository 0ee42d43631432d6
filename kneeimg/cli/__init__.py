"""The command line: one function per command, no analysis.

Exit status: 0 all measured, 1 usage, 2 some cases refused, 3 all refused, 4 environment.
"""

from __future__ import annotations

from typing import Annotated

import typer

from kneeimg.cli.audit import audit_app
from kneeimg.cli.blind import blind, unblind
from kneeimg.cli.change import change
from kneeimg.cli.codes import codes
from kneeimg.cli.demo import demo
from kneeimg.cli.evaluate import evaluate
from kneeimg.cli.exclude import exclude, include
from kneeimg.cli.frame import CommandGroup
from kneeimg.cli.freeze import lock, unlock
from kneeimg.cli.inspect import inspect
from kneeimg.cli.measure import measure_app
from kneeimg.cli.precision import precision
from kneeimg.cli.report import report
from kneeimg.cli.run import run
from kneeimg.cli.segment import segment
from kneeimg.cli.study import study_app
from kneeimg.cli.train import train
from kneeimg.cli.trial import trial

__all__ = ["app"]

app = typer.Typer(
    name="kneeimg",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: importing rich alone would take a third of its 0.3 s
    pretty_exceptions_enable=False,  # a plain traceback is the honest report of a bug
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from kneeimg import __version__

        typer.echo(f"kneeimg {__version__}")
        raise typer.Exit


@app.callback()
def kneeimg(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Measure knees: joint-space width on X-ray, cartilage thickness on MRI, change over time.

    Start with a folder of DICOM:

    \b
      kneeimg inspect SCANS             what is there, and why a series is refused
      kneeimg run SCANS -o RESULTS      measure everything; tables, maps and a report
      kneeimg study init SCANS          draft the study files; study check says what is missing
      kneeimg demo DEMO                 the same on a synthetic trial with known answers

    Exit status: 0 all measured, 1 usage, 2 some cases refused, 3 all refused, 4 environment.

    For research. Not a medical device, not for diagnosis.
    """


app.command()(demo)
app.command()(inspect)
app.command()(run)
app.command()(segment)
app.add_typer(study_app, name="study")
app.add_typer(measure_app, name="measure")
app.command()(train)
app.command()(evaluate)
app.command()(change)
app.command()(precision)
app.command()(report)
app.command()(trial)
app.command()(exclude)
app.command()(include)
app.command()(blind)
app.command()(unblind)
app.command()(lock)
app.command()(unlock)
app.add_typer(audit_app, name="audit")
app.command()(codes)
