"""Dense foreign objects: implants in the joint, markers and beads beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.segment.film.locate import Pose, shrink

FloatArray = NDArray[np.float64]

_WORK_PIXELS = 512
_BONE_CEILING = 0.58  # bone stays below this share of the grey range when metal is on the film
_METAL_FLOOR = 0.75
_IMPLANT_AREA = 0.008  # of the squared femoral width: 7 x 7 mm on a knee 80 mm wide
_SPECK_PIXELS = 4
_JOINT_BOX = (-0.10, 1.10, -0.50, 0.50)  # x and v around the joint


def metal_mask(image: FloatArray) -> NDArray[np.bool_]:
    """Pixels of objects far denser than bone; empty when grey values run on without a gap.

    Metal is told from bone by the empty stretch of grey values between them: without metal the
    brightest bone sets the range, and pixels close below it are plentiful. What touches the edge
    of the film (borders, collimators) is not an object.
    """
    from scipy.ndimage import label, median_filter

    calm = median_filter(image, size=3, mode="nearest")
    low, high = float(np.percentile(calm, 0.5)), float(calm.max())
    share = (calm - low) / max(high - low, 1e-12)
    metal = share > _METAL_FLOOR
    between = (share > _BONE_CEILING) & ~metal
    if not metal.any() or between.sum() > 0.5 * metal.sum() + 20:
        return np.zeros(image.shape, dtype=bool)
    labels, _ = label(metal)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    sizes = np.bincount(labels.ravel())
    keep = sizes >= _SPECK_PIXELS
    keep[np.unique(border)] = False
    keep[0] = False
    kept: NDArray[np.bool_] = keep[labels]
    return kept


def check_metal(image: FloatArray, pose: Pose) -> list[Finding]:
    """Findings about metal on a film with medial on the left.

    Raises
    ------
    InputError
        IMPLANT_SUSPECTED for a large object within the joint.
    """
    from scipy.ndimage import center_of_mass, label

    small, factor = shrink(image, _WORK_PIXELS)
    labels, count = label(metal_mask(small))
    if not count:
        return []
    numbers = np.arange(1, count + 1)
    areas = np.bincount(labels.ravel())[1:] / (pose.width * factor) ** 2
    centres = np.array(center_of_mass(np.ones(small.shape), labels, numbers))[:, ::-1]
    frame = pose.frame((centres + 0.5) / factor - 0.5)
    left, right, top, bottom = _JOINT_BOX
    near = (frame[:, 0] > left) & (frame[:, 0] < right)
    near &= (frame[:, 1] > top) & (frame[:, 1] < bottom)
    # a prosthesis spoils the match of the outline: something huge is refused wherever it lies
    if (near & (areas > _IMPLANT_AREA)).any() or areas.max() > 5 * _IMPLANT_AREA:
        raise InputError(
            "metal covers part of the joint; its margins are not those of bone",
            code=ReasonCode.IMPLANT_SUSPECTED,
            expected="a native knee",
            found=f"{count} dense objects, the largest {100 * areas.max():.1f} % of width squared",
            action="leave this knee out, or check the film for an implant",
        )
    place = ", ".join(f"x {x:.2f} v {v:.2f}" for x, v in frame[:3])
    return [
        Finding(
            ReasonCode.OBJECT_IN_VIEW,
            f"{count} small dense object(s) on the film",
            found=place,
            action="check that no object lies on a joint margin",
        )
    ]
