"""A knee film: grey values, pixel size and where that size came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.errors import Finding, GeometryError

View = Literal["PA", "AP"]


class SpacingSource(StrEnum):
    """Where the pixel size of a film came from; values of different sources are not compared."""

    UNKNOWN_CALIBRATION = "unknown calibration"
    DETECTOR_PLANE = "detector plane"
    ERMF = "ermf"
    CALIBRATED = "calibrated"
    USER = "user"
    NONE = "none"  # no millimetres


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One projection image, bright where dense.

    Attributes
    ----------
    image : (rows, columns) float32; row 0 is the top (proximal), dense tissue is bright whatever
        the photometric interpretation of the file was.
    spacing_mm : (row, column) pixel size in mm, after magnification when known; None for no mm.
    spacing_source : Where `spacing_mm` came from.
    side : Knee on the film; None for a bilateral film or when unknown.
    bilateral : Both knees are on the film.
    patient_left_on_image_right : As a PA/AP film is hung, True; None when nothing says.
    view : Projection; None when unknown.
    findings : What was noticed and corrected while reading.
    """

    image: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None
    spacing_source: SpacingSource
    side: Side | None
    bilateral: bool = False
    patient_left_on_image_right: bool | None = None
    view: View | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if self.image.ndim != 2:
            raise GeometryError(f"a film is two-dimensional, got {self.image.shape}")
        if (self.spacing_mm is None) != (self.spacing_source is SpacingSource.NONE):
            raise GeometryError(f"spacing {self.spacing_mm} from source {self.spacing_source}")
        if self.spacing_mm is not None and min(self.spacing_mm) <= 0:
            raise GeometryError(f"pixel size must be positive, got {self.spacing_mm}")
