"""DICOM segmentations in a study: each is the mask of the series on which it was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.errors import ReasonCode
from kneeimg.io.dicom import Origin, find_series, write_mr_series
from kneeimg.pipeline.cases import Plan
from kneeimg.pipeline.mr import read_anatomy, read_image
from kneeimg.pipeline.planning import plan_cases
from kneeimg.trial.study import load_study

GRID = Grid((8, 8, 6), np.diag([0.5, 0.5, 1.0, 1.0]), "1.2.3")


class Scans:
    """A folder of scans, each with a series and, if wanted, segmentations of it."""

    def __init__(self, folder: Path, writer: Any) -> None:
        self.folder, self.writer = folder, writer

    def series(self, name: str, day: str = "2024-01-10") -> tuple[Path, ...]:
        origin = Origin(patient_id="HOSP-1", study_date=day, seed=name)
        volume = self.writer.blank_volume(GRID)
        return write_mr_series(volume, self.folder / name, side=Side.RIGHT, origin=origin)  # type: ignore[no-any-return]

    def seg(self, name: str, sources: tuple[Path, ...]) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        planes = np.zeros((6, 8, 8, 2), np.uint8)
        planes[1:5, 2:6, 2:4, 0] = 1
        planes[1:5, 2:6, 4, 1] = 1
        names = ["Femur", "Femoral cartilage"]
        return self.writer.write_seg(planes, sources, path, names)  # type: ignore[no-any-return]

    def plan(self) -> Plan:
        return plan_cases(self.folder, None, None)


@pytest.fixture
def scans(tmp_path: Path, seg_writer: Any) -> Scans:
    folder = tmp_path / "scans"
    folder.mkdir()
    return Scans(folder, seg_writer)


def codes(plan: Plan) -> list[tuple[str, str]]:
    rows = [item.row for item in plan.absent]
    return [(row.status, row.finding.code.value if row.finding else "") for row in rows]


@pytest.mark.parametrize("name", ["knee/seg.dcm", "masks/any name", "seg"])
def test_a_segmentation_is_the_mask_of_its_series(name: str, scans: Scans) -> None:
    seg = scans.seg(name, scans.series("knee"))
    made = scans.plan()
    (case,) = made.cases
    assert case.mask is not None
    assert case.mask.path == seg
    assert seg in [path for _, path in case.inputs]
    assert made.absent == ()
    image, _ = read_image(case)
    found = read_anatomy(case, image).label_map
    assert image is not None
    assert found.grid is image.grid
    assert np.count_nonzero(found.labels) == 4 * 4 * 3


def test_each_visit_has_its_own(scans: Scans) -> None:
    first, second = scans.series("a"), scans.series("b", "2024-07-10")
    late, early = scans.seg("segs/1", second), scans.seg("segs/2", first)
    masks = [case.mask.path for case in scans.plan().cases if case.mask]
    assert masks == [early, late]


def test_of_several_series_the_one_with_a_segmentation_is_taken(scans: Scans) -> None:
    scans.series("other")
    scans.seg("seg", scans.series("knee"))
    made = scans.plan()
    assert [case.source for case in made.cases] == ["knee"]


def test_two_segmentations_of_a_series_are_refused(scans: Scans) -> None:
    sources = scans.series("knee")
    scans.seg("one", sources)
    scans.seg("two", sources)
    assert codes(scans.plan()) == [("refused", "AMBIGUOUS_MASK")]


def test_a_segmentation_of_a_series_that_is_not_there(scans: Scans) -> None:
    gone = scans.series("gone")
    scans.seg("seg", gone)
    for path in gone:
        path.unlink()
    scans.series("knee")
    assert ("refused", "MASK_SERIES_MISMATCH") in codes(scans.plan())


def test_a_listed_mask_of_another_series_is_refused(scans: Scans, tmp_path: Path) -> None:
    scans.series("knee")
    scans.seg("seg", scans.series("other"))
    (tmp_path / "participants.csv").write_text("participant,index_knee\nP01,right\n")
    (tmp_path / "scans.csv").write_text(
        "participant,visit,path,mask\nP01,BL,scans/knee,scans/seg\nP01,M06,scans/other,scans/seg\n"
    )
    (tmp_path / "study.toml").write_text("[study]\nid='T1'\nscans='scans.csv'\n")
    made = plan_cases(tmp_path, load_study(tmp_path / "study.toml"), None)
    assert [case.visit.visit for case in made.cases] == ["M06"]
    assert codes(made)[0] == ("refused", "MASK_SERIES_MISMATCH")


def test_a_listed_folder_with_its_segmentation(scans: Scans, tmp_path: Path) -> None:
    seg = scans.seg("knee/seg", scans.series("knee"))
    (tmp_path / "participants.csv").write_text("participant,index_knee\nP01,right\n")
    (tmp_path / "scans.csv").write_text("participant,visit,path\nP01,BL,scans/knee\n")
    (tmp_path / "study.toml").write_text("[study]\nid='T1'\nscans='scans.csv'\n")
    (case,) = plan_cases(tmp_path, load_study(tmp_path / "study.toml"), None).cases
    assert case.mask is not None
    assert case.mask.path == seg


def test_inspect_says_what_a_segmentation_belongs_to(scans: Scans) -> None:
    scans.seg("seg", scans.series("knee"))
    image, mask = sorted(find_series(scans.folder).records, key=lambda r: r.is_mask)
    assert mask.refusal is not None
    assert mask.refusal.code is ReasonCode.UNSUPPORTED_IMAGE
    assert image.series_hash in mask.refusal.found
