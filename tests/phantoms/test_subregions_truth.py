"""True subregions: shares of their plates, and areas against a plain sum over points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import SUBREGIONS_OF, Plate, Side
from kneeimg.phantoms.cartilage import DenudedPatch, PlateThickness
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.tibia import TibiaShape

KNEE = KneePhantom(Side.RIGHT, PlateThickness.constant(2.0), thickness_variation=0.0)
TRUTH = KNEE.truth()


@pytest.mark.parametrize("plate", list(SUBREGIONS_OF))
def test_parts_add_up_and_have_their_shares(plate: Plate) -> None:
    parts = SUBREGIONS_OF[plate]
    for quantity in ("tAB", "VC", "AC"):
        total = sum(TRUTH[part.name, quantity] for part in parts)
        assert total == pytest.approx(TRUTH[plate.name, quantity], rel=1e-9)
    shares = [TRUTH[part.name, "tAB"] / TRUTH[plate.name, "tAB"] for part in parts]
    if plate in (Plate.cMF, Plate.cLF):
        assert shares == pytest.approx([1 / 3] * 3, abs=1e-4)
    if plate in (Plate.MT, Plate.LT):
        assert shares[0] == pytest.approx(0.2, abs=1e-4)
    for part in parts:
        assert TRUTH[part.name, "ThCtAB_aMe"] == pytest.approx(2.0, abs=1e-9)


def test_the_central_ellipse_by_hand() -> None:
    # nearly flat elliptical plate: 20 % of the area lies inside half axes times sqrt(0.2)
    shape = TibiaShape(medial_dish_radius_mm=600.0)
    knee = KneePhantom(Side.RIGHT, PlateThickness(), 0.2, tibia=shape)
    truth = knee.truth()
    # thickness is t (1 + v (1 - 2 r²)) of elliptical radius r: mean over r² < 0.2 is t (1 + 0.8 v)
    assert truth["cMT", "ThCcAB_aMe"] == pytest.approx(1.7 * (1 + 0.2 * 0.8), rel=2e-4)
    # and over the ring 0.2 < r² < 1, whatever the direction, t (1 - 0.2 v)
    for name in ("aMT", "pMT", "eMT", "iMT"):
        assert truth[name, "ThCcAB_aMe"] == pytest.approx(1.7 * (1 - 0.2 * 0.2), rel=1e-3)


def test_ring_parts_lie_where_their_names_say() -> None:
    # bare bone in front of the medial plate is bare bone of aMT
    for v, u, name in (
        (-0.7, 0.0, "aMT"),
        (0.7, 0.0, "pMT"),
        (0.0, 0.7, "eMT"),
        (0.0, -0.7, "iMT"),
    ):
        truth = replace(KNEE, denuded=(DenudedPatch("MT", u, v, 2.0),)).truth()
        bare = {p.name: truth[p.name, "dAB"] for p in SUBREGIONS_OF[Plate.MT]}
        assert bare.pop(name) == pytest.approx(np.pi * 4.0, rel=0.02)
        assert sum(bare.values()) == pytest.approx(0.0, abs=1e-6)


def test_thirds_are_ordered_from_the_notch() -> None:
    for u, prefix in ((0.75, "e"), (-0.05, "c"), (-0.75, "i")):
        for condyle in ("cMF", "cLF"):
            truth = replace(KNEE, denuded=(DenudedPatch(condyle, u, 0.0, 1.5),)).truth()
            assert truth[prefix + condyle, "dAB"] > 0.95 * truth[condyle, "dAB"] > 6.0
