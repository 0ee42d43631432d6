"""Run the cases of a plan, or the visit pairs after them, and isolate what crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from kneeimg.batch.crash import Crash
from kneeimg.batch.summary import Progress
from kneeimg.batch.workers import run_tasks
from kneeimg.errors import OutputError


class Named(Protocol):
    """A unit of work with a name in study ids."""

    @property
    def name(self) -> str: ...


Unit = TypeVar("Unit", bound=Named)
Report = TypeVar("Report")


@dataclass(frozen=True, slots=True)
class Guarded(Generic[Unit, Report]):
    """A stage function that turns an unexpected exception into a :class:`Crash`.

    A module-level object, so that it can be sent to another process.
    """

    function: Callable[..., Report]
    out: Path
    force: bool

    def __call__(self, unit: Unit) -> Report | Crash:
        try:
            return self.function(unit, self.out, force=self.force)
        except OutputError:
            raise  # concerns the whole batch
        except Exception as error:  # noqa: BLE001 - one failing case never stops the batch
            return Crash.of(error)


@dataclass(frozen=True, slots=True)
class Engine:
    """How units of work are run."""

    out: Path
    workers: int
    force: bool
    executor: Executor | None = None


def run_units(
    engine: Engine,
    function: Callable[..., Report],
    units: Sequence[Unit],
    *,
    on_crash: Callable[[Unit, Crash], Report],
    describe: Callable[[Unit, Report], str],
    progress: Progress,
    on_done: Callable[[Unit, Report], None] | None = None,
) -> list[Report]:
    """Reports in the order of the units; a crash is logged and becomes `on_crash(unit, crash)`.

    `on_done` is called in this process with every unit and its report, as they end.

    Raises
    ------
    OutputError
        The disk is full or not writable: nothing more is started.
    """
    guarded: Guarded[Unit, Report] = Guarded(function, engine.out, engine.force)
    reports: dict[int, Report] = {}
    place = {id(unit): n for n, unit in enumerate(units)}
    tasks = run_tasks(guarded, units, workers=engine.workers, executor=engine.executor)
    for done in tasks:
        if isinstance(done.error, OutputError | KeyboardInterrupt):
            tasks.close()
            raise done.error
        result = Crash.of(done.error) if done.error is not None else done.result
        if isinstance(result, Crash):
            result.write_log(engine.out, done.task.name)
            result = on_crash(done.task, result)
        assert result is not None
        reports[place[id(done.task)]] = result
        if on_done is not None:
            on_done(done.task, result)
        progress(len(reports), len(units), describe(done.task, result))
    return [reports[n] for n in range(len(units))]
