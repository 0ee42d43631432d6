"""Walk a folder and say what is in it, from headers alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kneeimg.errors import DicomError, Finding, InputError, ReasonCode
from kneeimg.io.dicom.describe import describe
from kneeimg.io.dicom.faults import PARSE_ERRORS
from kneeimg.io.dicom.frames import Frame, frames_of
from kneeimg.io.dicom.headers import read_header
from kneeimg.io.dicom.records import Inventory, SeriesRecord
from kneeimg.io.dicom.selection import selector_for
from kneeimg.io.dicom.splitting import split
from kneeimg.io.results import is_results_folder
from kneeimg.settings.reading import ReadingSettings

#: Known files of other kinds that lie beside images in a study; listed, not complained about.
OTHER_SUFFIXES = (
    ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".raw", ".vtp", ".vtk", ".stl", ".ctbl",
    ".csv", ".tsv", ".toml", ".json", ".yaml", ".yml", ".xml", ".txt", ".md", ".html", ".pdf",
    ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".parquet", ".xlsx", ".xpt", ".zip", ".gz", ".log",
)  # fmt: skip


def find_series(root: Path, settings: ReadingSettings | None = None) -> Inventory:
    """Every image series and film below a folder (or in one file), checked but not yet read.

    Parameters
    ----------
    root : Folder, searched with all folders below it, or a single file. Names do not matter:
        no `.dcm` is needed.
    settings : Limits and tolerances.

    Returns
    -------
    Inventory
        Refused and skipped series are records too, with their `refusal`. One bad file never
        stops the folder.

    Raises
    ------
    InputError
        If `root` does not exist.

    Examples
    --------
    >>> import tempfile
    >>> find_series(Path(tempfile.mkdtemp())).records
    ()
    """
    settings = settings or ReadingSettings()
    root = Path(root)
    if not root.exists():
        raise InputError(
            "there is no such file or folder",
            code=ReasonCode.NOT_DICOM,
            where=str(root),
            action="check the path",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, on odd values that are judged here
        return _search(root, settings)


def _search(root: Path, settings: ReadingSettings) -> Inventory:
    frames: list[Frame] = []
    findings: list[Finding] = []
    others: list[Path] = []
    n_files = 0
    for path, name in _files(root):
        n_files += 1
        try:
            header = read_header(path, settings, name)
            frames += frames_of(header, name)
        except DicomError as error:
            if error.code is ReasonCode.NOT_DICOM and name.lower().endswith(OTHER_SUFFIXES):
                others.append(Path(name))
            else:
                findings.append(error.finding)
        except PARSE_ERRORS as error:
            findings.append(_damaged(name, error))
    records = [describe(group, settings) for group in split(frames, settings)]
    return Inventory(root, _with_selectors(records), tuple(findings), tuple(others), n_files)


def _with_selectors(records: list[SeriesRecord]) -> tuple[SeriesRecord, ...]:
    ordered = sorted(
        records, key=lambda r: (r.folder, r.description, r.echo_number or 0, r.uid_hash)
    )
    return tuple(replace(r, selector=selector_for(r, ordered)) for r in ordered)


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file and its name relative to the root, in a fixed order."""
    if root.is_file():
        yield root, root.name
        return
    for folder, folders, names in os.walk(root):
        if Path(folder) != root and is_results_folder(Path(folder)):
            folders.clear()  # what kneeimg wrote is no scan
            continue
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():
                yield path, path.relative_to(root).as_posix()


def _damaged(name: str, error: Exception) -> Finding:
    return Finding(
        ReasonCode.BAD_DICOM,
        "the multi-frame header of this file cannot be parsed",
        where=name,
        found=type(error).__name__,
        action="copy or export the file again",
    )
