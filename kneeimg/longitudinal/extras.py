"""Change of what is measured beside cartilage: defects, bones, menisci."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from kneeimg.core.anatomy import Bone
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.longitudinal.rows import ChangeRow, PrecisionTable, Repeatability, change_row
from kneeimg.measure.bone_size import planned_bones
from kneeimg.measure.defects import measure_defects
from kneeimg.measure.meniscus import MENISCI, planned_menisci
from kneeimg.settings.morphometry import MorphometrySettings

Named = Mapping[tuple[str, str], Measurement]


def extra_rows(
    surfaces: tuple[Mapping[Bone, Surface], Mapping[Bone, Surface]],
    cartilage: tuple[Sequence[Measurement], Sequence[Measurement]],
    visits: tuple[Named, Named],
    days: float | None,
    sdc: PrecisionTable | None,
    *,
    morphometry: MorphometrySettings,
    tab_source: Callable[[str], str],
    rms_mm: Callable[[str], float],
    aligned: Collection[Bone],
) -> tuple[ChangeRow, ...]:
    """Change rows in the order of `planned_extras`.

    Parameters
    ----------
    surfaces : Baseline and follow-up over the same carried bone area.
    cartilage : The cartilage rows of those surfaces.
    visits : Each visit's own rows by (region, quantity).
    days, sdc : As for `compare_knees`.
    morphometry : The settings with which both visits were measured.
    tab_source : Region to how the bone area of its defects was obtained.
    rms_mm : Region to the residual of its bone's alignment.
    aligned : Bones of both visits that fit each other.

    Notes
    -----
    Defects are found again over the baseline's bone area. Bones and menisci are compared as each
    visit measured them: nothing of theirs is carried over. A bone that the field of view cuts
    shows another length at every visit, so its change is not given (`BONE_CUT_BY_VIEW`).
    """
    before, after = (
        measure_defects(surface, rows, morphometry)
        for surface, rows in zip(surfaces, cartilage, strict=True)
    )
    defects = tuple(
        change_row(
            first,
            second,
            days,
            _entry(sdc, first),
            kind="mri",
            tab_source=tab_source(first.region),
            registration_rms_mm=rms_mm(first.region),
        )
        for first, second in zip(before, after, strict=True)
    )
    return defects + tuple(
        _own_change(planned, visits, days, sdc, aligned)
        for planned in planned_bones() + planned_menisci()
    )


def _own_change(
    planned: tuple[str, str, str],
    visits: tuple[Named, Named],
    days: float | None,
    sdc: PrecisionTable | None,
    aligned: Collection[Bone],
) -> ChangeRow:
    """Change between what two visits measured on their own."""
    region, quantity, unit = planned
    first, second = (
        own.get((region, quantity)) or Measurement.missing(region, quantity, unit, reason)
        for own, reason in zip(
            visits, (ReasonCode.NO_BASELINE, ReasonCode.VISIT_MISSING), strict=True
        )
    )
    if not (first.reason or second.reason):
        reason = _not_comparable(first, second, aligned)
        if reason is not None:
            second = Measurement.missing(region, quantity, unit, reason, method=second.method)
    return change_row(
        first,
        second,
        days,
        _entry(sdc, first),
        kind="mri",
        tab_source=first.tab_source,
    )


def _not_comparable(
    first: Measurement, second: Measurement, aligned: Collection[Bone]
) -> ReasonCode | None:
    """Why two measured values of a bone or meniscus do not make a change."""
    of_bone = first.region not in MENISCI
    bone = Bone(first.region) if of_bone else Bone.TIBIA
    if bone not in aligned:
        return ReasonCode.REGISTRATION_FAILED
    cut = ReasonCode.BONE_CUT_BY_VIEW
    return cut if of_bone and (cut in first.flags or cut in second.flags) else None


def _entry(sdc: PrecisionTable | None, row: Measurement) -> Repeatability | None:
    return None if sdc is None else sdc.get(row.region, row.quantity)
