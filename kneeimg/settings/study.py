"""The study file `study.toml`: who, when, which series, which masks, how to measure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kneeimg.settings.base import Settings
from kneeimg.settings.change import ChangeSettings
from kneeimg.settings.film import FilmSettings
from kneeimg.settings.morphometry import MorphometrySettings
from kneeimg.settings.reading import ReadingSettings, SeriesRule
from kneeimg.settings.segmentation import SegmentationSettings
from kneeimg.settings.tables import TablesSettings

StudyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")]
PlannedKind = Literal["mri", "film"]


class StudySection(Settings):
    """Table `[study]`.

    Attributes
    ----------
    id : Name of the study, letters, digits and hyphens.
    participants : CSV of the participants, relative to the study file.
    scans : CSV that lists every scan by path; None to find the scans in the DICOM folder.
    key : CSV of study ids and PatientIDs, kept apart so that participants.csv names nobody; None
        where participants.csv has a column `patient_id`, or where scans are told by their folders.
    label_scheme : How mask values name tissues, unless a row of `scans` says otherwise.
    only_index_knee : Every scan shows the index knee of its participant. The study file is then a
        source of the side, and a file that says otherwise is refused.
    repeats : Several scans of one knee that fall into one visit. "nearest": the one nearest to the
        target day is measured, the others are listed. "average": scans of one kind up to
        `repeat_days` from the nearest are all measured and kept, and their mean is analysed.
        Scans that the scan list, or the name of a mask, calls run-1, run-2, ... always are.
    repeat_days : Days from the nearest scan up to which another one is a repeat of it.
    """

    id: StudyId = "study"
    participants: str = "participants.csv"
    scans: str | None = None
    key: str | None = None
    label_scheme: str = "knee-v1"
    only_index_knee: bool = False
    repeats: Literal["nearest", "average"] = "nearest"
    repeat_days: Annotated[int, Field(ge=0)] = 14

    @property
    def repeat_within(self) -> int | None:
        """`repeat_days` where repeats are averaged; None where only the nearest scan counts."""
        return self.repeat_days if self.repeats == "average" else None


class VisitWindow(Settings):
    """One `[[visits]]` table: a planned visit.

    Attributes
    ----------
    name : Visit id, as in file names.
    target_day : Planned day since baseline.
    window_days : A scan belongs to the visit up to this many days before or after the target.
    kinds : What is planned at this visit; None for every kind that the study has.
    """

    name: StudyId
    target_day: int
    window_days: Annotated[int, Field(ge=0)] = 14
    kinds: tuple[PlannedKind, ...] | None = None

    def holds(self, day: int) -> bool:
        """Whether a day since baseline lies in the window.

        >>> VisitWindow(name="M06", target_day=182, window_days=21).holds(203)
        True
        """
        return abs(day - self.target_day) <= self.window_days


#: Target day and window of the default schedule.
DEFAULT_VISITS: tuple[VisitWindow, ...] = (
    VisitWindow(name="BL", target_day=0, window_days=14),
    VisitWindow(name="M01", target_day=30, window_days=14),
    VisitWindow(name="M03", target_day=91, window_days=14),
    VisitWindow(name="M06", target_day=182, window_days=21),
    VisitWindow(name="M12", target_day=365, window_days=28),
)


class MaskSettings(Settings):
    """Table `[masks]`: how a mask is found beside its DICOM series.

    Attributes
    ----------
    inside : File-name patterns of a mask in the folder of the series' files.
    beside : Endings of a mask in the parent folder, named after the series folder, e.g.
        `dess_dseg.nii.gz` beside `dess/`.
    folder : Folder of masks that are named after their case, as nnU-Net writes its predictions:
        `CASE.nii.gz` for the series folder `CASE/` or the image `CASE_0000.nii.gz`. Relative to
        the study file. None: there is none.
    """

    inside: tuple[str, ...] = ("*.nii", "*.nii.gz", "*.nrrd", "*.mha", "*.mhd")
    beside: tuple[str, ...] = tuple(
        f"_{kind}.{ending}"
        for kind in ("dseg", "probseg")
        for ending in ("nii.gz", "nii", "nrrd", "mha")
    )
    # which masks there are is told by their hashes, so the path decides nothing and is not kept
    folder: str | None = Field(default=None, exclude=True)


class StageSettings(Settings):
    """Everything that changes a number: what a finished case is compared with.

    Attributes
    ----------
    reading, segmentation, morphometry, film, change : Settings of each stage.
    """

    reading: ReadingSettings = ReadingSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    morphometry: MorphometrySettings = MorphometrySettings()
    film: FilmSettings = FilmSettings()
    change: ChangeSettings = ChangeSettings()


class StudyFile(StageSettings):
    """The whole of `study.toml`; an unknown key anywhere is an error.

    Attributes
    ----------
    study : What the study is called and where its tables are.
    visits : Planned visits in order of their target day.
    series : Rules that pick series, each `[[series]]`; none takes every usable series.
    masks : How masks are found.
    tables : What the tables for the trial analyst may tell.
    """

    study: StudySection = StudySection()
    visits: tuple[VisitWindow, ...] = DEFAULT_VISITS
    series: tuple[SeriesRule, ...] = ()
    masks: MaskSettings = MaskSettings()
    tables: TablesSettings = TablesSettings()

    @model_validator(mode="after")
    def _visits_in_order(self) -> StudyFile:
        names = [visit.name for visit in self.visits]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"visits need distinct names, at least one; found {names}")
        days = [visit.target_day for visit in self.visits]
        if days != sorted(set(days)):
            raise ValueError(f"visits must be in order of target_day, found {days}")
        return self

    def stages(self) -> StageSettings:
        """Only the settings that change a number."""
        return StageSettings(
            reading=self.reading,
            segmentation=self.segmentation,
            morphometry=self.morphometry,
            film=self.film,
            change=self.change,
        )
