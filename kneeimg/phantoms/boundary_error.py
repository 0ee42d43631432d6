"""Masks as a segmenter would draw them: true boundaries, displaced by smooth random errors.

The knee itself stays as it is, and so does its truth; only the drawing is off. The error is laid
down on the bone surface, so that a mask stays a mask: bone, then cartilage on it, without holes.
Label maps, which are known by their voxels alone, are drawn anew in `resegmentation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from kneeimg.phantoms.cartilage import Sheet
from kneeimg.phantoms.random_fields import smooth_noise

FloatArray = NDArray[np.float64]

#: Displacements end at this many SDs: a bound on what is drawn, which one in 400 points reaches.
_LIMIT_SD = 3.0
_STEPS_PER_LENGTH = 2.0


@dataclass(frozen=True, slots=True)
class BoundaryError:
    """Random displacement of the boundaries in one mask.

    Two masks of one knee with independent errors differ by these, as two runs of a segmenter on
    two scans of one knee do.

    Attributes
    ----------
    bone_mm : SD of the bone surface, the bone-cartilage interface included, along its normal.
    articular_mm : SD of the articular surface, independent of the bone surface.
    rim_mm : SD of the border of the cartilage, along the bone.
    offset_mm : SD of a shift of the whole articular surface of a bone, the same everywhere.
    length_mm : Correlation length: errors further apart than about three of these are independent.

    Examples
    --------
    >>> BoundaryError(bone_mm=0.0, articular_mm=0.0, rim_mm=0.0, offset_mm=0.0).is_none
    True
    """

    bone_mm: float = 0.10
    articular_mm: float = 0.10
    rim_mm: float = 0.3
    offset_mm: float = 0.01
    length_mm: float = 3.0

    def __post_init__(self) -> None:
        sizes = (self.bone_mm, self.articular_mm, self.rim_mm, self.offset_mm)
        if min(sizes) < 0.0 or self.length_mm <= 0.0:
            raise ValueError("boundary errors are >= 0 and their length is > 0")

    @property
    def is_none(self) -> bool:
        """Whether nothing is displaced."""
        return not any((self.bone_mm, self.articular_mm, self.rim_mm, self.offset_mm))


@dataclass(frozen=True)
class RoughSheet:
    """A bone with cartilage as a segmenter draws it; `partial_volume.Filled`.

    Attributes
    ----------
    sheet : The true one.
    error : Size of the error.
    rng : Source of randomness; used once, when the sheet is made.
    """

    sheet: Sheet
    error: BoundaryError
    rng: np.random.Generator = field(repr=False)

    def __post_init__(self) -> None:
        # drawn here and in this order, so that the mask does not depend on what is asked first
        for name in ("_bone", "_articular", "_rim", "_offset_mm"):
            getattr(self, name)

    @cached_property
    def _bone(self) -> SmoothField:
        return self._field(self.error.bone_mm)

    @cached_property
    def _articular(self) -> SmoothField:
        return self._field(self.error.articular_mm)

    @cached_property
    def _rim(self) -> SmoothField:
        return self._field(self.error.rim_mm)

    @cached_property
    def _offset_mm(self) -> float:
        return self.error.offset_mm * float(self.rng.normal())

    def _field(self, sd: float) -> SmoothField:
        return SmoothField.random(self.sheet.bounds_mm, self.error.length_mm, sd, self.rng)

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around the sheet, wide enough for the greatest displacement."""
        most = _LIMIT_SD * (self.error.bone_mm + self.error.articular_mm) + abs(self._offset_mm)
        result: FloatArray = self.sheet.bounds_mm + np.array([[-most], [most]])
        return result

    @property
    def greatest_mm(self) -> float:
        """A bound on the thickness drawn anywhere."""
        wider = _LIMIT_SD * (self.error.bone_mm + self.error.articular_mm) + abs(self._offset_mm)
        return self.sheet.greatest_mm + wider

    def bone_level(self, points: FloatArray) -> FloatArray:
        """(N,) level of the bone as drawn, negative inside."""
        return self.sheet.bone_level(points) - self._bone(points)

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """(3, N) bone below the sheet, articular surface and border of the cover, as drawn.

        The interface uses the displacement at the point itself, as the bone does: the two drawings
        then meet without gap or overlap.
        """
        below, articular, border = self.sheet.sheet_levels(points)
        moved = articular - self._articular(points) - self._offset_mm
        return np.stack([below - self._bone(points), moved, border - self._rim(points)])


@dataclass(frozen=True)
class SmoothField:
    """A random function of place with a given SD and correlation length, mean 0.

    Attributes
    ----------
    start_mm : (3,) place of the first node.
    step_mm : Distance of the nodes.
    nodes : (I, J, K) values.
    """

    start_mm: FloatArray
    step_mm: float
    nodes: FloatArray

    @classmethod
    def random(
        cls, bounds_mm: FloatArray, length_mm: float, sd: float, rng: np.random.Generator
    ) -> SmoothField:
        """A field over a box; the same state of `rng` gives the same field.

        Parameters
        ----------
        bounds_mm : (2, 3) box; beyond it the nearest value holds.
        length_mm : The correlation falls to exp(-1/2) over this distance.
        sd : Standard deviation of the values, clipped at three of it.
        """
        step = length_mm / _STEPS_PER_LENGTH
        counts = np.ceil((bounds_mm[1] - bounds_mm[0]) / step).astype(int) + 1
        smooth = smooth_noise(tuple(counts), _STEPS_PER_LENGTH, rng, mode="reflect")
        smooth *= sd / max(float(smooth.std()), 1e-12)
        limit = _LIMIT_SD * sd
        return cls(bounds_mm[0], step, np.clip(smooth, -limit, limit))

    def __call__(self, points: FloatArray) -> FloatArray:
        """(N,) value at each point, trilinear between nodes."""
        index = (points - self.start_mm).T / self.step_mm
        result: FloatArray = map_coordinates(self.nodes, index, order=1, mode="nearest")
        return result
