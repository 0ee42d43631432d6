"""How well two segmentations of one scan agree: overlap, surface distance, volume, thickness.

Dice hardly tells how wrong a thickness is (Desai 2021, doi:10.1148/ryai.2021200078), so a plate's
thickness stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.core.anatomy import Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Measurement, Status


@dataclass(frozen=True, slots=True)
class TissueAgreement:
    """One tissue of one scan.

    Attributes
    ----------
    tissue : Which.
    dice : 2 × overlap / sum of the volumes, 0..1; NaN where neither holds the tissue.
    assd_mm : Average symmetric distance between the two surfaces; NaN where one is missing.
    hd95_mm : 95th percentile of the same distances.
    reference_mm3, found_mm3 : Volumes.
    """

    tissue: Tissue
    dice: float
    assd_mm: float
    hd95_mm: float
    reference_mm3: float
    found_mm3: float

    @property
    def volume_bias_pct(self) -> float:
        """100 × (found − reference) / reference; NaN without reference."""
        if not self.reference_mm3:
            return math.nan
        return 100.0 * (self.found_mm3 - self.reference_mm3) / self.reference_mm3


def tissue_agreement(
    reference: LabelMap, found: LabelMap, tissues: Iterable[Tissue]
) -> tuple[TissueAgreement, ...]:
    """Each tissue of two label maps on one grid.

    Raises
    ------
    GeometryError
        If the grids differ.

    Examples
    --------
    >>> grid = Grid((4, 4, 4), np.eye(4), "1.2")
    >>> labels = np.zeros((4, 4, 4), np.uint8); labels[1:3, 1:3, 1:3] = Tissue.FEMUR
    >>> tissue_agreement(LabelMap(labels, grid), LabelMap(labels, grid), [Tissue.FEMUR])[0].dice
    1.0
    """
    reference.grid.require_same(found.grid)
    return tuple(_agreement(reference, found, tissue) for tissue in tissues)


def _agreement(reference: LabelMap, found: LabelMap, tissue: Tissue) -> TissueAgreement:
    wanted, seen = reference.labels == int(tissue), found.labels == int(tissue)
    size, seen_size = int(wanted.sum()), int(seen.sum())
    both = int((wanted & seen).sum())
    voxel_mm3 = reference.grid.voxel_volume_mm3
    distances = _surface_distances_mm(wanted, seen, reference.grid)
    return TissueAgreement(
        tissue=tissue,
        dice=2.0 * both / (size + seen_size) if size + seen_size else math.nan,
        assd_mm=float(distances.mean()) if distances.size else math.nan,
        hd95_mm=float(np.percentile(distances, 95.0)) if distances.size else math.nan,
        reference_mm3=size * voxel_mm3,
        found_mm3=seen_size * voxel_mm3,
    )


def _surface_distances_mm(
    one: NDArray[np.bool_], other: NDArray[np.bool_], grid: Grid
) -> NDArray[np.float64]:
    """Distance of every surface voxel of each to the nearest surface voxel of the other, mm."""
    if not one.any() or not other.any():
        return np.empty(0)
    box = ndimage.find_objects((one | other).astype(np.uint8))[0]
    surfaces = [_surface(mask[box]) for mask in (one, other)]
    far = [ndimage.distance_transform_edt(~s, sampling=grid.spacing_mm) for s in surfaces]
    return np.concatenate([far[1][surfaces[0]], far[0][surfaces[1]]])


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a mask that touch its outside."""
    padded = np.pad(mask, 1)
    inner: NDArray[np.bool_] = ndimage.binary_erosion(padded)[1:-1, 1:-1, 1:-1]
    return mask & ~inner


@dataclass(frozen=True, slots=True)
class ThicknessAgreement:
    """One quantity of one region measured on two segmentations of a scan.

    Attributes
    ----------
    region, quantity, unit : As in the measurements.
    reference, found : Values; NaN where not measured.
    """

    region: str
    quantity: str
    unit: str
    reference: float
    found: float

    @property
    def difference(self) -> float:
        """Found − reference."""
        return self.found - self.reference


def measured_agreement(
    reference: Sequence[Measurement], found: Sequence[Measurement], quantities: Iterable[str]
) -> tuple[ThicknessAgreement, ...]:
    """Pairs of the wanted quantities that the reference has measured."""
    wanted = set(quantities)
    seen = {(m.region, m.quantity): m for m in found}
    pairs = []
    for one in reference:
        if one.quantity not in wanted or one.status is not Status.OK:
            continue
        other = seen.get((one.region, one.quantity))
        value = other.value if other is not None and other.status is Status.OK else math.nan
        pairs.append(ThicknessAgreement(one.region, one.quantity, one.unit, one.value, value))
    return tuple(pairs)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bland–Altman over scans (Bland & Altman 1986, doi:10.1016/S0140-6736(86)90837-8).

    Attributes
    ----------
    n : Pairs with both values.
    missing : Pairs where the found segmentation gave no value.
    bias, sd : Mean and SD of found − reference.
    low, high : 95 % limits of agreement.
    worst : The difference farthest from zero.
    correlation : Pearson's r between the two; NaN below three pairs.
    """

    n: int
    missing: int
    bias: float
    sd: float
    low: float
    high: float
    worst: float
    correlation: float


def limits_of_agreement(pairs: Sequence[ThicknessAgreement]) -> Limits:
    """Bias and limits of one quantity of one region over scans.

    >>> pairs = [ThicknessAgreement("MT", "ThCtAB_aMe", "mm", 2.0, 2.0 + d) for d in (-0.1, 0.1)]
    >>> limits = limits_of_agreement(pairs)
    >>> round(limits.bias, 9), round(limits.sd, 6)
    (0.0, 0.141421)
    """
    values = np.array([(p.reference, p.found) for p in pairs if math.isfinite(p.found)])
    missing = len(pairs) - len(values)
    if not len(values):
        return Limits(0, missing, *[math.nan] * 6)
    differences = values[:, 1] - values[:, 0]
    bias = float(differences.mean())
    sd = float(differences.std(ddof=1)) if len(values) > 1 else math.nan
    worst = float(differences[np.abs(differences).argmax()])
    varied = len(values) > 2 and bool((values.std(axis=0) > 0).all())
    r = float(np.corrcoef(values.T)[0, 1]) if varied else math.nan
    return Limits(len(values), missing, bias, sd, bias - 1.96 * sd, bias + 1.96 * sd, worst, r)
