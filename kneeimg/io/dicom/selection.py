"""Pick one series by the rules of a study, or say why that is not possible."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from kneeimg.errors import DicomError, ReasonCode
from kneeimg.io.dicom.records import SeriesRecord
from kneeimg.settings.reading import SeriesRule


def matches(record: SeriesRecord, rule: SeriesRule) -> bool:
    """Whether the series is what the rule asks for."""
    words = {word.upper() for word in record.image_type}
    is_film = record.kind == "film"
    checks = (
        rule.kind in (None, record.kind),
        rule.description is None or re.search(rule.description, record.description, re.IGNORECASE),
        rule.modality is None or rule.modality.upper() == record.modality.upper(),
        rule.orientation in (None, record.orientation),
        rule.echo_number in (None, record.echo_number),
        _within(record.echo_time_ms, rule.echo_time_ms),
        _within(record.scanner.repetition_time_ms, rule.repetition_time_ms),
        rule.image_type is None or {word.upper() for word in rule.image_type} <= words,
        rule.matrix in (None, matrix_of(record)),
        rule.slices is None or (not is_film and _within(record.shape[-1], rule.slices)),
        rule.slice_spacing_mm is None
        or (not is_film and _within(_slice_spacing(record), rule.slice_spacing_mm)),
        rule.view in (None, record.view),
        rule.side in (None, record.side),
        rule.uid_hash in (None, record.uid_hash),
    )
    return all(checks)


def matrix_of(record: SeriesRecord) -> tuple[int, int]:
    """(rows, columns) of the images."""
    pixels = record.slices[0].pixels
    return pixels.rows, pixels.columns


def _slice_spacing(record: SeriesRecord) -> float | None:
    return None if record.spacing_mm is None else record.spacing_mm[-1]


def _within(value: float | None, limits: tuple[float, float] | None) -> bool:
    if limits is None:
        return True
    return value is not None and limits[0] <= value <= limits[1]


def matching_rule(record: SeriesRecord, rules: Sequence[SeriesRule]) -> int | None:
    """Number of the first rule, from 0, that would take the series; None if none would."""
    return next((n for n, rule in enumerate(rules) if matches(record, rule)), None)


def select_series(records: Sequence[SeriesRecord], rules: Sequence[SeriesRule]) -> SeriesRecord:
    """The one series that the study wants.

    Parameters
    ----------
    records : Series of one person, visit and kind. Skipped ones (localizers, other kinds) never
        count; refused ones do, so that a refusal is not hidden by taking another series.
    rules : In order of preference: the first that fits anything decides. No rules: the only
        series there is.

    Raises
    ------
    DicomError
        AMBIGUOUS_SERIES with a selector for each series that fits, or NO_RULE_MATCHES.
    """
    fitting = _fitting(records, rules)
    if len(fitting) > 1:
        raise _ambiguous(fitting)
    return fitting[0]


def select_repeats(
    records: Sequence[SeriesRecord], rules: Sequence[SeriesRule]
) -> tuple[SeriesRecord, ...]:
    """The series that the study wants, and every other of the same description and protocol.

    As :func:`select_series`, for studies that repeat a scan: series that fit one rule are repeats
    when they are alike in everything that a rule can ask for, extent and hash apart. Otherwise
    they are AMBIGUOUS_SERIES.
    """
    fitting = _fitting(records, rules)
    if len({_kind_of_scan(record) for record in fitting}) > 1:
        raise _ambiguous(fitting)
    return tuple(fitting)


def _kind_of_scan(record: SeriesRecord) -> tuple[object, ...]:
    return (
        record.description,
        record.orientation,
        record.echo_number,
        record.image_type,
        matrix_of(record),
        record.view,
        record.side,
    )


def _fitting(records: Sequence[SeriesRecord], rules: Sequence[SeriesRule]) -> list[SeriesRecord]:
    """Series that fit the first rule that any of them fits; never empty."""
    candidates = [record for record in records if not record.skipped]
    for rule in rules or (SeriesRule(),):
        fitting = [record for record in candidates if matches(record, rule)]
        if fitting:
            return fitting
    raise DicomError(
        "no series-selection rule takes any of the series",
        code=ReasonCode.NO_RULE_MATCHES,
        expected=f"a series that fits one of {len(rules)} rules" if rules else "a series",
        found="; ".join(title(record) for record in candidates[:8]) or "no usable series",
        action="change the [[series]] rules of the study file; see kneeimg inspect",
    )


def title(record: SeriesRecord) -> str:
    """A series in a few words, for messages."""
    size = " x ".join(map(str, record.shape))
    echo = f", echo {record.echo_number}" if record.echo_number else ""
    return f"{record.description or record.modality} ({size}{echo}) in {record.folder}"


def _ambiguous(fitting: Sequence[SeriesRecord]) -> DicomError:
    selectors = "\n\n".join(f"# {title(record)}\n{record.selector}" for record in fitting[:8])
    return DicomError(
        "several series fit and nothing says which one to measure",
        code=ReasonCode.AMBIGUOUS_SERIES,
        where=fitting[0].folder,
        expected="one series",
        found="; ".join(title(record) for record in fitting[:8]),
        action=f"put one of these rules into the study file:\n\n{selectors}",
    )


def selector_for(record: SeriesRecord, records: Sequence[SeriesRecord]) -> str:
    """TOML of a `[[series]]` rule that takes this series and no other of the same person and day.

    General properties first, so that the rule also fits other visits; the hash of the single
    series only when nothing else tells it apart.
    """
    peers = [
        other
        for other in records
        if (other.person_hash, other.study_date) == (record.person_hash, record.study_date)
    ]
    chosen: dict[str, object] = {"kind": record.kind}
    for name, value in _properties(record):
        rule = SeriesRule.model_validate(chosen)
        fitting = [other for other in peers if matches(other, rule)]
        if len(fitting) == 1:
            break
        wider = {**chosen, name: value}
        if name == "description" or len(fitting) > sum(
            matches(other, SeriesRule.model_validate(wider)) for other in fitting
        ):
            chosen = wider
    return "[[series]]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in chosen.items())


def _properties(record: SeriesRecord) -> list[tuple[str, object]]:
    everything: list[tuple[str, object]] = [
        ("description", f"^{re.escape(record.description)}$" if record.description else None),
        ("echo_number", record.echo_number),
        ("orientation", record.orientation or None),
        ("image_type", record.image_type or None),
        ("view", record.view or None),
        ("side", None if record.side is None else str(record.side)),
        ("matrix", matrix_of(record)),
        ("slices", (record.shape[-1], record.shape[-1]) if record.kind == "mri" else None),
        ("uid_hash", record.uid_hash),
    ]
    return [(name, value) for name, value in everything if value is not None]


def _toml(value: object) -> str:
    if isinstance(value, str):
        literal = "'" not in value and value.isprintable() and "\\" in value
        return f"'{value}'" if literal else json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value)
