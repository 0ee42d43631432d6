"""Osteophytes and sclerosis of the phantom films: where they are drawn and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.margins import Compartment
from kneeimg.phantoms.film import FilmKnee, FilmSetup
from kneeimg.phantoms.film_growths import (
    LIP_AT_MM,
    SCLEROTIC_MM,
    growth_neper,
    plateau_edge_mm,
    side_mm,
)
from kneeimg.phantoms.film_render import attenuation

KNEE = FilmKnee(side=Side.LEFT)


@pytest.mark.parametrize("bone", [Bone.FEMUR, Bone.TIBIA])
@pytest.mark.parametrize("compartment", list(Compartment))
def test_a_lip_stands_out_by_its_size(bone, compartment):
    knee = replace(KNEE, **{f"{bone.value}_{compartment.value}_osteophyte_mm": 3.0})
    middle, half = LIP_AT_MM[bone]
    middle += plateau_edge_mm(knee, compartment) if bone is Bone.TIBIA else 0.0
    v = np.array([middle - 1.01 * half, middle, middle + 1.01 * half])
    beyond = side_mm(KNEE, bone, compartment, v) - side_mm(knee, bone, compartment, v)
    assert beyond == pytest.approx([0.0, 3.0, 0.0])


def test_the_side_of_the_femur_is_that_of_its_margin():
    u = np.array([2.0, 5.0, 9.0])
    v = KNEE.femur_v(u)
    assert side_mm(KNEE, Bone.FEMUR, Compartment.MEDIAL, v) == pytest.approx(u, abs=0.01)


def test_sclerosis_lies_below_the_floor_of_its_plateau():
    knee = replace(KNEE, lateral_sclerosis_neper=0.3)
    u = np.full(3, 0.8 * KNEE.femoral_width_mm)
    v = KNEE.tibia_v(u) + np.array([-0.5, 1.0, SCLEROTIC_MM + 0.5])
    assert growth_neper(knee, u, v).tolist() == [0.0, 0.3, 0.0]
    assert growth_neper(knee, KNEE.femoral_width_mm - u, v).tolist() == [0.0, 0.0, 0.0]


def test_a_film_without_growths_is_unchanged():
    setup = FilmSetup(pixel_mm=1.0)
    plain, _ = attenuation(KNEE, setup)
    grown, _ = attenuation(replace(KNEE, femur_medial_osteophyte_mm=4.0), setup)
    assert growth_neper(KNEE, np.zeros(3), np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert (grown >= plain).all()
    assert (grown > plain).sum() > 100
