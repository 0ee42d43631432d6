"""Whether bone is bright on a film: told by its thin lines, and in doubt by the joint itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment
from kneeimg.segment.film.locate import Pose, locate
from kneeimg.segment.film.rectify import level
from kneeimg.segment.film.trace import trace_pair

FloatArray = NDArray[np.float64]

_LINE_WIDTH = 0.0055  # of femoral width, SD of the filter that shows cortex and trabeculae
_SURROUND = 2.5  # times wider, what lines are compared with
# Cortex, trabeculae and plates are thin and dense: on 1123 films the skewness of fine detail is
# -0.09 to 1.3, on 10 inverted ones -0.53 to -0.22. In between the joint decides.
_INVERTED, _UPRIGHT = -0.19, -0.12


def line_skewness(image: FloatArray, width: float) -> float:
    """Skewness of fine detail: positive where thin lines are bright, as bone is.

    Parameters
    ----------
    image : (rows, columns) film.
    width : Femoral width in pixels, roughly.
    """
    from scipy.ndimage import gaussian_filter

    sigma = max(0.7, _LINE_WIDTH * width)
    detail = gaussian_filter(image, sigma) - gaussian_filter(image, _SURROUND * sigma)
    rim = min(int(3 * sigma) + 2, min(image.shape) // 4)
    inner = detail[rim : image.shape[0] - rim, rim : image.shape[1] - rim]
    scaled = np.clip(inner / (inner.std() + 1e-12), -4.0, 4.0)  # no single object decides
    return float((scaled * scaled * scaled).mean())  # a power takes ten times as long


def upright(
    image: FloatArray, widths: tuple[float, float], *, check: bool
) -> tuple[FloatArray, Pose, bool]:
    """The film with bright bone, the pose of its knee, and whether grey values were turned.

    Parameters
    ----------
    image : (rows, columns) film with medial on the left.
    widths : Least and greatest femoral width in pixels to try.
    check : Whether the film may be turned at all.
    """
    bright, dark = locate(image, widths)
    if not check:
        return image, bright, False
    skewness = line_skewness(image, max(bright, dark, key=lambda pose: pose.score).width)
    negative = image.max() - image
    turned = skewness < _INVERTED
    if _INVERTED <= skewness <= _UPRIGHT:
        turned = _joint_merit(negative, dark) > _joint_merit(image, bright)
    return (negative, dark, True) if turned else (image, bright, False)


def _joint_merit(image: FloatArray, pose: Pose) -> float:
    """How clearly a joint is traced: edge strength and darkness of both compartments, and match."""
    film = level(image, pose)
    pairs = [trace_pair(film, c) for c in Compartment]
    merit = [float(pair.strength.mean()) + 0.3 * min(pair.contrast, 2.0) for pair in pairs]
    return pose.score + min(merit)
