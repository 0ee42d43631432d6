"""Where the anatomy of a demo scan comes from: the one place that decides it.

Masks are written beside every MR series, so `kneeimg run` measures those. Where there is none it
segments the image with the model that ships.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kneeimg.core.label_map import LabelMap
from kneeimg.demo.plan import DemoScan
from kneeimg.phantoms.knee import KneePhantom

_PURPOSE = 4  # of the random numbers: poses are 1, films 2, noise 3


def write_mask(series: Path, scan: DemoScan, knee: KneePhantom, true_map: LabelMap) -> bool:
    """Write the soft mask of one MR scan beside its series folder.

    Parameters
    ----------
    series : Folder of the DICOM series.
    scan : Which scan; its `error` says how far the mask is off.
    knee : The knee that was scanned, in its pose.
    true_map : That knee drawn exactly, on the grid of the scan.

    Returns
    -------
    Whether there is a mask: False leaves the anatomy to a segmenter.
    """
    from kneeimg.io.label_maps import write_label_map

    if not scan.masked:
        return False
    drawn = true_map
    if scan.error is not None:
        rng = np.random.default_rng(scan.seed(_PURPOSE))
        drawn = knee.label_map(true_map.grid, error=scan.error, rng=rng)
    write_label_map(drawn, series.with_name(f"{series.name}_probseg.nii.gz"), soft=True)
    return True
