"""Measurements, films, surfaces, transforms and ids refuse contradictions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.core.visit import Visit
from kneeimg.errors import GeometryError, ReasonCode, StudyError
from kneeimg.geometry.rigid import rotation


def test_zero_is_a_value_and_nan_needs_a_reason() -> None:
    assert Measurement("MT", "dAB", 0.0, "mm^2").value == 0.0
    with pytest.raises(ValueError, match="MT_dAB"):
        Measurement("MT", "dAB", math.nan, "mm^2")
    with pytest.raises(ValueError, match="reason"):
        Measurement("MT", "dAB", math.nan, "mm^2", Status.NOT_MEASURABLE)
    with pytest.raises(ValueError, match="value"):
        Measurement("MT", "dAB", 1.0, "mm^2", Status.NOT_MEASURABLE, ReasonCode.REGION_EMPTY)


def test_a_missing_measurement_still_has_its_row() -> None:
    row = Measurement.missing("P", "VC", "mm^3", ReasonCode.TISSUE_MISSING, method="ray/soft")
    assert math.isnan(row.value)
    assert (row.name, row.reason, row.method) == ("P_VC", ReasonCode.TISSUE_MISSING, "ray/soft")


def test_spacing_and_its_source_go_together() -> None:
    image = np.zeros((4, 4), np.float32)
    Radiograph(image, None, SpacingSource.NONE, Side.LEFT)
    for spacing, source in (
        (None, SpacingSource.USER),
        ((0.1, 0.1), SpacingSource.NONE),
        ((0.0, 0.1), SpacingSource.USER),
    ):
        with pytest.raises(GeometryError):
            Radiograph(image, spacing, source, Side.LEFT)


def triangle(frame_uid: str | None = "a") -> Surface:
    return Surface(np.eye(3), np.array([[0, 1, 2]]), {"t": np.zeros(3)}, frame_uid)


def test_surface_fields_must_match_the_vertices() -> None:
    with pytest.raises(GeometryError):
        triangle().with_fields(t=np.zeros(4))
    with pytest.raises(GeometryError):
        Surface(np.zeros((3, 2)), np.zeros((1, 3), int))


def test_a_transform_moves_only_its_own_frame() -> None:
    motion = RigidTransform(rotation([0, 0, 1], 90), np.array([1.0, 2, 3]), "a", "b")
    moved = motion.move(triangle())
    assert moved.frame_uid == "b"
    np.testing.assert_allclose(moved.vertices[0], [1, 3, 3], atol=1e-12)
    back = motion.inverse().move(moved)
    np.testing.assert_allclose(back.vertices, np.eye(3), atol=1e-12)
    with pytest.raises(GeometryError, match="own frame"):
        motion.move(triangle("c"))


def test_a_reflection_is_not_a_rigid_motion() -> None:
    with pytest.raises(GeometryError):
        RigidTransform(np.diag([-1.0, 1, 1]), np.zeros(3))


@pytest.mark.parametrize("bad", ["../P01", "", "P 1", "a" * 33, "P01/..", "<script>", "P_1"])
def test_ids_that_could_leave_the_output_folder_are_refused(bad: str) -> None:
    with pytest.raises(StudyError) as error:
        Visit(bad, "BL", Side.LEFT)
    assert error.value.code is ReasonCode.BAD_STUDY_ID
