"""DICOM in and out: series assembly, films, and writers for phantoms.

Reading
    :func:`find_series` lists what a folder holds, from headers alone, with every refusal;
    :func:`select_series` picks one by the rules of a study; :func:`read_volume` and
    :func:`read_radiograph` read the pixels, :func:`read_echoes` those of a multi-echo scan;
    :func:`compare_extent` compares two scans.
Writing
    :func:`write_mr_series`, :func:`write_enhanced_mr`, :func:`write_radiograph`.
"""

from __future__ import annotations

from kneeimg.io.dicom.echoes import find_echoes, read_echoes, read_spoiler
from kneeimg.io.dicom.extent import Extent, against_protocol, compare_extent, extent_of
from kneeimg.io.dicom.films import read_radiograph
from kneeimg.io.dicom.inventory import find_series
from kneeimg.io.dicom.records import Inventory, Scanner, SeriesRecord
from kneeimg.io.dicom.selection import matches, matching_rule, select_repeats, select_series
from kneeimg.io.dicom.volumes import read_volume
from kneeimg.io.dicom.write_enhanced import write_enhanced_mr
from kneeimg.io.dicom.write_film import FilmTags, laterality_of, write_radiograph
from kneeimg.io.dicom.write_mr import FileStyle, MrProtocol, write_mr_series
from kneeimg.io.dicom.writing import Origin

__all__ = [
    "Extent",
    "FileStyle",
    "FilmTags",
    "Inventory",
    "MrProtocol",
    "Origin",
    "Scanner",
    "SeriesRecord",
    "against_protocol",
    "compare_extent",
    "extent_of",
    "find_echoes",
    "find_series",
    "laterality_of",
    "matches",
    "matching_rule",
    "read_echoes",
    "read_radiograph",
    "read_spoiler",
    "read_volume",
    "select_repeats",
    "select_series",
    "write_enhanced_mr",
    "write_mr_series",
    "write_radiograph",
]
