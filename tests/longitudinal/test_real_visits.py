"""Real bones: two visits of a person fit, another person and the other knee do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import KNEE_V1, Bone, Side
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import Surface
from kneeimg.errors import RegistrationError
from kneeimg.longitudinal.change import compare_knees
from kneeimg.longitudinal.registration import register_bone
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee

pytestmark = [pytest.mark.real, pytest.mark.slow]


def measured(folder: Path, name: str) -> KneeMorphometry:
    """A right knee from its label file (RAS affine, `knee-v1` labels with lesions 7 to 9)."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.load(folder / "mri" / "labels" / f"{name}.nii.gz")
    table = np.zeros(256, dtype=np.uint8)
    for value, tissue in KNEE_V1.tissues.items():
        table[value] = int(tissue)
    labels = table[np.asarray(image.dataobj).astype(np.uint8)]
    grid = Grid(labels.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine, name)
    return measure_knee(LabelMap(labels, grid), Side.RIGHT)


@pytest.fixture(scope="module")
def visits(real_data: Path) -> dict[str, KneeMorphometry]:
    return {name: measured(real_data, name) for name in ("P04_M00", "P04_M36", "P02_M00")}


@pytest.mark.parametrize("bone", list(Bone))
def test_two_visits_of_a_person_fit(visits: dict[str, KneeMorphometry], bone: Bone) -> None:
    found = register_bone(visits["P04_M36"].surfaces[bone], visits["P04_M00"].surfaces[bone])
    assert found.rms_mm < 0.4
    assert found.overlap > 0.95
    assert found.angle_deg < 20


@pytest.mark.parametrize("bone", [Bone.FEMUR, Bone.TIBIA])
def test_another_person_is_refused(visits: dict[str, KneeMorphometry], bone: Bone) -> None:
    with pytest.raises(RegistrationError, match="does not match"):
        register_bone(visits["P04_M36"].surfaces[bone], visits["P02_M00"].surfaces[bone])


@pytest.mark.parametrize("bone", [Bone.FEMUR, Bone.TIBIA])
def test_the_mirrored_knee_is_refused(visits: dict[str, KneeMorphometry], bone: Bone) -> None:
    surface = visits["P04_M36"].surfaces[bone]
    left = Surface(surface.vertices * [-1, 1, 1], surface.faces[:, ::-1], surface.fields)
    with pytest.raises(RegistrationError, match="opposite knee"):
        register_bone(left, visits["P04_M00"].surfaces[bone])


def test_change_of_a_real_knee_is_plausible(visits: dict[str, KneeMorphometry]) -> None:
    before, after = visits["P04_M00"], visits["P04_M36"]
    found = compare_knees(
        before.surfaces, after.surfaces, 1096, before.measurements, after.measurements
    )
    rows = {(row.region, row.quantity): row for row in found.rows}
    joint = rows["FTJ", "ThCtAB_aMe"]
    assert abs(joint.change_pct) < 15.0
    assert max(found.undetermined_pct.values()) < 5.0
    assert joint.registration_rms_mm < 0.4


def test_another_persons_knee_is_not_compared(visits: dict[str, KneeMorphometry]) -> None:
    before, after = visits["P02_M00"], visits["P04_M36"]
    found = compare_knees(
        before.surfaces, after.surfaces, 1096, before.measurements, after.measurements
    )
    assert {finding.where for finding in found.findings} == {"femur", "tibia", "patella"}
    assert all(row.reason is not None for row in found.rows)


def test_neither_sign_is_favoured(visits: dict[str, KneeMorphometry]) -> None:
    """Forth and back cancel, though the borders of the plates were drawn differently."""
    knees = visits["P04_M00"], visits["P04_M36"]
    changes = []
    for before, after in (knees, knees[::-1]):
        found = compare_knees(
            before.surfaces, after.surfaces, None, before.measurements, after.measurements
        )
        rows = {(row.region, row.quantity): row.change for row in found.rows}
        changes.append(rows["FTJ", "ThCtAB_aMe"])
    assert abs(changes[0]) > 0.2
    assert sum(changes) == pytest.approx(0.0, abs=0.02)
