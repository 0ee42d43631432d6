"""Run tasks in worker processes so that a crash of one is the crash of one only.

Works with any `concurrent.futures.Executor`. With our own process pool a worker that dies
(segmentation fault, out of memory) breaks the pool; the tasks that were running then are tried
again one at a time, each in a pool of its own, so that only the culprit is lost.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, TypeVar

from kneeimg.geometry.sharing import limit_threads

Task = TypeVar("Task")
Result = TypeVar("Result")

#: One thread per worker: side by side is faster than within, and sums come out in one order.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VTK_SMP_MAX_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


#: What one knee may take while it is measured, with room to spare.
BYTES_PER_WORKER = 1_500_000_000
#: The same when a network segments it first.
BYTES_PER_NETWORK = 3_000_000_000


def default_workers(bytes_each: int = 0) -> int:
    """One worker per usable core, as far as memory goes, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _memory_workers(max(bytes_each, BYTES_PER_WORKER))))


def _memory_workers(bytes_each: int) -> int:
    """Workers for which the machine has memory; many where the system does not say."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return os.cpu_count() or 1
    return memory // bytes_each


@dataclass(frozen=True, slots=True)
class Done(Generic[Task, Result]):
    """A task with its result, or the exception that it raised (a dead worker is one too)."""

    task: Task
    result: Result | None
    error: BaseException | None = None


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    executor: Executor | None = None,
) -> Generator[Done[Task, Result], None, None]:
    """Run every task once and yield each as it ends, in no particular order.

    Parameters
    ----------
    function, tasks : Importable function and picklable tasks.
    workers : Processes of our own pool.
    executor : Used instead of our own pool; it is not shut down.
    """
    if executor is not None:
        yield from _through(executor, function, tasks, window=len(tasks))
        return
    with _single_threaded():
        waiting = list(tasks)
        while waiting:
            suspects: list[Task] = []
            unfinished: list[Task] = []
            with _pool(min(workers, len(waiting))) as pool:
                for done in _through(pool, function, waiting, window=workers):
                    if isinstance(done.error, BrokenProcessPool):
                        suspects.append(done.task)
                    elif isinstance(done.error, _NotStarted):
                        unfinished.append(done.task)
                    else:
                        yield done
            for task in suspects:
                yield from _alone(function, task)
            waiting = unfinished


def _alone(function: Callable[[Task], Result], task: Task) -> Iterator[Done[Task, Result]]:
    with _pool(1) as pool:
        yield from _through(pool, function, [task], window=1)


class _NotStarted(Exception):  # noqa: N818 - a mark, not an error
    """The pool broke before this task was handed to it."""


def _through(
    pool: Executor, function: Callable[[Task], Result], tasks: Sequence[Task], *, window: int
) -> Iterator[Done[Task, Result]]:
    """Keep at most `window` tasks in the pool, so that a break concerns no others."""
    queue = list(reversed(tasks))
    running: dict[Future[Result], Task] = {}
    broken = False
    try:
        while queue or running:
            while queue and len(running) < window and not broken:
                task = queue.pop()
                try:
                    running[pool.submit(function, task)] = task
                except BrokenProcessPool:
                    queue.append(task)
                    broken = True
            if broken and not running:
                yield from (Done(task, None, _NotStarted()) for task in reversed(queue))
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=list(running).index):
                task = running.pop(future)
                error = future.exception()
                broken = broken or isinstance(error, BrokenProcessPool)
                yield Done(task, None if error else future.result(), error)
    finally:
        for future in running:
            future.cancel()


def _pool(workers: int) -> ProcessPoolExecutor:
    import multiprocessing

    # spawn: the same on every system, and no lock of a library is inherited half-held
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)


def start_worker() -> None:
    """Prepare a worker process: one thread to a knee, and it ends with its parent."""
    limit_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed batch must not leave workers that still write when the next run has begun."""
    import multiprocessing
    from multiprocessing.connection import wait as wait_for

    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Thread limits in the environment, for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
