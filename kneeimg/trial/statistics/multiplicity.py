"""p-values adjusted for many tests.

References
----------
.. [1] Holm 1979 (Scand J Stat 6:65), JSTOR 4615733.
.. [2] Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kneeimg.trial.statistics.checks import FloatArray


def holm(p: ArrayLike) -> FloatArray:
    """Adjusted p that hold the family-wise error [1]_; NaN stays NaN and is no test.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    return _adjusted(p, step_down=True)


def benjamini_hochberg(p: ArrayLike) -> FloatArray:
    """Adjusted p that hold the false discovery rate [2]_; NaN stays NaN and is no test.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    array([0.03, 0.04, 0.04])
    """
    return _adjusted(p, step_down=False)


def _adjusted(p: ArrayLike, *, step_down: bool) -> FloatArray:
    values = np.array(p, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    m, rank = len(order), np.arange(1, len(order) + 1)
    if step_down:
        raw = np.maximum.accumulate((m - rank + 1) * values[order])
    else:
        raw = np.minimum.accumulate((m / rank * values[order])[::-1])[::-1]
    values[order] = np.minimum(raw, 1.0)
    return values
