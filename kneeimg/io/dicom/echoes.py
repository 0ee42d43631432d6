"""The echoes of one multi-echo scan, as images on one grid with their echo times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kneeimg.core.volume import Volume
from kneeimg.errors import DicomError, GeometryError, ReasonCode
from kneeimg.io.dicom.records import Inventory, SeriesRecord
from kneeimg.io.dicom.volumes import read_volume

#: GE's private creator and the elements of the spoiler of its dual-echo steady state: area in
#: G/cm · µs, duration in µs ("User data 15" and "16").
_GE_CREATOR = "GEMS_ACQU_01"
_GE_GROUP, _GE_AREA, _GE_DURATION = 0x0019, 0xB6, 0xB7
#: 1 G/cm · µs in mT/m · ms.
_AREA_UNIT = 0.01


def find_echoes(inventory: Inventory) -> tuple[SeriesRecord, ...]:
    """The echoes of the one multi-echo scan in a folder, in order of echo time.

    Parameters
    ----------
    inventory : What :func:`find_series` found; echoes may share a series or have one each.

    Raises
    ------
    DicomError
        NO_RULE_MATCHES when there is no scan with two echoes, AMBIGUOUS_SERIES when there are
        several, or the refusal of one of the echoes.
    """
    groups: dict[tuple[object, ...], list[SeriesRecord]] = defaultdict(list)
    for record in inventory.records:
        if record.kind == "mri" and record.echo_time_ms is not None and not record.skipped:
            # not by study UID: some de-identification gives every echo another one
            who_when = (record.person_hash, record.study_date)
            key = (*who_when, record.description, record.shape, record.image_type)
            groups[key].append(record)
    trains = [group for group in groups.values() if _distinct(group) > 1]
    if len(trains) != 1:
        what = ", ".join(f"{g[0].description} ({len(g)} echoes)" for g in trains) or "none"
        raise DicomError(
            "the folder does not hold one multi-echo scan",
            code=ReasonCode.AMBIGUOUS_SERIES if trains else ReasonCode.NO_RULE_MATCHES,
            where=str(inventory.root.name),
            expected="one scan with two echo times or more",
            found=what,
            action="give the folder of the T2 scan alone",
        )
    for record in trains[0]:
        if record.refusal is not None:
            raise DicomError.from_finding(record.refusal)
    return tuple(sorted(trains[0], key=lambda record: record.echo_time_ms or 0.0))


def _distinct(records: Iterable[SeriesRecord]) -> int:
    return len({record.echo_time_ms for record in records})


def read_echoes(
    records: Sequence[SeriesRecord],
) -> tuple[tuple[Volume, ...], tuple[float, ...]]:
    """Read the echoes of one scan.

    Parameters
    ----------
    records : One record per echo, from :func:`find_echoes`, in any order.

    Returns
    -------
    volumes : One image per echo in order of echo time, all on the very same grid.
    te_ms : (E,) echo times in ms, ascending.

    Raises
    ------
    DicomError
        A refusal of one of the echoes; NO_GEOMETRY without an echo time, CONFLICTING_DUPLICATE
        when two have the same.
    GeometryError
        If two echoes lie on different grids.
    """
    times = [record.echo_time_ms for record in records]
    if not records or any(te is None for te in times):
        raise DicomError(
            "an echo has no echo time",
            code=ReasonCode.NO_GEOMETRY,
            where=records[0].folder if records else "",
            expected="EchoTime (0018,0081) in every file",
        )
    if len(set(times)) != len(times):
        raise DicomError(
            "two images of the scan have the same echo time",
            code=ReasonCode.CONFLICTING_DUPLICATE,
            where=records[0].folder,
            found=", ".join(f"{te:g} ms" for te in times if te is not None),
        )
    ordered = sorted(records, key=lambda record: record.echo_time_ms or 0.0)
    volumes = [read_volume(record)[0] for record in ordered]
    first = volumes[0].grid
    for record, volume in zip(ordered, volumes, strict=True):
        frame = volume.grid
        if not record.frame_uid:  # derived from content, hence different for every echo
            frame = replace(frame, frame_uid=first.frame_uid)
        try:
            first.require_same(frame)
        except GeometryError as error:
            raise GeometryError(
                "the echoes of the scan lie on different grids",
                where=record.folder,
                found=error.finding.message,
            ) from error
    echoes = tuple(Volume(volume.data, first, volume.unit) for volume in volumes)
    return echoes, tuple(float(record.echo_time_ms or 0.0) for record in ordered)


def read_spoiler(record: SeriesRecord) -> tuple[float, float] | None:
    """Spoiler of a dual-echo steady state: (area in mT/m · ms, duration in ms).

    Returns
    -------
    None where the file does not say: only GE writes it, in private elements.
    """
    from pydicom import dcmread

    if "GE MEDICAL" not in record.scanner.manufacturer.upper() or not record.files:
        return None
    dataset = dcmread(record.files[0], stop_before_pixels=True)
    try:
        block = dataset.private_block(_GE_GROUP, _GE_CREATOR)
        area, duration = float(block[_GE_AREA].value), float(block[_GE_DURATION].value)
    except (KeyError, TypeError, ValueError):
        return None
    return (area * _AREA_UNIT, duration * 1e-3) if area > 0 and duration > 0 else None
