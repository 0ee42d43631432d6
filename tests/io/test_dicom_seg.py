"""DICOM segmentations as masks: kinds, names, codes, geometry, and everything that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom.sr.coding import CodedConcept
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.sr.codedict import codes

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.rigid import rotation
from kneeimg.io.dicom import Origin, find_series, read_volume, write_mr_series
from kneeimg.io.dicom_seg import require_mask_of
from kneeimg.io.label_maps import read_label_map, write_label_map
from kneeimg.measure.morphometry import measure_knee
from kneeimg.phantoms.grids import random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom

TISSUES = (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE, Tissue.TIBIA, Tissue.TIBIAL_CARTILAGE)
NAMES = ["Femur", "femoral_cartilage", "Tibia", "Tibial Cartilage"]
LINEAR = rotation([1, 2, 3], 25) @ np.diag([0.365, 0.4, 0.7])
GRID = Grid((14, 16, 20), from_linear(LINEAR, (-61.3, 33.7, 151.2)), "1.2.3.4")


class Series:
    """A small image series and the blocks that are drawn on it."""

    def __init__(self, folder: Path, writer: Any, grid: Grid = GRID, seed: str = "one") -> None:
        volume = writer.blank_volume(grid)
        self.sources = write_mr_series(volume, folder, side=Side.RIGHT, origin=Origin(seed=seed))
        self.record = find_series(folder).records[0]
        self.image = read_volume(self.record)[0]
        self.folder, self.writer = folder, writer
        columns, rows, slices = self.image.grid.shape
        self.planes = np.zeros((slices, rows, columns, 4), np.uint8)
        inner = self.planes[3 : slices - 2, 2:-3, 2:-2]
        inner[:, -4:, :, 0] = 1
        inner[:, -5, :, 1] = 1
        inner[:, :2, :, 2] = 1
        inner[1:, 2, :, 3] = 1

    @property
    def labels(self) -> np.ndarray:
        """(column, row, slice) tissues of the planes."""
        whole = sum(self.planes[..., n] * int(t) for n, t in enumerate(TISSUES))
        return np.asarray(whole).transpose(2, 1, 0)

    def seg(self, planes: Any = None, names: Any = NAMES, **options: Any) -> Path:
        shown = self.planes if planes is None else planes
        order = self.writer_order(options.pop("descending", False))
        return self.writer.write_seg(
            shown[order],
            [self.sources[n] for n in order],
            self.folder.parent / "seg.dcm",
            names[: shown.shape[-1]],
            **options,
        )

    def writer_order(self, descending: bool) -> list[int]:
        numbers = list(range(len(self.sources)))
        return numbers[::-1] if descending else numbers


@pytest.fixture
def series(tmp_path: Path, seg_writer: Any) -> Series:
    return Series(tmp_path / "image", seg_writer)


def refused(code: ReasonCode, path: Path, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(MaskError) as caught:
        read_label_map(path, *args, **kwargs)
    assert caught.value.code is code, caught.value
    return str(caught.value)


def edited(path: Path, **values: Any) -> Path:
    dataset = dcmread(path)
    for name, value in values.items():
        setattr(dataset, name, value)
    dcmwrite(path, dataset)
    return path


# --- what is read ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("omit", [True, False])
@pytest.mark.parametrize("descending", [True, False])
def test_kinds_and_orders(kind: str, omit: bool, descending: bool, series: Series) -> None:
    path = series.seg(kind=kind, omit_empty_frames=omit, descending=descending)
    back = read_label_map(path, image_grid=series.image.grid)
    np.testing.assert_array_equal(back.labels, series.labels)
    assert back.grid is series.image.grid
    assert not back.is_soft  # a fractional one of nothing but 0 and its maximum is a hard mask
    alone = read_label_map(path)  # the list of source images tells which ends were left out
    np.testing.assert_array_equal(alone.labels, series.labels)
    assert alone.grid.corner_gap_mm(series.image.grid) < 1e-5
    assert alone.grid.frame_uid == series.image.grid.frame_uid


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"])
def test_bits_that_do_not_fill_bytes(syntax: str, series: Series) -> None:
    assert (14 * 16) % 8 == 0
    odd = Series(
        series.folder.parent / "odd",
        series.writer,
        Grid((13, 15, 20), GRID.affine, GRID.frame_uid),
    )
    assert (13 * 15) % 8 != 0
    path = odd.seg()
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dcmwrite(path, dataset, implicit_vr=syntax.endswith("1.2"), little_endian=True)
    back = read_label_map(path, image_grid=odd.image.grid)
    np.testing.assert_array_equal(back.labels, odd.labels)


def test_inner_slices_without_a_frame_are_background(series: Series) -> None:
    series.planes[8:11] = 0
    path = series.seg()
    np.testing.assert_array_equal(read_label_map(path).labels, series.labels)
    back = read_label_map(path, image_grid=series.image.grid)
    np.testing.assert_array_equal(back.labels, series.labels)


def test_spacing_is_the_mean_over_the_stack(series: Series) -> None:
    # positions rounded as scanners round them: the smallest gap is not the spacing
    def rounded(dataset: Dataset) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            place = group.PlanePositionSequence[0]
            place.ImagePositionPatient = [round(float(v), 2) for v in place.ImagePositionPatient]

    back = read_label_map(series.seg(change=rounded))
    assert back.grid.spacing_mm[2] == pytest.approx(0.7, abs=5e-4)


def test_fractions_are_a_soft_map(series: Series) -> None:
    soft = series.planes.astype(np.float32)
    soft[..., 0] *= np.float32(0.8)
    soft[..., 1] *= np.float32(0.4)
    for kind in ("PROBABILITY", "OCCUPANCY"):
        path = series.seg(soft, kind="FRACTIONAL", fractional_type=kind)
        back = read_label_map(path, image_grid=series.image.grid)
        assert back.is_soft
        for n, tissue in enumerate(TISSUES):
            want = soft[..., n].transpose(2, 1, 0)
            np.testing.assert_allclose(back.fraction(tissue), want, atol=0.5 / 255 + 1e-6)


def test_segments_are_told_by_code(series: Series) -> None:
    sct = codes.SCT
    concepts = [sct.Femur, sct.Cartilage, CodedConcept("T-12740", "SRT", "Tibia"), sct.Cartilage]
    regions = {2: sct.Femur, 4: sct.Tibia}
    path = series.seg(names=["a", "b", "c", "d"], concepts=concepts, regions=regions)
    back = read_label_map(path, image_grid=series.image.grid)
    np.testing.assert_array_equal(back.labels, series.labels)


def test_a_scheme_names_segments(series: Series, tmp_path: Path) -> None:
    scheme = tmp_path / "mine.toml"
    scheme.write_text(
        'name = "mine"\nsource = "here"\n'
        '[labels]\n5 = "femur"\n6 = "femoral_cartilage"\n7 = "tibia"\n8 = "tibial_cartilage"\n'
        '[segments]\n"Knochen A" = 5\n"99LAB:F-CART" = 6\n'
    )
    concepts = [series.writer.ANY_TISSUE] * 4
    concepts[1] = CodedConcept("F-CART", "99LAB", "ours")
    names = ["knochen_a", "Segment_2", "tibia", "tibial cartilage"]
    path = series.seg(names=names, concepts=concepts)
    back = read_label_map(path, scheme, series.image.grid)
    np.testing.assert_array_equal(back.labels, series.labels)
    scheme.write_text(scheme.read_text() + '"elbow" = 9\n')
    with pytest.raises(MaskError, match="values that are not labels"):
        read_label_map(path, scheme)


def test_medial_and_lateral_segments_show_the_side(series: Series) -> None:
    across = abs(series.image.grid.affine[0, :3]).argmax()
    halves = np.zeros((*series.planes.shape[:3], 2), np.uint8)
    middle = np.moveaxis(halves, [2, 1, 0], [0, 1, 2])  # column, row, slice
    near, far = np.array_split(np.arange(middle.shape[across]), 2)
    np.moveaxis(middle, across, 0)[near, ..., 0] = 1
    np.moveaxis(middle, across, 0)[far, ..., 1] = 1
    wide = Grid(GRID.shape, from_linear(40 * GRID.affine[:3, :3]), GRID.frame_uid)
    big = Series(series.folder.parent / "big", series.writer, wide)
    path = big.seg(halves, ["medial tibial cartilage", "Lateral Tibial-Cartilage"])
    x = [float(big.image.grid.to_mm(np.argwhere(h.transpose(2, 1, 0)).mean(axis=0))[0])
         for h in np.moveaxis(halves, 3, 0)]  # fmt: skip
    back = read_label_map(path, "oai-zib-cm")
    assert back.side_from_labels is (Side.RIGHT if x[0] > x[1] else Side.LEFT)


# --- what is refused ------------------------------------------------------------------------


def test_unknown_segments_are_listed(series: Series) -> None:
    path = series.seg(names=["Femur", "Segment_2", "Tibia", "Baker's cyst"])
    text = refused(ReasonCode.UNKNOWN_LABEL, path)
    voxels = int(series.planes[..., 1].sum())
    assert f'segment 2 "Segment_2" (SCT:85756007 Tissue), {voxels} voxels' in text
    assert "Baker's cyst" in text
    assert "femoral cartilage" in text  # what it should be called


def test_name_and_code_that_differ_are_refused(series: Series) -> None:
    concepts = [codes.SCT.Tibia, *[series.writer.ANY_TISSUE] * 3]
    assert "name and code differ" in refused(
        ReasonCode.UNKNOWN_LABEL, series.seg(concepts=concepts)
    )


def test_an_unknown_segment_without_a_voxel_does_not_matter(series: Series) -> None:
    empty = np.zeros((*series.planes.shape[:3], 1), np.uint8)
    path = series.seg(np.concatenate([series.planes, empty], axis=3), [*NAMES, "plan"])
    back = read_label_map(path, image_grid=series.image.grid)
    np.testing.assert_array_equal(back.labels, series.labels)


def test_overlapping_segments_are_refused(series: Series) -> None:
    series.planes[5, :, :, 1] = 1
    text = refused(ReasonCode.OVERLAPPING_SEGMENTS, series.seg())
    assert 'segment 2 "femoral_cartilage"' in text
    soft = 0.7 * series.planes.astype(np.float32)
    refused(ReasonCode.OVERLAPPING_SEGMENTS, series.seg(soft, kind="FRACTIONAL"))


def test_a_lesion_inside_its_bone_is_no_overlap(series: Series, tmp_path: Path) -> None:
    scheme = tmp_path / "lesion.toml"
    shipped = Path("configs/label_schemes/knee-v1.toml").read_text()
    scheme.write_text(shipped + '\n[segments]\n"lesion" = 7\n')
    lesion = series.planes[..., :1].copy()
    lesion[:, :, :4] = 0
    path = series.seg(np.concatenate([series.planes, lesion], axis=3), [*NAMES, "Lesion"])
    back = read_label_map(path, scheme, series.image.grid)
    np.testing.assert_array_equal(back.labels, series.labels)


def test_an_empty_segmentation_is_refused(series: Series) -> None:
    path = series.seg(np.zeros_like(series.planes), omit_empty_frames=False)
    assert "Femur" in refused(ReasonCode.EMPTY_MASK, path)


def test_a_mask_on_another_grid(series: Series) -> None:
    path = series.seg()
    grid = series.image.grid
    moved = Grid(grid.shape, from_linear(grid.affine[:3, :3], grid.affine[:3, 3] + 0.05), "1.2")
    refused(ReasonCode.MASK_GRID_MISMATCH, path, image_grid=moved)
    short = grid.crop((0, 0, 0), (*grid.shape[:2], 10))
    refused(ReasonCode.MASK_GRID_MISMATCH, path, image_grid=short)
    narrow = grid.crop((0, 0, 0), (grid.shape[0] - 1, *grid.shape[1:]))
    refused(ReasonCode.MASK_GRID_MISMATCH, path, image_grid=narrow)


def test_a_mask_of_another_series(series: Series, tmp_path: Path, seg_writer: Any) -> None:
    path = series.seg()
    require_mask_of(path, series.record)
    other = Series(tmp_path / "other", seg_writer, seed="two")
    require_mask_of(other.seg(), series.record, other.record)  # echoes may be several series
    with pytest.raises(MaskError) as caught:
        require_mask_of(other.seg(), series.record)
    assert caught.value.code is ReasonCode.MASK_SERIES_MISMATCH
    assert series.record.series_hash in str(caught.value)


def test_a_mask_in_another_frame_of_reference(series: Series) -> None:
    path = edited(series.seg(), FrameOfReferenceUID="1.2.3.99")
    with pytest.raises(MaskError) as caught:
        require_mask_of(path, series.record)
    assert caught.value.code is ReasonCode.MASK_SERIES_MISMATCH


def test_geometry_that_is_missing_or_odd(series: Series) -> None:
    def without_place(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence

    def without_axes(dataset: Dataset) -> None:
        del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence

    def uneven(dataset: Dataset) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence[4:8]:
            place = group.PlanePositionSequence[0]
            step = 0.3 * GRID.affine[:3, 2]
            place.ImagePositionPatient = [
                float(v) + d for v, d in zip(place.ImagePositionPatient, step, strict=True)
            ]

    def sideways(dataset: Dataset) -> None:
        place = dataset.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence[0]
        step = 3.0 * GRID.affine[:3, 0]
        place.ImagePositionPatient = [
            float(v) + d for v, d in zip(place.ImagePositionPatient, step, strict=True)
        ]

    refused(ReasonCode.NO_GEOMETRY, series.seg(change=without_place))
    refused(ReasonCode.NO_GEOMETRY, series.seg(change=without_axes))
    refused(ReasonCode.NONUNIFORM_SPACING, series.seg(change=uneven))
    refused(ReasonCode.SHEARED_STACK, series.seg(change=sideways))
    few = series.planes.copy()
    few[6:] = 0
    few[:4] = 0
    refused(ReasonCode.TOO_FEW_SLICES, series.seg(few))


def test_a_segment_drawn_twice(series: Series) -> None:
    def twice(dataset: Dataset) -> None:
        groups = [
            group
            for group in dataset.PerFrameFunctionalGroupsSequence
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2
        ]
        groups[1].PlanePositionSequence = groups[0].PlanePositionSequence

    rows = np.flatnonzero(series.planes[5, :, 5, 1])
    series.planes[::2, rows, 5, 1] = 0
    refused(ReasonCode.CONFLICTING_DUPLICATE, series.seg(change=twice))


def test_files_that_are_no_segmentation(series: Series, tmp_path: Path) -> None:
    assert "MR" in refused(ReasonCode.BAD_MASK_FILE, series.sources[0])
    (tmp_path / "text.dcm").write_text("participant,arm")
    refused(ReasonCode.BAD_MASK_FILE, tmp_path / "text.dcm")
    path = series.seg()
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    refused(ReasonCode.TRUNCATED_PIXEL_DATA, path)
    refused(ReasonCode.BAD_MASK_FILE, edited(series.seg(), SegmentationType="CONTOUR"))
    path = series.seg(kind="FRACTIONAL")
    refused(ReasonCode.BAD_MASK_FILE, edited(path, MaximumFractionalValue=9))

    def headless(dataset: Dataset) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.SegmentIdentificationSequence

    refused(ReasonCode.BAD_MASK_FILE, series.seg(change=headless))


# --- the same numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("plane, kind", [("sagittal", "FRACTIONAL"), ("coronal", "BINARY")])
@pytest.mark.slow
def test_one_knee_as_dicom_and_as_nifti(
    plane: Any, kind: str, tmp_path: Path, seg_writer: Any
) -> None:
    pose = random_pose(np.random.default_rng(8), max_angle_deg=12.0)
    spacing, shape = (1.4, 0.7, 0.7), ((78, 168, 168) if plane == "sagittal" else (84, 168, 156))
    grid = slice_grid(plane, spacing, shape, turn=pose.matrix[:3, :3])
    paths = write_mr_series(seg_writer.blank_volume(grid), tmp_path / "image", side=Side.RIGHT)
    image = read_volume(find_series(tmp_path / "image").records[0])[0]
    soft = KneePhantom(Side.RIGHT, pose=pose).label_map(image.grid)
    label_map = soft if kind == "FRACTIONAL" else LabelMap(soft.labels, image.grid)
    planes, tissues = seg_writer.planes_of(label_map, image.grid)
    names = seg_writer.names_of(tissues)
    seg = seg_writer.write_seg(planes, paths, tmp_path / "seg.dcm", names, kind=kind)
    nifti = write_label_map(label_map, tmp_path / "seg.nii.gz", soft=label_map.is_soft)
    want = thickness(read_label_map(nifti))
    # without its image the lattice is made anew, and a vertex may change its subregion
    for given, limit_mm in ((image.grid, 0.001), (None, 0.002)):
        found = thickness(read_label_map(seg, image_grid=given))
        worst_mm = {name: abs(value - found[name]) for name, value in want.items()}
        assert len(worst_mm) > 100
        assert max(worst_mm.values()) < limit_mm, (given, worst_mm)


def thickness(label_map: LabelMap) -> dict[str, float]:
    """Every thickness in mm."""
    rows = measure_knee(label_map, Side.RIGHT).measurements
    return {row.name: row.value for row in rows if "_Th" in row.name and row.unit == "mm"}
