"""Work on one knee shared by a few threads; numpy and scipy let go of the interpreter meanwhile.

Results do not depend on the number of threads: every piece is computed as it would be alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

#: More threads than this find too little to do on one knee.
MOST_THREADS = 2

_limit = MOST_THREADS
#: Pool of the threads beside the caller's, and how many they are.
_team: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("team", default=None)


def limit_threads(count: int) -> None:
    """Take at most so many threads in this process from now on.

    One in each process of a batch: several knees side by side are faster than one after the other.
    """
    global _limit
    if count < 1:
        raise ValueError(f"at least one thread, not {count}")
    _limit = count


def thread_count() -> int:
    """Threads that work on one knee in this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_limit, cores or 1)


@contextmanager
def team() -> Iterator[None]:
    """Threads that `each` and `in_pieces` share their work with, until the block is left.

    A team within a team is the outer one; with a single thread there is none.
    """
    count = thread_count()
    if count == 1 or _team.get() is not None:
        yield
        return
    with ThreadPoolExecutor(count - 1) as pool:  # the caller is one of the threads
        before = _team.set((pool, count - 1))
        try:
            yield
        finally:
            _team.reset(before)


def each(function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """`[function(task) for task in tasks]`, by as many threads as there are in the team.

    The caller begins with the first task; a thread that finds none left helps where another one
    works `in_pieces`.
    """
    results: dict[int, Result] = {}

    def run(piece: slice) -> None:
        results[piece.start] = function(tasks[piece.start])

    in_pieces(run, len(tasks), 1)
    return [results[number] for number in range(len(tasks))]


def in_pieces(function: Callable[[slice], None], count: int, piece: int) -> None:
    """Call `function` on all slices of `range(count)` of this length, also by idle threads.

    Examples
    --------
    >>> seen = []
    >>> in_pieces(seen.append, 5, 2)
    >>> seen
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    # a helper that no thread takes up keeps hold of this queue, never of the arrays behind it
    work = deque(
        (function, slice(first, min(first + piece, count))) for first in range(0, count, piece)
    )
    if not work:
        return
    own = work.popleft()  # the caller's, before a helper is there
    helpers: list[Future[None]] = []
    if work and (found := _team.get()) is not None:
        pool, others = found
        helpers = [pool.submit(copy_context().run, _work_off, work) for _ in range(others)]
    try:
        own[0](own[1])
        _work_off(work)
    finally:
        work.clear()  # after an error nobody goes on
        for helper in helpers:
            if not helper.cancel():
                helper.result()


def _work_off(work: deque[tuple[Callable[[slice], None], slice]]) -> None:
    while True:
        try:
            function, piece = work.popleft()
        except IndexError:
            return
        function(piece)
