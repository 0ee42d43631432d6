"""Scans of one knee that repeat each other, found in a results folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.surface import Surface
from kneeimg.errors import InputError, ReasonCode, StudyError
from kneeimg.io.manifests import Verdict, check_manifest, listed_outputs
from kneeimg.io.precision import read_repeats
from kneeimg.io.results import KneeRecord, read_json, read_record
from kneeimg.pipeline.runner import RECORD_SUFFIX

_PAIR_COLUMNS = ("participant", "visit_a", "visit_b")


@dataclass(frozen=True, slots=True)
class FinishedScan:
    """One measured knee in a results folder.

    Attributes
    ----------
    record : Its measurements.
    path : Its `..._measurements.json`; surfaces lie beside it under the same name.
    settings : Settings in its manifest, by stage.
    """

    record: KneeRecord
    path: Path
    settings: Mapping[str, Any]

    @property
    def scan(self) -> str:
        """Which of several scans of one visit, "" for the only one or their average."""
        return self.record.visit.scan

    @property
    def name(self) -> str:
        """Visit, and scan where a visit has several."""
        return f"{self.record.visit.visit} {self.scan}".strip()

    def surfaces(self) -> dict[Bone, Surface]:
        """Bone surfaces; a bone without a file was not in the mask."""
        from kneeimg.io.meshes import read_sided_surface

        stem = self.path.name.removesuffix(RECORD_SUFFIX)
        paths = {bone: self.path.with_name(f"{stem}{bone.value}.vtp") for bone in Bone}
        return {b: read_sided_surface(path)[0] for b, path in paths.items() if path.is_file()}


def finished_scans(out: Path) -> list[FinishedScan]:
    """Every measured knee of a results folder whose files are as they were written.

    Raises
    ------
    InputError
        OUTPUT_CHANGED: a file is gone or was changed.
    """
    scans = []
    for manifest in sorted(out.glob("sub-*/ses-*/*/manifest*.json")):
        content = read_json(manifest)
        if check_manifest(manifest, str(content.get("key"))) is not Verdict.DONE:
            raise InputError(
                "a result is not as kneeimg wrote it",
                code=ReasonCode.OUTPUT_CHANGED,
                where=str(manifest.parent.relative_to(out)),
            )
        for path in listed_outputs(manifest):
            if path.name.endswith(RECORD_SUFFIX):
                scans.append(FinishedScan(read_record(path), path, dict(content["settings"])))
    return [scan for scan in scans if scan.record.status == "measured"]


def repeated_scans(scans: Sequence[FinishedScan], pairs: Path | None) -> list[list[FinishedScan]]:
    """Scans that repeat each other, at least two in a group, in their order."""
    if pairs is not None:
        return _named_repeats(scans, pairs)
    groups: dict[tuple[str, ...], list[FinishedScan]] = defaultdict(list)
    for scan in scans:
        groups[scan.record.key].append(scan)
    # beside several scans of a visit stands their average, which repeats nothing
    several = ([s for s in g if s.scan] for g in groups.values() if len(g) > 1)
    return [sorted(group, key=_run_number) for group in several if len(group) > 1]


def _run_number(scan: FinishedScan) -> tuple[int, str]:
    digits = "".join(character for character in scan.scan if character.isdigit())
    return int(digits or 0), scan.scan


def _named_repeats(scans: Sequence[FinishedScan], pairs: Path) -> list[list[FinishedScan]]:
    """Groups of visits that a table calls repeats; a chain of pairs is one group."""
    groups: dict[tuple[str, str, str], list[FinishedScan]] = defaultdict(list)
    for number, line in enumerate(read_repeats(pairs, _PAIR_COLUMNS), start=2):
        found = {n: _of_visit(scans, line, n) for n in ("visit_a", "visit_b")}
        for name, own in found.items():
            if not own:
                raise StudyError(
                    "no such visit was measured",
                    where=f"{pairs.name}, line {number}",
                    found=f"{line['participant']} {line[name]}",
                    expected="participants and visits of the results folder",
                )
        for knee in {(s.record.visit.side, s.record.kind) for own in found.values() for s in own}:
            both = [
                s
                for own in found.values()
                for s in own
                if (s.record.visit.side, s.record.kind) == knee
            ]
            if len(both) > 1:
                side = knee[0].value if knee[0] else ""
                group = groups[line["participant"], side, knee[1]]
                group += [scan for scan in both if scan not in group]
    return list(groups.values())


def _of_visit(
    scans: Iterable[FinishedScan], line: Mapping[str, str], column: str
) -> list[FinishedScan]:
    """Measured knees of one visit that a row names; the average where a visit has several."""
    wanted = line.get("side", "").lower()
    sides = [side for side in Side if not wanted or side.value.startswith(wanted)]
    return [
        scan
        for scan in scans
        if (scan.record.visit.participant, scan.record.visit.visit)
        == (line["participant"], line[column])
        and scan.record.visit.side in sides
        and not scan.scan
    ]
