"""Every statistic against R to 6 digits: stored numbers always, R itself where it is installed."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kneeimg.trial.statistics.ancova import ancova
from kneeimg.trial.statistics.bootstrap import bca, percentile
from kneeimg.trial.statistics.correlation import pearson, spearman
from kneeimg.trial.statistics.means import mean_interval, welch
from kneeimg.trial.statistics.mixed import mixed_model
from kneeimg.trial.statistics.multiplicity import benjamini_hochberg, holm
from kneeimg.trial.statistics.noncentral import noncentral_t_cdf, noncentral_t_interval
from kneeimg.trial.statistics.power import power_two_arms, size_two_arms
from kneeimg.trial.statistics.proportions import fisher, wilson
from kneeimg.trial.statistics.responsiveness import _srm_of

TESTS = Path(__file__).resolve().parents[2]
SCRIPTS, GOLDEN = TESTS / "trial" / "r", TESTS / "golden" / "trial"
TOPICS = ("ancova", "association", "bootstrap", "counts", "means", "mixed", "power")


def golden(topic: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{topic}.json").read_text())


def close(found: object, wanted: object) -> None:
    """6 digits; "Inf" is how the scripts write infinity."""
    wanted = np.array(
        [math.inf if w == "Inf" else w for w in np.atleast_1d(np.array(wanted, dtype=object))],
        dtype=float,
    )
    np.testing.assert_allclose(np.atleast_1d(found), wanted, rtol=1e-6, atol=1e-12)


class Rows:
    """The small trial that the R scripts read."""

    def __init__(self, visit: str = "") -> None:
        with (SCRIPTS / "trial.csv").open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if not visit or row["visit"] == visit]
        self.participant = [row["participant"] for row in rows]
        self.visit = [row["visit"] for row in rows]
        self.in_arm = np.array([row["arm"] == "B" for row in rows])
        self.baseline, self.followup, self.vas = (
            np.array([float(row[name]) for row in rows])
            for name in ("baseline", "followup", "vas_change")
        )
        self.change = self.followup - self.baseline


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    else:
        yield path, value


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed (Rscript)")
@pytest.mark.parametrize("topic", TOPICS)
def test_r_still_gives_the_stored_numbers(topic: str) -> None:
    done = subprocess.run(
        ["Rscript", "--vanilla", str(SCRIPTS / f"{topic}.R")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "there is no package called" in done.stderr:
        pytest.skip(f"R lacks a package: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    stored, fresh = dict(_leaves(golden(topic))), dict(_leaves(json.loads(done.stdout)))
    assert stored.keys() == fresh.keys()
    for name, value in stored.items():
        if value == "Inf":
            assert fresh[name] == "Inf"
        elif isinstance(value, list) and "Inf" in value:
            assert [v == "Inf" for v in fresh[name]] == [v == "Inf" for v in value]
            close([v for v in fresh[name] if v != "Inf"], [v for v in value if v != "Inf"])
        else:
            close(fresh[name], value)


def test_every_script_has_its_numbers() -> None:
    scripts = {path.stem for path in SCRIPTS.glob("*.R")} - {"common"}
    assert scripts == set(TOPICS) == {path.stem for path in GOLDEN.glob("*.json")}


@pytest.mark.parametrize("visit", ["M06", "M12"])
def test_ancova_is_lm(visit: str) -> None:
    rows, wanted = Rows(visit), golden("ancova")[visit]
    found = ancova(rows.followup, rows.baseline, rows.in_arm)
    for name, value in wanted.items():
        close(getattr(found, name), value)


def test_means_are_t_test() -> None:
    rows, wanted = Rows("M12"), golden("means")
    a, b = rows.change[~rows.in_arm], rows.change[rows.in_arm]
    found = welch(b, a)
    for name, value in wanted["welch"].items():
        close(getattr(found, name), value)
    mean = mean_interval(a)
    close([mean.value, mean.low, mean.high], list(wanted["mean"].values()))


def test_noncentral_t_is_pt() -> None:
    wanted = golden("means")
    points = ((2, 10, 1), (-1.5, 3, 2), (40, 3, 30), (2, 20000, 1.2), (0, 5, 0.7))
    close([noncentral_t_cdf(*point) for point in points], wanted["noncentral_cdf"])
    close(noncentral_t_interval(2, 10), wanted["noncentral_interval_2_10"])
    close(noncentral_t_interval(-4, 22), wanted["noncentral_interval_minus_4_22"])


def test_sample_size_is_power_t_test() -> None:
    wanted = golden("power")
    for power, name in ((0.8, "n80"), (0.9, "n90")):
        close([size_two_arms(d, power) for d in wanted["effects"]], wanted[name])
    close([power_two_arms(12, d) for d in wanted["effects"]], wanted["power_of_12_each"])


def test_mixed_model_is_lme() -> None:
    rows, wanted = Rows(), golden("mixed")
    found = mixed_model(rows.followup, rows.baseline, rows.in_arm, rows.visit, rows.participant)
    assert [d.visit for d in found.differences] == ["M06", "M12"]
    for difference in found.differences:
        close([difference.value, difference.se], list(wanted[difference.visit].values()))
    close(found.baseline_slope, wanted["baseline_slope"])
    close(found.sd_participants, wanted["sd_participants"])
    close(found.sd_residual, wanted["sd_residual"])


@pytest.mark.parametrize("visit", ["M06", "M12"])
def test_correlations_are_cor_test(visit: str) -> None:
    rows, wanted = Rows(visit), golden("association")[visit]
    p, s = pearson(rows.change, rows.vas), spearman(rows.change, rows.vas)
    found = (p.r, p.p, p.low, p.high, s.r, s.p)
    names = ("pearson", "pearson_p", "low", "high", "spearman", "spearman_p")
    for name, value in zip(names, found, strict=True):
        close(value, wanted[name])


@pytest.mark.parametrize(
    "table, name",
    [((7, 13, 2, 12), "1"), ((1, 13, 9, 12), "2"), ((5, 13, 0, 12), "3"), ((3, 4, 1, 4), "4")],
)
def test_fisher_is_fisher_test(table: tuple[int, int, int, int], name: str) -> None:
    found = fisher(*table)
    close([found.p, found.odds_ratio, found.low, found.high], golden("counts")[f"fisher_{name}"])


@pytest.mark.parametrize("count, n", [(7, 13), (0, 12), (12, 12)])
def test_wilson_is_prop_test(count: int, n: int) -> None:
    share = wilson(count, n)
    close([share.low, share.high], golden("counts")[f"wilson_{count}_{n}"])


def test_adjusted_p_are_p_adjust() -> None:
    wanted = golden("counts")
    close(holm(wanted["p"]), wanted["holm"])
    close(benjamini_hochberg(wanted["p"]), wanted["bh"])


def test_bootstrap_limits_are_boot_ci_on_the_same_resamples() -> None:
    wanted, rows = golden("bootstrap"), Rows("M12")
    change = rows.change[~rows.in_arm]
    indices = np.array(wanted["indices"]).reshape(-1, wanted["n"]) - 1
    srm = _srm_of(change)
    close(srm(np.arange(len(change))[None, :]), wanted["srm"])
    for method, name in ((bca, "bca"), (percentile, "percentile")):
        found = method(srm, indices)
        close([found.low, found.high], wanted[name])
