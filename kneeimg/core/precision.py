"""A repeatability study as plain values: what it says about itself, and one row per quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Procedure(StrEnum):
    """How the repeated values that a row compares were obtained."""

    INDEPENDENT = "independent"  # every scan measured on its own
    PAIRED = "paired"  # as a change: registered, over the first scan's bone area (tAB)


class StudyKind(StrEnum):
    """Whether people were scanned again or a computer stood in for them."""

    RETEST = "retest"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRow:
    """Repeatability of one quantity of one region; its attributes are the columns, in order.

    Attributes
    ----------
    kind, method : "mri" or "film", and how it was measured ("ray/soft", "ray/hard", ...).
    procedure : How the repeats were compared.
    region, quantity, unit : As in the measurements.
    sample : Who or what was repeated.
    n_people, n_knees, n_scans : Participants, their knees, and all scans of them.
    mean : Mean value; NaN for quantities that exist as changes only.
    rms_sd : Root mean square of the SDs of the knees, the standard error of measurement.
    rms_cv_pct : The same of the coefficients of variation, %; NaN where a mean is not positive.
    sdc95, sdc95_low, sdc95_high, df : 1.96 √2 · rms_sd with its 95 % interval from the chi-square
        distribution with `df` degrees of freedom.
    icc_2_1, icc_3_1, ... : Intraclass correlations with 95 % intervals.
    bias, loa_lower, loa_upper, ... : Second minus first scan, 95 % limits of agreement, intervals.
    """

    kind: str
    method: str
    procedure: str
    region: str
    quantity: str
    unit: str
    sample: str
    n_people: int
    n_knees: int
    n_scans: int
    mean: float = math.nan
    rms_sd: float = math.nan
    rms_cv_pct: float = math.nan
    sdc95: float = math.nan
    sdc95_low: float = math.nan
    sdc95_high: float = math.nan
    df: float = math.nan
    icc_2_1: float = math.nan
    icc_2_1_low: float = math.nan
    icc_2_1_high: float = math.nan
    icc_3_1: float = math.nan
    icc_3_1_low: float = math.nan
    icc_3_1_high: float = math.nan
    bias: float = math.nan
    bias_low: float = math.nan
    bias_high: float = math.nan
    loa_lower: float = math.nan
    loa_lower_low: float = math.nan
    loa_lower_high: float = math.nan
    loa_upper: float = math.nan
    loa_upper_low: float = math.nan
    loa_upper_high: float = math.nan

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What a table holds at most once."""
        return self.kind, self.method, self.procedure, self.region, self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionHeader:
    """What a repeatability table holds for.

    Attributes
    ----------
    kind : "retest" or "simulated".
    study : Name of the study.
    software_version : The kneeimg that measured; empty when something else did.
    models : "mri" or "film" to the SHA-256 of the model that segmented, empty without weights.
    settings : "mri" or "film" to the hash of the settings that matter; a kind without entry was
        not measured by kneeimg.
    n_people : Participants.
    date : Day on which the table was made, YYYY-MM-DD.
    assumptions : What a simulation assumed, by name.
    """

    kind: StudyKind
    study: str
    software_version: str
    models: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    n_people: int = 0
    date: str = ""
    assumptions: Mapping[str, str] = field(default_factory=dict)

    def source(self, row: PrecisionRow) -> str:
        """Where a smallest detectable change comes from, as it stands in a change row."""
        what = row.sample if self.kind is StudyKind.SIMULATED else f"study {self.study}"
        return f"{self.kind}: {what}, n={row.n_people}"


@dataclass(frozen=True, slots=True)
class PrecisionStudy:
    """A repeatability study: its header and its rows, no key twice."""

    header: PrecisionHeader
    rows: tuple[PrecisionRow, ...]
    sha256: str = ""

    def __post_init__(self) -> None:
        keys = [row.key for row in self.rows]
        if len(set(keys)) != len(keys):
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise ValueError(f"a repeatability table holds each key once; twice: {twice[:3]}")
