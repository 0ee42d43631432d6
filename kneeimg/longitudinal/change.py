"""Change of one knee between two visits: rows for the tables and maps on the baseline bone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kneeimg.core.anatomy import AGGREGATE_SUMS, REGION_BONES, Bone, VertexState
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import Finding, ReasonCode, RegistrationError
from kneeimg.longitudinal.carry import PairedBone, pair_bone
from kneeimg.longitudinal.extras import extra_rows
from kneeimg.longitudinal.ordered import ordered_rows
from kneeimg.longitudinal.progression import progression
from kneeimg.longitudinal.registration import Registration, register_bone
from kneeimg.longitudinal.rows import ChangeRow, PrecisionTable, Repeatability, change_row
from kneeimg.longitudinal.vertices import with_change_state
from kneeimg.measure.regions import region_mask, region_share, summarise
from kneeimg.settings.change import ChangeSettings
from kneeimg.settings.morphometry import MorphometrySettings

#: `tab_source` of every row of an MR comparison, and what follows it where the follow-up's tAB
#: reaches far beyond the baseline's.
CARRIED = "baseline carried over"
WIDENED = ", widened by the follow-up"

_MM_UNITS = ("mm", "mm^2", "mm^3")


@dataclass(frozen=True, slots=True, eq=False)
class KneeChange:
    """What changed in one knee between two visits.

    Attributes
    ----------
    rows : One for each planned measurement, in that order, then those of `planned_ordered`; also
        where nothing can be compared.
    surfaces : Bone to its baseline surface, baseline frame, with the vertex fields `change_mm`
        (follow-up − baseline; NaN outside tAB and where a visit has no value), `baseline_mm`,
        `followup_mm`, `state` and `state_followup` (`VertexState`), `plate`, `subregion`,
        and `sdc_mm` and `change_state` (`ChangeState`).
    registrations : Bone to its alignment.
    undetermined_pct : Region to the share of its area without a value at one of the visits, %.
    findings : Why a bone could not be compared.
    """

    rows: tuple[ChangeRow, ...]
    surfaces: dict[Bone, Surface]
    registrations: dict[Bone, Registration]
    undetermined_pct: dict[str, float]
    findings: tuple[Finding, ...] = ()


def compare_knees(
    baseline: Mapping[Bone, Surface],
    followup: Mapping[Bone, Surface],
    days: float | None,
    baseline_measurements: Sequence[Measurement],
    followup_measurements: Sequence[Measurement],
    sdc: PrecisionTable | None = None,
    settings: ChangeSettings | None = None,
    morphometry: MorphometrySettings | None = None,
) -> KneeChange:
    """Change of cartilage over the baseline's subchondral bone area.

    Parameters
    ----------
    baseline, followup : Surfaces of one knee at two visits, as `measure_knee` gives them, each
        in its own frame.
    days : From baseline to follow-up; None when unknown.
    baseline_measurements, followup_measurements : What `measure_knee` gave with them; says how
        they were measured and why a region is missing.
    sdc : Repeatability of this software; without it no single change is classed.
    settings : Alignment and limits.
    morphometry : The settings with which both visits were measured.

    Returns
    -------
    KneeChange
        A bone that cannot be aligned gives `REGISTRATION_FAILED` rows and a finding; it never
        raises.

    Notes
    -----
    Each bone is aligned on its own. tAB, plates and subregions of the baseline are carried to the
    follow-up, so both values of a row belong to the same bone points and may differ from the
    visits' own measurements. Points that are undetermined at one visit are left out of both, and
    so is the border of a plate where the visits draw it differently (`ChangeSettings.rim_mm`);
    bone that only the follow-up's tAB holds, further out than that, is added (`pair_bone`).
    Cartilage volume is summed over the same carried plates. The patella is small and fits other
    people's patellae almost as well as its own: it is refused when femur and tibia both are.
    """
    settings = settings or ChangeSettings()
    morphometry = morphometry or MorphometrySettings()
    before, after = _by_name(baseline_measurements), _by_name(followup_measurements)
    absent = _absent(baseline, followup, before, after)
    registrations, findings = _register(baseline, followup, absent, settings)
    pairs = {
        bone: pair_bone(baseline[bone], followup[bone], found.transform, settings, morphometry)
        for bone, found in registrations.items()
    }
    lost_pct = _undetermined_pct(pairs)
    for region, share in lost_pct.items():
        if share > settings.max_undetermined_pct:
            absent.setdefault(region, ReasonCode.UNDETERMINED_SHARE)
    rows = _rows(pairs, absent, registrations, days, (before, after), sdc, morphometry)
    rows += ordered_rows(rows, days, sdc)
    surfaces = {bone: with_change_state(_change_map(p), sdc) for bone, p in pairs.items()}
    return KneeChange(rows, surfaces, registrations, lost_pct, findings)


def compare_films(
    baseline_measurements: Sequence[Measurement],
    followup_measurements: Sequence[Measurement],
    days: float | None,
    same_spacing_source: bool,
    sdc: PrecisionTable | None = None,
) -> tuple[ChangeRow, ...]:
    """Change of joint space between two films of one knee.

    Parameters
    ----------
    baseline_measurements, followup_measurements : Of `measure_joint_space`.
    days : From baseline to follow-up; None when unknown.
    same_spacing_source : Whether the pixel sizes of both films come from the same source.
        Otherwise millimetres are not compared (`PROTOCOL_DRIFT`); ratios and angles are.
    sdc : Repeatability of this software.

    Returns
    -------
    One row for every quantity that either film has, in the order of the baseline.
    """
    before, after = _by_name(baseline_measurements), _by_name(followup_measurements)
    rows = []
    for key, either in {**after, **before}.items():
        first = before.get(key) or _not_there(either, ReasonCode.NO_BASELINE)
        second = after.get(key) or _not_there(either, ReasonCode.VISIT_MISSING)
        if either.unit in _MM_UNITS and not same_spacing_source and not first.reason:
            second = _not_there(either, second.reason or ReasonCode.PROTOCOL_DRIFT)
        row = change_row(first, second, days, _entry(sdc, either), kind="film")
        rows.append(replace(row, progression=progression(row)))
    order = {key: number for number, key in enumerate((*before, *(set(after) - set(before))))}
    return tuple(sorted(rows, key=lambda row: order[row.region, row.quantity]))


def _by_name(rows: Iterable[Measurement]) -> dict[tuple[str, str], Measurement]:
    return {(row.region, row.quantity): row for row in rows}


def _not_there(like: Measurement, reason: ReasonCode) -> Measurement:
    return Measurement.missing(like.region, like.quantity, like.unit, reason)


def _entry(sdc: PrecisionTable | None, row: Measurement) -> Repeatability | None:
    return None if sdc is None else sdc.get(row.region, row.quantity)


def _absent(
    baseline: Mapping[Bone, Surface],
    followup: Mapping[Bone, Surface],
    before: Mapping[tuple[str, str], Measurement],
    after: Mapping[tuple[str, str], Measurement],
) -> dict[str, ReasonCode]:
    """Regions of bones that one of the visits did not measure, with that visit's reason."""
    absent: dict[str, ReasonCode] = {}
    for bone in Bone:
        reason = _bone_problem(bone, baseline, before, ReasonCode.NO_BASELINE)
        reason = reason or _bone_problem(bone, followup, after, ReasonCode.VISIT_MISSING)
        if reason is not None:
            absent |= dict.fromkeys(_regions_of(bone), reason)
    return absent


def _regions_of(bone: Bone) -> tuple[str, ...]:
    return tuple(region for region, own in REGION_BONES.items() if own is bone)


def _bone_problem(
    bone: Bone,
    surfaces: Mapping[Bone, Surface],
    rows: Mapping[tuple[str, str], Measurement],
    otherwise: ReasonCode,
) -> ReasonCode | None:
    """Why a visit has nothing on a bone; None when it has at least one region."""
    areas = [rows.get((region, "tAB")) for region in _regions_of(bone)]
    if bone in surfaces and any(row is not None and row.reason is None for row in areas):
        return None
    return next((row.reason for row in areas if row is not None and row.reason), otherwise)


def _register(
    baseline: Mapping[Bone, Surface],
    followup: Mapping[Bone, Surface],
    absent: dict[str, ReasonCode],
    settings: ChangeSettings,
) -> tuple[dict[Bone, Registration], tuple[Finding, ...]]:
    """Align every bone that both visits measured; the failed ones are added to `absent`."""
    found: dict[Bone, Registration] = {}
    findings: dict[Bone, Finding] = {}
    for bone in (b for b in Bone if not set(_regions_of(b)) <= absent.keys()):
        try:
            found[bone] = register_bone(followup[bone], baseline[bone], settings.registration)
        except RegistrationError as error:
            findings[bone] = _on(bone, error.finding)
    if {Bone.FEMUR, Bone.TIBIA} <= findings.keys() and Bone.PATELLA in found:
        del found[Bone.PATELLA]
        findings[Bone.PATELLA] = Finding(
            ReasonCode.REGISTRATION_FAILED,
            "neither femur nor tibia matches the baseline, so the patella is not trusted either",
            where=str(Bone.PATELLA),
            action="check that both scans show the same person and knee",
        )
    for bone, finding in findings.items():
        absent |= dict.fromkeys(_regions_of(bone), finding.code)
    return found, tuple(findings.values())


def _on(bone: Bone, finding: Finding) -> Finding:
    return replace(finding, where=str(bone))


def _undetermined_pct(pairs: Mapping[Bone, PairedBone]) -> dict[str, float]:
    """Region to the share of its area that has no value at one of the visits."""
    shares = {}
    for region, bone in REGION_BONES.items():
        pair = pairs.get(bone)
        if pair is None:
            continue
        fields = pair.baseline.fields
        area = fields["area_mm2"] * region_share(pair.baseline, region)
        if area.sum() > 0:
            lost = area[fields["state"] == VertexState.UNDETERMINED].sum()
            shares[region] = float(100.0 * lost / area.sum())
    return shares


def _rows(
    pairs: Mapping[Bone, PairedBone],
    absent: Mapping[str, ReasonCode],
    registrations: Mapping[Bone, Registration],
    days: float | None,
    visits: tuple[Mapping[tuple[str, str], Measurement], Mapping[tuple[str, str], Measurement]],
    sdc: PrecisionTable | None,
    morphometry: MorphometrySettings,
) -> tuple[ChangeRow, ...]:
    sources = _sources(pairs)
    before, after = (
        summarise(
            surfaces,
            method=next((row.method for row in own.values() if row.method), ""),
            settings=morphometry,
            tab_source=sources,
            absent=absent,
        )
        for own, surfaces in zip(
            visits,
            (
                {bone: pair.baseline for bone, pair in pairs.items()},
                {bone: pair.followup for bone, pair in pairs.items()},
            ),
            strict=True,
        )
    )
    rows = tuple(
        change_row(
            first,
            second,
            days,
            _entry(sdc, first),
            kind="mri",
            tab_source=sources.get(first.region, CARRIED),
            registration_rms_mm=_worst_rms_mm(first.region, registrations),
        )
        for first, second in zip(before, after, strict=True)
    )
    return rows + extra_rows(
        (
            {bone: pair.baseline for bone, pair in pairs.items()},
            {bone: pair.followup for bone, pair in pairs.items()},
        ),
        (before, after),
        visits,
        days,
        sdc,
        morphometry=morphometry,
        tab_source=lambda region: sources.get(region, CARRIED),
        rms_mm=lambda region: _worst_rms_mm(region, registrations),
        aligned=registrations.keys(),
    )


def _sources(pairs: Mapping[Bone, PairedBone]) -> dict[str, str]:
    """Region or sum to how its tAB was obtained."""
    sources = dict.fromkeys(REGION_BONES, CARRIED)
    for bone, pair in pairs.items():
        if pair.widened.any():
            sources |= {
                region: CARRIED + WIDENED
                for region in _regions_of(bone)
                if (pair.widened & region_mask(pair.baseline, region)).any()
            }
    return sources | {
        name: max((sources[region] for region in members), key=len)
        for name, members in AGGREGATE_SUMS.items()
    }


def _worst_rms_mm(region: str, registrations: Mapping[Bone, Registration]) -> float:
    """Largest residual of the bones of a region; NaN when one of them is not aligned."""
    bones = {REGION_BONES[member] for member in AGGREGATE_SUMS.get(region, (region,))}
    if not bones <= registrations.keys():
        return math.nan
    return max(registrations[bone].rms_mm for bone in bones)


def _change_map(pair: PairedBone) -> Surface:
    before, after = pair.baseline.fields["thickness_mm"], pair.followup.fields["thickness_mm"]
    surface = Surface(
        pair.baseline.vertices, pair.baseline.faces, frame_uid=pair.baseline.frame_uid
    )
    return surface.with_fields(
        change_mm=after - before,
        baseline_mm=before,
        followup_mm=after,
        state=pair.baseline.fields["state"],
        state_followup=pair.followup.fields["state"],
        plate=pair.baseline.fields["plate"],
        subregion=pair.baseline.fields["subregion"],
        area_mm2=pair.baseline.fields["area_mm2"],
        normals=pair.baseline.fields["normals"],
    )
