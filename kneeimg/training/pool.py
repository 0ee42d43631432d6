"""The pool: tissue maps on disk, by participant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from kneeimg.errors import StudyError
from kneeimg.networks.spec import CLASS_NAMES
from kneeimg.training.scans import Knee
from kneeimg.training.tissues import IGNORED_CLASS, Substance, classes_of


@dataclass(frozen=True, slots=True)
class PoolKnee:
    """One tissue map of the pool.

    Attributes
    ----------
    path : Its `.npz` file.
    participant : Whose knee; splits go by participant.
    """

    path: Path
    participant: str

    @property
    def is_as_labelled(self) -> bool:
        """Whether no disease was drawn into it: variant 0 of its knee.

        >>> PoolKnee(Path("P01_M00_v00.npz"), "P01").is_as_labelled
        True
        """
        return self.path.stem.endswith("_v00")


def list_pool(folder: Path) -> tuple[PoolKnee, ...]:
    """Every tissue map of a pool, in the order of the file names.

    Raises
    ------
    StudyError
        If there is none.
    """
    knees = tuple(PoolKnee(path, path.name.split("_")[0]) for path in sorted(folder.glob("*.npz")))
    if not knees:
        raise StudyError(
            "the training pool is empty",
            expected=f"*.npz tissue maps in {folder.name}/",
            found="none",
            action="make them with scripts/make_training_pool.py",
        )
    return knees


def split(
    knees: Sequence[PoolKnee], held_out: Sequence[str]
) -> tuple[tuple[PoolKnee, ...], tuple[PoolKnee, ...]]:
    """Knees to learn from and knees of held-out participants.

    Raises
    ------
    StudyError
        If a held-out participant has no knee, or nobody is left to learn from.
    """
    known = {knee.participant for knee in knees}
    strangers = sorted(set(held_out) - known)
    if strangers or known <= set(held_out):
        raise StudyError(
            "the split by participant is not possible",
            expected=f"held-out participants among {', '.join(sorted(known))}, and some left",
            found=", ".join(strangers) or "everybody is held out",
        )
    learn = tuple(knee for knee in knees if knee.participant not in held_out)
    return learn, tuple(knee for knee in knees if knee.participant in held_out)


def load_knee(knee: PoolKnee, device: torch.device | str = "cpu") -> Knee:
    """Read one knee: a tissue map (`substances`) or a real scan (`image`, `classes`, `unknown`).

    Raises
    ------
    StudyError
        If the file is damaged or holds a code that is no substance or class.
    """
    try:
        with knee.path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: np.ascontiguousarray(file[name]) for name in file.files}
        spacing = tuple(float(mm) for mm in found["spacing_mm"])
        content = found["substances"] if "substances" in found else found["image"]
        classes = classes_of(content) if "substances" in found else found["classes"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise StudyError(
            "a knee of the training pool cannot be read",
            where=knee.path.name,
            found=str(error),
            action="make the pool again",
        ) from error
    known = (
        {int(s) for s in Substance}
        if "substances" in found
        else {*range(len(CLASS_NAMES)), IGNORED_CLASS}
    )
    strangers = set(np.unique(found.get("substances", classes)[::3, ::3, ::3]).tolist()) - known
    if strangers or content.ndim != 3 or content.shape != classes.shape or len(spacing) != 3:
        raise StudyError(
            "a knee of the training pool does not fit",
            where=knee.path.name,
            expected="(i, j, k) codes of known substances or classes",
            found=f"codes {sorted(strangers)}, shape {content.shape}",
        )
    return Knee(
        torch.from_numpy(content).to(device),
        torch.from_numpy(classes).to(device),
        (spacing[0], spacing[1], spacing[2]),
        tuple(int(value) for value in found.get("unknown", ())),
    )
