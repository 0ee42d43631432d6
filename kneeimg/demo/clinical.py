"""The clinical table of the synthetic trial: symptoms, synovial markers, adverse events.

Made up like everything else here. Pain follows the arm, and with it, loosely, the cartilage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kneeimg.demo.plan import DemoScan, DemoTrial
from kneeimg.demo.trial import ARMS


@dataclass(frozen=True)
class _Score:
    """Baseline mean and SD, change after a year per arm, SD of one visit, and limits."""

    mean: float
    sd: float
    year_change: tuple[float, float]
    noise: float
    low: float
    high: float
    decimals: int = 0


_SCORES: Mapping[str, _Score] = {
    "vas [0-100]": _Score(58, 12, (-10, -22), 6, 0, 100),
    "womac_pain": _Score(9.5, 2.5, (-1.5, -3.5), 1, 0, 20),
    "womac_stiffness": _Score(3.8, 1.2, (-0.5, -1.2), 0.6, 0, 8),
    "womac_function": _Score(32, 8, (-5, -11), 3, 0, 68),
}
_MARKERS: Mapping[str, _Score] = {
    "il1b [pg/mL]": _Score(3.2, 1.0, (-0.3, -0.9), 0.4, 0, 1e6, 2),
    "tnfa [pg/mL]": _Score(6.5, 1.8, (-0.5, -1.5), 0.7, 0, 1e6, 2),
    "il6 [pg/mL]": _Score(210, 70, (-15, -60), 25, 0, 1e6, 1),
    "mmp13 [ng/mL]": _Score(4.1, 1.3, (-0.2, -0.9), 0.5, 0, 1e6, 2),
}

CLINICAL_COLUMNS = (
    "participant", "visit", *_SCORES, "womac_total", *_MARKERS, "ae_count",
)  # fmt: skip


def clinical_rows(trial: DemoTrial) -> Iterator[Sequence[object]]:
    """One row per participant and visit that took place, in the order of the columns."""
    for scan in trial.scans():
        if not scan.repeat:
            yield _row(scan)


def _row(scan: DemoScan) -> Sequence[object]:
    person, visit = scan.person, scan.visit
    rng = np.random.default_rng([person.seed, visit.day, 5])
    # what belongs to the person is the same at all visits, in the order of the columns
    own = np.random.default_rng([person.seed, 6]).normal(size=len(_SCORES) + len(_MARKERS))
    arm = ARMS.index(person.arm)
    values = [
        _value(score, arm, visit.share, float(z), rng)
        for score, z in zip([*_SCORES.values(), *_MARKERS.values()], own, strict=True)
    ]
    scores, markers = values[: len(_SCORES)], values[len(_SCORES) :]
    total = sum(scores[1:])  # pain, stiffness and function
    events = int(rng.poisson(0.15)) if visit.day else 0
    return (person.participant, visit.name, *scores, total, *markers, events)


def _value(
    score: _Score, arm: int, share: float, own: float, rng: np.random.Generator
) -> float | int:
    """Half of a year's change has come by the first month or two: symptoms lead structure."""
    early = share / (share + 0.1) * 1.1
    raw = score.mean + own * score.sd + early * score.year_change[arm]
    value = float(np.clip(raw + rng.normal(0.0, score.noise), score.low, score.high))
    return round(value, score.decimals) if score.decimals else round(value)
