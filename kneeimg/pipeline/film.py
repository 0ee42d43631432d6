"""One film: pixels in, margins, joint-space rows and a picture out, for each knee on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kneeimg.core.anatomy import Side
from kneeimg.core.kl_opinion import KlOpinion
from kneeimg.core.kl_support import KlSupport
from kneeimg.core.laterality import SideSource, combine_sides
from kneeimg.core.margins import JointMargins
from kneeimg.core.measurement import Measurement
from kneeimg.core.radiograph import Radiograph
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, InputError, KneeimgError, OutputError, ReasonCode
from kneeimg.io.atomic import write_bytes, write_json
from kneeimg.io.results import KneeRecord, knee_file, record_to_json
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.pipeline.cases import Case, redacted_finding
from kneeimg.pipeline.planned import complete, planned_rows, refused_record, row_context
from kneeimg.pipeline.protocol import protocol_of
from kneeimg.settings.film import FilmSettings


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredFilm:
    """One knee on a film in memory after measuring.

    Attributes
    ----------
    side : Which knee.
    radiograph : The whole film.
    margins : Its joint margins, in pixels of the film.
    measurements : One for each planned row.
    findings : Everything noticed on the way.
    support : What the KL model says of it.
    opinion : What the networks say of it; None when they were not asked.
    """

    side: Side
    radiograph: Radiograph
    margins: JointMargins
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]
    support: KlSupport
    opinion: KlOpinion | None = None

    def kl_as_dict(self) -> dict[str, object]:
        """KL support, and beside it the second opinion, as plain values for JSON."""
        if self.opinion is None:
            return self.support.as_dict()
        from kneeimg.measure.kl_opinion import comparison_text

        second = self.opinion.as_dict()
        comparison = comparison_text(self.support, self.opinion)
        return self.support.as_dict() | {"second_opinion": second, "comparison": comparison}


def run_film_case(case: Case, folder: Path) -> tuple[KneeRecord, ...]:
    """Measure every knee of a film and write its files into a folder.

    On a film of both knees one may be refused and the other measured.

    Raises
    ------
    KneeimgError
        A refusal of the film as a whole.
    """
    radiograph = read_film(case.blind())
    sides = knees_to_measure(radiograph, case.sides, where=case.source)
    records = tuple(_run_knee(case, radiograph, side, folder) for side in sides)
    if len(records) == 1 and records[0].status == "refused":
        raise KneeimgError.from_finding(records[0].findings[0])
    return records


def read_film(case: Case) -> Radiograph:
    """The film of a case, from DICOM or a picture file."""
    if case.series is not None:
        from kneeimg.io.dicom import read_radiograph

        return read_radiograph(case.series, case.pixel_spacing_mm)
    if case.image is None:
        raise InputError("the case has no film", where=case.source)
    from kneeimg.io.pictures import read_film_picture

    return read_film_picture(case.image, case.pixel_spacing_mm, case.visit.side)


def knees_to_measure(
    radiograph: Radiograph, sides: Iterable[SideSource], *, where: str = ""
) -> tuple[Side | None, ...]:
    """The stated side; both for a film of both knees; None where the fibula must tell."""
    from kneeimg.segment.film import find_knees

    stated = combine_sides((*sides, ("film", radiograph.side)), where=where)
    if stated is not None:
        return (stated[0],)
    views = find_knees(radiograph)
    if len(views) == 1:
        return (views[0].side,)
    if any(view.side is None for view in views):
        raise InputError(
            "two knees are on the film and nothing says which is which",
            code=ReasonCode.NO_LATERALITY,
            where=where,
            expected="a film that says how it hangs (Patient Orientation)",
            action="write Patient Orientation into the file, or crop and list each knee",
        )
    # in the order of Side, whichever hangs on the left
    return tuple(side for side in Side if side in {view.side for view in views})


def measure_film(radiograph: Radiograph, side: Side | None, settings: FilmSettings) -> MeasuredFilm:
    """Find the margins of one knee, measure its joint space, and give KL support."""
    from kneeimg.segment.film import find_margins

    margins = find_margins(radiograph, side, settings)
    rows = measure_joint_space(margins, radiograph.spacing_mm, settings.joint_space)
    support, kl = _kl_support(radiograph, margins, settings)
    opinion, second = _second_opinion(radiograph, margins, settings)
    # doubts of KL support stand in its own rows: they say nothing against the joint space
    findings = tuple(dict.fromkeys((*radiograph.findings, *margins.findings)))
    rows = (*rows, *kl, *second)
    return MeasuredFilm(margins.side, radiograph, margins, rows, findings, support, opinion)


def _kl_support(
    radiograph: Radiograph, margins: JointMargins, settings: FilmSettings
) -> tuple[KlSupport, tuple[Measurement, ...]]:
    """What the shipped model says of a film, and the rows of its features and grades."""
    from kneeimg.io.kl_model import shipped_kl_model
    from kneeimg.measure.kl_features import kl_rows, kl_vector, measure_features
    from kneeimg.measure.kl_model import kl_support

    spacing = radiograph.spacing_mm
    features = measure_features(radiograph.image, margins, spacing)
    model = shipped_kl_model()
    vector = kl_vector(features, settings.kl_support, model.appearance)
    support = kl_support(vector, model, settings.kl_support, margins.flags)
    return support, kl_rows(features, margins, spacing, support, settings.kl_support)


def _second_opinion(
    radiograph: Radiograph, margins: JointMargins, settings: FilmSettings
) -> tuple[KlOpinion | None, tuple[Measurement, ...]]:
    """What the shipped networks say of a film, and their rows; nothing when they are off."""
    if not settings.kl_support.second_opinion:
        return None, ()
    from kneeimg.io.kl_cnn import shipped_ensemble
    from kneeimg.measure.kl_opinion import film_opinion, opinion_rows

    opinion = film_opinion(
        radiograph.image, margins, radiograph.spacing_mm, shipped_ensemble(), settings.kl_support
    )
    return opinion, tuple(opinion_rows(opinion, margins.flags))


def _run_knee(case: Case, radiograph: Radiograph, side: Side | None, folder: Path) -> KneeRecord:
    visit = replace(case.visit, side=side)
    try:
        film = measure_film(radiograph, side, case.settings.film)
    except OutputError:
        raise
    except KneeimgError as error:
        record = refused_record(
            visit,
            "film",
            redacted_finding(error.finding, case.private),
            case.settings,
            series_uid_hash=case.series_uid_hash,
        )
        path = folder / knee_file(
            visit.participant, visit.visit, side, "measurements.json", visit.scan
        )
        write_json(path, record_to_json(record))
        return record
    record = _record(case, film)
    write_film_files(film, folder, record.visit, record)
    return record


def _record(case: Case, film: MeasuredFilm) -> KneeRecord:
    noticed = dict.fromkeys((*case.findings, *film.findings))
    findings = [f for f in noticed if f.code is not ReasonCode.NO_LATERALITY]
    return KneeRecord(
        visit=replace(case.visit, side=film.side),
        kind="film",
        status="measured",
        measurements=complete(film.measurements, planned_rows("film", case.settings)),
        context=row_context(
            "film",
            case.settings,
            case.series_uid_hash,
            spacing_source=film.radiograph.spacing_source.value,
        ),
        findings=tuple(redacted_finding(finding, case.private) for finding in findings),
        protocol=protocol_of(case.series),
    )


def write_film_files(
    film: MeasuredFilm, folder: Path, visit: Visit, record: KneeRecord | None = None
) -> None:
    """Margins, KL support, picture and, if given, the record of one knee on a film."""
    from kneeimg.io.margins import margins_to_json
    from kneeimg.report.figures import film_panel

    def path(suffix: str) -> Path:
        return folder / knee_file(visit.participant, visit.visit, film.side, suffix, visit.scan)

    title = f"{visit.participant} · {visit.label} · {film.side.value} knee"
    panel = film_panel(
        film.radiograph,
        film.margins,
        film.measurements,
        title=title,
        support=film.support,
        opinion=film.opinion,
    )
    write_json(path("margins.json"), margins_to_json(film.margins, film.radiograph))
    write_json(path("kl_support.json"), film.kl_as_dict())
    write_bytes(path("qc.png"), panel)
    if record is not None:
        write_json(path("measurements.json"), record_to_json(record))
