"""Work shared by threads: all of it is done once, wherever it is asked for."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from kneeimg.geometry import sharing
from kneeimg.geometry.sharing import each, in_pieces, limit_threads, team, thread_count


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A team of two also on a machine of one core."""
    monkeypatch.setattr(sharing, "thread_count", lambda: 2)
    with team():
        yield


def _squares(count: int) -> np.ndarray:
    result = np.zeros(count)

    def fill(piece: slice) -> None:
        result[piece] += np.arange(piece.start, piece.stop) ** 2  # += shows what is done twice
        time.sleep(1e-4)

    in_pieces(fill, count, 7)
    return result


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_every_piece_is_done_once_without_a_team(count: int) -> None:
    assert np.array_equal(_squares(count), np.arange(count) ** 2)


@pytest.mark.usefixtures("two_threads")
def test_every_piece_is_done_once_in_tasks_that_share() -> None:
    found = each(_squares, [300, 50, 0, 400])
    assert [len(one) for one in found] == [300, 50, 0, 400]
    assert all(np.array_equal(one, np.arange(len(one)) ** 2) for one in found)


@pytest.mark.usefixtures("two_threads")
def test_an_idle_thread_helps() -> None:
    helped = threading.Event()
    own = threading.current_thread()

    def work(_: slice) -> None:
        if threading.current_thread() is own:
            assert helped.wait(10.0)
        else:
            helped.set()

    in_pieces(work, 2, 1)
    assert helped.is_set()


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("bad", [0, 3, 5])
def test_an_error_comes_out_and_the_team_goes_on(bad: int) -> None:
    def fail(piece: slice) -> None:
        if piece.start == bad:
            raise RuntimeError("this piece")

    with pytest.raises(RuntimeError, match="this piece"):
        in_pieces(fail, 6, 1)
    assert np.array_equal(_squares(20), np.arange(20) ** 2)


@pytest.mark.usefixtures("two_threads")
def test_after_an_error_nobody_goes_on() -> None:
    begun: list[int] = []
    helped = threading.Event()

    def work(piece: slice) -> None:
        begun.append(piece.start)
        if piece.start == 0:
            assert helped.wait(10.0)
            raise RuntimeError("the caller's own piece")
        helped.set()
        time.sleep(0.02)

    with pytest.raises(RuntimeError, match="own piece"):
        in_pieces(work, 200, 1)
    assert len(begun) < 100


@pytest.mark.usefixtures("two_threads")
def test_help_that_came_too_late_holds_no_arrays() -> None:
    class Array(np.ndarray):
        pass

    busy, release = threading.Event(), threading.Event()

    def work_on_an_array() -> weakref.ref[Array]:
        array = np.zeros(100).view(Array)
        in_pieces(lambda piece: array.__setitem__(piece, 1.0), 100, 10)
        return weakref.ref(array)

    def task(number: int) -> bool:
        if number == 1:  # keeps the other thread busy
            busy.set()
            return release.wait(10.0)
        assert busy.wait(10.0)
        seen = work_on_an_array()
        gc.collect()
        gone = seen() is None
        release.set()
        return gone

    assert each(task, [0, 1]) == [True, True]


def test_a_process_can_be_held_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_limit", sharing.MOST_THREADS)
    limit_threads(1)
    assert thread_count() == 1
    with team():
        assert sharing._team.get() is None
    with pytest.raises(ValueError, match="at least one"):
        limit_threads(0)
