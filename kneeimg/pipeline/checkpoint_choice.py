"""Which checkpoint of a training is kept: the one that measures best on people not learned from."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kneeimg.errors import KneeimgError, StudyError
from kneeimg.pipeline.evaluation import PLATES, Case, compare_scan, segment_with_model

if TYPE_CHECKING:
    from kneeimg.networks.cascade import KneeCascade
    from kneeimg.settings.training import ValidationSettings
    from kneeimg.training.pool import PoolKnee
    from kneeimg.training.validation import WholeScan

#: Copy of the checkpoint with the lowest score, beside the last one.
BEST = "best.pt"
#: One line for every validation.
LOG = "validation.jsonl"

#: What a scan that cannot be segmented or measured is taken for: no overlap, 1 mm off.
_NO_DICE, _WRONG_MM = 0.0, 1.0


@dataclass(frozen=True, slots=True)
class Validation:
    """What a checkpoint reaches on the scans that it is chosen on.

    Attributes
    ----------
    iteration : Steps of the fine network.
    dice : Mean over cartilages and scans.
    thickness_error_mm : Mean |error of ThCtAB| over plates and scans.
    refused : Scans that could not be segmented or measured; they count as 0 and 1 mm.
    best : Whether no earlier one had a lower score.
    """

    iteration: int
    dice: float
    thickness_error_mm: float
    refused: int
    best: bool

    @property
    def score(self) -> float:
        """1 - Dice + error in mm; lower is better.

        >>> Validation(1000, 0.85, 0.12, 0, True).score
        0.27
        """
        return round(1.0 - self.dice + self.thickness_error_mm, 9)


def summarise(iteration: int, cases: Sequence[Case], earlier: Sequence[float]) -> Validation:
    """One validation of the scans' comparisons.

    Parameters
    ----------
    cases : One for each scan.
    earlier : Scores of the validations before.
    """
    dice, error = [], []
    for case in cases:
        found = case.mean_dice
        dice.append(found if math.isfinite(found) else _NO_DICE)
        plates = [
            min(abs(pair.difference), _WRONG_MM) if math.isfinite(pair.difference) else _WRONG_MM
            for pair in case.thickness
            if pair.quantity == "ThCtAB_aMe" and pair.region in PLATES
        ]
        error.append(sum(plates) / len(plates) if plates else _WRONG_MM)
    made = Validation(
        iteration=iteration,
        dice=sum(dice) / len(dice),
        thickness_error_mm=sum(error) / len(error),
        refused=sum(case.finding is not None for case in cases),
        best=False,
    )
    return replace(made, best=made.score <= min(earlier, default=math.inf))


class CheckpointChoice:
    """Validates a model now and then and keeps the checkpoint that did best.

    Parameters
    ----------
    settings : On whom, how often, with which contrasts.
    knees : The whole pool; the people of the settings are looked up in it.
    folder : Folder of the fine stage: checkpoints and the log of validations.
    device : Where networks run.

    Raises
    ------
    StudyError
        If a participant to validate on has no knee, or a family no protocol.
    """

    def __init__(
        self, settings: ValidationSettings, knees: Sequence[PoolKnee], folder: Path, device: str
    ) -> None:
        self._settings = settings
        self._knees = _chosen(settings, knees)
        self._folder, self._device = folder, device

    def due(self, iteration: int) -> bool:
        """Whether a model of this many steps is to be validated."""
        return bool(self._knees) and iteration % self._settings.every == 0

    def validate(self, model: KneeCascade, iteration: int, checkpoint: Path) -> Validation:
        """Validate a model and keep a copy of its checkpoint if it is the best so far."""
        from kneeimg.networks.bundle import write_bundle

        candidate = self._folder / "candidate"
        write_bundle(model, candidate, version=str(iteration), maturity="preview")
        segment = segment_with_model(str(candidate), self._device)
        cases = []
        for scan, name in self._scans():
            try:
                cases.append(Case(name, *compare_scan(scan, segment(scan.image, scan.side))))
            except KneeimgError as error:
                cases.append(Case(name, finding=error.finding))
        made = summarise(iteration, cases, self._earlier())
        if made.best:
            temporary = self._folder / f".{BEST}.part"
            shutil.copyfile(checkpoint, temporary)
            temporary.replace(self._folder / BEST)
        line = {**asdict(made), "score": made.score}
        with (self._folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return made

    def _scans(self) -> Iterator[tuple[WholeScan, str]]:
        """The same scans every time: each knee with each family."""
        from kneeimg.training.pool import load_knee
        from kneeimg.training.validation import trial_scan

        for number, knee in enumerate(self._knees):
            loaded = load_knee(knee)
            for family in self._settings.families:
                yield trial_scan(loaded, family, (89, number)), f"{knee.path.stem}-{family}"

    def _earlier(self) -> list[float]:
        path = self._folder / LOG
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [float(json.loads(line)["score"]) for line in lines]


def _chosen(settings: ValidationSettings, knees: Sequence[PoolKnee]) -> tuple[PoolKnee, ...]:
    """The knees as labelled of the people to validate on."""
    from kneeimg.training.validation import PROTOCOLS

    strangers = sorted(set(settings.people) - {knee.participant for knee in knees})
    unknown = sorted(set(settings.families) - set(PROTOCOLS))
    if strangers or unknown:
        raise StudyError(
            "the checkpoint cannot be chosen as [validation] says",
            expected=f"people with a knee in the pool, families among {', '.join(PROTOCOLS)}",
            found=", ".join((*strangers, *unknown)),
        )
    theirs = [knee for knee in knees if knee.participant in settings.people]
    return tuple(knee for knee in theirs if knee.is_as_labelled)
