"""Mixed model over all follow-up visits: arm by visit, adjusted for baseline.

References
----------
.. [1] Laird & Ware 1982, doi:10.2307/2529876: random effects in longitudinal data.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.trial.statistics.checks import FloatArray, finite_sample, require_variance

METHOD = "MixedLM, REML, random intercept, large-sample z"
LEAST_PER_ARM = 3


@dataclass(frozen=True, slots=True)
class VisitDifference:
    """Difference arm − reference at one visit, at equal baseline, with its z test."""

    visit: str
    value: float
    low: float
    high: float
    se: float
    z: float
    p: float


@dataclass(frozen=True, slots=True)
class MixedModel:
    """follow-up ~ visit * arm + baseline + (1 | participant), by REML [1]_.

    Attributes
    ----------
    differences : One per visit, in the order of the visits.
    sd_participants : SD of the random intercepts; 0 at the edge of what is possible.
    sd_residual : SD of the residuals.
    baseline_slope : Coefficient of the baseline.
    """

    differences: tuple[VisitDifference, ...]
    sd_participants: float
    sd_residual: float
    baseline_slope: float


def mixed_model(
    followup: ArrayLike,
    baseline: ArrayLike,
    in_arm: ArrayLike,
    visit: Sequence[str],
    participant: Sequence[str],
    confidence: float = 0.95,
    *,
    most_steps: int = 500,
) -> MixedModel:
    """Fit the model to one row per participant and visit; visits may be missing.

    Parameters
    ----------
    followup, baseline : (n,) values in one unit.
    in_arm : (n,) booleans.
    visit, participant : (n,) names; the order of first appearance is the order of the visits.
    confidence : Of the intervals, which use the normal distribution (large samples).
    most_steps : Of the optimiser, before the fit counts as not converged.

    Raises
    ------
    AnalysisError
        TOO_FEW_PARTICIPANTS without two visits, 3 participants per arm and visit, or repeated
        participants; NO_VARIANCE; NOT_CONVERGED when the optimiser says so.
    """
    from scipy import stats

    arm = np.asarray(in_arm, dtype=bool)
    y, x = (finite_sample(values, least=4, what="values") for values in (followup, baseline))
    visits = tuple(dict.fromkeys(visit))
    _require_layout(arm, np.asarray(visit), np.asarray(participant), visits)
    require_variance(float(x.std()), float(np.abs(x).max()), "the baseline values")
    at = np.array([[name == own for own in visits] for name in visit], dtype=np.float64)
    centre, scale = float(x.mean()), float(y.std())
    require_variance(scale, float(np.abs(y).max()), "the follow-up values")
    design = np.column_stack([at, at * arm[:, None], x - centre])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise AnalysisError(
            "arm, visit and baseline cannot be told apart",
            code=ReasonCode.NO_VARIANCE,
            expected="baseline values that overlap between the arms",
            found="a baseline that names the arm",
        )
    fit = _fit((y - y.mean()) / scale, design, np.asarray(participant), most_steps)
    errors = _standard_errors(fit, design, np.asarray(participant))
    k = len(visits)
    half = float(stats.norm.ppf(0.5 + confidence / 2))
    differences = []
    for number, name in enumerate(visits):
        value, se = (scale * float(v[k + number]) for v in (fit.fe_params, errors))
        p = float(2 * stats.norm.sf(abs(value / se)))
        limits = value - half * se, value + half * se
        differences.append(VisitDifference(name, value, *limits, se, value / se, p))
    return MixedModel(
        differences=tuple(differences),
        sd_participants=scale * math.sqrt(max(float(np.asarray(fit.cov_re)[0, 0]), 0.0)),
        sd_residual=scale * math.sqrt(float(fit.scale)),
        baseline_slope=scale * float(fit.fe_params[-1]),
    )


def _require_layout(
    arm: np.ndarray, visit: np.ndarray, participant: np.ndarray, visits: Sequence[str]
) -> None:
    if len(visits) < 2:
        raise AnalysisError(
            "a mixed model over visits needs at least two", expected="2 visits", found="1"
        )
    for name in visits:
        for which in (arm, ~arm):
            count = len(set(participant[(visit == name) & which]))
            if count < LEAST_PER_ARM:
                raise AnalysisError(
                    "fewer participants in an arm than the model needs",
                    where=name,
                    expected=f"at least {LEAST_PER_ARM} per arm and visit",
                    found=str(count),
                )
    if len(set(zip(participant, visit, strict=True))) != len(visit):
        raise ValueError("a participant has two values at one visit")


def _fit(y: FloatArray, design: FloatArray, groups: np.ndarray, most_steps: int) -> Any:
    """The REML fit in standardised units; its warnings decide, and are never passed on."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            model = MixedLM(y, design, groups)
            fit = model.fit(
                reml=True, method=["bfgs", "powell"], gtol=1e-9, maxiter=most_steps, disp=False
            )
        except (np.linalg.LinAlgError, ValueError) as error:
            raise _not_converged(f"{type(error).__name__}: {error}") from error
    if not fit.converged or not np.isfinite(np.asarray(fit.bse_fe)).all():
        raise _not_converged("; ".join(str(w.message) for w in said)[:200] or "no convergence")
    return fit


def _standard_errors(fit: Any, design: FloatArray, groups: np.ndarray) -> FloatArray:
    """Of the fixed effects, by generalised least squares at the fitted variances.

    As nlme and SAS have them; statsmodels' own come from the joint Hessian and differ by 0.1 %
    when visits are missing.
    """
    between, within = float(np.asarray(fit.cov_re)[0, 0]), float(fit.scale)
    information = np.zeros((design.shape[1],) * 2)
    for name in np.unique(groups):
        rows = design[groups == name]
        total = rows.sum(axis=0)
        shrink = between / (within + len(rows) * between)
        information += (rows.T @ rows - shrink * np.outer(total, total)) / within
    errors: FloatArray = np.sqrt(np.diag(np.linalg.inv(information)))
    return errors


def _not_converged(found: str) -> AnalysisError:
    return AnalysisError(
        "the mixed model did not converge",
        code=ReasonCode.NOT_CONVERGED,
        expected="a maximum of the restricted likelihood",
        found=found,
        action="use the ANCOVA of each visit",
    )
