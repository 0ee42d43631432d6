"""The plate model's file: plain arrays in an .npz, read without pickle."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import Bone
from kneeimg.core.plate_model import BonePlates, PlateModel
from kneeimg.errors import StudyError
from kneeimg.settings.resources import model_path

#: Layout of the file; another number is another layout.
FORMAT = 1
_FIELDS = ("points_mm", "normals", "inside_mm", "modes_mm")


@lru_cache(maxsize=1)
def shipped_plate_model() -> PlateModel:
    """The model that ships with kneeimg, read once."""
    return read_plate_model(model_path("plate_model") / "plate_model.npz")


def read_plate_model(path: Path) -> PlateModel:
    """Read a plate model.

    Raises
    ------
    StudyError
        The file is absent, no .npz, of another layout, or incomplete.
    """
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if int(arrays["format"]) != FORMAT:
                raise StudyError(
                    "the plate model has another layout",
                    where=path.name,
                    expected=str(FORMAT),
                    found=str(int(arrays["format"])),
                )
            bones = {
                bone: BonePlates(
                    *(arrays[f"{bone.value}_{name}"].astype(np.float64) for name in _FIELDS)
                )
                for bone in Bone
                if f"{bone.value}_points_mm" in arrays
            }
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StudyError(
            "the plate model cannot be read", where=path.name, found=str(error)
        ) from error
    return PlateModel(bones, hashlib.sha256(content).hexdigest())


def write_plate_model(model: PlateModel, path: Path) -> None:
    """Write a plate model; float16 for the distances (5 µm at 8 mm), float32 for the points."""
    arrays = {"format": np.array(FORMAT)}
    kinds = dict(zip(_FIELDS, (np.float32, np.float16, np.float16, np.float16), strict=True))
    for bone, plates in model.bones.items():
        for name, kind in kinds.items():
            arrays[f"{bone.value}_{name}"] = getattr(plates, name).astype(kind)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
