"""How a batch runs; nothing here changes a number."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from kneeimg.settings.base import Settings


def default_workers() -> int:
    """One worker for each core that this process may use, at most four.

    One knee takes up to 1.5 GB, so more workers are asked for, not assumed.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, 4))


class RunSettings(Settings):
    """Executor and resume.

    Attributes
    ----------
    workers : Processes that measure side by side, each with one thread.
    force : Measure again what is already done and verified.
    """

    workers: Annotated[int, Field(ge=1)] = Field(default_factory=default_workers)
    force: bool = False
