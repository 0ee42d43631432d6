"""DICOM segmentations as another program writes them: highdicom, from the files of a series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr.coding import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from kneeimg.core.anatomy import Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume

#: A code that says nothing about which tissue it is.
ANY_TISSUE = codes.SCT.Tissue


def write_seg(
    planes: NDArray[Any],
    sources: Sequence[Path],
    path: Path,
    names: Sequence[str],
    *,
    kind: str = "BINARY",
    concepts: Sequence[CodedConcept] | None = None,
    regions: Mapping[int, CodedConcept] | None = None,
    change: Callable[[Dataset], None] | None = None,
    **more: Any,
) -> Path:
    """Write segments of a series.

    Parameters
    ----------
    planes : (slices, rows, columns, segments), slices in the order of `sources`.
    sources : Files of the series.
    path : File to write.
    names, concepts : Label and property type of every segment.
    kind : "BINARY", "FRACTIONAL" or "LABELMAP".
    regions : Segment number to its anatomic region.
    change : Applied to the dataset before it is saved.
    """
    images = [dcmread(source, stop_before_pixels=True) for source in sources]
    segments = [
        hd.seg.SegmentDescription(
            segment_number=n,
            segment_label=name,
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=concepts[n - 1] if concepts else ANY_TISSUE,
            algorithm_type="MANUAL",
            anatomic_regions=[regions[n]] if regions and n in regions else None,
        )
        for n, name in enumerate(names, start=1)
    ]
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=planes,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=90,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
        **more,
    )
    if change is not None:
        change(seg)
    seg.save_as(path)
    return path


def planes_of(label_map: LabelMap, grid: Grid) -> tuple[NDArray[Any], list[Tissue]]:
    """(slices, rows, columns, segments) of a map on the (column, row, slice) grid of a series."""
    label_map.grid.require_same(grid)
    tissues = sorted(label_map.tissues())
    if label_map.is_soft:
        parts = [label_map.fraction(tissue) for tissue in tissues]
    else:
        parts = [(label_map.labels == tissue).astype(np.uint8) for tissue in tissues]
    return np.stack([part.transpose(2, 1, 0) for part in parts], axis=-1), tissues


def names_of(tissues: Sequence[Tissue]) -> list[str]:
    """Names as people write them: "Femoral Cartilage"."""
    return [tissue.name.replace("_", " ").title() for tissue in tissues]


def blank_volume(grid: Grid) -> Volume:
    """An image with something in it on a grid."""
    values = np.arange(int(np.prod(grid.shape))).reshape(grid.shape) % 251
    return Volume(values.astype(np.uint16), grid, "a.u.")
