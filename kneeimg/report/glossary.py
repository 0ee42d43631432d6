"""What the names in the tables mean, spelled out for a reader of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLATES: Mapping[str, str] = {
    "MT": "medial tibia",
    "LT": "lateral tibia",
    "MF": "medial femoral condyle (cMF + pMF)",
    "LF": "lateral femoral condyle (cLF + pLF)",
    "cMF": "central (weight-bearing) medial femoral condyle",
    "cLF": "central (weight-bearing) lateral femoral condyle",
    "pMF": "posterior medial femoral condyle",
    "pLF": "posterior lateral femoral condyle",
    "TrF": "trochlea of the femur",
    "P": "patella",
}

_PARTS: Mapping[str, str] = {
    "cMT": "central medial tibia: the ellipse of 20 % of its bone area",
    "aMT": "anterior medial tibia, in front of the central ellipse",
    "pMT": "posterior medial tibia, behind the central ellipse",
    "eMT": "external medial tibia, outside the central ellipse",
    "iMT": "internal medial tibia, towards the middle of the knee",
    "cLT": "central lateral tibia: the ellipse of 20 % of its bone area",
    "aLT": "anterior lateral tibia, in front of the central ellipse",
    "pLT": "posterior lateral tibia, behind the central ellipse",
    "eLT": "external lateral tibia, outside the central ellipse",
    "iLT": "internal lateral tibia, towards the middle of the knee",
    "ecMF": "external third of cMF",
    "ccMF": "central third of cMF",
    "icMF": "internal third of cMF, beside the notch",
    "ecLF": "external third of cLF",
    "ccLF": "central third of cLF",
    "icLF": "internal third of cLF, beside the notch",
    "mP": "medial facet of the patella",
    "lP": "lateral facet of the patella",
}

REGIONS: Mapping[str, str] = {
    **_PLATES,
    **_PARTS,
    "cMFTC": "central medial femorotibial compartment: the sum cMT + ccMF",
    "cLFTC": "central lateral femorotibial compartment: the sum cLT + ccLF",
    "MFTC": "medial femorotibial compartment: the sum MT + cMF",
    "LFTC": "lateral femorotibial compartment: the sum LT + cLF",
    "FTJ": "femorotibial joint: the sum MFTC + LFTC",
    "femur": "the femur, as far as it is in view",
    "tibia": "the tibia, as far as it is in view",
    "patella": "the patella, as far as it is in view",
    "MM": "medial meniscus",
    "LM": "lateral meniscus",
    "femoral_cartilage": "all cartilage of the femur",
    "tibial_cartilage": "all cartilage of the tibia",
    "patellar_cartilage": "all cartilage of the patella",
    "medial": "medial tibiofemoral compartment on the film",
    "lateral": "lateral tibiofemoral compartment on the film",
    "knee": "whole knee on the film",
}

QUANTITIES: Mapping[str, str] = {
    "ThCtAB_aMe": "mean cartilage thickness over the total subchondral bone area; "
    "denuded bone counts as 0; the primary outcome",
    "ThCtAB_aSD": "standard deviation of thickness over the total subchondral bone area",
    "ThCtAB_aCV": "coefficient of variation of thickness over the total subchondral bone area",
    "ThCtAB_aMiv": "mean of the lowest 1 % of thickness over the total subchondral bone area",
    "ThCtAB_aMav": "mean of the highest 1 % of thickness over the total subchondral bone area",
    "ThCcAB_aMe": "mean cartilage thickness over the covered bone only",
    "ThCcAB_aSD": "standard deviation of thickness over the covered bone",
    "VC": "cartilage volume",
    "VCtAB": "cartilage volume divided by the total subchondral bone area",
    "tAB": "total area of subchondral bone: bone that is, or in a healthy knee would be, "
    "covered by cartilage",
    "cAB": "part of tAB that is covered by cartilage",
    "dAB": "part of tAB that is denuded (bare bone)",
    "dABp": "denuded part of tAB in per cent",
    "AC": "area of the articular surface of the cartilage",
    "defect_count": "number of full-thickness defects: connected bare parts of tAB of at least "
    "5 mm² (setting); one across a border is counted on the plate that holds most of it",
    "defect_area": "area of those defects inside the region",
    "defect_largest": "area of the largest of them inside the region",
    "bone_volume": "volume of the bone in view",
    "bone_area": "surface area of the bone in view, without the cut",
    "volume": "volume of the meniscus",
    "extrusion_mean": "mean distance of the meniscal body beyond the border of the plateau's tAB, "
    "positive outward",
    "extrusion_max": "greatest distance of the meniscal body beyond that border",
    "coverage": "share of the plateau's tAB that the meniscus covers",
    "thinning_score": "sum of the negative changes of mean thickness of the 16 femorotibial "
    "subregions",
    "thickening_score": "sum of the positive changes of mean thickness of the 16 femorotibial "
    "subregions",
    "T2_mean": "mean T2 of the valid voxels",
    "T2_sd": "standard deviation of T2 over the valid voxels",
    "T2_deep": "mean T2 of the half of the cartilage that is nearer to bone",
    "T2_superficial": "mean T2 of the half of the cartilage that is nearer to the joint",
    "T2_valid": "share of the voxels with a valid T2",
    "mJSW": "minimum joint-space width: the shortest distance between the bone margins",
    "mJSW_x": "where the minimum lies, as a fraction x of femoral width",
    "fJSW": "joint-space width at a fixed x; the digits are x in thousandths",
    "JSA": "joint-space area between the margins (medial x 0.10–0.30, lateral x 0.70–0.90)",
    "meanJSW": "joint-space area divided by its width",
    "femoral_width": "distance between the medial (x = 0) and lateral (x = 1) edge of the femur",
    "rim_distance": "height of the plateau's rim above its floor, a check of positioning",
    "JLCA": "joint-line convergence angle between femur and tibia, positive: open laterally",
    "TPA": "angle between tibial plateau and tibial shaft",
    "FTA": "femorotibial angle: lateral angle between femoral and tibial shaft, 180: straight",
    "JSN": "joint-space narrowing: share of the normal least joint space that is lost; 0 none, "
    "1 closed, negative wider than normal",
    "osteophyte_femur": "greatest distance of bone beyond the smooth contour of the femur beside "
    "the joint",
    "osteophyte_tibia": "greatest distance of bone beyond the smooth contour of the tibia beside "
    "the joint",
    "osteophyte_femur_area": "area of bone beyond the smooth contour of the femur",
    "osteophyte_tibia_area": "area of bone beyond the smooth contour of the tibia",
    "floor_depth": "attrition: depth of the plateau's floor below the chord of the compartment",
    "condyle_bulge": "attrition: bulge of the condyle below the chord of the compartment; a worn "
    "condyle is flat",
    "sclerosis_femur": "brightness of the subchondral band above that of the bone beneath, femur, "
    "in spreads of the film",
    "sclerosis_tibia": "brightness of the subchondral band above that of the bone beneath, tibia, "
    "in spreads of the film",
    "FD_across": "fractal dimension of the trabecular bone along the joint line (vertical "
    "trabeculae); films of 0.2 mm per pixel or finer",
    "FD_down": "fractal dimension of the trabecular bone along the tibia (horizontal trabeculae); "
    "films of 0.2 mm per pixel or finer",
    "JSW_share": "medial mean joint space divided by the sum of both compartments",
    "KL_grade": "KL grade that the model suggests: support, not a diagnosis; withheld when "
    "uncertain",
    "KLN_grade": "KL grade that the networks suggest, a second opinion: support, not a diagnosis; "
    "withheld when uncertain",
}

TERMS: Mapping[str, str] = {
    "not measured": "a planned value that could not be given; the reason code says why. "
    "It is never written as 0",
    "0": "a measured zero: bare bone, or bone on bone on a film",
    "denuded": "bone inside the joint surface without cartilage; its thickness is 0 mm",
    "undetermined": "a place where thickness could not be found; left out, not counted as 0",
    "change": "follow-up minus baseline, in the unit of the quantity; negative is loss",
    "SDC": "smallest detectable change of one knee at 95 %: 1.96 · √2 · the standard error of "
    "measurement of this software",
    "change class": "loss or gain beyond the SDC, within measurement error, or no repeatability "
    "data when no SDC of this software is at hand",
    "x": "place on a film as a fraction of femoral width, 0 at the medial and 1 at the lateral "
    "edge (frame after Duryea)",
    "sum": "compartments add the thickness of their plates; they are not means",
    "tAB source": "how the total subchondral bone area was obtained, also where cartilage is lost",
}

UNITS: Mapping[str, str] = {"mm^2": "mm²", "mm^3": "mm³", "deg": "°", "ratio": ""}

_FIXED = re.compile(r"n?fJSW_\d+")
_ORDERED = re.compile(r"OV(\d+)")
_GRADE = re.compile(r"KL(N?)_P([0-4])")


def region_meaning(region: str) -> str:
    """Meaning of a region, "" if the report does not know it."""
    return REGIONS.get(region, "")


def quantity_meaning(quantity: str) -> str:
    """Meaning of a quantity, "" if the report does not know it.

    >>> quantity_meaning("nfJSW_0225")
    'joint-space width at x = 0.225, divided by femoral width'
    """
    if _FIXED.fullmatch(quantity):
        name, _, digits = quantity.partition("_")
        ratio = ", divided by femoral width" if name.startswith("n") else ""
        return f"joint-space width at x = {int(digits) / 1000:g}{ratio}"
    if ordered := _ORDERED.fullmatch(quantity):
        return (
            f"number {ordered[1]} of the changes of mean thickness of the 16 femorotibial "
            "subregions, sorted for each knee from most loss (1) to most gain (16)"
        )
    if grade := _GRADE.fullmatch(quantity):
        who = "by the networks, a second opinion" if grade[1] else "by the model"
        return f"probability of KL grade {grade[2]} {who}: support, not a diagnosis"
    if quantity in QUANTITIES:
        return QUANTITIES[quantity]
    plain = quantity.removeprefix("n")
    return f"{QUANTITIES[plain]}; divided by femoral width" if plain in QUANTITIES else ""


def unit_text(unit: str) -> str:
    """Unit as printed; a ratio has none.

    >>> unit_text("mm^2"), unit_text("ratio")
    ('mm²', '')
    """
    return UNITS.get(unit, unit)


def kind_text(kind: str) -> str:
    """Kind of scan as printed.

    >>> kind_text("mri"), kind_text("film")
    ('MR', 'film')
    """
    return "MR" if kind == "mri" else kind


@dataclass(frozen=True, slots=True)
class Labelled:
    """A row of a table about one quantity of one region.

    Attributes
    ----------
    region, quantity : As in the measurements.
    unit : As printed.
    """

    region: str
    quantity: str
    unit: str

    @property
    def region_meaning(self) -> str:
        """Meaning of the region."""
        return region_meaning(self.region)

    @property
    def quantity_meaning(self) -> str:
        """Meaning of the quantity."""
        return quantity_meaning(self.quantity)
