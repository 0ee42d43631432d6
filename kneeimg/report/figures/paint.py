"""Colour of every pixel that sees a bone: thickness, change, bare bone, no value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import VertexState
from kneeimg.core.surface import Surface
from kneeimg.report import palette
from kneeimg.report.figures.render import Seen

Colours = NDArray[np.float32]
Painter = Callable[[Surface, Seen], Colours]

#: Pixels drawn for each pixel of the picture, along each side.
OVERSAMPLING = 2

#: Vertex field that says whether the change exceeds its measurement error, and its codes for
#: thinning and thickening (`ChangeState` of the change maps).
CHANGE_STATE = "change_state"
_THINNING, _THICKENING = 2, 3


def paint_thickness(
    surface: Surface, seen: Seen, colours: Callable[..., Any], vmax_mm: float
) -> Colours:
    """(N, 3) colour of every pixel that sees the bone: thickness, denuded, undetermined, bone."""
    state = seen.nearest(surface.fields["state"])
    thickness = np.asarray(surface.fields["thickness_mm"], dtype=np.float64)
    # Blending a covered vertex with a bare neighbour would draw cartilage that is not there.
    covered = np.where(surface.fields["state"] == VertexState.MEASURED, thickness, np.nan)
    colour = _plain(palette.BONE, len(state))
    measured = state == VertexState.MEASURED
    share = np.nan_to_num(seen.interpolate(covered)) / vmax_mm
    colour[measured] = colours(np.clip(share[measured], 0.0, 1.0))[:, :3]
    colour[state == VertexState.DENUDED] = rgb(palette.DENUDED)
    _stripe(colour, seen, state == VertexState.UNDETERMINED)
    return colour


def paint_change(
    surface: Surface, seen: Seen, colours: Callable[..., Any], vmax_mm: float
) -> Colours:
    """(N, 3) colour of every pixel that sees the bone: change, no value, bone."""
    change = np.asarray(surface.fields["change_mm"], dtype=np.float64)
    inside = seen.nearest(inside_plates(surface)).astype(bool)
    known = np.isfinite(seen.nearest(change).astype(np.float64))
    colour = _plain(palette.BONE, len(inside))
    share = 0.5 + 0.5 * np.nan_to_num(seen.interpolate(change)) / vmax_mm
    drawn = inside & known
    colour[drawn] = colours(np.clip(share[drawn], 0.0, 1.0))[:, :3]
    _stripe(colour, seen, inside & ~known)
    if CHANGE_STATE in surface.fields:
        state = seen.nearest(surface.fields[CHANGE_STATE])
        _dot(colour, seen, drawn & (state == _THINNING), palette.THINNING_MARK)
        _dot(colour, seen, drawn & (state == _THICKENING), palette.THICKENING_MARK)
    return colour


def inside_plates(surface: Surface) -> NDArray[np.bool_]:
    """(V,) whether a vertex belongs to a plate (tAB)."""
    fields = surface.fields
    if "plate" in fields:
        inside = np.asarray(fields["plate"]) > 0
    elif "state" in fields:
        inside = np.asarray(fields["state"]) != VertexState.OUTSIDE
    else:
        inside = np.isfinite(fields["change_mm"])
    return np.asarray(inside, dtype=np.bool_)


def rgb(colour: str) -> Colours:
    """(3,) red, green and blue of a colour, 0 to 1."""
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(colour), dtype=np.float32)


def _plain(colour: str, count: int) -> Colours:
    return np.tile(rgb(colour), (count, 1))


def _stripe(colour: Colours, seen: Seen, where: NDArray[np.bool_]) -> None:
    """Diagonal stripes: told from every colour of the scale also in a grey print."""
    dark = (seen.rows + seen.columns) % (6 * OVERSAMPLING) < 2 * OVERSAMPLING
    colour[where] = rgb(palette.UNDETERMINED)
    colour[where & dark] = rgb(palette.UNDETERMINED_STRIPE)


def _dot(colour: Colours, seen: Seen, where: NDArray[np.bool_], ink: str) -> None:
    """Dots on a staggered lattice: the colour below stays readable."""
    step, size = 9 * OVERSAMPLING, 2 * OVERSAMPLING
    shifted = seen.columns + (seen.rows // step % 2) * (step // 2)
    on_dot = (seen.rows % step < size) & (shifted % step < size)
    colour[where & on_dot] = rgb(ink)
