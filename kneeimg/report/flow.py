"""What became of every planned scan, as the boxes of a flow diagram (in the manner of CONSORT)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kneeimg.report.overview import visit_order
from kneeimg.report.results import Results

if TYPE_CHECKING:
    import pandas as pd

_KINDS = ("mri", "film")
_TITLES = {"mri": "MR scans", "film": "Films"}

_PLANNED = "what became of every planned scan"
_WIDTH, _MAIN, _SIDE = 640, 300, 300
_LINE, _PAD, _GAP = 17, 9, 26


@dataclass(frozen=True, slots=True)
class Step:
    """One box of the main line, and the box beside it with what left the line after it.

    Attributes
    ----------
    title, count : Of the main box.
    lines : Further lines of the main box.
    left_title, left_count, left_lines : What left; a title of "" is no box.
    """

    title: str
    count: int
    lines: tuple[str, ...] = ()
    left_title: str = ""
    left_count: int = 0
    left_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A box as it is drawn, SVG units."""

    x: int
    y: int
    width: int
    height: int
    lines: tuple[str, ...]
    aside: bool


@dataclass(frozen=True, slots=True)
class FlowDiagram:
    """One kind of scan, or one arm.

    Attributes
    ----------
    title : Kind of scan, or arm.
    what : What the boxes count, for those who cannot see the picture.
    steps : Boxes in words and counts.
    boxes, arrows : Where they lie; an arrow is (x1, y1, x2, y2).
    width, height : Of the picture.
    """

    title: str
    what: str
    steps: tuple[Step, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int, int, int], ...]
    width: int
    height: int


def flow_diagrams(results: Results) -> list[FlowDiagram]:
    """A diagram for each kind of scan that was planned or found."""
    found = []
    for kind in _KINDS:
        steps = flow_steps(results, kind)
        if steps:
            found.append(laid_out(_TITLES[kind], steps))
    return found


def flow_steps(results: Results, kind: str) -> tuple[Step, ...]:
    """Planned, found, measured and compared scans of one kind; empty if there are none.

    A planned scan is one participant, visit and kind. It counts as measured if any of its scans
    was, as refused if one was refused instead, else as missing.
    """
    fates = _fates(results.disposition, kind)
    if not fates:
        return ()
    fate_of = {key: fate for key, (fate, _) in fates.items()}
    visits = visit_order(results, {visit for _, visit in fates})
    missing = [code for fate, code in fates.values() if fate == "missing"]
    refused = [code for fate, code in fates.values() if fate == "refused"]
    measured = [key for key, fate in fate_of.items() if fate == "measured"]
    baseline = visits[0]
    later = [key for key in measured if key[1] != baseline]
    reasons = _not_compared(results, kind, later)
    compared = [key for key in later if key not in reasons]
    people = len({participant for participant, _ in fates})
    skipped = _skipped(results.disposition, kind)
    return (
        Step("Planned", len(fates), (f"{people} participants, {len(visits)} visits",),
             "Missing", len(missing), tuple(tally(missing))),
        Step("Found", len(fates) - len(missing), tuple(skipped),
             "Refused", len(refused), tuple(tally(refused))),
        Step("Measured", len(measured), tuple(_per_visit(measured, visits)),
             "Not compared", len(reasons), tuple(tally(reasons.values()))),
        Step("Compared with baseline", len(compared),
             tuple(_per_visit(compared, [v for v in visits if v != baseline]))),
    )  # fmt: skip


def _fates(disposition: pd.DataFrame, kind: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(participant, visit) to what became of the scan, and its code."""
    rank = {"measured": 0, "refused": 1, "missing": 2}
    chosen = disposition[(disposition["kind"] == kind) & (disposition["participant"] != "")]
    fates: dict[tuple[str, str], tuple[str, str]] = {}
    for row in chosen.to_dict("records"):
        key, fate = (row["participant"], row["visit"]), row["status"]
        if fate in rank and (key not in fates or rank[fate] < rank[fates[key][0]]):
            fates[key] = (fate, row["code"] or "no code")
    return fates


def _not_compared(
    results: Results, kind: str, scans: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Measured follow-ups without any change, with the reason that most of their rows give."""
    change = results.change[results.change["kind"] == kind]
    compared = {
        (str(p), str(v))
        for p, v in change.loc[change["status"] == "ok", ["participant", "visit_to"]].values
    }
    reasons = {}
    for participant, visit in scans:
        if (participant, visit) not in compared:
            own = (change["participant"] == participant) & (change["visit_to"] == visit)
            counts = Counter(reason for reason in change.loc[own, "reason"] if reason)
            top = counts.most_common(1)
            reasons[participant, visit] = top[0][0] if top else "no reason given"
    return reasons


def tally(codes: Iterable[str]) -> Iterator[str]:
    """A line for each reason code with its count, the commonest first."""
    ordered = sorted(Counter(codes).items(), key=lambda item: (-item[1], item[0]))
    for code, count in ordered:
        yield f"{code}: {count}"


def _skipped(disposition: pd.DataFrame, kind: str) -> Iterator[str]:
    """Scans beside the planned ones, such as a second scan of a visit."""
    chosen = (disposition["kind"] == kind) & (disposition["status"] == "skipped")
    count = int((chosen & (disposition["participant"] != "")).sum())
    if count:
        yield f"and {count} more that were not needed"


def _per_visit(scans: Iterable[tuple[str, str]], visits: Sequence[str]) -> Iterator[str]:
    """Counts by visit, four in a line."""
    counts = Counter(visit for _, visit in scans)
    texts = [f"{visit} {counts[visit]}" for visit in visits]
    for first in range(0, len(texts), 4):
        yield " · ".join(texts[first : first + 4])


def laid_out(title: str, steps: tuple[Step, ...], what: str = _PLANNED) -> FlowDiagram:
    """The boxes of a diagram from top to bottom, each with what left beside it."""
    boxes: list[Box] = []
    arrows: list[tuple[int, int, int, int]] = []
    y, middle = 4, _MAIN // 2
    for number, step in enumerate(steps):
        main = _box(4, y, _MAIN - 8, (f"{step.title}: {step.count}", *step.lines), aside=False)
        boxes.append(main)
        y += main.height
        if number == len(steps) - 1:
            break
        aside_lines = (f"{step.left_title}: {step.left_count}", *step.left_lines)
        aside = _box(_WIDTH - _SIDE, y + _GAP // 2, _SIDE - 4, aside_lines, aside=True)
        boxes.append(aside)
        across = aside.y + aside.height // 2
        next_y = y + _GAP + aside.height
        arrows += [(middle, y, middle, next_y), (middle, across, aside.x, across)]
        y = next_y
    return FlowDiagram(title, what, steps, tuple(boxes), tuple(arrows), _WIDTH, y + 4)


def _box(x: int, y: int, width: int, lines: tuple[str, ...], *, aside: bool) -> Box:
    return Box(x, y, width, len(lines) * _LINE + 2 * _PAD, lines, aside)


def flow_sentence(results: Results, kind: str) -> str:
    """The same in words, for those who cannot see the diagram; "" if there is none."""
    return in_words(_TITLES[kind], flow_steps(results, kind))


def in_words(title: str, steps: Iterable[Step]) -> str:
    """The boxes of a diagram as one sentence; "" without boxes."""
    parts = []
    for step in steps:
        parts.append(f"{_lower(step.title)} {step.count}")
        if step.left_title:
            why = f" ({', '.join(step.left_lines)})" if step.left_lines else ""
            parts.append(f"{_lower(step.left_title)} {step.left_count}{why}")
    return f"{title}: {', '.join(parts)}" if parts else ""


def _lower(title: str) -> str:
    """With a small first letter; names of visits keep theirs."""
    return title[:1].lower() + title[1:]


def flow_sentences(results: Results) -> list[str]:
    """One sentence for each kind of scan that has a diagram."""
    return [text for kind in _KINDS if (text := flow_sentence(results, kind))]
