"""Masks: formats, grids, schemes, soft maps, the side that labels show."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from kneeimg.core.anatomy import KNEE_V1, Side, Tissue
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import InputError, MaskError, ReasonCode
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.rigid import rotation
from kneeimg.io.label_maps import read_label_map, write_label_map
from kneeimg.io.label_schemes import load_scheme, scheme_names
from kneeimg.io.nifti import read_volume, write_volume

LINEAR = rotation([1, 2, 3], 25) @ np.diag([0.7, 0.365, 0.4])
GRID = Grid((20, 14, 12), from_linear(LINEAR, (-61.3, 33.7, 151.2)), "1.2.3.4")


def blocks(grid: Grid = GRID) -> LabelMap:
    """Femur, its cartilage, tibia and its cartilage as blocks."""
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:18, 2:12, 8:] = Tissue.FEMUR
    labels[2:18, 2:12, 7] = Tissue.FEMORAL_CARTILAGE
    labels[2:18, 2:12, 5] = Tissue.TIBIAL_CARTILAGE
    labels[2:18, 2:12, :5] = Tissue.TIBIA
    return LabelMap(labels, grid)


def refused(code: ReasonCode, path: Path, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(MaskError) as caught:
        read_label_map(path, *args, **kwargs)
    assert caught.value.code is code
    return str(caught.value)


def save_nifti(values: Any, path: Path, affine: Any = None) -> Path:
    lps = GRID.affine if affine is None else affine
    nib.save(nib.Nifti1Image(values, np.diag([-1, -1, 1, 1]) @ lps), path)
    return path


# --- round trips ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
def test_nifti_round_trip(name: str, tmp_path: Path) -> None:
    path = write_label_map(blocks(), tmp_path / name)
    back = read_label_map(path, image_grid=GRID)
    np.testing.assert_array_equal(back.labels, blocks().labels)
    assert back.grid is GRID
    assert back.labels.flags.c_contiguous
    alone = read_label_map(path)
    assert alone.grid.corner_gap_mm(GRID) < 1e-4
    assert alone.grid.frame_uid is not None
    assert alone.grid.frame_uid.startswith("2.25.")


@pytest.mark.parametrize("name", ["m.nrrd", "m.mha", "m.mhd"])
def test_itk_formats(name: str, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(blocks().labels.transpose(2, 1, 0))
    spacing = GRID.spacing_mm
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(v) for v in GRID.affine[:3, 3]])
    image.SetDirection([float(v) for v in (GRID.affine[:3, :3] / spacing).ravel()])
    sitk.WriteImage(image, str(tmp_path / name))
    back = read_label_map(tmp_path / name, image_grid=GRID)
    np.testing.assert_array_equal(back.labels, blocks().labels)


def test_nibabel_and_simpleitk_agree_on_what_was_written(tmp_path: Path) -> None:
    path = write_label_map(blocks(), tmp_path / "m.nii.gz")
    ras = nib.load(path).affine
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ ras, GRID.affine, atol=1e-5)
    image = sitk.ReadImage(str(path))
    np.testing.assert_allclose(image.GetOrigin(), GRID.affine[:3, 3], atol=1e-4)
    np.testing.assert_allclose(
        image.TransformIndexToPhysicalPoint((19, 13, 11)), GRID.to_mm((19, 13, 11)), atol=1e-4
    )
    header = nib.load(path).header
    assert header.get_xyzt_units() == ("mm", "sec")
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-4)


def test_volume_round_trip_and_bytes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=GRID.shape)
    volume = Volume(values, GRID, "mm")
    one = write_volume(volume, tmp_path / "one.nii.gz").read_bytes()
    two = write_volume(volume, tmp_path / "two.nii.gz").read_bytes()
    assert one == two
    assert gzip.decompress(one)[:4] == (348).to_bytes(4, "little")
    back = read_volume(tmp_path / "one.nii.gz", "mm")
    np.testing.assert_array_equal(back.data, values.astype(np.float32))
    assert back.grid.corner_gap_mm(GRID) < 1e-4
    assert back.unit == "mm"


def test_nan_survives(tmp_path: Path) -> None:
    values = np.full(GRID.shape, np.nan, np.float32)
    values[3] = 1.5
    write_volume(Volume(values, GRID, "mm"), tmp_path / "t.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "t.nii.gz").data, values)


# --- grids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_mask_in_another_axis_order_comes_back_on_the_image_grid(
    axes: Any, flips: Any, tmp_path: Path
) -> None:
    labels = reorient_array(blocks().labels, axes, flips)
    path = save_nifti(
        np.ascontiguousarray(labels), tmp_path / "m.nii", GRID.reorient(axes, flips).affine
    )
    back = read_label_map(path, image_grid=GRID)
    np.testing.assert_array_equal(back.labels, blocks().labels)
    assert back.grid is GRID


def test_mask_on_another_grid(tmp_path: Path) -> None:
    shifted = GRID.affine.copy()
    shifted[:3, 3] += (0, 0.05, 0)
    path = save_nifti(blocks().labels, tmp_path / "shifted.nii", shifted)
    text = refused(ReasonCode.MASK_GRID_MISMATCH, path, image_grid=GRID)
    assert "corners 0.050 mm apart" in text
    path = save_nifti(blocks().labels[:-1], tmp_path / "short.nii")
    assert "19 x 14 x 12" in refused(ReasonCode.MASK_GRID_MISMATCH, path, image_grid=GRID)
    turned = GRID.affine @ from_linear(rotation([0, 0, 1], 40))
    path = save_nifti(blocks().labels, tmp_path / "turned.nii", turned)
    refused(ReasonCode.MASK_GRID_MISMATCH, path, image_grid=GRID)


def test_two_masks_share_a_frame_only_if_they_are_the_same(tmp_path: Path) -> None:
    one = read_label_map(write_label_map(blocks(), tmp_path / "one.nii"))
    again = read_label_map(write_label_map(blocks(), tmp_path / "again.nii.gz"))
    assert one.grid.frame_uid == again.grid.frame_uid
    labels = blocks().labels.copy()
    labels[0, 0, 0] = 1
    other = read_label_map(write_label_map(LabelMap(labels, GRID), tmp_path / "other.nii"))
    assert other.grid.frame_uid != one.grid.frame_uid


# --- refusals ------------------------------------------------------------------------------


def test_unknown_label_names_values_and_counts(tmp_path: Path) -> None:
    labels = blocks().labels.astype(np.int16)
    labels[0, 0, :3] = 99
    labels[1, 0, 0] = 300
    text = refused(ReasonCode.UNKNOWN_LABEL, save_nifti(labels, tmp_path / "m.nii"))
    assert "99 (3 voxels), 300 (1 voxels)" in text
    labels[labels > 12] = -4
    assert "-4 (4 voxels)" in refused(
        ReasonCode.UNKNOWN_LABEL, save_nifti(labels, tmp_path / "n.nii")
    )


@pytest.mark.parametrize("dtype", ["i2", "u4"])
def test_wide_numbers_of_small_labels_are_read_as_bytes(dtype: str, tmp_path: Path) -> None:
    written = blocks()
    narrow, wide = (
        read_label_map(save_nifti(written.labels.astype(kind), tmp_path / f"{kind}.nii.gz"))
        for kind in ("u1", dtype)
    )
    assert wide.labels.dtype == np.uint8
    assert np.array_equal(wide.labels, narrow.labels)
    assert wide.grid.frame_uid == narrow.grid.frame_uid


@pytest.mark.parametrize("value", [-1, 256 + int(Tissue.FEMUR), 70_000])
def test_a_number_that_fits_no_byte_is_not_cut_off(value: int, tmp_path: Path) -> None:
    values = blocks().labels.astype(np.int32)
    values[0, 0, 0] = value
    path = save_nifti(values, tmp_path / "mask.nii.gz")
    assert f"{value} (1 voxels)" in refused(ReasonCode.UNKNOWN_LABEL, path)


def test_empty_mask(tmp_path: Path) -> None:
    path = save_nifti(np.zeros(GRID.shape, np.uint8), tmp_path / "m.nii")
    refused(ReasonCode.EMPTY_MASK, path)


@pytest.mark.parametrize("bad", [0.5, np.nan, np.inf])
def test_hard_mask_must_be_whole_numbers(bad: float, tmp_path: Path) -> None:
    values = blocks().labels.astype(np.float32)
    values[0, 0, 0] = bad
    path = save_nifti(values, tmp_path / "m.nii")
    assert "nearest neighbour" in refused(ReasonCode.BAD_MASK_FILE, path)


def test_whole_numbers_stored_as_floats_are_fine(tmp_path: Path) -> None:
    path = save_nifti(blocks().labels.astype(np.float32), tmp_path / "m.nii")
    np.testing.assert_array_equal(read_label_map(path).labels, blocks().labels)


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "m.nrrd", "m.mha", "m.txt"])
@pytest.mark.parametrize("content", [b"", b"not an image at all" * 40])
def test_bad_mask_file(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    refused(ReasonCode.BAD_MASK_FILE, tmp_path / name)


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii"])
def test_truncated_mask_file(name: str, keep: float, tmp_path: Path) -> None:
    path = write_label_map(blocks(), tmp_path / name)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    refused(ReasonCode.BAD_MASK_FILE, path)


def test_missing_file(tmp_path: Path) -> None:
    refused(ReasonCode.BAD_MASK_FILE, tmp_path / "nothing.nii.gz")


def test_no_orientation_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(blocks().labels, None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nib.save(image, tmp_path / "m.nii")
    refused(ReasonCode.NO_GEOMETRY, tmp_path / "m.nii")


def test_images_of_four_dimensions_are_not_hard_masks(tmp_path: Path) -> None:
    path = save_nifti(np.zeros((4, 4, 4, 2), np.uint8), tmp_path / "m.nii")
    assert ".json" in refused(ReasonCode.BAD_MASK_FILE, path)
    with pytest.raises(InputError):
        read_volume(path)


# --- soft ----------------------------------------------------------------------------------


def soft() -> LabelMap:
    """Fractions that are exact in steps of 1/255."""
    femur = np.zeros(GRID.shape, np.float32)
    femur[4:9] = 1.0
    femur[9] = 102 / 255
    cartilage = np.zeros(GRID.shape, np.float32)
    cartilage[9] = 153 / 255
    cartilage[10] = 0.6
    tissues = {Tissue.FEMUR: femur, Tissue.FEMORAL_CARTILAGE: cartilage}
    return LabelMap.from_probabilities(tissues, GRID)


def test_soft_round_trip(tmp_path: Path) -> None:
    path = write_label_map(soft(), tmp_path / "knee_probseg.nii.gz", soft=True)
    names = json.loads((tmp_path / "knee_probseg.json").read_text())
    assert names == {"LabelMap": ["femur", "femoral_cartilage"]}
    back = read_label_map(path, image_grid=GRID)
    assert back.is_soft
    for tissue in (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE):
        np.testing.assert_allclose(back.fraction(tissue), soft().fraction(tissue), atol=1e-6)
    np.testing.assert_array_equal(back.labels, soft().labels)
    assert path.read_bytes() == write_label_map(soft(), path, soft=True).read_bytes()


def test_soft_map_in_another_axis_order(tmp_path: Path) -> None:
    axes, flips = (2, 0, 1), (1, -1, 1)
    turned = LabelMap.from_probabilities(
        {
            tissue: np.ascontiguousarray(reorient_array(values, axes, flips))  # type: ignore[misc]
            for tissue, values in (soft().probabilities or {}).items()
        },
        GRID.reorient(axes, flips),
    )
    path = write_label_map(turned, tmp_path / "m.nii.gz", soft=True)
    back = read_label_map(path, image_grid=GRID)
    np.testing.assert_array_equal(back.labels, soft().labels)


@pytest.mark.parametrize(
    "names",
    [
        '{"LabelMap": ["femur"]}',
        '{"LabelMap": ["femur", "elbow"]}',
        "{}",
        "[",
        '{"LabelMap": ["femur", "femur"]}',
    ],
)
def test_soft_sidecar_mistakes(names: str, tmp_path: Path) -> None:
    path = write_label_map(soft(), tmp_path / "m.nii.gz", soft=True)
    (tmp_path / "m.json").write_text(names)
    refused(ReasonCode.BAD_MASK_FILE, path)


@pytest.mark.parametrize("value", [1.5, -0.2, np.nan, 0.8])
def test_soft_values_must_be_fractions(value: float, tmp_path: Path) -> None:
    stored = np.zeros((*GRID.shape, 2), np.float32)
    stored[3:6, ...] = value  # 0.8 twice is more than a whole voxel
    save_nifti(stored, tmp_path / "m.nii")
    (tmp_path / "m.json").write_text('{"LabelMap": ["femur", "tibia"]}')
    refused(ReasonCode.BAD_MASK_FILE, tmp_path / "m.nii")


# --- schemes and side ----------------------------------------------------------------------


def test_every_scheme_loads_and_covers_its_tissues() -> None:
    assert {"knee-v1", "oai-akoa", "oai-zib", "oai-zib-cm", "skm-tea", "pymskt"} <= set(
        scheme_names()
    )
    for name in scheme_names():
        scheme = load_scheme(name)
        assert scheme.name == name
        assert scheme.tissues[0] is Tissue.BACKGROUND
        assert Tissue.FEMORAL_CARTILAGE in scheme.tissues.values()


def test_knee_v1_is_the_scheme_of_the_core() -> None:
    shipped = load_scheme("knee-v1")
    assert dict(shipped.tissues) == dict(KNEE_V1.tissues)
    assert dict(shipped.compartments) == dict(KNEE_V1.compartments)


@pytest.mark.parametrize(
    "text",
    [
        'name = "x"\nsource = ""\n[labels]\n1 = "elbow"\n',
        'name = "x"\nsource = ""\n[lables]\n1 = "femur"\n',
        'name = "x"\nsource = ""\n[labels]\n0 = "femur"\n',
        'name = "x"\nsource = ""\n[labels]\n1 = "femur"\n[compartments]\n2 = "medial"\n',
        'name = "x"\nsource = ""\n[labels]\n1 = "femur"\n[compartments]\n1 = "middle"\n',
        "name = ",
        "\x00",
    ],
)
def test_scheme_mistakes(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(MaskError, match=r"s\.toml"):
        load_scheme(tmp_path / "s.toml")


def test_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(MaskError, match="knee-v1"):
        load_scheme("oai-zip")


@pytest.mark.parametrize("layout", [np.eye(3), np.diag([-1.0, 1, 1]), rotation([1, 1, 0.2], 30)])
@pytest.mark.parametrize("side", Side)
def test_side_from_labels(side: Side, layout: Any, tmp_path: Path) -> None:
    shape = (41, 41, 9)
    affine = from_linear(layout)
    affine[:3, 3] = -affine[:3, :3] @ [20, 20, 4]
    grid = Grid(shape, affine, None)
    x = grid.to_mm(np.stack(np.indices(shape), axis=-1))[..., 0]
    towards_medial = x if side is Side.RIGHT else -x  # a right knee's medial side is its left
    labels = np.zeros(shape, np.uint8)
    labels[towards_medial > 4] = 2
    labels[towards_medial < -4] = 3
    path = save_nifti(labels, tmp_path / "m.nii", affine)
    assert read_label_map(path, "pymskt").side_from_labels is side
    swapped = np.where(labels == 2, 3, np.where(labels == 3, 2, 0)).astype(np.uint8)
    path = save_nifti(swapped, tmp_path / "n.nii", affine)
    assert read_label_map(path, "pymskt").side_from_labels is side.opposite


def test_labels_that_show_both_sides_are_refused(tmp_path: Path) -> None:
    labels = np.zeros((40, 10, 10), np.uint8)
    labels[:10, :5], labels[30:, :5] = 2, 3  # medial and lateral tibial cartilage
    labels[:10, 5:], labels[30:, 5:] = 9, 10  # lateral and medial meniscus, exchanged
    path = save_nifti(labels, tmp_path / "m.nii", np.eye(4))
    refused(ReasonCode.LATERALITY_CONFLICT, path, "pymskt")


def test_scheme_without_compartments_tells_no_side(tmp_path: Path) -> None:
    assert read_label_map(write_label_map(blocks(), tmp_path / "m.nii")).side_from_labels is None


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_file_that_unpacks_to_many_times_its_size_is_whole(beyond: int, tmp_path: Path) -> None:
    count = 5 * (1 << 18) - 544 + beyond  # the file unpacks to whole pieces, or a byte beside
    values = np.zeros((count, 1, 1), np.uint8)
    values[count // 3 : count // 2] = np.random.default_rng(1).integers(
        0, 7, count // 2 - count // 3
    )[:, None, None]
    values[-1] = 6
    path = tmp_path / "long.nii.gz"
    nib.save(nib.Nifti2Image(values, np.eye(4)), path)  # NIfTI-2: more voxels along an axis
    np.testing.assert_array_equal(read_volume(path).data, values)


def test_a_packed_file_may_have_members_and_must_be_whole(tmp_path: Path) -> None:
    path = write_label_map(blocks(), tmp_path / "whole.nii.gz")
    raw = gzip.decompress(path.read_bytes())
    members = tmp_path / "members.nii.gz"
    members.write_bytes(b"".join(gzip.compress(raw[n : n + 700]) for n in range(0, len(raw), 700)))
    np.testing.assert_array_equal(read_label_map(members).labels, blocks().labels)
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(path.read_bytes()[:-60])
    refused(ReasonCode.BAD_MASK_FILE, cut)
    wrong = bytearray(path.read_bytes())
    wrong[-6] ^= 1  # its checksum
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(wrong)
    refused(ReasonCode.BAD_MASK_FILE, bad)
