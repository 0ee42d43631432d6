"""Where results lie below OUT, and the JSON record of one measured knee.

File names are made of study ids only. One record holds every planned measurement of one knee,
also when the knee was refused; the tables are made from these records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.visit import Visit
from kneeimg.errors import Behaviour, Finding, InputError, ReasonCode, behaviour

Kind = Literal["mri", "film"]
KneeStatus = Literal["measured", "refused", "skipped", "missing", "excluded"]

#: Stands at the top of every results folder and says that kneeimg made it.
DESCRIPTION = "dataset_description.json"

MODALITY_FOLDERS: Mapping[str, str] = {"mri": "mri", "film": "xr"}
_SIDE_LETTERS = {Side.LEFT: "L", Side.RIGHT: "R"}


def side_letter(side: Side | None) -> str:
    """`L`, `R`, or `X` for a knee whose side nobody knows."""
    return _SIDE_LETTERS[side] if side else "X"


def participant_folder(participant: str) -> PurePosixPath:
    """Folder of a participant, relative to OUT."""
    return PurePosixPath(f"sub-{participant}")


def scan_folder(participant: str, visit: str, kind: str) -> PurePosixPath:
    """Folder of the results of one kind at one visit, relative to OUT.

    >>> scan_folder("001", "M06", "film")
    PurePosixPath('sub-001/ses-M06/xr')
    """
    return participant_folder(participant) / f"ses-{visit}" / MODALITY_FOLDERS[kind]


def longitudinal_folder(participant: str) -> PurePosixPath:
    """Folder of the change results of a participant, relative to OUT."""
    return participant_folder(participant) / "longitudinal"


def knee_file(participant: str, visit: str, side: Side | None, suffix: str, scan: str = "") -> str:
    """File name of one result of one knee at one visit; `scan` names one of repeated scans.

    >>> knee_file("001", "M06", Side.RIGHT, "femur.vtp")
    'sub-001_ses-M06_side-R_femur.vtp'
    >>> knee_file("001", "BL", Side.RIGHT, "femur.vtp", "run-2")
    'sub-001_ses-BL_side-R_run-2_femur.vtp'
    """
    own = f"{scan}_" if scan else ""
    return f"sub-{participant}_ses-{visit}_side-{side_letter(side)}_{own}{suffix}"


def is_results_folder(folder: Path) -> bool:
    """Whether kneeimg wrote its results into this folder."""
    description = folder / DESCRIPTION
    if not description.is_file():
        return False
    try:
        makers = read_json(description).get("GeneratedBy")
        return any(maker.get("Name") == "kneeimg" for maker in makers or ())
    except (InputError, AttributeError, TypeError):
        return False


@dataclass(frozen=True, slots=True)
class RowContext:
    """What stands beside every value of one knee.

    Attributes
    ----------
    femur_fraction : Central part of the condyles; NaN on films.
    spacing_source : Where the millimetres of a film came from; empty for MR.
    series_uid_hash : Names the series without its UID.
    software_version, model_sha256 : What measured.
    """

    femur_fraction: float = math.nan
    spacing_source: str = ""
    series_uid_hash: str = ""
    software_version: str = ""
    model_sha256: str = ""


@dataclass(frozen=True, slots=True)
class KneeRecord:
    """Every planned measurement of one knee at one visit, or why there is none.

    Attributes
    ----------
    visit : Who, which knee, when.
    kind : "mri" or "film".
    status : "measured" when the knee went through, whatever single rows say.
    measurements : One for each planned measurement.
    context : Columns that all rows share.
    findings : Warnings; for a refused knee the first is why.
    protocol : Acquisition parameters that are compared between visits.
    dtype : "AVERAGE" for the mean over repeated scans of a visit; empty for what was measured.
    """

    visit: Visit
    kind: Kind
    status: KneeStatus
    measurements: tuple[Measurement, ...]
    context: RowContext
    findings: tuple[Finding, ...] = ()
    protocol: tuple[tuple[str, str], ...] = ()
    dtype: Literal["", "AVERAGE"] = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """participant, visit, side, kind: with `visit.scan` at most one record of a run has it."""
        side = self.visit.side.value if self.visit.side else ""
        return self.visit.participant, self.visit.visit, side, self.kind

    @property
    def flags(self) -> tuple[ReasonCode, ...]:
        """Codes of the findings that a reader should see beside every value."""
        codes = (f.code for f in self.findings if behaviour(f.code) is Behaviour.FLAG)
        return tuple(dict.fromkeys(codes))


def finding_from_json(value: Mapping[str, str]) -> Finding:
    """The finding of which `Finding.as_dict` gave the parts."""
    return Finding(ReasonCode(value["code"]), **{k: v for k, v in value.items() if k != "code"})


def record_to_json(record: KneeRecord) -> dict[str, Any]:
    """Plain JSON values of a record; NaN becomes null.

    The day is not among them: what is measured does not know when, so that a corrected date
    changes the tables and no measurement.
    """
    visit = record.visit
    return {
        "participant": visit.participant,
        "visit": visit.visit,
        "scan": visit.scan,
        "side": visit.side.value if visit.side else None,
        "kind": record.kind,
        "status": record.status,
        "femur_fraction": _null(record.context.femur_fraction),
        "spacing_source": record.context.spacing_source,
        "series_uid_hash": record.context.series_uid_hash,
        "software_version": record.context.software_version,
        "model_sha256": record.context.model_sha256,
        "protocol": dict(record.protocol),
        "findings": [finding.as_dict() for finding in record.findings],
        "measurements": [_measurement_to_json(m) for m in record.measurements],
    }


def record_from_json(value: Mapping[str, Any]) -> KneeRecord:
    """The record that :func:`record_to_json` wrote; its day is not known."""
    side = Side(value["side"]) if value["side"] else None
    fraction = value["femur_fraction"]
    return KneeRecord(
        visit=Visit(value["participant"], value["visit"], side, scan=value["scan"]),
        kind=cast(Kind, value["kind"]),
        status=cast(KneeStatus, value["status"]),
        measurements=tuple(_measurement_from_json(m) for m in value["measurements"]),
        context=RowContext(
            femur_fraction=math.nan if fraction is None else fraction,
            spacing_source=value["spacing_source"],
            series_uid_hash=value["series_uid_hash"],
            software_version=value["software_version"],
            model_sha256=value["model_sha256"],
        ),
        findings=tuple(finding_from_json(finding) for finding in value["findings"]),
        protocol=tuple(value["protocol"].items()),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that kneeimg wrote.

    Raises
    ------
    InputError
        The file is absent or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "the result file cannot be read",
            code=ReasonCode.OUTPUT_CHANGED,
            where=path.name,
            action="run again: the case is then measured again",
        ) from error
    if not isinstance(value, dict):
        raise InputError(
            "the result file is not a JSON object", code=ReasonCode.OUTPUT_CHANGED, where=path.name
        )
    return value


def read_record(path: Path) -> KneeRecord:
    """The record in a `..._measurements.json`; InputError if it is not one."""
    value = read_json(path)
    try:
        return record_from_json(value)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the file is not a record of measurements",
            code=ReasonCode.OUTPUT_CHANGED,
            where=path.name,
        ) from error


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _measurement_to_json(m: Measurement) -> dict[str, Any]:
    return {
        "region": m.region,
        "quantity": m.quantity,
        "value": _null(float(m.value)),
        "unit": m.unit,
        "status": m.status.value,
        "reason": m.reason.value if m.reason else None,
        "method": m.method,
        "tab_source": m.tab_source,
        "aggregate": m.aggregate,
        "flags": [flag.value for flag in m.flags],
    }


def _measurement_from_json(value: Mapping[str, Any]) -> Measurement:
    return Measurement(
        region=value["region"],
        quantity=value["quantity"],
        value=math.nan if value["value"] is None else value["value"],
        unit=value["unit"],
        status=Status(value["status"]),
        reason=ReasonCode(value["reason"]) if value["reason"] else None,
        method=value["method"],
        tab_source=value["tab_source"],
        aggregate=value["aggregate"],
        flags=tuple(ReasonCode(flag) for flag in value["flags"]),
    )
