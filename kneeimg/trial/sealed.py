"""The sealed arms: which participant got what. Read by the analysis only, never by measuring."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kneeimg.errors import ReasonCode, StudyError
from kneeimg.trial.csv_lines import CsvLines, read_csv_lines
from kneeimg.trial.exclusions import RESULTS, Exclusion, shown_id

COLUMNS = ("participant", "arm")


@dataclass(frozen=True, slots=True)
class Arms:
    """Arm of every participant that has one.

    Attributes
    ----------
    of : Participant to arm, in the order of the file.
    exclusions : Rows that are not used, and participants of the results without an arm.
    """

    of: Mapping[str, str]
    exclusions: tuple[Exclusion, ...] = ()

    def names(self, reference: str | None = None) -> tuple[str, ...]:
        """The arms, the reference first, the others in alphabetical order.

        Raises
        ------
        StudyError
            When the reference is not one of the arms.
        """
        arms = sorted(set(self.of.values()), key=lambda arm: (arm.casefold(), arm))
        if reference is None:
            return tuple(arms)
        if reference not in arms:
            raise StudyError(
                "the reference arm is not among the arms",
                expected=", ".join(arms) or "an arm",
                found=reference,
            )
        return (reference, *(arm for arm in arms if arm != reference))


def read_arms(path: Path, known: Collection[str]) -> Arms:
    """Read `arms.csv`: columns participant and arm, one line per participant.

    Parameters
    ----------
    path : The sealed file.
    known : Participants of the results.

    Raises
    ------
    StudyError
        When the file as a whole cannot be used: unreadable, a column missing, no usable line.

    Notes
    -----
    A line that cannot be used becomes an exclusion: UNKNOWN_PARTICIPANT, NO_ARM, DUPLICATE_ENTRY,
    or BAD_STUDY_FILE for a wrong number of cells. A participant with two lines is left out unless
    both say the same.
    """
    table = read_csv_lines(path)
    _require_columns(table)
    where = {name: table.header.index(name) for name in COLUMNS}
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    exclusions: list[Exclusion] = []
    for line, cells in table.lines:
        if len(cells) != len(table.header):
            exclusions.append(wrong_width(table, line, cells))
            continue
        person, arm = cells[where["participant"]], cells[where["arm"]]
        problem = _problem(table.file, line, person, arm, known)
        if problem is None:
            found[person].append((line, arm))
        else:
            exclusions.append(problem)
    of: dict[str, str] = {}
    for person, entries in found.items():
        exclusions += _repeats(table.file, person, entries)
        if len({arm for _, arm in entries}) == 1:
            of[person] = entries[0][1]
    if not of:
        raise StudyError(
            "no participant of the results has an arm",
            where=table.file,
            expected="the study ids of the results",
            found=f"{len(table.lines)} lines, none of them usable",
        )
    exclusions += _without_arm(table.file, known, of, exclusions)
    return Arms(of, tuple(exclusions))


def wrong_width(table: CsvLines, line: int, cells: Collection[str]) -> Exclusion:
    """The exclusion of a line with too many or too few cells."""
    return Exclusion(
        ReasonCode.BAD_STUDY_FILE,
        "wrong number of cells",
        table.file,
        line,
        expected=f"{len(table.header)} cells",
        found=str(len(cells)),
    )


def unknown_participant(file: str, line: int, person: str, known: Collection[str]) -> Exclusion:
    """The exclusion of a line for somebody who is not in the results."""
    near = difflib.get_close_matches(person.upper(), list(known), n=1, cutoff=0.6)
    return Exclusion(
        ReasonCode.UNKNOWN_PARTICIPANT,
        "the participant is not in the results",
        file,
        line,
        participant=shown_id(person, known),
        expected=f"did you mean {near[0]}?" if near else "a study id of the results",
        found=shown_id(person, known) or "an id that is not written like the study's",
    )


def _require_columns(table: CsvLines) -> None:
    missing = [name for name in COLUMNS if name not in table.header]
    if missing or len(set(table.header)) != len(table.header):
        raise StudyError(
            "column missing" if missing else "a column stands twice",
            where=f"{table.file}, line 1",
            expected=", ".join(COLUMNS),
            found=", ".join(table.header),
        )


def _problem(
    file: str, line: int, person: str, arm: str, known: Collection[str]
) -> Exclusion | None:
    if person not in known:
        return unknown_participant(file, line, person, known)
    if not arm:
        return Exclusion(
            ReasonCode.NO_ARM,
            "the arm is empty",
            file,
            line,
            participant=person,
            column="arm",
            expected="the name of an arm",
            found="an empty cell",
        )
    return None


def _repeats(file: str, person: str, entries: list[tuple[int, str]]) -> list[Exclusion]:
    """Exclusions of the lines of a participant who is listed more than once."""
    same = len({arm for _, arm in entries}) == 1
    message = (
        "the participant is listed again with the same arm; the first line is used"
        if same
        else "the participant is listed with different arms; none is used"
    )
    return [
        Exclusion(
            ReasonCode.DUPLICATE_ENTRY,
            message,
            file,
            line,
            participant=person,
            expected="one line per participant",
            found=f"{len(entries)} lines",
        )
        for line, _ in (entries[1:] if same else entries)
    ]


def _without_arm(
    file: str, known: Collection[str], of: Mapping[str, str], said: Collection[Exclusion]
) -> list[Exclusion]:
    """NO_ARM of every participant of the results whose arm nothing above has explained."""
    explained = {item.participant for item in said}
    return [
        Exclusion(
            ReasonCode.NO_ARM,
            "the participant has no line among the arms",
            RESULTS,
            participant=person,
            expected=f"a line in {file}",
            found="none",
        )
        for person in known
        if person not in of and person not in explained
    ]
