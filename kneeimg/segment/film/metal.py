"""Dense foreign objects: implants in the joint, markers and beads beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.segment.film.locate import Pose, shrink

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

_WORK_WIDTH = 250.0  # pixels per femoral width while looking, about 0.3 mm each
_BONE_CEILING = 0.58  # bone stays below this share of the grey range when metal is on the film
_METAL_FLOOR = 0.75
_IMPLANT_AREA = 0.008  # of the squared femoral width: 7 x 7 mm on a knee 80 mm wide
_OBJECT_AREA = 1.5e-4  # of the squared femoral width: a disc of 1.1 mm
_HALO = 2  # pixels around an object that its blur may reach
_RING = 3  # width in pixels of the surroundings it is compared with
_STEP = 0.25  # least fall of density from a bead to all that surrounds it, share of the range
# The same from an implant to the densest and to most of its surroundings: overexposed bone of 1133
# real films reaches 0.12 and 0.37, never both above; a metal phantom 0.50 and 0.55.
_IMPLANT_STEP, _IMPLANT_USUAL_STEP = 0.15, 0.25
_FILL = 0.45  # least share of its bounding box that a small object fills; a disc fills 0.79
_LONGEST = 3.0  # a small object is at most this many times as long as wide


@dataclass(frozen=True, slots=True)
class MetalObject:
    """One dense object.

    Attributes
    ----------
    centre : (column, row) on the film searched.
    area : Pixels.
    compact : Whether it has the shape of a bead or marker.
    fall, usual_fall : Fall of density to the densest and to the median of its surroundings, share
        of the grey range.
    """

    centre: tuple[float, float]
    area: int
    compact: bool
    fall: float
    usual_fall: float


def metal_objects(image: FloatArray, least_pixels: int = 4) -> tuple[MetalObject, ...]:
    """Objects far denser than bone; none when grey values run on without a gap.

    Parameters
    ----------
    image : (rows, columns) film, bright where dense.
    least_pixels : Smaller specks are noise.

    Notes
    -----
    Metal is told from bone by the empty stretch of grey values between them: without metal the
    brightest bone sets the range, and pixels close below it are plentiful. Where bones overlap on
    a film with much air the brightest bone can stand apart too, but it fades into its
    surroundings; metal ends within its blur on all sides. What touches the edge of the film
    (borders, collimators) is not an object.
    """
    from scipy.ndimage import find_objects, label, median_filter

    calm = median_filter(image, size=3, mode="nearest")
    low, high = float(np.percentile(calm, 0.5)), float(calm.max())
    share = (calm - low) / max(high - low, 1e-12)
    metal = share > _METAL_FLOOR
    between = (share > _BONE_CEILING) & ~metal
    if not metal.any() or between.sum() > 0.5 * metal.sum() + 20:
        return ()
    labels, _ = label(metal)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    sizes = np.bincount(labels.ravel())
    sizes[np.unique(border)] = 0
    boxes = find_objects(labels)
    numbers = [n for n in range(1, len(sizes)) if sizes[n] >= least_pixels]
    return tuple(_described(share, metal, labels, n, boxes[n - 1]) for n in numbers)


def _described(
    share: FloatArray,
    metal: Mask,
    labels: NDArray[np.signedinteger],
    number: int,
    box: tuple[slice, ...],
) -> MetalObject:
    """An object with its place, shape and how it stands out."""
    pad = _HALO + _RING + 1
    wide = tuple(
        slice(max(side.start - pad, 0), min(side.stop + pad, size))
        for side, size in zip(box, share.shape, strict=True)
    )
    own = labels[wide] == number
    rows, columns = np.nonzero(own)
    centre = (float(columns.mean()) + wide[1].start, float(rows.mean()) + wide[0].start)
    extent = [side.stop - side.start for side in box]
    filled = own.sum() / (extent[0] * extent[1])
    long = max(extent) / min(extent)
    compact = bool(filled >= _FILL and long <= _LONGEST)
    return MetalObject(centre, int(own.sum()), compact, *_falls(share[wide], metal[wide], own))


def _falls(share: FloatArray, metal: Mask, own: Mask) -> tuple[float, float]:
    """Fall of density to the densest and the median of what surrounds it, other metal apart."""
    from scipy.ndimage import binary_dilation

    near = binary_dilation(own, iterations=_HALO)
    ring = binary_dilation(near, iterations=_RING) & ~near & ~binary_dilation(metal & ~own)
    if not ring.any():
        return 1.0, 1.0
    densest, usual = np.percentile(share[ring], (95, 50))
    inside = float(np.median(share[own]))
    return inside - float(densest), inside - float(usual)


def check_metal(image: FloatArray, pose: Pose) -> list[Finding]:
    """Findings about metal on a film with medial on the left.

    Raises
    ------
    InputError
        IMPLANT_SUSPECTED for a large object.
    """
    longest = int(_WORK_WIDTH / max(pose.width, 1.0) * max(image.shape))
    small, factor = shrink(image, max(longest, 64))
    width = pose.width * factor
    objects = metal_objects(small, max(4, round(_OBJECT_AREA * width**2)))
    large = [
        thing
        for thing in objects
        if thing.area > _IMPLANT_AREA * width**2
        and thing.fall >= _IMPLANT_STEP
        and thing.usual_fall >= _IMPLANT_USUAL_STEP
    ]
    if large:
        raise InputError(
            "metal covers part of the joint; its margins are not those of bone",
            code=ReasonCode.IMPLANT_SUSPECTED,
            expected="a native knee",
            found=f"{len(large)} dense objects, the largest "
            f"{100 * max(thing.area for thing in large) / width**2:.1f} % of width squared",
            action="leave this knee out, or check the film for an implant",
        )
    beads = [thing for thing in objects if thing.compact and thing.fall >= _STEP]
    if not beads:
        return []
    centres = np.array([thing.centre for thing in beads])
    place = ", ".join(
        f"x {x:.2f} v {v:.2f}" for x, v in pose.frame((centres[:3] + 0.5) / factor - 0.5)
    )
    return [
        Finding(
            ReasonCode.OBJECT_IN_VIEW,
            f"{len(beads)} small dense object(s) on the film",
            found=place,
            action="check that no object lies on a joint margin",
        )
    ]
