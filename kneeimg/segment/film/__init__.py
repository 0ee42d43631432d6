"""Bone margins of the knee on films, found by a classical, deterministic method.

`find_knees` splits a film into knees, `find_margins` returns the margins of one of them.
"""

from __future__ import annotations

from kneeimg.segment.film.finder import find_margins
from kneeimg.segment.film.knees import KneeView, find_knees

__all__ = ["KneeView", "find_knees", "find_margins"]
