"""ADKNEE from tables to files, blinded by `kneeimg run` and unblinded by the trial analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.core.dataset import DatasetDescription
from kneeimg.io.adam import SUFFIXES, write_dataset
from kneeimg.io.atomic import output_errors, write_json
from kneeimg.io.dataset_files import DEFINE, NO_TIME
from kneeimg.io.results import read_json
from kneeimg.io.tables import read_parquet
from kneeimg.pipeline.parameters import definition_of
from kneeimg.settings.study import StudyFile, VisitWindow
from kneeimg.trial.adam import AdamStudy, adknee, parameters_of, variables_of
from kneeimg.trial.adam_variables import LABEL, NAME, STRUCTURE
from kneeimg.trial.study import Participant

if TYPE_CHECKING:
    import pandas as pd

    from kneeimg.pipeline.trial import Unblinded  # measuring must not load what reads the arms

#: Folder of the analysis dataset below OUT, and the file with what it needs beside the tables.
ADAM_FOLDER = Path("tables", "adam")
STUDY_FILE = "study.json"
#: Folder of the dataset with treatment, below the target of the analysis by arm.
UNBLINDED_FOLDER = Path("tables", "trial", "adam")


def adam_study(
    settings: StudyFile,
    participants: Mapping[str, Participant],
    visit_order: Mapping[str, Sequence[str]] | None = None,
) -> AdamStudy:
    """What ADKNEE needs to know of a study.

    Parameters
    ----------
    settings : The study file.
    participants : By study id. Dates of day 0 are used only if `[tables] analysis_dates` is on.
    visit_order : Participant to visits in time, the first being baseline; None to take the first
        planned visit.
    """
    people = participants.values()
    dated = settings.tables.analysis_dates
    return AdamStudy(
        study=settings.study.id,
        windows=settings.visits,
        baselines={name: visits[0] for name, visits in (visit_order or {}).items() if visits},
        index_knees={p.participant: _side(p.index_knee) for p in people},
        sites={"": settings.tables.site},
        baseline_dates={
            p.participant: p.baseline_date for p in people if dated and p.baseline_date
        },
    )


def _side(side: Side | None) -> str:
    return side.value if side else ""


def write_adam(
    folder: Path, frame: pd.DataFrame, study: AdamStudy, *, created: datetime = NO_TIME
) -> tuple[Path, ...]:
    """Write ADKNEE as Dataset-JSON 1.1, XPT v5, CSV and Parquet, and its define.xml.

    Parameters
    ----------
    folder : Made if missing.
    frame : Of `kneeimg.trial.adam.adknee`.
    study : The same as for the frame; what it knows, dates apart, is kept in `study.json`, so that
        the unblinded analysis can make the dataset again from a results folder.
    created : Time written into the files; the same time gives the same bytes.

    Returns
    -------
    The dataset's files.

    Raises
    ------
    OutputError
        The disk is full or not writable.
    """
    parameters = parameters_of(frame)
    about = DatasetDescription(
        name=NAME,
        label=LABEL,
        structure=STRUCTURE,
        study=study.study,
        software=__version__,
        variables=variables_of(frame),
        parameters=parameters,
        definitions={p.paramcd: definition_of(p) for p in parameters},
    )
    written = write_dataset(folder, frame, about, created)
    write_json(folder / STUDY_FILE, _study_to_json(study))
    return written


def remove_adam(folder: Path) -> None:
    """Take away the dataset of an earlier run: it would be of another study, or of none."""
    names = (*(f"{NAME}{suffix}" for suffix in SUFFIXES), DEFINE, STUDY_FILE)
    for path in (folder / name for name in names):
        with output_errors(path):
            path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def adam_from_results(
    out: Path,
    arms: Mapping[str, str] | None = None,
    arm_order: Sequence[str] | None = None,
    study: AdamStudy | None = None,
) -> tuple[pd.DataFrame, AdamStudy]:
    """ADKNEE of a results folder, with treatment arms when they are given.

    Parameters
    ----------
    out : Folder of `kneeimg run`.
    arms, arm_order : Participant to arm, and the arms in the order of TRTPN.
    study : By default what the run kept of it, without dates.

    Raises
    ------
    InputError
        OUTPUT_CHANGED when a table is not there or cannot be read.
    """
    study = study or _study_from_json(read_json(out / ADAM_FOLDER / STUDY_FILE))
    _, measurements = read_parquet(out / "tables" / "measurements.parquet")
    _, changes = read_parquet(out / "tables" / "change.parquet")
    return adknee(measurements, changes, study, arms, arm_order), study


def write_unblinded_adknee(known: Unblinded) -> tuple[Path, ...]:
    """ADKNEE with treatment, beside the tables of the analysis by arm; a step of `analyse_trial`.

    The blinded dataset stays as it is. Results of a run without a study file have neither.
    """
    if not (known.out / ADAM_FOLDER / STUDY_FILE).is_file():
        return ()
    frame, study = adam_from_results(known.out, known.arms, known.order)
    return write_adam(known.target / UNBLINDED_FOLDER, frame, study)


def _study_to_json(study: AdamStudy) -> dict[str, Any]:
    return {
        "study": study.study,
        "visits": [
            {"name": w.name, "target_day": w.target_day, "window_days": w.window_days}
            for w in study.windows
        ],
        "baselines": dict(study.baselines),
        "index_knees": dict(study.index_knees),
        "sites": dict(study.sites),
    }


def _study_from_json(value: Mapping[str, Any]) -> AdamStudy:
    return AdamStudy(
        study=value["study"],
        windows=tuple(VisitWindow(**visit) for visit in value["visits"]),
        baselines=value["baselines"],
        index_knees=value["index_knees"],
        sites=value["sites"],
    )
