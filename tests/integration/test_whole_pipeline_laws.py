"""Laws that hold for the whole pipeline, from DICOM files to tables, whatever happens between."""

from __future__ import annotations

import csv
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kneeimg.batch import run_study
from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.geometry.affines import from_linear
from kneeimg.io.dicom import Origin, write_mr_series
from kneeimg.io.label_maps import write_label_map
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom

GRID = sagittal_grid((2.4, 1.2, 1.2), (46, 98, 98))
Key = tuple[str, str]
#: What differs between two knees although every measurement is the same.
OWN = {"participant", "side", "series_uid_hash"}


def mirrored(volume: Volume, labels: LabelMap) -> tuple[Volume, LabelMap]:
    """Both as the mirror shows them: every voxel at -x."""
    flip = from_linear(np.diag([-1.0, 1.0, 1.0]))
    grid = Grid(volume.grid.shape, flip @ volume.grid.affine, "1.2.840.1")
    return Volume(volume.data, grid, "a.u."), LabelMap(labels.labels, grid)


def stored(
    volume: Volume, labels: LabelMap, axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> tuple[Volume, LabelMap]:
    """The same patient with another order and direction of the array axes."""
    grid = volume.grid.reorient(axes, flips)
    image, mask = (reorient_array(values, axes, flips) for values in (volume.data, labels.labels))
    return Volume(image, grid, "a.u."), LabelMap(mask.astype(np.uint8), grid)


def write(folder: Path, scan: tuple[Volume, LabelMap], side: Side, person: str) -> None:
    volume, labels = scan
    origin = Origin(patient_id=person, study_date="2024-01-10", seed=person)
    # slices along the first array axis: each storage order is another acquisition plane
    write_mr_series(volume, folder, side=side, origin=origin, slice_axis=0)
    write_label_map(labels, folder / "knee_dseg.nii.gz")


def knees(out: Path) -> dict[str, dict[Key, dict[str, str]]]:
    """Participant to region and quantity to what the table says."""
    found: dict[str, dict[Key, dict[str, str]]] = {}
    with (out / "tables/measurements.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            kept = {name: text for name, text in row.items() if name not in OWN}
            found.setdefault(row["participant"], {})[row["region"], row["quantity"]] = kept
    return found


ORDERS = {
    "F1": ((0, 1, 2), (-1, 1, -1)),
    "F2": ((1, 2, 0), (1, -1, 1)),
    "F3": ((2, 0, 1), (1, 1, 1)),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("laws")
    labels = KneePhantom(side=Side.RIGHT).label_map(GRID)
    labels = LabelMap(labels.labels, labels.grid)
    values = np.random.default_rng(3).integers(0, 900, GRID.shape).astype(np.int16)
    scan = Volume(values, labels.grid, "a.u."), labels
    write(root / "in/A", scan, Side.RIGHT, "A")
    write(root / "in/M", mirrored(*scan), Side.LEFT, "M")
    for name, (axes, flips) in ORDERS.items():
        write(root / "in" / name, stored(*scan, axes, flips), Side.RIGHT, name)
    people = ["A", "M", *ORDERS]
    (root / "participants.csv").write_text("participant\n" + "\n".join(people) + "\n")
    (root / "study.toml").write_text(
        "[study]\nid = 'T1'\n[[visits]]\nname = 'BL'\ntarget_day = 0\n"
    )
    summary = run_study(root / "in", root / "out", study_file=root / "study.toml", workers=2)
    assert summary.counts == {"measured": len(people)}, summary.refusals
    return root, root / "out"


def differing(first: dict[Key, dict[str, str]], second: dict[Key, dict[str, str]]) -> list[Key]:
    """Rows whose text differs, or whose value differs by more than the noise of float64."""
    assert first.keys() == second.keys()
    odd = []
    for key in first:
        one, two = dict(first[key]), dict(second[key])
        values = [float(row.pop("value") or "nan") for row in (one, two)]
        if one != two or not np.isclose(*values, rtol=1e-6, atol=1e-9, equal_nan=True):
            odd.append(key)
    return odd


@pytest.mark.slow
@pytest.mark.parametrize("other", ["M", *ORDERS])
def test_mirrored_and_turned_scans_have_the_same_table(done, other: str) -> None:  # type: ignore[no-untyped-def]
    found = knees(done[1])
    assert float(found["A"]["MT", "ThCtAB_aMe"]["value"]) > 1.0
    assert differing(found["A"], found[other]) == []


@pytest.mark.slow
def test_parquet_and_csv_hold_the_same(done) -> None:  # type: ignore[no-untyped-def]
    folder = done[1] / "tables"
    for name in ("measurements", "change"):
        table = pq.read_table(folder / f"{name}.parquet")
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert table.num_rows == len(rows)
        for column in table.column_names:
            for value, text in zip(table[column].to_pylist(), rows, strict=False):
                same = text[column] == "" if value is None else type(value)(text[column]) == value
                assert same, (name, column, value, text[column])
    with (folder / "measurements_wide.csv").open(newline="", encoding="utf-8") as stream:
        wide = {row["participant"]: row for row in csv.DictReader(stream)}
    for participant, found in knees(done[1]).items():
        for (region, quantity), row in found.items():
            assert wide[participant][f"{region}_{quantity}"] == row["value"]


@pytest.mark.slow
def test_any_executor_gives_the_same_bytes(done, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root, out = done
    executor: Executor
    with ThreadPoolExecutor(2) as executor:
        run_study(root / "in", tmp_path / "out", study_file=root / "study.toml", executor=executor)
    names = {p.relative_to(out) for p in out.rglob("*") if p.is_file()}
    assert names == {p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.*")}
    names -= {Path("audit.jsonl")}  # says when, which differs
    changed = [n for n in names if (out / n).read_bytes() != (tmp_path / "out" / n).read_bytes()]
    assert changed == []
