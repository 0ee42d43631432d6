"""The overlay of a segmentation on slices: aspect, choice of slices, letters, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import GeometryError
from kneeimg.geometry.rigid import rotation
from kneeimg.report.figures.slices import choose_cuts, obliqueness_deg, qc_figure, qc_overlay

SPACING_MM = (2.0, 0.5, 1.0)


def ball_map(affine: np.ndarray, shape: tuple[int, int, int], radius_mm: float = 12.0) -> LabelMap:
    """Ball of femur in a shell of cartilage about the middle of the grid."""
    grid = Grid(shape, affine, "1.2.3")
    points = grid.to_mm(np.stack(np.indices(shape), axis=-1))
    centre = grid.to_mm((np.array(shape) - 1) / 2)
    distance = np.linalg.norm(points - centre, axis=-1)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[distance < radius_mm + 3] = Tissue.FEMORAL_CARTILAGE
    labels[distance < radius_mm] = Tissue.FEMUR
    return LabelMap(labels, grid)


@pytest.fixture(scope="module")
def ball() -> LabelMap:
    return ball_map(np.diag([*SPACING_MM, 1.0]), (24, 90, 44))


def soft_ball(radius_mm: float = 12.0) -> LabelMap:
    """Ball of femur alone whose half-level lies exactly at its radius."""
    shape = (23, 91, 45)
    grid = Grid(shape, np.diag([*SPACING_MM, 1.0]), "1.2.3")
    points = grid.to_mm(np.stack(np.indices(shape), axis=-1))
    distance = np.linalg.norm(points - grid.to_mm((np.array(shape) - 1) / 2), axis=-1)
    inside = np.clip(0.5 + (radius_mm - distance) / 12.0, 0, 1).astype(np.float32)
    return LabelMap.from_probabilities({Tissue.FEMUR: inside}, grid)


def contour_sizes(figure) -> list[tuple[float, float]]:
    """Width and height on paper, pixels, of the bone contour in every picture."""
    FigureCanvasAgg(figure).draw()  # places the axes
    sizes = []
    for axes in figure.axes[:5]:
        paths = axes.collections[0].get_paths()  # femur comes first
        points = axes.transData.transform(np.concatenate([p.vertices for p in paths]))
        sizes.append(tuple(np.ptp(points, axis=0)))
    return sizes


def test_a_ball_in_anisotropic_voxels_is_round_on_paper():
    for width, height in contour_sizes(qc_figure(None, soft_ball(), Side.RIGHT)):
        assert width == pytest.approx(height, rel=0.02)


def test_scale_of_the_paper_is_the_scale_bar(ball):
    figure = qc_figure(None, ball, Side.RIGHT)
    FigureCanvasAgg(figure).draw()  # places the axes
    for axes in figure.axes[:5]:
        assert axes.get_aspect() == 1.0
        bar = axes.lines[-1]
        assert np.ptp(bar.get_xdata()) == pytest.approx(20.0)


def test_png_size_and_equal_bytes(ball):
    first = qc_overlay(None, ball, Side.LEFT, title="P01 · BL")
    assert int.from_bytes(first[16:20], "big") == 1320
    assert int.from_bytes(first[20:24], "big") == 1060
    assert first == qc_overlay(None, ball, Side.LEFT, title="P01 · BL")


def test_any_storage_order_gives_the_same_picture(ball):
    axes, flips = (2, 0, 1), (-1, 1, -1)
    labels = ball.labels.transpose(axes)[tuple(slice(None, None, f) for f in flips)]
    turned = LabelMap(np.ascontiguousarray(labels), ball.grid.reorient(axes, flips))
    assert qc_overlay(None, turned, Side.RIGHT) == qc_overlay(None, ball, Side.RIGHT)


def test_soft_and_image_are_drawn_and_named(ball):
    soft = LabelMap(
        ball.labels,
        ball.grid,
        {t: ball.fraction(t) for t in (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE)},
    )
    volume = Volume(ball.labels.astype(np.float32) * 100, ball.grid, "a.u.")
    figure = qc_figure(volume, soft, Side.RIGHT)
    texts = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "Soft labels" in texts
    assert "segmentation only" not in texts
    assert all(len(axes.images) == 1 for axes in figure.axes[:5])


def test_without_an_image_the_picture_says_so(ball):
    figure = qc_figure(None, ball, Side.RIGHT)
    texts = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "segmentation only" in texts
    assert "Oblique" not in texts


def test_notice_and_side_stand_on_the_picture(ball):
    texts = [text.get_text() for text in qc_figure(None, ball, Side.LEFT).texts]
    assert "left knee" in texts
    assert "Research use only, not for diagnosis" in texts


def test_an_oblique_grid_is_named():
    affine = np.eye(4)
    affine[:3, :3] = rotation([0, 0, 1], 17.0)
    oblique = ball_map(affine, (40, 40, 40))
    assert obliqueness_deg(oblique.grid) == pytest.approx(17.0)
    texts = [t.get_text() for a in qc_figure(None, oblique, Side.RIGHT).axes for t in a.texts]
    assert any("Oblique grid, 17°" in text for text in texts)


def test_an_image_on_another_grid_is_refused(ball):
    elsewhere = replace(ball.grid, frame_uid="9.9")
    volume = Volume(np.zeros(ball.grid.shape, dtype=np.float32), elsewhere, "a.u.")
    with pytest.raises(GeometryError):
        qc_overlay(volume, ball, Side.RIGHT)


def two_plateaus() -> np.ndarray:
    """(L, P, S) labels: tibial cartilage at 20–29 (patient's right) and 60–69 (patient's left)."""
    labels = np.zeros((100, 40, 40), dtype=np.uint8)
    labels[20:30, 10:30, 20:22] = Tissue.TIBIAL_CARTILAGE
    labels[60:70, 10:30, 20:22] = Tissue.TIBIAL_CARTILAGE
    labels[40:50, 5:8, 30:36] = Tissue.PATELLAR_CARTILAGE
    return labels


@pytest.mark.parametrize("side, medial", [(Side.RIGHT, range(60, 70)), (Side.LEFT, range(20, 30))])
def test_the_medial_slice_lies_in_the_medial_plateau(side, medial):
    cuts = choose_cuts(two_plateaus(), side)
    assert cuts[0].name == "Sagittal, medial condyle"
    assert cuts[0].index in medial
    assert cuts[2].index not in medial
    assert 30 <= cuts[1].index < 60
    assert 30 <= cuts[4].index < 36


def test_mirrored_labels_of_the_other_side_give_mirrored_cuts():
    labels = two_plateaus()
    right = choose_cuts(labels, Side.RIGHT)
    left = choose_cuts(labels[::-1], Side.LEFT)
    assert abs(right[0].index - (99 - left[0].index)) <= 1
    assert right[3:] == left[3:]


@pytest.mark.parametrize(
    "labels", [np.zeros((5, 6, 7), dtype=np.uint8), np.ones((1, 1, 1), dtype=np.uint8)]
)
def test_poor_maps_still_give_slices_inside(labels):
    for cut in choose_cuts(labels, Side.RIGHT):
        assert 0 <= cut.index < max(labels.shape)


@pytest.mark.real
def test_a_real_map_is_drawn(real_data):
    import nibabel

    image = nibabel.load(real_data / "mri" / "labels" / "P01_M00.nii.gz")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    labels = np.asarray(image.dataobj).astype(np.uint8)
    labels[labels > 6] = 0
    cuts = qc_figure(None, LabelMap(labels, Grid(labels.shape, affine, "1")), Side.RIGHT)
    contours = [len(axes.collections) for axes in cuts.axes[:5]]
    assert min(contours) >= 3
