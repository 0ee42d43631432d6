"""Which repeatability table a run uses, and whether it holds for what was measured.

The error of a method says nothing about another one. A table is used only for the same software
(major and minor version), the same model, the same kind of mask and the same settings; otherwise
every change reads `no repeatability data`, and a finding says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kneeimg import __version__
from kneeimg.core.measurement import Measurement
from kneeimg.core.precision import PrecisionStudy
from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.atomic import canonical_json, sha256_text
from kneeimg.io.precision import read_precision
from kneeimg.longitudinal.retest import method_of, table_of
from kneeimg.longitudinal.rows import PrecisionTable
from kneeimg.settings.change import NO_PRECISION, SHIPPED_PRECISION
from kneeimg.settings.resources import config_path
from kneeimg.settings.study import StageSettings

#: The table that ships with kneeimg.
SHIPPED = Path("precision/simulated.csv")


@dataclass(frozen=True, slots=True)
class Repeatability:
    """What a comparison knows about measurement error.

    Attributes
    ----------
    table : Smallest detectable changes; empty without data.
    sha256 : Hash of the file they come from; empty without data.
    findings : Why there are none.
    """

    table: PrecisionTable = field(default_factory=PrecisionTable)
    sha256: str = ""
    findings: tuple[Finding, ...] = ()


def load_repeatability(setting: str, folder: Path | None = None) -> PrecisionStudy | None:
    """The repeatability study that the setting `change.precision` names.

    Parameters
    ----------
    setting : "simulated" (the table that ships with kneeimg), "none", or the path of a table.
    folder : What a relative path starts from: the folder of the study file.

    Raises
    ------
    StudyError
        The table cannot be read or is not as kneeimg wrote it.
    """
    if setting == NO_PRECISION:
        return None
    if setting == SHIPPED_PRECISION:
        # its folder always ships; a version for which nothing was simulated has no table in it
        table = config_path(SHIPPED.parent.name) / SHIPPED.name
        return read_precision(table) if table.is_file() else None
    return read_precision((folder or Path()) / setting)


def settings_hash(kind: str, settings: StageSettings) -> str:
    """Hash of the settings that decide how well scans of a kind repeat.

    Only what differs from the defaults counts: the defaults belong to the software's version. How
    files are read does not matter, nor where the table lies.
    """
    stages = {"mri": ("morphometry", "change"), "film": ("film",)}[kind]
    own = settings.model_dump(
        mode="json",
        include=set(stages),
        exclude={"change": {"precision"}},
        exclude_defaults=True,
    )
    return sha256_text(canonical_json({name: value for name, value in own.items() if value}))[:16]


def repeatability_for(
    study: PrecisionStudy | None,
    kind: str,
    scans: Iterable[tuple[Sequence[Measurement], str]],
    settings: StageSettings,
) -> Repeatability:
    """The part of a study that holds for a comparison of measured scans.

    Parameters
    ----------
    study : As loaded; None for none.
    kind : "mri" or "film".
    scans : Rows of each scan, and the SHA-256 of the model that segmented it.
    settings : With which all were measured and are compared.
    """
    if study is None:
        return Repeatability()
    scans = tuple(scans)
    problem = (
        _other_software(study)
        or _other_model(study, kind, sorted({model for _, model in scans}))
        or _other_settings(study, kind, settings)
    )
    if problem is not None:
        return Repeatability(findings=(problem,))
    methods = sorted({method_of(kind, rows) for rows, _ in scans})
    table = table_of(study, kind, methods[0]) if len(methods) == 1 else PrecisionTable()
    if not table.entries:
        known = {row.method for row in study.rows if row.kind == kind}
        finding = _unusable(study, "method", " or ".join(sorted(known)), " and ".join(methods))
        return Repeatability(findings=(finding,))
    return Repeatability(table, study.sha256)


def _other_software(study: PrecisionStudy) -> Finding | None:
    own, found = (_release(v) for v in (__version__, study.header.software_version))
    return None if own == found else _unusable(study, "software", found or "another program", own)


def _release(version: str) -> str:
    """Major and minor number.

    >>> _release("0.1.3")
    '0.1'
    """
    return ".".join(version.split(".")[:2])


def _other_model(study: PrecisionStudy, kind: str, used: list[str]) -> Finding | None:
    if kind not in study.header.models:
        return _unusable(study, "kind of scan", ", ".join(study.header.models) or "none", kind)
    wanted = study.header.models[kind]
    if used == [wanted]:
        return None
    return _unusable(study, "model", _model(wanted), " and ".join(map(_model, used)))


def _model(sha256: str) -> str:
    return sha256[:12] or "masks without a model"


def _other_settings(study: PrecisionStudy, kind: str, settings: StageSettings) -> Finding | None:
    wanted, used = study.header.settings.get(kind, ""), settings_hash(kind, settings)
    return None if wanted == used else _unusable(study, "settings", wanted or "none", used)


def _unusable(study: PrecisionStudy, what: str, expected: str, found: str) -> Finding:
    return Finding(
        ReasonCode.NO_REPEATABILITY,
        f"the repeatability table was made with another {what}: no change is classed",
        where=f"{study.header.kind} study {study.header.study}",
        expected=f"{what} {expected}",
        found=found,
    )
