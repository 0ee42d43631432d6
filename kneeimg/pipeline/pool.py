"""From a datalist to a pool: every knee made ready to be scanned, once."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Mapping
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
    from kneeimg.training.anatomy_source import KneeLabels

Progress = Callable[[int, int, str], None]

#: Grows with every change of how a labelled image is stored.
_IMAGE_RECIPE = 1


@dataclass(frozen=True, slots=True)
class PoolFile:
    """One knee in a pool.

    Attributes
    ----------
    path : The `.npz` file.
    participant, visit : Whose knee, and which scan of it.
    variant : 0 is the knee as labelled; others have disease drawn.
    recipe : Number of the recipe that it is made by; another one makes another knee of it.
    """

    path: Path
    participant: str
    visit: str
    variant: int
    recipe: int

    @property
    def seed(self) -> int:
        """The same for the same scan and variant, on every machine."""
        return zlib.crc32(f"{self.participant}/{self.visit}/{self.variant}".encode())

    def is_current(self) -> bool:
        """Whether the file is there, readable and made by this recipe."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                return int(stored["recipe"]) == self.recipe and int(stored["seed"]) == self.seed
        except (OSError, ValueError, KeyError, zlib.error, EOFError):
            return False

    def tissue_map(self, knee: KneeLabels, donor: Path | None) -> dict[str, np.ndarray]:
        """The whole knee built around a label map, with the disease of this variant."""
        from kneeimg.training.anatomy import build_tissue_map
        from kneeimg.training.anatomy_disease import Disease

        rng = np.random.default_rng(self.seed)
        disease = Disease.none() if self.variant == 0 else Disease.drawn(rng)
        made = build_tissue_map(knee, _donor(donor), rng, disease)
        return {
            "substances": made.substances,
            "spacing_mm": np.array(made.spacing_mm),
            "disease": np.array(json.dumps(disease.described())),
        }

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Store the arrays and what they are, atomically.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            participant=self.participant,
            visit=self.visit,
            variant=self.variant,
            seed=self.seed,
            recipe=self.recipe,
            allow_pickle=False,
            **arrays,
        )
        write_bytes(self.path, stream.getvalue())


@dataclass(frozen=True, slots=True)
class _Task:
    """A knee of the pool to make: what it is made of, in which folder that lies, and its file."""

    entry: DataEntry
    folder: Path
    file: PoolFile


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
    tasks = [
        task for task in _tasks(datalist, folder, pool, variants) if not task.file.is_current()
    ]
    for done, task in enumerate(tasks):
        progress(done, len(tasks), task.file.path.name)
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


def _tasks(datalist: Datalist, folder: Path, pool: Path, variants: int) -> list[_Task]:
    """Variant by variant, so that an unfinished pool holds everybody; labelled images have one."""
    from kneeimg.training.anatomy import RECIPE

    return [
        _Task(
            entry,
            folder,
            PoolFile(
                pool / f"{_name(entry)}_v{variant:02d}.npz",
                entry.participant,
                entry.visit,
                variant,
                RECIPE if entry.image is None else _IMAGE_RECIPE,
            ),
        )
        for variant in range(variants)
        for entry in datalist.training
        if variant == 0 or entry.image is None
    ]


def _name(entry: DataEntry) -> str:
    return f"{entry.participant}_{entry.visit}{entry.side.value[0].upper()}"


def _make(task: _Task, donor: Path | None) -> None:
    from kneeimg.io.label_maps import read_label_map
    from kneeimg.training.anatomy_source import KneeLabels

    entry = task.entry
    image = None if entry.image is None else _read_image(task.folder / entry.image)
    grid = None if image is None else image.grid
    labels = read_label_map(task.folder / entry.label, entry.scheme, grid)
    if image is None:
        arrays = task.file.tissue_map(KneeLabels.of(labels, entry.side), donor)
    else:
        arrays = _scan(entry, image, labels)
    task.file.write(arrays)


def _read_image(path: Path) -> Volume:
    from kneeimg.io.nifti import read_volume

    return read_volume(path)


@lru_cache(maxsize=1)
def _donor(path: Path | None) -> Donor | None:
    """The knee that lends its soft tissue, read once."""
    if path is None:
        return None
    from kneeimg.training.anatomy_atlas import spl_donor

    return spl_donor(*read_values(path))


def read_values(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Values as they stand, on axes closest to left, posterior, superior, and voxel size in mm."""
    import SimpleITK

    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
    step = image.GetSpacing()
    values = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return values, (float(step[0]), float(step[1]), float(step[2]))


def _scan(entry: DataEntry, image: Volume, labels: LabelMap) -> dict[str, np.ndarray]:
    """A labelled image in the network frame at the voxel size of the fine network."""
    import torch

    from kneeimg.networks.cascade import intensity_range, levelled
    from kneeimg.networks.frame import frame_of, resample, sample, source_index
    from kneeimg.networks.spec import CascadeSpec
    from kneeimg.training.validation import class_values

    if not np.isfinite(image.data).all():
        raise MaskError(
            "the image holds values that are not numbers",
            code=ReasonCode.EMPTY_MASK,
            where=str(entry.image),
        )
    frame = frame_of(image.grid, entry.side, CascadeSpec().fine_spacing_mm)
    signal = resample(
        torch.as_tensor(np.ascontiguousarray(image.data))[None].float(), image.grid, frame
    )
    classes = torch.as_tensor(class_values(labels))[None].float()
    index = source_index(labels.grid, frame, classes)
    return {
        "image": levelled(signal, *intensity_range(signal))[0].numpy().astype(np.float16),
        "classes": sample(classes, index, classes, "nearest")[0].numpy().astype(np.uint8),
        "spacing_mm": np.asarray(frame.spacing_mm, dtype=np.float64),
        "unknown": np.array(entry.unknown_classes, dtype=np.uint8),
    }
