"""From a datalist to a pool: every knee made ready to be scanned, once."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.io.atomic import write_bytes, write_json
from kneeimg.training.datalist import DataEntry, Datalist

if TYPE_CHECKING:
    from kneeimg.training.anatomy_donor import Donor

Progress = Callable[[int, int, str], None]

#: Grows with every change of how a labelled image is stored.
_IMAGE_RECIPE = 1


@dataclass(frozen=True, slots=True)
class PoolTask:
    """One knee of the pool.

    Attributes
    ----------
    entry : What it is made of.
    folder : Folder of the datalist.
    variant : 0 is the knee as labelled; others have disease drawn. Labelled images have no others.
    target : File in the pool.
    """

    entry: DataEntry
    folder: Path
    variant: int
    target: Path

    @property
    def seed(self) -> int:
        """The same for the same scan and variant, on every machine."""
        return zlib.crc32(f"{self.entry.participant}/{self.entry.visit}/{self.variant}".encode())


def make_pool(
    datalist: Datalist,
    folder: Path,
    pool: Path,
    *,
    variants: int,
    donor: Path | None,
    progress: Progress,
) -> int:
    """Make what the pool lacks; returns the number of knees made.

    Knees that are there already are kept, so the work can be stopped and started again.

    Raises
    ------
    MaskError
        A label map cannot be read, has a value outside its scheme, does not lie on its image, or
        is not a whole knee.
    """
    tasks = [task for task in _tasks(datalist, folder, pool, variants) if not _is_current(task)]
    for done, task in enumerate(tasks):
        progress(done, len(tasks), task.target.name)
        _make(task, donor)
    if tasks:
        progress(len(tasks), len(tasks), "pool")
    write_json(
        pool / "pool.json",
        {
            "name": datalist.name,
            "licence": datalist.licence,
            "knees": sorted(path.name for path in pool.glob("*.npz")),
        },
    )
    return len(tasks)


def _tasks(datalist: Datalist, folder: Path, pool: Path, variants: int) -> list[PoolTask]:
    """Variant by variant, so that an unfinished pool holds everybody."""
    return [
        PoolTask(entry, folder, variant, pool / f"{_name(entry)}_v{variant:02d}.npz")
        for variant in range(variants)
        for entry in datalist.training
        if variant == 0 or entry.image is None
    ]


def _name(entry: DataEntry) -> str:
    return f"{entry.participant}_{entry.visit}{entry.side.value[0].upper()}"


def _recipe(task: PoolTask) -> int:
    from kneeimg.training.anatomy import RECIPE

    return RECIPE if task.entry.image is None else _IMAGE_RECIPE


def _is_current(task: PoolTask) -> bool:
    try:
        with np.load(task.target, allow_pickle=False) as stored:
            return int(stored["recipe"]) == _recipe(task) and int(stored["seed"]) == task.seed
    except (OSError, ValueError, KeyError, zlib.error, EOFError):
        return False


def _make(task: PoolTask, donor: Path | None) -> None:
    from kneeimg.io.label_maps import read_label_map

    entry = task.entry
    image = None if entry.image is None else _read_image(task.folder / entry.image)
    grid = None if image is None else image.grid
    labels = read_label_map(task.folder / entry.label, entry.scheme, grid)
    arrays = _tissue_map(task, labels, donor) if image is None else _scan(task, image, labels)
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        participant=entry.participant,
        visit=entry.visit,
        variant=task.variant,
        seed=task.seed,
        recipe=_recipe(task),
        allow_pickle=False,
        **arrays,
    )
    write_bytes(task.target, stream.getvalue())


def _read_image(path: Path) -> Volume:
    from kneeimg.io.nifti import read_volume

    return read_volume(path)


def _tissue_map(task: PoolTask, labels: LabelMap, donor: Path | None) -> dict[str, np.ndarray]:
    from kneeimg.training.anatomy import build_tissue_map
    from kneeimg.training.anatomy_disease import Disease
    from kneeimg.training.anatomy_source import KneeLabels

    rng = np.random.default_rng(task.seed)
    disease = Disease.none() if task.variant == 0 else Disease.drawn(rng)
    knee = KneeLabels.of(labels, task.entry.side)
    made = build_tissue_map(knee, _donor(donor), rng, disease)
    return {
        "substances": made.substances,
        "spacing_mm": np.array(made.spacing_mm),
        "disease": np.array(json.dumps(disease.described())),
    }


@lru_cache(maxsize=1)
def _donor(path: Path | None) -> Donor | None:
    """The knee that lends its soft tissue, read once."""
    if path is None:
        return None
    import SimpleITK

    from kneeimg.training.anatomy_atlas import spl_donor

    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
    step = image.GetSpacing()
    structures = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return spl_donor(structures, (float(step[0]), float(step[1]), float(step[2])))


def _scan(task: PoolTask, image: Volume, labels: LabelMap) -> dict[str, np.ndarray]:
    """A labelled image in the network frame at the voxel size of the fine network."""
    import torch

    from kneeimg.networks.cascade import intensity_range, scaled
    from kneeimg.networks.frame import frame_of, resample, sample, source_index
    from kneeimg.networks.spec import CascadeSpec
    from kneeimg.training.validation import class_values

    if not np.isfinite(image.data).all():
        raise MaskError(
            "the image holds values that are not numbers",
            code=ReasonCode.EMPTY_MASK,
            where=str(task.entry.image),
        )
    frame = frame_of(image.grid, task.entry.side, CascadeSpec().fine_spacing_mm)
    signal = resample(
        torch.as_tensor(np.ascontiguousarray(image.data))[None].float(), image.grid, frame
    )
    classes = torch.as_tensor(class_values(labels))[None].float()
    index = source_index(labels.grid, frame, classes)
    return {
        "image": scaled(signal, *intensity_range(signal))[0].numpy().astype(np.float16),
        "classes": sample(classes, index, classes, "nearest")[0].numpy().astype(np.uint8),
        "spacing_mm": np.asarray(frame.spacing_mm, dtype=np.float64),
        "unknown": np.array(task.entry.unknown_classes, dtype=np.uint8),
    }
