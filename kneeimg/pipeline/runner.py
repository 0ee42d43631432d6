"""One case from start to manifest: verify, measure into a staging folder, publish, sign off.

Nothing is written beside finished results before the new ones are complete: a full disk leaves
the old results, a kill leaves a case without a manifest, which is simply measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kneeimg import __version__
from kneeimg.errors import InputError, KneeimgError, OutputError, ReasonCode
from kneeimg.io.atomic import output_errors, publish, staging_folder, sync_folder, write_json
from kneeimg.io.manifests import (
    InputFile,
    Verdict,
    case_key,
    check_manifest,
    hash_inputs,
    listed_outputs,
    write_manifest,
)
from kneeimg.io.results import KneeRecord, knee_file, read_record, record_to_json
from kneeimg.pipeline.cases import Case, CaseReport, redact, redacted_finding
from kneeimg.pipeline.film import run_film_case
from kneeimg.pipeline.mr import run_mr_case
from kneeimg.pipeline.planned import refused_record

RECORD_SUFFIX = "measurements.json"

_STAGES: Mapping[str, Callable[[Case, Path], tuple[KneeRecord, ...]]] = {
    "mri": run_mr_case,
    "film": run_film_case,
}


def run_case(case: Case, out: Path, *, force: bool = False) -> CaseReport:
    """Measure a case, or keep its results if their manifest still holds.

    Neither the measuring nor the manifest's key knows visit, day or person; they join the
    records afterwards. Other dates or visit windows therefore measure nothing again.

    A refusal is a result like any other: its record says why, and it is not tried again until
    input, settings or software change.

    Raises
    ------
    OutputError
        The disk is full or not writable; results of earlier runs are intact.
    """
    try:
        signature = Signature.of_case(case)
    except InputError as error:
        return CaseReport(records=with_visit(case, refused_case(case, error)))
    manifest = out / case.folder / case.manifest
    verdict = check_manifest(manifest, signature.key)
    if verdict is Verdict.DONE and not force:
        return CaseReport(records=with_visit(case, published_records(manifest)), reused=True)
    with staging_folder(out, case.name) as stage:
        records = _measure(case, stage)
        measured = any(record.status == "measured" for record in records)
        publish_stage(stage, manifest, signature, "measured" if measured else "refused")
    return CaseReport(records=with_visit(case, records), changed=verdict is Verdict.CHANGED)


def with_visit(case: Case, records: Iterable[KneeRecord]) -> tuple[KneeRecord, ...]:
    """Records with the day of their visit and what was noticed about it.

    Of a refused knee the first finding says why, so that those of the visit come last.
    """
    placing = tuple(redacted_finding(finding, case.private) for finding in case.placing)
    return tuple(
        replace(
            record,
            visit=replace(record.visit, day=case.visit.day),
            findings=(*placing, *record.findings)
            if record.status == "measured"
            else (*record.findings, *placing),
        )
        for record in records
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """What a manifest says of its results.

    Attributes
    ----------
    identity : Names the results in study ids.
    decides : Of the case, what can change a number.
    inputs, settings, model : As the manifest has them.
    """

    identity: Mapping[str, Any]
    decides: Mapping[str, Any]
    inputs: tuple[InputFile, ...]
    settings: Mapping[str, Any]
    model: Mapping[str, str]

    @classmethod
    def of_case(cls, case: Case) -> Signature:
        """Hash the inputs of a case; InputError if one cannot be read."""
        named = [(redact(name, case.private), path) for name, path in case.inputs]
        try:
            inputs = hash_inputs(named)
        except OSError as error:
            raise InputError(
                "an input file cannot be read",
                code=ReasonCode.BAD_MASK_FILE if case.series is None else ReasonCode.BAD_DICOM,
                where=case.source,
                found=error.strerror or type(error).__name__,
                action="check that the file exists and may be read",
            ) from error
        return cls(case.identity(), case.measured(), inputs, case.relevant_settings(), case.model())

    @property
    def key(self) -> str:
        """Hash that a finished manifest must carry."""
        return case_key(
            self.decides,
            inputs=self.inputs,
            settings=self.settings,
            software_version=__version__,
            model=self.model,
        )


def publish_stage(stage: Path, manifest: Path, signature: Signature, status: str) -> None:
    """Move every staged file beside the manifest, then write the manifest last."""
    staged = sorted(path for path in stage.iterdir() if path.is_file())
    names = {path.name for path in staged}
    outdated = [path for path in listed_outputs(manifest) if path.name not in names]
    with output_errors(manifest):
        # while the manifest stands it tells the next run what is still to go
        for path in outdated:
            path.unlink(missing_ok=True)
        # without its manifest a half-replaced case counts as not done
        manifest.unlink(missing_ok=True)
    targets = [manifest.parent / path.name for path in staged]
    for path, target in zip(staged, targets, strict=True):
        publish(path, target)
    sync_folder(manifest.parent)
    write_manifest(
        manifest,
        signature.identity,
        key=signature.key,
        inputs=signature.inputs,
        settings=signature.settings,
        software_version=__version__,
        model=signature.model,
        status=status,
        outputs=targets,
    )


def published_records(manifest: Path) -> tuple[KneeRecord, ...]:
    """Records among the outputs of a finished case."""
    paths = [path for path in listed_outputs(manifest) if path.name.endswith(RECORD_SUFFIX)]
    return tuple(read_record(path) for path in paths)


def refused_case(case: Case, error: KneeimgError) -> tuple[KneeRecord, ...]:
    """Records of a case without any value: one per knee that it should have shown."""
    finding = redacted_finding(error.finding, case.private)
    return tuple(
        refused_record(
            replace(case.visit, side=side),
            case.kind,
            finding,
            case.settings,
            series_uid_hash=case.series_uid_hash,
            model_sha256=case.model()["sha256"] if case.kind == "mri" else "",
            findings=tuple(redacted_finding(f, case.private) for f in case.findings),
        )
        for side in case.knees
    )


def _measure(case: Case, stage: Path) -> tuple[KneeRecord, ...]:
    """Run the stages of the case's kind; a refusal leaves only its record in the stage."""
    try:
        return _STAGES[case.kind](case, stage)
    except OutputError:
        raise
    except KneeimgError as error:
        records = refused_case(case, error)
    for leftover in stage.iterdir():
        leftover.unlink()
    for record in records:
        visit = record.visit
        name = knee_file(visit.participant, visit.visit, visit.side, RECORD_SUFFIX, visit.scan)
        write_json(stage / name, record_to_json(record))
    return records
