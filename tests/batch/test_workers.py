"""A dead worker costs one task; the others end as if nothing had happened."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from kneeimg.batch.workers import THREAD_VARIABLES, default_workers, run_tasks


def double(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if task == 5:
        raise ValueError("five")
    return 2 * task


def threads(task: int) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in THREAD_VARIABLES}


def test_in_a_given_executor() -> None:
    with ThreadPoolExecutor(2) as executor:
        done = {d.task: d for d in run_tasks(double, [1, 2, 5], executor=executor)}
    assert done[1].result == 2
    assert isinstance(done[5].error, ValueError)


@pytest.mark.slow
def test_killed_worker_is_isolated() -> None:
    done = {d.task: d for d in run_tasks(double, list(range(8)), workers=2)}
    assert sorted(done) == list(range(8))
    assert isinstance(done[3].error, BrokenProcessPool)
    assert isinstance(done[5].error, ValueError)
    assert {n: done[n].result for n in (0, 1, 2, 4, 6, 7)} == {n: 2 * n for n in (0, 1, 2, 4, 6, 7)}


@pytest.mark.slow
def test_workers_use_one_thread_and_the_environment_is_restored() -> None:
    before = dict(os.environ)
    (done,) = run_tasks(threads, [0], workers=1)
    assert done.result == dict.fromkeys(THREAD_VARIABLES, "1")
    assert dict(os.environ) == before


def test_default_workers_is_at_least_one() -> None:
    assert default_workers() >= 1


def test_no_task_needs_no_pool() -> None:
    assert list(run_tasks(double, [], workers=2)) == []
