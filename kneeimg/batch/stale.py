"""Take back results that the current plan no longer stands for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from kneeimg.core.visit import STUDY_ID
from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.atomic import output_errors
from kneeimg.io.manifests import listed_outputs
from kneeimg.io.results import participant_folder
from kneeimg.io.tables import DispositionRow


def withdraw_stale(out: Path, participants: Iterable[str], kept: Iterable[Path]) -> int:
    """Remove manifests that are not kept, with the files that they list.

    A visit that is gone from the input, or a comparison that is refused by now, would otherwise
    go on standing in OUT, and in the report, beside tables that do not know it. Files that no
    manifest lists are not ours and stay; so do participants who are not in the plan.

    Parameters
    ----------
    out : Results folder.
    participants : Study ids of the plan.
    kept : Manifests of the plan, relative to `out`.

    Returns
    -------
    Number of manifests withdrawn.
    """
    keep = {out / path for path in kept}
    stale = [
        manifest
        for participant in participants
        for manifest in sorted((out / participant_folder(participant)).rglob("manifest*.json"))
        if manifest not in keep
    ]
    standing = {path for manifest in keep for path in listed_outputs(manifest)}
    for manifest in stale:
        _withdraw(manifest, standing)
    return len(stale)


def departed(out: Path, participants: Iterable[str]) -> list[DispositionRow]:
    """One row for each participant with results in OUT who is not in the plan any more.

    Their files stay as they are: a plan that lacks somebody may be the mistake.
    """
    planned = {participant_folder(participant).name for participant in participants}
    return [
        _departed(folder.name)
        for folder in sorted(out.glob("sub-*"))
        if folder.name not in planned
        and STUDY_ID.fullmatch(folder.name.removeprefix("sub-"))
        and next(folder.rglob("manifest*.json"), None) is not None
    ]


def _departed(folder: str) -> DispositionRow:
    finding = Finding(
        ReasonCode.NOT_IN_STUDY,
        "not in the study any more: the results of an earlier run were left as they are",
        expected="a participant of the study",
        found="a folder of results",
        action="add the participant again, or move the folder out of the results",
    )
    return DispositionRow(folder.removeprefix("sub-"), "", "", "", folder, "skipped", "", finding)


def _withdraw(manifest: Path, standing: set[Path]) -> None:
    with output_errors(manifest):
        for path in listed_outputs(manifest):
            if path not in standing:  # a scan may have changed from one manifest to another
                path.unlink(missing_ok=True)
        manifest.unlink()  # last: a kill leaves the list of what is still to go
    with contextlib.suppress(OSError):
        for folder in manifest.parents[:3]:  # modality, visit, participant; when empty
            folder.rmdir()
