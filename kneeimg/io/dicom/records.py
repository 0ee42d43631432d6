"""What was found in a folder: one record per image series, without names or patient numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.errors import Behaviour, Finding, ReasonCode, behaviour
from kneeimg.io.dicom.stack import SliceRef
from kneeimg.settings.reading import Kind


@dataclass(frozen=True, slots=True)
class Scanner:
    """Where and how a series was made; what changes here between visits is protocol drift.

    Attributes
    ----------
    manufacturer, model, software, coil, sequence : As the file says; "" if absent.
    field_strength_t : Tesla; None if absent.
    repetition_time_ms, flip_angle_deg, slice_thickness_mm : None if absent.
    """

    manufacturer: str = ""
    model: str = ""
    software: str = ""
    coil: str = ""
    sequence: str = ""
    field_strength_t: float | None = None
    repetition_time_ms: float | None = None
    flip_angle_deg: float | None = None
    slice_thickness_mm: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRecord:
    """One stack of slices of one echo and image type, or one film.

    Attributes
    ----------
    kind : "mri", "film" or "other" (an image that kneeimg does not measure).
    modality : DICOM modality, e.g. "MR".
    description : Series description without control characters; "" if absent.
    slices : The images in reading order; for a refused series in file order.
    duplicates : Groups of images at one position, to be compared when the pixels are read.
    shape : (columns, rows, slices) of an MRI stack, (rows, columns) of a film.
    spacing_mm : mm along the axes of `shape`; None if unknown.
    affine : (4, 4) index (column, row, slice) to LPS mm; None if there is no geometry.
    orientation : "sagittal", "coronal", "axial", "oblique", or "" if unknown.
    side, side_source : What the tags say, and which tag; None and "" if they say nothing.
    bilateral : The tags say that both knees are on the image.
    view : "PA" or "AP" of a film; "" if unknown.
    echo_number, echo_time_ms : Which echo, from 1 in order of echo time; None if not an echo.
    image_type : Values of ImageType.
    scanner : Equipment and protocol.
    study_date : YYYY-MM-DD; "" if absent or invalid.
    frame_uid : Frame of Reference UID; "" if absent.
    series_hash : Names the series in the file, all of its splits alike; "" if it has no UID.
    refers_to : The same for the series that a segmentation was drawn on; None for any other image.
    transfer_syntax, lossy : Pixel encoding.
    uid_hash : 16 hex digits that name this series and split without revealing its UID.
    study_hash : The same for the study; "" if absent.
    person_hash : 16 hex digits of the SHA-256 of PatientID; None if absent.
    patient_id : In memory only, to be compared with the study file; never printed or written.
    findings : What was noticed and does not stop the reading.
    refusal : Why the series is refused or skipped; None if it can be read.
    selector : TOML for a study file: a rule that takes this series and no other found beside it.
    """

    kind: Kind
    modality: str
    description: str
    slices: tuple[SliceRef, ...] = field(repr=False)
    shape: tuple[int, ...]
    uid_hash: str
    duplicates: tuple[tuple[SliceRef, ...], ...] = field(default=(), repr=False)
    spacing_mm: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = field(default=None, repr=False)
    orientation: str = ""
    side: Side | None = None
    side_source: str = ""
    bilateral: bool = False
    view: str = ""
    echo_number: int | None = None
    echo_time_ms: float | None = None
    image_type: tuple[str, ...] = ()
    scanner: Scanner = field(default_factory=Scanner)
    study_date: str = ""
    frame_uid: str = field(default="", repr=False)
    series_hash: str = ""
    refers_to: tuple[str, ...] | None = None
    transfer_syntax: str = ""
    lossy: bool = False
    study_hash: str = ""
    person_hash: str | None = None
    patient_id: str | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()
    refusal: Finding | None = None
    selector: str = field(default="", repr=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the series, duplicates included, each once, in slice order."""
        every = [*self.slices, *(image for group in self.duplicates for image in group)]
        return tuple(dict.fromkeys(image.path for image in every))

    @property
    def names(self) -> tuple[str, ...]:
        """`files` relative to the folder that was searched, POSIX style."""
        every = [*self.slices, *(image for group in self.duplicates for image in group)]
        return tuple(dict.fromkeys(image.name for image in every))

    @property
    def is_mask(self) -> bool:
        """Whether it is no image but a segmentation of one."""
        return self.refers_to is not None

    @property
    def skipped(self) -> bool:
        """Not an input at all (localizer, unsupported kind), as against refused."""
        return self.refusal is not None and behaviour(self.refusal.code) is Behaviour.SKIP

    def to_json(self) -> dict[str, Any]:
        """Plain values for `inspect --json`; no patient number, name or raw UID."""
        scanner = {name: getattr(self.scanner, name) for name in Scanner.__slots__}
        return {
            "kind": self.kind,
            "modality": self.modality,
            "description": self.description,
            "folder": self.folder,
            "n_files": len(self.files),
            "shape": list(self.shape),
            "spacing_mm": None
            if self.spacing_mm is None
            else [round(v, 6) for v in self.spacing_mm],
            "orientation": self.orientation,
            "side": None if self.side is None else str(self.side),
            "side_source": self.side_source,
            "bilateral": self.bilateral,
            "view": self.view,
            "echo_number": self.echo_number,
            "echo_time_ms": self.echo_time_ms,
            "image_type": list(self.image_type),
            "scanner": scanner,
            "study_date": self.study_date,
            "transfer_syntax": self.transfer_syntax,
            "lossy": self.lossy,
            "uid_hash": self.uid_hash,
            "series_hash": self.series_hash,
            "refers_to": None if self.refers_to is None else list(self.refers_to),
            "study_hash": self.study_hash,
            "person_hash": self.person_hash,
            "findings": [finding.as_dict() for finding in self.findings],
            "refusal": None if self.refusal is None else self.refusal.as_dict(),
            "selector": self.selector,
        }

    @property
    def folder(self) -> str:
        """Common folder of the files relative to the searched root, or the one file's name."""
        names = self.names
        if len(names) == 1:
            return names[0]
        parents = {name.rpartition("/")[0] for name in names}
        return (parents.pop() if len(parents) == 1 else _common_folder(sorted(parents))) or "."


def _common_folder(folders: list[str]) -> str:
    first, last = folders[0].split("/"), folders[-1].split("/")
    shared: list[str] = []
    for a, b in zip(first, last, strict=False):
        if a != b:
            break
        shared.append(a)
    return "/".join(shared)


@dataclass(frozen=True, slots=True, eq=False)
class Inventory:
    """Everything found below a folder.

    Attributes
    ----------
    root : The folder (or the single file) that was searched.
    records : Series and films, in order of folder, description and echo.
    findings : Files that could not be used, one finding each; `where` is the relative name.
    other_files : Files of other kinds (NIfTI, tables, ...), relative to `root`; no complaint.
    n_files : Number of files looked at.
    """

    root: Path
    records: tuple[SeriesRecord, ...]
    findings: tuple[Finding, ...] = ()
    other_files: tuple[Path, ...] = ()
    n_files: int = 0

    def usable(self) -> tuple[SeriesRecord, ...]:
        """Records that can be read."""
        return tuple(record for record in self.records if record.refusal is None)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `inspect --json`."""
        return {
            "n_files": self.n_files,
            "series": [record.to_json() for record in self.records],
            "findings": [finding.as_dict() for finding in self.findings],
            "other_files": [path.as_posix() for path in self.other_files],
        }

    def count(self, code: ReasonCode) -> int:
        """How many files or series carry this code."""
        every = [*self.findings]
        for record in self.records:
            every += [*record.findings, *((record.refusal,) if record.refusal else ())]
        return sum(finding.code is code for finding in every)
