"""What a batch is made of: cases to run, scans that never became a case, reports of cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import SideSource
from kneeimg.core.precision import PrecisionStudy
from kneeimg.core.visit import Visit
from kneeimg.errors import Behaviour, Finding, behaviour
from kneeimg.io.results import Kind, KneeRecord, scan_folder, side_letter
from kneeimg.io.tables import DispositionRow
from kneeimg.segment.mr import EXISTING_MASK, ModelCard
from kneeimg.settings.study import StageSettings, StudyFile

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask on disk and how its values name tissues."""

    path: Path
    scheme: str


@dataclass(frozen=True, slots=True)
class Case:
    """One scan of one participant at one visit: what a worker gets, and nothing else.

    Attributes
    ----------
    visit : Study ids; its side is None when only the image or the labels can say it. What
        measures gets the case without them, see :meth:`blind`.
    kind : "mri" or "film".
    source : The scan as messages and tables name it; free of private data.
    settings : Everything that changes a number.
    sides : Sources of the side, most trusted first.
    bilateral : A film of both knees.
    series : DICOM series; None when the image is a plain file or there is none.
    image : Image file that is not DICOM.
    mask : Existing mask of an MR scan.
    segmenter : Model that segments an MR scan without a mask.
    pixel_spacing_mm : Pixel size of a film that the user states; None to take the file's.
    inputs : Name to show and path of every file that is read.
    series_uid_hash : Names the series without its UID.
    findings : What was noticed before reading pixels.
    placing : What was noticed about the visit and its date; joins the record after measuring.
    manifest : File name of the manifest in the case's folder.
    private : Texts that must not be shown (PatientID, name); used to redact messages.
    """

    visit: Visit
    kind: Kind
    source: str
    settings: StageSettings
    sides: tuple[SideSource, ...] = ()
    bilateral: bool = False
    series: SeriesRecord | None = None
    image: Path | None = None
    mask: MaskFile | None = None
    segmenter: ModelCard | None = None
    pixel_spacing_mm: float | None = None
    inputs: tuple[tuple[str, Path], ...] = ()
    series_uid_hash: str = ""
    findings: tuple[Finding, ...] = ()
    placing: tuple[Finding, ...] = ()
    manifest: str = MANIFEST
    private: tuple[str, ...] = field(default=(), repr=False)

    @property
    def folder(self) -> Path:
        """Folder of the results, relative to OUT."""
        return Path(scan_folder(self.visit.participant, self.visit.visit, self.kind))

    @property
    def knees(self) -> tuple[Side | None, ...]:
        """Knees that the scan should show: both on a bilateral film of which none is asked for."""
        both = self.bilateral and self.visit.side is None
        return tuple(Side) if both else (self.visit.side,)

    @property
    def name(self) -> str:
        """Short name in study ids, unique within a plan."""
        side = "".join(side_letter(side) for side in self.knees)
        own = "" if self.manifest == MANIFEST else f"_{Path(self.manifest).stem.split('_')[-1]}"
        return f"{self.visit.participant}_{self.visit.visit}_{self.kind}_{side}{own}"

    def blind(self) -> Case:
        """The case as the measuring stages get it: whose and which visit it is, nobody says.

        What is left is the image, the mask, the settings and the sources of the side; `source`
        stays for messages. The arm is not known here at all.
        """
        visit = Visit("blind", "blind", self.visit.side)
        return replace(self, visit=visit, placing=(), manifest=MANIFEST)

    def identity(self) -> dict[str, Any]:
        """Plain values that name the case in its manifest; nothing private, no date."""
        names = {
            "participant": self.visit.participant,
            "visit": self.visit.visit,
            "scan": self.visit.scan,
        }
        return names | self.measured()

    def measured(self) -> dict[str, Any]:
        """Plain values of the case that can change a number: no visit, no day, no person."""
        return {
            "kind": self.kind,
            "side": self.visit.side.value if self.visit.side else None,
            "side_sources": {name: side.value for name, side in self.sides if side},
            "bilateral": self.bilateral,
            "pixel_spacing_mm": self.pixel_spacing_mm,
            "scheme": self.mask.scheme if self.mask else None,
            "series_uid_hash": self.series_uid_hash,
            "findings": [str(redacted_finding(f, self.private)) for f in self.findings],
        }

    def relevant_settings(self) -> dict[str, Any]:
        """Plain settings of the stages that this kind of scan goes through."""
        names = {"reading", "morphometry"} if self.kind == "mri" else {"reading", "film"}
        plain = self.settings.model_dump(mode="json", include=names)
        if self.segmenter is not None:
            # the hash of the weights says which model it is, wherever its folder lies
            plain["segmentation"] = self.settings.segmentation.model_dump(
                mode="json", exclude={"model", "trust"}
            )
        if self.kind == "film":
            from kneeimg.segment.film.frame_check import shipped_edge_model

            # what flags a femoral edge decides rows as a setting does
            plain["femoral_edges"] = {"sha256": shipped_edge_model().sha256}
            if self.settings.film.kl_support.second_opinion:
                from kneeimg.io.kl_cnn import shipped_weights_sha256

                plain["second_opinion"] = {"sha256": shipped_weights_sha256()}
        return plain

    def model(self) -> Mapping[str, str]:
        """The segmenter of the case."""
        if self.kind == "mri":
            return (self.segmenter or EXISTING_MASK).as_dict()
        from kneeimg.io.kl_model import shipped_kl_model

        # the margins are found without weights; the KL model decides the rows of KL support
        kl_sha256 = shipped_kl_model().sha256
        return {"name": "film-margins", "version": __version__, "sha256": kl_sha256}


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What became of a case.

    Attributes
    ----------
    records : One per knee.
    reused : Verified results of an earlier run were kept.
    changed : An output of an earlier run no longer matched its manifest.
    crashed : A bug or a dead worker; there is a log, and the next run tries again.
    """

    records: tuple[KneeRecord, ...]
    reused: bool = False
    changed: bool = False
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """A scan that never became a case, or a planned scan that is not there.

    Attributes
    ----------
    row : Its line in the disposition table.
    day : Days since baseline, when known.
    planned : Its measurements were planned, so each gets a not-measurable row.
    """

    row: DispositionRow
    day: int | None = None
    planned: bool = False

    @classmethod
    def because(
        cls,
        finding: Finding,
        source: str,
        *,
        visit: Visit | None = None,
        participant: str = "",
        side: Side | None = None,
        kind: str = "",
        status: str = "",
        series_uid_hash: str = "",
        private: Iterable[str] = (),
        planned: bool = False,
    ) -> Absent:
        """A scan that is not measured because of a finding.

        Parameters
        ----------
        finding : Why; its texts and the source are shown without what is private.
        source : Where the scan came from.
        visit : Whose scan of which visit, where that is known.
        participant, side : Taken where the visit says nothing.
        kind, series_uid_hash, planned : As in the row.
        status : Empty: "skipped" or "refused", by what the code of the finding does.
        private : Texts that must not be shown.
        """
        hidden = tuple(private)
        skipped = behaviour(finding.code) is Behaviour.SKIP
        row = DispositionRow(
            participant=visit.participant if visit else participant,
            visit=visit.visit if visit else "",
            side=row_side((visit.side if visit else None) or side),
            kind=kind,
            source=redact(source, hidden),
            status=status or ("skipped" if skipped else "refused"),
            series_uid_hash=series_uid_hash,
            finding=redacted_finding(finding, hidden),
        )
        return cls(row, visit.day if visit else None, planned)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a batch will do, decided before any pixel is read.

    Attributes
    ----------
    study_id : Name of the study.
    settings : Resolved settings.
    cases : In the order of participants, visits and sides.
    absent : Scans that are refused, skipped or missing without a case.
    participants : Study id to index knee, in table order.
    visit_order : Participant to visit ids in time; the first is the baseline.
    precision : Repeatability study that changes are judged by; None for none.
    """

    study_id: str
    settings: StudyFile
    cases: tuple[Case, ...]
    absent: tuple[Absent, ...]
    participants: Mapping[str, Side | None]
    visit_order: Mapping[str, tuple[str, ...]]
    precision: PrecisionStudy | None = None


def row_side(side: Side | None) -> str:
    """A side as it stands in tables."""
    return side.value if side else ""


def redact(text: str, private: Iterable[str]) -> str:
    """Replace private texts, whole or as name parts, by `[redacted]`.

    >>> redact("SMITH_JOHN/dess/1.dcm", ("Smith^John",))
    '[redacted]_[redacted]/dess/1.dcm'
    """
    parts: set[str] = set()
    for value in private:
        pieces = re.split(r"[\\^=\s,_/]+", value)
        # shorter pieces are initials and titles: they would tear up ordinary words
        parts |= {piece for piece in (value, *pieces) if len(piece) > 2}
    for part in sorted(parts, key=len, reverse=True):
        text = re.sub(re.escape(part), "[redacted]", text, flags=re.IGNORECASE)
    return text


def redacted_finding(finding: Finding, private: Iterable[str]) -> Finding:
    """The finding without private texts."""
    hidden = tuple(private)
    texts = {
        name: redact(getattr(finding, name), hidden)
        for name in ("message", "where", "expected", "found", "action")
    }
    return Finding(finding.code, **texts)
