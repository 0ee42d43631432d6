"""Two visits of one knee: surfaces and records in, change rows, maps and a picture out.

Everything is read from the lossless results of the single visits; no image is opened again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg import __version__
from kneeimg.core.anatomy import Bone
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.result_tables import CHANGE_COLUMNS
from kneeimg.core.surface import Surface
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.io.atomic import staging_folder, write_bytes, write_json
from kneeimg.io.manifests import Verdict, check_manifest, hash_inputs, listed_outputs
from kneeimg.io.results import (
    KneeRecord,
    knee_file,
    longitudinal_folder,
    read_json,
    scan_folder,
    side_letter,
)
from kneeimg.longitudinal.change import KneeChange, compare_films, compare_knees
from kneeimg.longitudinal.ordered import ordered_rows
from kneeimg.longitudinal.registration import Registration
from kneeimg.longitudinal.rows import ChangeRow, change_row
from kneeimg.pipeline.baseline_frame import in_baseline_frame
from kneeimg.pipeline.cases import Case, Plan
from kneeimg.pipeline.planned import planned_rows
from kneeimg.pipeline.protocol import drift_between
from kneeimg.pipeline.repeatability import Repeatability, repeatability_for
from kneeimg.pipeline.runner import Signature, publish_stage
from kneeimg.settings.study import StageSettings

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Baseline and one follow-up of one knee by one kind of scan.

    Attributes
    ----------
    baseline, followup : Records of both visits, measured or not.
    settings : How both were measured and how they are compared.
    refusal : Why the two must not be compared although both were measured.
    repeatability : Smallest detectable changes that hold for both, or why there are none.
    """

    baseline: KneeRecord
    followup: KneeRecord
    settings: StageSettings
    refusal: Finding | None = None
    repeatability: Repeatability = field(default_factory=Repeatability)

    @property
    def name(self) -> str:
        """Short name in study ids, unique within a plan."""
        visit, start = self.followup.visit, self.baseline.visit.visit
        side = side_letter(visit.side)
        own = f"_{self.scan}" if self.scan else ""
        return f"{visit.participant}_{start}-{visit.visit}_{self.followup.kind}_{side}{own}"

    @property
    def scan(self) -> str:
        """Which of repeated scans are compared, e.g. "run-1_from-run-2"; empty without repeats."""
        start = self.baseline.visit.scan
        return "_".join(filter(None, (self.followup.visit.scan, start and f"from-{start}")))

    @property
    def days(self) -> int | None:
        """Days between the visits, when both are known."""
        start, end = self.baseline.visit.day, self.followup.visit.day
        return None if start is None or end is None else end - start

    @property
    def comparable(self) -> bool:
        """Both visits were measured and nothing forbids the comparison."""
        both = self.baseline.status == self.followup.status == "measured"
        return both and self.refusal is None

    @property
    def manifest(self) -> Path:
        """Manifest of the comparison, relative to OUT."""
        visit = self.followup.visit
        own = f"_{self.scan}" if self.scan else ""
        label = f"ses-{visit.visit}_side-{side_letter(visit.side)}{own}_{self.followup.kind}"
        return Path(longitudinal_folder(visit.participant)) / f"manifest_{label}.json"

    def identity(self) -> dict[str, Any]:
        """Plain values that name the pair in its manifest."""
        visit = self.followup.visit
        return {
            "participant": visit.participant,
            "side": visit.side.value if visit.side else None,
            "kind": self.followup.kind,
            "visit_from": self.baseline.visit.visit,
            "visit_to": visit.visit,
            "scan_from": self.baseline.visit.scan,
            "scan_to": visit.scan,
            "days": self.days,
        }


@dataclass(frozen=True, slots=True)
class PairReport:
    """Rows of the change table of one pair; `reused` and `changed` as for a case."""

    rows: tuple[Row, ...]
    reused: bool = False
    changed: bool = False
    crashed: bool = False


def pairs_of(plan: Plan, records: Iterable[KneeRecord]) -> list[Pair]:
    """Baseline and each follow-up of every knee that was measured at least once.

    Of repeated scans each is compared: every baseline with every follow-up.
    """
    knees: dict[tuple[str, str, str], dict[str, list[KneeRecord]]] = defaultdict(dict)
    for record in records:
        participant, visit, side, kind = record.key
        knees[participant, side, kind].setdefault(visit, []).append(record)
    pairs: list[Pair] = []
    settings = plan.settings.stages()
    for (participant, _, _), visits in knees.items():
        every = [record for own in visits.values() for record in own]
        if not any(record.status == "measured" for record in every):
            continue
        start = plan.visit_order[participant][0]
        baselines = visits.get(start) or [_no_baseline(every[0], start)]
        followups = [r for v in plan.visit_order[participant][1:] for r in visits.get(v, ())]
        for followup, baseline in product(followups, baselines):
            refusal = _extent_problem(plan, baseline, followup)
            pair = Pair(baseline, followup, settings, refusal)
            pairs.append(_with_repeatability(pair, plan) if pair.comparable else pair)
    return pairs


def run_pair(pair: Pair, out: Path, *, force: bool = False) -> PairReport:
    """Compare two visits, or keep the comparison if its manifest still holds.

    Raises
    ------
    OutputError
        The disk is full or not writable.
    """
    if not pair.comparable:
        return PairReport(rows=unmeasured_rows(pair))
    signature = _signature(pair, out)
    manifest = out / pair.manifest
    verdict = check_manifest(manifest, signature.key)
    if verdict is Verdict.DONE and not force:
        return PairReport(rows=_published_rows(manifest), reused=True)
    with staging_folder(out, pair.name) as stage:
        rows = _compare(pair, out, stage)
        publish_stage(stage, manifest, signature, "measured")
    return PairReport(rows=rows, changed=verdict is Verdict.CHANGED)


def unmeasured_rows(pair: Pair, reason: ReasonCode | None = None) -> tuple[Row, ...]:
    """One row per planned measurement for visits that cannot be compared."""
    reason = reason or (pair.refusal.code if pair.refusal else None)
    before = {m.name: m for m in pair.baseline.measurements}
    after = {m.name: m for m in pair.followup.measurements}
    rows = []
    for region, quantity, unit in planned_rows(pair.followup.kind, pair.settings):
        name = f"{region}_{quantity}"
        first = before.get(name) or _nothing(region, quantity, unit, ReasonCode.NO_BASELINE)
        second = after.get(name) or _nothing(region, quantity, unit, ReasonCode.VISIT_MISSING)
        if reason is not None and first.reason is None:
            second = _nothing(region, quantity, unit, reason)
        rows.append(change_row(first, second, pair.days, kind=pair.followup.kind))
    if pair.followup.kind == "mri":
        rows += ordered_rows(rows, pair.days)
    return _finished(pair, rows)


def _with_repeatability(pair: Pair, plan: Plan) -> Pair:
    scans = [(r.measurements, r.context.model_sha256) for r in (pair.baseline, pair.followup)]
    found = repeatability_for(plan.precision, pair.followup.kind, scans, pair.settings)
    return replace(pair, repeatability=found)


def _no_baseline(like: KneeRecord, visit: str) -> KneeRecord:
    """A stand-in for a baseline that nobody planned or scanned."""
    return replace(
        like,
        visit=replace(like.visit, visit=visit, day=None, scan=""),
        status="missing",
        measurements=(),
        protocol=(),
    )


def _nothing(region: str, quantity: str, unit: str, reason: ReasonCode) -> Measurement:
    return Measurement.missing(region, quantity, unit, reason)


def _extent_problem(plan: Plan, baseline: KneeRecord, followup: KneeRecord) -> Finding | None:
    if followup.kind != "mri":
        return None
    return lost_extent(_series(plan, baseline), _series(plan, followup))


def lost_extent(baseline: SeriesRecord | None, followup: SeriesRecord | None) -> Finding | None:
    """EXTENT_MISMATCH when the follow-up shows fewer slices than the baseline.

    A scan that shows more is no loss: the bone area of the baseline is in view.
    """
    from kneeimg.io.dicom import compare_extent, extent_of

    if baseline is None or followup is None:
        return None
    finding, own, wanted = (
        compare_extent(followup, baseline),
        extent_of(followup),
        extent_of(baseline),
    )
    if finding is None or own is None or wanted is None:
        return None
    return finding if own.depth_mm < wanted.depth_mm - 0.5 * wanted.spacing_mm else None


def _series(plan: Plan, record: KneeRecord) -> SeriesRecord | None:
    """DICOM series of a record's scan, None without one."""
    participant, visit, side, kind = record.key
    wanted = (participant, visit, kind, side, record.visit.scan)

    def fits(case: Case) -> bool:
        own, at = case.visit.side.value if case.visit.side else side, case.visit
        return (at.participant, at.visit, case.kind, own, at.scan) == wanted

    return next((case.series for case in plan.cases if fits(case)), None)


def _signature(pair: Pair, out: Path) -> Signature:
    """What decides a comparison: the results of both visits and the settings."""
    files: list[tuple[str, Path]] = []
    for record in (pair.baseline, pair.followup):
        files += [(path.name, path) for path in _result_files(record, out) if path.is_file()]
    names = ("morphometry", "change") if pair.followup.kind == "mri" else ("film",)
    # where the repeatability table lies does not matter: its content does
    settings = pair.settings.model_dump(
        mode="json", include=set(names), exclude={"change": {"precision"}}
    )
    model = {"name": "change", "version": __version__, "sha256": pair.repeatability.sha256}
    return Signature(pair.identity(), pair.identity(), hash_inputs(files), settings, model)


def _result_files(record: KneeRecord, out: Path) -> list[Path]:
    mri = record.kind == "mri"
    suffixes = [f"{bone.value}.vtp" for bone in Bone] if mri else ["margins.json"]
    return [_result(record, out, suffix) for suffix in (*suffixes, "measurements.json")]


def _result(record: KneeRecord, out: Path, suffix: str) -> Path:
    visit = record.visit
    folder = out / scan_folder(visit.participant, visit.visit, record.kind)
    return folder / knee_file(visit.participant, visit.visit, visit.side, suffix, visit.scan)


def _compare(pair: Pair, out: Path, stage: Path) -> tuple[Row, ...]:
    if pair.followup.kind == "film":
        return _compare_films(pair, out, stage)
    change = compare_knees(
        _surfaces(pair.baseline, out),
        _surfaces(pair.followup, out),
        pair.days,
        pair.baseline.measurements,
        pair.followup.measurements,
        pair.repeatability.table,
        settings=pair.settings.change,
        morphometry=pair.settings.morphometry,
    )
    rows = _finished(pair, change.rows)
    write_change_files(change, stage, pair)
    _write_json(pair, stage, rows, change)
    return rows


def _compare_films(pair: Pair, out: Path, stage: Path) -> tuple[Row, ...]:
    first, second = pair.baseline.context, pair.followup.context
    same_source = first.spacing_source == second.spacing_source
    followup = pair.followup.measurements
    if same_source:  # millimetres of another source would put x elsewhere
        followup = in_baseline_frame(
            pair.baseline.measurements,
            followup,
            _result(pair.followup, out, "margins.json"),
            pair.settings.film.joint_space,
        )
    compared = compare_films(
        pair.baseline.measurements,
        followup,
        pair.days,
        same_source,
        pair.repeatability.table,
    )
    rows = _finished(pair, compared)
    _write_json(pair, stage, rows, None)
    return rows


def _surfaces(record: KneeRecord, out: Path) -> dict[Bone, Surface]:
    """Bone surfaces of a measured visit; a bone without a file was not in the mask."""
    from kneeimg.io.meshes import read_sided_surface

    surfaces: dict[Bone, Surface] = {}
    for bone in Bone:
        path = _result(record, out, f"{bone.value}.vtp")
        if path.is_file():
            surface, side = read_sided_surface(path)
            if side is not record.visit.side:
                raise InputError(
                    "the surface is of the other knee",
                    code=ReasonCode.LATERALITY_CONFLICT,
                    where=path.name,
                )
            surfaces[bone] = surface
    return surfaces


def write_change_files(change: KneeChange, folder: Path, pair: Pair) -> None:
    """Change maps on the baseline bones, and their picture."""
    from kneeimg.io.meshes import write_surface
    from kneeimg.report.figures import change_views

    visit = pair.followup.visit
    side = visit.side
    assert side is not None  # a measured knee has one

    def path(suffix: str) -> Path:
        return folder / knee_file(visit.participant, visit.visit, side, suffix, pair.scan)

    for bone, surface in change.surfaces.items():
        write_surface(surface, path(f"{bone.value}_change.vtp"), side=side)
    if change.surfaces:
        start = pair.baseline.visit.label
        title = f"{visit.participant} · {start} → {visit.label} · {side.value} knee"
        if pair.repeatability.table.simulated:
            title += " · SDC simulated"
        write_bytes(path("change.png"), change_views(change.surfaces, side, title=title))


def _write_json(pair: Pair, stage: Path, rows: Sequence[Row], change: KneeChange | None) -> None:
    visit, suffix = pair.followup.visit, f"{pair.followup.kind}_change.json"
    registrations = change.registrations if change else {}
    write_json(
        stage / knee_file(visit.participant, visit.visit, visit.side, suffix, pair.scan),
        {
            **pair.identity(),
            "software_version": __version__,
            "drift": list(drift_between(pair.baseline.protocol, pair.followup.protocol)),
            "registrations": {b.value: _alignment(r) for b, r in registrations.items()},
            "undetermined_pct": dict(change.undetermined_pct) if change else {},
            "findings": [
                f.as_dict()
                for f in (*(change.findings if change else ()), *pair.repeatability.findings)
            ],
            "rows": [{k: _null(v) for k, v in row.items()} for row in rows],
        },
    )


def _alignment(registration: Registration) -> dict[str, Any]:
    """How a follow-up bone was moved into the baseline frame."""
    return {
        "followup_to_baseline": registration.transform.matrix.tolist(),
        "rms_mm": registration.rms_mm,
        "median_mm": registration.median_mm,
        "overlap": registration.overlap,
        "angle_deg": registration.angle_deg,
        "translation_mm": registration.translation_mm,
    }


def _finished(pair: Pair, rows: Iterable[ChangeRow]) -> tuple[Row, ...]:
    """Rows with whose they are, as plain values of the change table."""
    visit = pair.followup.visit
    own = {
        "participant": visit.participant,
        "side": visit.side.value if visit.side else "",
        "kind": pair.followup.kind,
        "visit_from": pair.baseline.visit.visit,
        "visit_to": visit.visit,
        "days": pair.days,
        "drift": "; ".join(drift_between(pair.baseline.protocol, pair.followup.protocol))
        if pair.comparable
        else "",
        "software_version": __version__,
    }
    return tuple(_plain(row) | own for row in rows)


def _plain(row: ChangeRow) -> Row:
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    values["status"] = row.status.value
    values["reason"] = row.reason.value if row.reason else ""
    values["change_class"] = row.change_class.value if row.status is Status.OK else ""
    return {column: values[column] for column in CHANGE_COLUMNS}


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _published_rows(manifest: Path) -> tuple[Row, ...]:
    paths = [path for path in listed_outputs(manifest) if path.name.endswith("_change.json")]
    return tuple(row for path in paths for row in read_json(path)["rows"])
