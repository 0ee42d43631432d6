"""Every planned measurement has exactly one row: completion of measured and refused knees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kneeimg import __version__
from kneeimg.core.measurement import Measurement
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, MeasurementError, ReasonCode
from kneeimg.io.results import Kind, KneeRecord, KneeStatus, RowContext
from kneeimg.settings.study import StageSettings

Planned = tuple[str, str, str]  # region, quantity, unit


def planned_rows(kind: Kind, settings: StageSettings) -> tuple[Planned, ...]:
    """region, quantity and unit of every row that a scan of this kind must yield."""
    if kind == "film":
        from kneeimg.measure.joint_space import planned_joint_space
        from kneeimg.measure.kl_features import planned_kl
        from kneeimg.measure.kl_opinion import OPINION_ROWS

        second = OPINION_ROWS if settings.film.kl_support.second_opinion else ()
        return (*planned_joint_space(settings.film.joint_space), *planned_kl(), *second)
    from kneeimg.measure.planned import planned_knee

    return planned_knee()


def complete(
    measured: Iterable[Measurement], planned: Sequence[Planned]
) -> tuple[Measurement, ...]:
    """Measurements in planned order, one for each.

    Raises
    ------
    MeasurementError
        If the rows are not exactly the planned ones: a hole in a table is a bug, not a result.
    """
    rows = tuple(measured)
    found = [(row.region, row.quantity, row.unit) for row in rows]
    if sorted(found) != sorted(planned):
        odd = sorted(set(found) ^ set(planned))
        raise MeasurementError(
            "the measured rows are not the planned ones",
            code=ReasonCode.INTERNAL_ERROR,
            expected=f"{len(planned)} rows",
            found=f"{len(rows)} rows; in only one of the two: {odd[:5]}",
        )
    by_name = {row.name: row for row in rows}
    return tuple(by_name[f"{region}_{quantity}"] for region, quantity, _ in planned)


def refused_record(
    visit: Visit,
    kind: Kind,
    finding: Finding,
    settings: StageSettings,
    *,
    status: KneeStatus = "refused",
    series_uid_hash: str = "",
    model_sha256: str = "",
    findings: Sequence[Finding] = (),
) -> KneeRecord:
    """The record of a knee without a single value; the first finding says why."""
    rows = tuple(
        Measurement.missing(region, quantity, unit, finding.code)
        for region, quantity, unit in planned_rows(kind, settings)
    )
    return KneeRecord(
        visit=visit,
        kind=kind,
        status=status,
        measurements=rows,
        context=row_context(kind, settings, series_uid_hash, model_sha256=model_sha256),
        findings=(finding, *findings),
    )


def row_context(
    kind: Kind,
    settings: StageSettings,
    series_uid_hash: str,
    *,
    spacing_source: str = "",
    model_sha256: str = "",
) -> RowContext:
    """The columns that all rows of a knee share."""
    fraction = settings.morphometry.femur_fraction if kind == "mri" else float("nan")
    return RowContext(fraction, spacing_source, series_uid_hash, __version__, model_sha256)
