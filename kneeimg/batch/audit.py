"""What a run writes into the audit log: start, every case that was not merely kept, and end."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kneeimg import __version__
from kneeimg.batch.derived import DerivedFiles
from kneeimg.batch.exclusions import known_exclusions
from kneeimg.batch.summary import BatchSummary
from kneeimg.core.audit import Entry, canonical, sha256
from kneeimg.core.audit_history import (
    RUN_END,
    RUN_START,
    Exclusion,
    ScanKey,
    last_of,
    recorded_files,
    unended_run,
)
from kneeimg.io.atomic import output_errors, sha256_file
from kneeimg.io.audit_log import AuditLog
from kneeimg.io.freeze import require_reason, require_unlocked
from kneeimg.pipeline.cases import Case, CaseReport, Plan
from kneeimg.pipeline.longitudinal import Pair, PairReport

ADOPTED, WITHDRAWN = "results.adopted", "results.withdrawn"

#: More inputs than this are recorded as one hash of their hashes; the manifest lists them all.
_INPUTS_NAMED = 4


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest as it stands on disk: its hash, and the parts that decided the result."""

    sha256: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    parts: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Signed | None:
        """The manifest of a finished case; None without one. One that is cut has only its hash."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            value = json.loads(data)
            inputs = {str(item["file"]): str(item["sha256"]) for item in value["inputs"]}
            outputs = {str(name): str(digest) for name, digest in value["outputs"].items()}
            parts = {
                "status": value["status"],
                "settings": sha256(canonical(value["settings"])),
                "software": value["software"]["version"],
                "model": value["model"],
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(sha256(data), {}, {}, {})
        return cls(sha256(data), inputs, outputs, parts)

    def files(self, name: str) -> dict[str, str]:
        """Path below OUT to hash of the manifest `name` and of what it lists."""
        folder = Path(name).parent
        own = {(folder / Path(n).name).as_posix(): digest for n, digest in self.outputs.items()}
        return {name: self.sha256} | own

    def named_inputs(self) -> dict[str, str]:
        """Input hashes as an entry lists them."""
        if len(self.inputs) <= _INPUTS_NAMED:
            return dict(self.inputs)
        return {f"{len(self.inputs)} files": sha256(canonical(sorted(self.inputs.values())))}

    def differs_in(self, other: Signed) -> list[str]:
        """Which of inputs, settings, software and model are other than in `other`."""
        names = ("settings", "software", "model")
        changed = [n for n in names if self.parts.get(n) != other.parts.get(n)]
        same = sorted(self.inputs.values()) == sorted(other.inputs.values())
        return changed if same else ["inputs", *changed]


@dataclass(slots=True)
class RunAudit:
    """The entries of one run.

    Attributes
    ----------
    out : Results folder.
    log : Its log.
    reason : Why finished cases are measured again, if they are.
    excluded : Scans that must not be used.
    """

    out: Path
    log: AuditLog
    reason: str
    force: bool
    excluded: Mapping[ScanKey, Exclusion]
    _signed: dict[str, Signed]
    _derived: DerivedFiles

    @classmethod
    def begin(
        cls,
        plan: Plan,
        out: Path,
        *,
        force: bool = False,
        reason: str = "",
        user: str = "",
        files: Sequence[Path] = (),
    ) -> RunAudit:
        """Check lock, log and reason, and record the start of a run.

        Raises
        ------
        OutputError
            LOCKED; AUDIT_BROKEN.
        StudyError
            REASON_MISSING: finished cases are to be overwritten and nobody says why.
        """
        require_unlocked(out)
        log = AuditLog(out, user)
        entries = log.entries()
        excluded = known_exclusions(out, entries)
        signed = _signed_below(out)
        finished = [case for case in plan.cases if _name(case.folder / case.manifest) in signed]
        if force and finished:
            reason = require_reason(reason, f"overwriting {len(finished)} finished cases")
        derived = DerivedFiles.of(out)
        audit = cls(out, log, " ".join(reason.split()), force, excluded, signed, derived)
        audit._start(plan, entries, files)
        return audit

    def _start(self, plan: Plan, entries: Sequence[Entry], files: Sequence[Path]) -> None:
        known = recorded_files(entries)
        detail: dict[str, Any] = {
            "study": plan.study_id,
            "cases": len(plan.cases),
            "force": self.force,
            **_setup(plan),
        }
        before = last_of(entries, RUN_START)
        if before is not None:
            old = before.detail
            detail["changed"] = {
                name: [old.get(name), detail[name]]
                for name in _SETUP
                if old.get(name) != detail[name]
            }
        unended = unended_run(entries)
        if unended is not None:
            detail["after_unended_run"] = unended.seq
        differing = self._derived.differing(known)
        if differing:
            detail["differing"] = differing
        inputs = {path.name: sha256_file(path) for path in files if path.is_file()}
        self.log.append(RUN_START, why=self.reason, inputs=inputs, detail=detail)
        self._adopt(known)

    def _adopt(self, known: Mapping[str, Any]) -> None:
        """Record finished cases that no entry knows, as of a run that was killed."""
        for name, signed in self._signed.items():
            recorded = known.get(name)
            if recorded is None or recorded.sha256 != signed.sha256:
                self.log.append(
                    ADOPTED,
                    wait=False,
                    why="found finished; the run that wrote it did not record it",
                    subject={"manifest": name},
                    inputs=signed.named_inputs(),
                    outputs=signed.files(name),
                    detail={**signed.parts, "recorded": recorded.sha256 if recorded else None},
                )

    def case_done(self, case: Case, report: CaseReport) -> None:
        """Record a case, unless it was kept as it stood."""
        side = case.visit.side.value if case.visit.side else ""
        subject = {
            "participant": case.visit.participant,
            "visit": case.visit.visit,
            "side": side,
            "kind": case.kind,
        }
        codes = [r.findings[0].code.value for r in report.records if r.status == "refused"]
        measured = any(record.status == "measured" for record in report.records)
        status = "failed" if report.crashed else "measured" if measured else "refused"
        name = _name(case.folder / case.manifest)
        self._done(f"case.{status}", name, subject, report, {"codes": codes} if codes else {})

    def pair_done(self, pair: Pair, report: PairReport) -> None:
        """Record a comparison of two visits, unless it was kept or impossible."""
        if not pair.comparable and not report.crashed:
            return
        visit = pair.followup.visit
        subject = {
            "participant": visit.participant,
            "visit_from": pair.baseline.visit.visit,
            "visit": visit.visit,
            "side": visit.side.value if visit.side else "",
            "kind": pair.followup.kind,
        }
        what = "pair.failed" if report.crashed else "pair.compared"
        self._done(what, _name(pair.manifest), subject, report, {})

    def _done(
        self,
        what: str,
        name: str,
        subject: Mapping[str, str],
        report: CaseReport | PairReport,
        detail: dict[str, Any],
    ) -> None:
        if report.reused:
            return
        old, new = self._signed.get(name), Signed.read(self.out / name)
        outputs: dict[str, str | None] = {}
        why = self.reason if self.force else ""
        if new is not None and not report.crashed:
            outputs = dict(new.files(name))
            detail |= new.parts
            self._signed[name] = new
            if old is not None:
                gone = (n for n in old.files(name) if n not in outputs)
                outputs |= dict.fromkeys(gone, None)
                because = _because(old, new, changed=report.changed)
                detail |= {"event": what, "replaces": old.sha256, "changed": because}
                what = f"{what.split('.')[0]}.overwritten"
                why = why or f"measured again: {', '.join(because)}"
        inputs = new.named_inputs() if new is not None else {}
        self.log.append(
            what,
            wait=False,
            why=why,
            subject=subject,
            inputs=inputs,
            outputs=outputs,
            detail=detail,
        )

    def end(self, summary: BatchSummary) -> None:
        """Record what was withdrawn, the tables and the report, and that the run ended."""
        gone = {name: s for name, s in self._signed.items() if not (self.out / name).exists()}
        for name, signed in gone.items():
            outputs = {n: None for n in signed.files(name) if not (self.out / n).exists()}
            why = "the plan, or an exclusion, no longer allows this result"
            self.log.append(
                WITHDRAWN, wait=False, why=why, subject={"manifest": name}, outputs=outputs
            )
        detail = {
            "exit_status": int(summary.exit_status),
            "counts": dict(summary.counts),
            "cases": summary.n_cases,
            "kept": summary.n_reused,
            "rows": summary.n_rows,
            "change_rows": summary.n_change_rows,
            "excluded": len(self.excluded),
        }
        self.log.append(RUN_END, outputs=self._derived.written(), detail=detail)


_SETUP = ("software", "python", "settings")


def _setup(plan: Plan) -> dict[str, str]:
    """What can change between two runs of one study, inputs apart."""
    settings = plan.settings.model_dump(mode="json")
    return {
        "software": __version__,
        "python": platform.python_version(),
        "settings": sha256(canonical(settings)),
    }


def _because(old: Signed, new: Signed, *, changed: bool) -> list[str]:
    """Why a finished case was measured again."""
    reasons = new.differs_in(old) if old.parts else []
    if changed:
        reasons.append("an output no longer matched its manifest")
    return reasons or ["asked for again"]


def _signed_below(out: Path) -> dict[str, Signed]:
    """Every manifest below OUT by its path."""
    found: dict[str, Signed] = {}
    with output_errors(out):
        for path in sorted(out.glob("sub-*/**/manifest*.json")):
            signed = Signed.read(path)
            if signed is not None:
                found[_name(path.relative_to(out))] = signed
    return found


def _name(path: Path) -> str:
    return path.as_posix()
