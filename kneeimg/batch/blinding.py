"""Blinded quality control: pictures under random codes, and the verdicts brought back."""

from __future__ import annotations

import csv
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kneeimg.batch.exclusions import apply_to_tables, known_exclusions
from kneeimg.core.audit_history import EXCLUDED, ScanKey, scan_subject
from kneeimg.errors import InputError, OutputError, ReasonCode, StudyError
from kneeimg.io.atomic import output_errors, sha256_file, write_bytes, write_text
from kneeimg.io.audit_log import AuditLog, utc_now
from kneeimg.io.exclusive import only_writer
from kneeimg.io.freeze import require_reason, require_results, require_unlocked
from kneeimg.io.results import read_json
from kneeimg.io.sealed import write_sealed
from kneeimg.io.tables import write_csv

KEY_FOLDER = "blinding"
QC_COLUMNS = ("code", "picture", "verdict", "reason", "comment")
VERDICTS = ("pass", "fail", "unsure")

_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that is read for another
_CODE_LENGTH = 6
_QC = "_qc.png"
_SIDE = re.compile(r"_side-([LRX])_")
_SIDES = {"L": "left", "R": "right", "X": ""}
#: One time for every file: 1980-01-01, the first that every file system and archive can hold.
_NO_TIME = 315532800

_README = """Blinded quality control

Look at each picture and fill its line in qc.csv:
  verdict   pass, fail or unsure
  reason    needed for fail: what is wrong, in words that stand in the audit log
  comment   anything else

The codes and the order of the pictures are random. Please do not add names or dates.
Afterwards: kneeimg unblind qc.csv RESULTS
"""


@dataclass(frozen=True, slots=True)
class _Shot:
    """A QC picture: whose it is, where it lies below OUT, what its manifest says of it."""

    scan: ScanKey
    picture: str
    sha256: str


@dataclass(frozen=True, slots=True)
class BlindSet:
    """A set of blinded pictures: its id, where the key lies, and how many there are."""

    set_id: str
    key: Path
    n_pictures: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reader said about one picture, and whose it is."""

    code: str
    scan: ScanKey
    verdict: str
    reason: str
    comment: str

    def as_dict(self) -> dict[str, str]:
        """Plain values."""
        said = {"verdict": self.verdict, "reason": self.reason, "comment": self.comment}
        return {"code": self.code, **scan_subject(self.scan), **said}


@dataclass(frozen=True, slots=True)
class Unblinded:
    """Every verdict with its scan, and the scans that are newly excluded."""

    verdicts: tuple[Verdict, ...]
    excluded: tuple[ScanKey, ...]


def blind_pictures(out: Path, folder: Path, *, kind: str = "", user: str = "") -> BlindSet:
    """Copy the QC pictures of measured scans under random codes, in random order.

    Parameters
    ----------
    out : Results folder. The key goes to OUT/blinding, readable by its owner only.
    folder : New or empty folder for the reader, outside OUT.
    kind : "mri" or "film"; empty for both.
    user : Who is said to do this.

    Raises
    ------
    StudyError
        NO_SUCH_SCAN when there is nothing to look at.
    InputError
        OUTPUT_CHANGED: a picture is not what its run wrote.
    OutputError
        LOCKED; AUDIT_BROKEN; the folder is not empty or lies in OUT.
    """
    require_results(out)
    _require_own_folder(out, folder)
    with only_writer(out):
        require_unlocked(out)
        log = AuditLog(out, user)
        excluded = known_exclusions(out, log.entries())
        shots = [s for s in _shots(out, kind) if s.scan not in excluded]
        if not shots:
            raise StudyError("no picture to look at", code=ReasonCode.NO_SUCH_SCAN, where=out.name)
        coded = _coded(shots, taken={code for key in _keys(out) for code in key["pictures"]})
        set_id = secrets.token_hex(4)
        key = out / KEY_FOLDER / f"key-{set_id}.json"
        write_sealed(key, _key(set_id, coded))
        _write_pictures(out, folder, coded)
        log.append(
            "blinding.made",
            outputs={key.relative_to(out).as_posix(): sha256_file(key)},
            detail={"set": set_id, "pictures": len(shots)},
        )
    return BlindSet(set_id, key, len(shots))


def _require_own_folder(out: Path, folder: Path) -> None:
    ours, theirs = out.resolve(), folder.resolve()
    inside = theirs.is_relative_to(ours) or ours.is_relative_to(theirs)
    if inside or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise OutputError(
            "the folder for the reader must be new or empty, and apart from the results",
            where=folder.name,
            found="a folder in or around the results" if inside else "files",
            action="name another folder with -o",
        )


def _shots(out: Path, kind: str) -> Iterator[_Shot]:
    """QC pictures of measured scans, checked against their manifests."""
    for path in sorted(out.glob("sub-*/ses-*/*/manifest*.json")):
        manifest = read_json(path)
        case = manifest["case"]
        if manifest["status"] != "measured" or kind not in ("", case["kind"]):
            continue
        for name, digest in manifest["outputs"].items():
            side = _SIDE.search(name)
            if name.endswith(_QC) and side:
                picture = path.parent / Path(name).name
                shown = picture.relative_to(out).as_posix()
                _require_unchanged(picture, digest, shown)
                scan = (case["participant"], case["visit"], _SIDES[side[1]], case["kind"])
                yield _Shot(scan, shown, digest)


def _require_unchanged(picture: Path, digest: str, where: str) -> None:
    if not picture.is_file() or sha256_file(picture) != digest:
        raise InputError(
            "the picture is not the one that was made",
            code=ReasonCode.OUTPUT_CHANGED,
            where=where,
            action="run again, then blind again",
        )


def _coded(shots: Sequence[_Shot], taken: set[str]) -> dict[str, _Shot]:
    """Random code to picture, in the order of the codes, which is random too."""
    used = set(taken)
    coded: dict[str, _Shot] = {}
    for shot in shots:
        code = _code()
        while code in used:
            code = _code()
        used.add(code)
        coded[code] = shot
    return dict(sorted(coded.items()))


def _code() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))


def _key(set_id: str, coded: Mapping[str, _Shot]) -> dict[str, Any]:
    return {
        "set": set_id,
        "utc": utc_now(),
        "pictures": {
            code: scan_subject(shot.scan) | {"picture": shot.picture, "sha256": shot.sha256}
            for code, shot in coded.items()
        },
    }


def _write_pictures(out: Path, folder: Path, coded: Mapping[str, _Shot]) -> None:
    """Pictures without heading in the order of the codes, the form to fill, all of one time."""
    from kneeimg.report.figures.blind import without_heading

    for code, shot in coded.items():
        plain = without_heading((out / shot.picture).read_bytes(), where=shot.picture)
        write_bytes(folder / f"{code}.png", plain)
    write_csv(folder / "qc.csv", QC_COLUMNS, [{"code": c, "picture": f"{c}.png"} for c in coded])
    write_text(folder / "README.txt", _README)
    with output_errors(folder):
        for path in (*folder.iterdir(), folder):
            os.utime(path, (_NO_TIME, _NO_TIME))


def unblind(qc_csv: Path, out: Path, *, user: str = "") -> Unblinded:
    """Bring the verdicts of a reader back: `fail` excludes the scan, with the reader's reason.

    Raises
    ------
    StudyError
        The form is not complete or not of these results; a fail has no reason (REASON_MISSING).
    InputError
        OUTPUT_CHANGED: a scan was measured again since, so the reader saw another picture.
    OutputError
        LOCKED; AUDIT_BROKEN; another command is writing.
    """
    require_results(out)
    with only_writer(out):
        require_unlocked(out)
        log = AuditLog(out, user)
        standing = known_exclusions(out, log.entries())
        rows = _read_form(qc_csv)
        key = _key_of(out, rows, qc_csv.name)
        verdicts = _verdicts(rows, key, qc_csv.name)
        for code, shot in key["pictures"].items():
            _require_unchanged(out / shot["picture"], shot["sha256"], f"{qc_csv.name}, {code}")
        log.append(
            "blinding.opened",
            inputs={qc_csv.name: sha256_file(qc_csv)},
            detail={"set": key["set"], "verdicts": [v.as_dict() for v in verdicts]},
        )
        failed = [v for v in verdicts if v.verdict == "fail" and v.scan not in standing]
        for verdict in failed:
            why = f"blinded quality control: {verdict.reason}"
            detail = {"set": key["set"], "code": verdict.code}
            log.append(EXCLUDED, why=why, subject=scan_subject(verdict.scan), detail=detail)
        if failed:
            apply_to_tables(out, log)
    return Unblinded(tuple(verdicts), tuple(verdict.scan for verdict in failed))


def _read_form(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every filled line, as a spreadsheet may have saved them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise StudyError(
            "the form cannot be read", where=path.name, expected="a CSV file in UTF-8"
        ) from error
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(
        text.splitlines(keepends=True), delimiter=";" if head.count(";") > head.count(",") else ","
    )
    missing = [name for name in QC_COLUMNS[2:4] if name not in (reader.fieldnames or ())]
    if missing or "code" not in (reader.fieldnames or ()):
        raise StudyError("the form lacks a column", where=path.name, expected=", ".join(QC_COLUMNS))
    return [
        (reader.line_num, {name: (row.get(name) or "").strip() for name in QC_COLUMNS})
        for row in reader
        if (row.get("code") or "").strip()
    ]


def _keys(out: Path) -> list[dict[str, Any]]:
    return [read_json(path) for path in sorted((out / KEY_FOLDER).glob("key-*.json"))]


def _key_of(out: Path, rows: Sequence[tuple[int, dict[str, str]]], where: str) -> dict[str, Any]:
    """The key whose codes the form has, each exactly once."""
    codes = [cells["code"] for _, cells in rows]
    key = next((k for k in _keys(out) if set(codes) & set(k["pictures"])), None)
    if key is None:
        raise StudyError(
            "the codes of the form are of no blinded set of these results",
            where=where,
            expected=f"codes of a key in {KEY_FOLDER}",
            found=", ".join(codes[:3]) or "no line",
        )
    known = key["pictures"]
    odd = sorted(set(codes) ^ set(known)) or sorted({c for c in codes if codes.count(c) > 1})
    if odd:
        raise StudyError(
            "the form and its set differ: each code must stand in it once",
            where=where,
            expected=f"{len(known)} codes",
            found=f"{len(codes)}; to look at: {', '.join(odd[:5])}",
        )
    return key


def _verdicts(
    rows: Sequence[tuple[int, dict[str, str]]], key: Mapping[str, Any], where: str
) -> list[Verdict]:
    verdicts = []
    for line, cells in rows:
        verdict, place = cells["verdict"].casefold(), f"{where}, line {line}"
        if verdict not in VERDICTS:
            raise StudyError(
                "a picture has no verdict",
                where=place,
                expected=", ".join(VERDICTS),
                found=repr(cells["verdict"]),
                action="finish the reading first: bringing it back ends the blinding",
            )
        reason = cells["reason"]
        if verdict == "fail":
            try:
                reason = require_reason(reason, f"a fail ({place})")
            except StudyError as error:
                raise StudyError(
                    error.finding.message, code=error.code, where=place, found=repr(reason)
                ) from None
        shot = key["pictures"][cells["code"]]
        scan = (shot["participant"], shot["visit"], shot["side"], shot["kind"])
        verdicts.append(Verdict(cells["code"], scan, verdict, reason, cells["comment"]))
    return verdicts
