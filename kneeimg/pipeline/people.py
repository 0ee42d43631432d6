"""Whose a series is: grouped by what the files say of the person, matched with the study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kneeimg.trial.study import Study

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord


def group_people(records: Sequence[SeriesRecord]) -> dict[str, list[SeriesRecord]]:
    """Series by person, in the order of hashes: the order tells nothing about the PatientID.

    The keys serve only to keep people apart; one that begins with `~` stands for a person whose
    files have no PatientID.
    """
    nameless = _nameless_people([record for record in records if record.person_hash is None])
    groups: dict[str, list[SeriesRecord]] = defaultdict(list)
    for record in records:
        groups[record.person_hash or nameless[record.uid_hash]].append(record)
    return {key: groups[key] for key in sorted(groups)}


def numbered_ids(number: int) -> list[str]:
    """Study ids P01, P02, ... of one width.

    >>> numbered_ids(2)
    ['P01', 'P02']
    """
    width = max(2, len(str(number)))
    return [f"P{n:0{width}}" for n in range(1, number + 1)]


def owners_of(record: SeriesRecord, study: Study) -> tuple[str, ...]:
    """Participants that a series may be of: by patient_id, by study id, or by its folder.

    None is a stranger; several share a PatientID, which the study then refuses.
    """
    if record.patient_id:
        owners = study.owners.get(record.patient_id, ())
        if owners:
            return owners
        same = study.participants.get(record.patient_id)
        return (same.participant,) if same and same.patient_id is None else ()
    folders = set(PurePosixPath(record.folder).parts)
    named = [name for name in study.participants if {name, f"sub-{name}"} & folders]
    return tuple(named) if len(named) == 1 else ()


def _nameless_people(records: Sequence[SeriesRecord]) -> dict[str, str]:
    """Series hash to person, where no PatientID says it.

    One study is of one person. So is one frame of reference, which also holds together the
    echoes of a scan whose study UIDs an anonymiser has torn apart.
    """
    person: dict[str, str] = {}
    for record in records:
        marks = {record.study_hash, record.frame_uid} - {""} or {record.folder}
        known = {person[mark] for mark in marks if mark in person}
        name = min({f"~{mark}" for mark in marks} | known)
        person |= {mark: name for mark, other in person.items() if other in known}
        person |= dict.fromkeys(marks, name)
    return {
        record.uid_hash: person[record.study_hash or record.frame_uid or record.folder]
        for record in records
    }
