"""`python -m kneeimg` is `kneeimg`."""

from __future__ import annotations

from kneeimg.cli import app

app()
