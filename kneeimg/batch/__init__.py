"""The batch: cases, manifests, executor, resume, tables and report."""

from __future__ import annotations

from kneeimg.batch.run import run_batch, run_study
from kneeimg.batch.summary import BatchSummary, Progress

__all__ = ["BatchSummary", "Progress", "run_batch", "run_study"]
