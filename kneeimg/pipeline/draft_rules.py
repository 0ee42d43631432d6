"""Propose series rules: which of several series of a scan is the one to measure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kneeimg.pipeline.cases import redact
from kneeimg.pipeline.sources import masks_beside, private_of
from kneeimg.settings.reading import SeriesRule
from kneeimg.settings.study import MaskSettings
from kneeimg.trial.draft import DraftRule

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord

#: Names of the sequences that cartilage is segmented on; other series rank behind them.
_CARTILAGE = re.compile(r"DESS|FISP|SPGR|FSPGR|FLASH|MEDIC|MERGE|VIBE|WATS|3D", re.IGNORECASE)
_MAX_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Looks:
    """What tells the series of one protocol from others, at every visit of everybody."""

    kind: str
    description: str
    echo_number: int | None
    orientation: str
    view: str

    @classmethod
    def of(cls, record: SeriesRecord) -> Looks:
        """Looks of a series; a description that names the person is not used."""
        described = record.description
        if redact(described, private_of(record)) != described:
            described = ""
        return cls(
            record.kind,
            described,
            record.echo_number,
            "" if described else record.orientation,
            "" if described else record.view,
        )

    def rule(self) -> dict[str, object]:
        """Keys and values of the `[[series]]` table."""
        values: dict[str, object] = {"kind": self.kind}
        if self.description:
            values["description"] = f"^{re.escape(self.description)}$".replace("\\ ", " ")
        for name in ("echo_number", "orientation", "view"):
            if getattr(self, name):
                values[name] = getattr(self, name)
        return values

    def title(self) -> str:
        """A few words for a comment."""
        echo = f", echo {self.echo_number}" if self.echo_number else ""
        return f"{self.description or self.orientation or self.view or self.kind}{echo}"


@dataclass(frozen=True, slots=True)
class ScanSeries:
    """The series of one scan."""

    series: tuple[SeriesRecord, ...]

    def chosen(self, rules: Sequence[DraftRule]) -> tuple[SeriesRecord, ...]:
        """Series that the first fitting rule takes; all of them without rules."""
        from kneeimg.io.dicom import matches

        used = [SeriesRule.model_validate(rule.values) for rule in rules if rule.used]
        for rule in used:
            fitting = tuple(record for record in self.series if matches(record, rule))
            if fitting:
                return fitting
        return () if used else self.series


def propose_rules(
    scans: Sequence[ScanSeries],
) -> tuple[list[DraftRule], list[tuple[str, str, str]]]:
    """Rules for the kinds of scan there are, and what they leave open.

    A kind of scan that always is a single series, or repeats of one, needs no choice. Where it
    needs one, series with a mask beside them come first, then names of cartilage sequences, then
    what most scans have; the others are shown as comments. A rule is added until every scan has
    one.

    Returns
    -------
    Rules, none where no scan needs any, and (what, found, action) of choices to be confirmed.
    """
    kinds = sorted({record.kind for scan in scans for record in scan.series}, reverse=True)
    by_kind = {kind: [s for s in scans if s.series[0].kind == kind] for kind in kinds}
    if not any(_needs_choice(own) for own in by_kind.values()):
        return [], []
    rules: list[DraftRule] = []
    questions: list[tuple[str, str, str]] = []
    for kind, own in by_kind.items():
        if not _needs_choice(own):
            rules.append(
                DraftRule({"kind": kind}, f"every scan is a single series (scans: {len(own)})")
            )
            continue
        chosen, others = _cover(own)
        rules += [DraftRule(looks.rule(), f"{looks.title()} (scans: {n})") for looks, n in chosen]
        rules += [
            DraftRule(looks.rule(), f"not used: {looks.title()} (scans: {n})", used=False)
            for looks, n in others[:_MAX_SHOWN]
        ]
        questions.append(
            (
                f"series of {kind} scans",
                f"proposed: {'; '.join(looks.title() for looks, _ in chosen)}",
                "confirm the [[series]] rules in study.toml; the others stand there as comments",
            )
        )
    return rules, questions


def _needs_choice(scans: Sequence[ScanSeries]) -> bool:
    return any(len({Looks.of(record) for record in scan.series}) > 1 for scan in scans)


def _cover(
    scans: Sequence[ScanSeries],
) -> tuple[list[tuple[Looks, int]], list[tuple[Looks, int]]]:
    """Looks to take, best first, until every scan has one; and the looks that are left."""
    found = [{Looks.of(record) for record in scan.series} for scan in scans]
    counts = Counter(looks for own in found for looks in own)
    masked = Counter(
        looks
        for scan in scans
        for looks in {Looks.of(r) for r in scan.series if masks_beside(r, MaskSettings())}
    )
    slices = {Looks.of(r): r.shape[-1] for scan in scans for r in scan.series if r.kind == "mri"}

    def rank(looks: Looks) -> tuple[object, ...]:
        return (
            -masked[looks],
            not _CARTILAGE.search(looks.description),
            -counts[looks],
            looks.echo_number or 0,
            -slices.get(looks, 0),
            looks.title(),
        )

    chosen: list[tuple[Looks, int]] = []
    left = list(found)
    for looks in sorted(counts, key=rank):
        if any(looks in own for own in left):
            chosen.append((looks, counts[looks]))
            left = [own for own in left if looks not in own]
    taken = {looks for looks, _ in chosen}
    rest = sorted(set(counts) - taken, key=rank)
    return chosen, [(looks, counts[looks]) for looks in rest]
