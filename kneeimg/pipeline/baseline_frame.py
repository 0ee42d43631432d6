"""A follow-up film measured again at the places of its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kneeimg.core.measurement import Measurement, Status
from kneeimg.io.margins import margins_from_json, spacing_from_json
from kneeimg.io.results import read_json
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.settings.film import JointSpaceSettings

#: Added to the method of a value that was measured with the baseline's femoral width.
BASELINE_WIDTH = "baseline width"
_OWN = {("knee", "femoral_width")}  # of the follow-up itself: its change shows the positioning


def in_baseline_frame(
    baseline: Sequence[Measurement],
    followup: Sequence[Measurement],
    margins_file: Path,
    settings: JointSpaceSettings,
) -> tuple[Measurement, ...]:
    """Rows of a follow-up whose x is counted in femoral widths of the baseline.

    Parameters
    ----------
    baseline, followup : Rows of both films, each in its own frame.
    margins_file : Margins of the follow-up as `kneeimg` wrote them.
    settings : Positions and ranges.

    Returns
    -------
    The rows of the follow-up, in their order. Values measured in both frames are replaced and say
    so in their method; everything stays as it was when the baseline has no width in mm, or the
    follow-up no pixel size or no file of margins.
    """
    widths = [row for row in baseline if (row.region, row.quantity) in _OWN]
    if not widths or widths[0].status is not Status.OK or not margins_file.is_file():
        return tuple(followup)
    values = read_json(margins_file)
    margins, spacing_mm = margins_from_json(values), spacing_from_json(values)
    if spacing_mm is None or min(spacing_mm) <= 0:
        return tuple(followup)
    again = {
        (row.region, row.quantity): row
        for row in measure_joint_space(
            margins, spacing_mm, settings, femoral_width_mm=widths[0].value
        )
    }
    return tuple(_replaced(row, again.get((row.region, row.quantity))) for row in followup)


def _replaced(own: Measurement, again: Measurement | None) -> Measurement:
    mine = own.status is not Status.OK or (own.region, own.quantity) in _OWN
    if mine or again is None:
        return own
    method = f"{again.method}, {BASELINE_WIDTH}"
    return replace(own, value=again.value, status=again.status, reason=again.reason, method=method)
