"""Acquisition parameters of a scan as plain texts, and what changed between two visits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from kneeimg.core.grid import Grid

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord

Protocol = tuple[tuple[str, str], ...]


def protocol_of(series: SeriesRecord | None, grid: Grid | None = None) -> Protocol:
    """Name and value of every parameter whose change between visits is protocol drift.

    Parameters
    ----------
    series : DICOM series; None when there is only a file without such a header.
    grid : Voxel grid of an MR scan.
    """
    values: dict[str, str] = {}
    if series is not None:
        for field in fields(series.scanner):
            values[field.name] = _text(getattr(series.scanner, field.name))
        values["echo_time_ms"] = _text(series.echo_time_ms)
        values["view"] = series.view
    if grid is not None:
        # three digits: a NIfTI header keeps float32, which is no change of protocol
        spacing = sorted(float(mm) for mm in grid.spacing_mm)
        values["voxel_mm"] = " x ".join(f"{mm:.3f}" for mm in spacing)
    return tuple((name, value) for name, value in values.items() if value)


def header_protocol(series: SeriesRecord) -> Protocol:
    """What :func:`protocol_of` says once the pixels are read, from the headers alone."""
    values = protocol_of(series)
    if series.kind != "mri" or series.spacing_mm is None:
        return values
    voxel = " x ".join(f"{mm:.3f}" for mm in sorted(series.spacing_mm))
    return (*values, ("voxel_mm", voxel))


def drift_between(baseline: Protocol, followup: Protocol) -> tuple[str, ...]:
    """What differs, as `name: before -> after`; a parameter known at one visit only is told too.

    >>> drift_between((("model", "A"), ("coil", "k")), (("model", "B"), ("coil", "k")))
    ('model: A -> B',)
    """
    before, after = dict(baseline), dict(followup)
    return tuple(_differences(before, after, list(dict.fromkeys((*before, *after)))))


def _differences(
    before: Mapping[str, str], after: Mapping[str, str], names: Sequence[str]
) -> list[str]:
    return [
        f"{name}: {before.get(name, 'unknown')} -> {after.get(name, 'unknown')}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
