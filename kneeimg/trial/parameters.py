"""The parameters of the analysis dataset: a code, a number and a text for each measured quantity.

PARAMCD is the code of the region (1 to 4 characters) followed by the code of the quantity (always
4), so that the last four characters name the quantity and the rest the region. PARAMN is 10000
times the number of the region plus the number of the quantity. The numbers below are published: new
names get new ones, and none is ever given to another name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kneeimg.core.dataset import Parameter
from kneeimg.errors import ReasonCode, StudyError

MORPHOMETRY = "CARTILAGE MORPHOMETRY"
DEFECTS = "CARTILAGE DEFECTS"
ORDERED = "ORDERED CARTILAGE CHANGE"
BONES = "BONE"
MENISCI = "MENISCUS"
T2 = "T2 RELAXATION TIME"
JOINT_SPACE = "RADIOGRAPHIC JOINT SPACE"
ALIGNMENT = "RADIOGRAPHIC ALIGNMENT"
KL_FEATURES = "RADIOGRAPHIC KL SUPPORT FEATURES"
KL_SUPPORT = "RADIOGRAPHIC KL SUPPORT"

_NOMENCLATURE = "doi:10.1016/j.joca.2006.03.005"
_THICKNESS = "doi:10.1016/j.joca.2010.02.010"
_SUBREGIONS = "doi:10.1109/TMI.2007.907323"
_MENISCUS = "doi:10.1186/1471-2474-12-248"
_FILM_FRAME = "PMC5624356"
_FILM_WIDTH = "PMC2937275"
_ORDERED_VALUES = "PMID 21338702"
_ATLAS = "doi:10.1016/j.joca.2006.11.009"
_KELLGREN = "doi:10.1136/ard.16.4.494"
_TEXTURE = "doi:10.1243/09544119JEIM436"
OWN = "kneeimg"


@dataclass(frozen=True, slots=True)
class _Named:
    """A region or a quantity: its published number, its code, what it is called and whence."""

    number: int
    code: str
    text: str
    source: str
    category: str


def _numbered(
    start: int, rows: Mapping[str, tuple[str, str]], *, source: str = "", category: str = ""
) -> dict[str, _Named]:
    """Rows of name: (code, text), numbered from `start` in their order."""
    return {
        name: _Named(start + n, code, text, source, category)
        for n, (name, (code, text)) in enumerate(rows.items())
    }


#: Region to its code and text. Numbers: plates 1, parts 21, sums 51, tissues 61, films 81.
_REGIONS: Mapping[str, _Named] = {
    **_numbered(
        1,
        {
            "MT": ("MT", "Medial tibia"),
            "LT": ("LT", "Lateral tibia"),
            "cMF": ("CMF", "Central medial femoral condyle"),
            "cLF": ("CLF", "Central lateral femoral condyle"),
            "pMF": ("PMF", "Posterior medial femoral condyle"),
            "pLF": ("PLF", "Posterior lateral femoral condyle"),
            "MF": ("MF", "Medial femoral condyle"),
            "LF": ("LF", "Lateral femoral condyle"),
            "TrF": ("TRF", "Trochlea of femur"),
            "P": ("P", "Patella"),
        },
    ),
    **_numbered(
        21,
        {
            "cMT": ("CMT", "Central medial tibia"),
            "aMT": ("AMT", "Anterior medial tibia"),
            "pMT": ("PMT", "Posterior medial tibia"),
            "eMT": ("EMT", "External medial tibia"),
            "iMT": ("IMT", "Internal medial tibia"),
            "cLT": ("CLT", "Central lateral tibia"),
            "aLT": ("ALT", "Anterior lateral tibia"),
            "pLT": ("PLT", "Posterior lateral tibia"),
            "eLT": ("ELT", "External lateral tibia"),
            "iLT": ("ILT", "Internal lateral tibia"),
            "ecMF": ("ECMF", "External central medial femoral condyle"),
            "ccMF": ("CCMF", "Central third of central medial femoral condyle"),
            "icMF": ("ICMF", "Internal central medial femoral condyle"),
            "ecLF": ("ECLF", "External central lateral femoral condyle"),
            "ccLF": ("CCLF", "Central third of central lateral femoral condyle"),
            "icLF": ("ICLF", "Internal central lateral femoral condyle"),
        },
        source=_SUBREGIONS,
    ),
    **_numbered(
        37,
        {"mP": ("MP", "Medial patellar facet"), "lP": ("LP", "Lateral patellar facet")},
        source=OWN,
    ),
    **_numbered(
        51,
        {
            "MFTC": ("MFTC", "Medial femorotibial compartment (sum)"),
            "LFTC": ("LFTC", "Lateral femorotibial compartment (sum)"),
            "FTJ": ("FTJ", "Femorotibial joint (sum)"),
        },
    ),
    **_numbered(
        54,
        {
            "cMFTC": ("CMFC", "Central medial femorotibial compartment (sum)"),
            "cLFTC": ("CLFC", "Central lateral femorotibial compartment (sum)"),
        },
        source=_SUBREGIONS,
    ),
    **_numbered(
        61,
        {
            "femur": ("FEM", "Femur"),
            "tibia": ("TIB", "Tibia"),
            "patella": ("PAT", "Patellar bone"),
            "MM": ("MM", "Medial meniscus"),
            "LM": ("LM", "Lateral meniscus"),
            "femoral_cartilage": ("FEMC", "All femoral cartilage"),
            "tibial_cartilage": ("TIBC", "All tibial cartilage"),
            "patellar_cartilage": ("PATC", "All patellar cartilage"),
        },
    ),
    **_numbered(
        81,
        {
            "medial": ("MED", "Medial compartment on film"),
            "lateral": ("LAT", "Lateral compartment on film"),
            "knee": ("KNEE", "Knee on film"),
        },
    ),
}


#: Quantity to its code and text. Joint-space widths at a fixed x and ordered values follow rules.
_QUANTITIES: Mapping[str, _Named] = {
    **_numbered(
        1,
        {
            "VC": ("CVOL", "cartilage volume"),
            "tAB": ("TABA", "total area of subchondral bone"),
            "cAB": ("CABA", "covered area of subchondral bone"),
            "dAB": ("DABA", "denuded area of subchondral bone"),
            "dABp": ("DABP", "denuded share of subchondral bone"),
            "AC": ("ACAR", "area of cartilage surface"),
        },
        source=_NOMENCLATURE,
        category=MORPHOMETRY,
    ),
    **_numbered(
        7,
        {
            "ThCtAB_aMe": ("TTME", "mean cartilage thickness over total bone area"),
            "ThCtAB_aSD": ("TTSD", "SD of cartilage thickness over total bone area"),
            "ThCtAB_aCV": ("TTCV", "CV of cartilage thickness over total bone area"),
            "ThCtAB_aMiv": ("TTMI", "lowest 1 % of thickness over total bone area"),
            "ThCtAB_aMav": ("TTMA", "highest 1 % of thickness over total bone area"),
        },
        source=_THICKNESS,
        category=MORPHOMETRY,
    ),
    **_numbered(
        12,
        {
            "ThCcAB_aMe": ("TCME", "mean cartilage thickness over covered bone"),
            "ThCcAB_aSD": ("TCSD", "SD of cartilage thickness over covered bone"),
            "VCtAB": ("VCTA", "cartilage volume / total bone area"),
        },
        source=_NOMENCLATURE,
        category=MORPHOMETRY,
    ),
    **_numbered(
        31,
        {
            "defect_count": ("DFCN", "number of full-thickness defects"),
            "defect_area": ("DFAR", "area of full-thickness defects"),
            "defect_largest": ("DFLG", "largest full-thickness defect"),
        },
        source=OWN,
        category=DEFECTS,
    ),
    **_numbered(
        41,
        {
            "bone_volume": ("BVOL", "bone volume in view"),
            "bone_area": ("BSUR", "bone surface in view"),
        },
        source=OWN,
        category=BONES,
    ),
    **_numbered(
        51,
        {
            "volume": ("MVOL", "volume"),
            "extrusion_mean": ("EXME", "mean extrusion"),
            "extrusion_max": ("EXMX", "maximum extrusion"),
            "coverage": ("COVP", "coverage of tibial plateau"),
        },
        source=_MENISCUS,
        category=MENISCI,
    ),
    **_numbered(
        61,
        {
            "T2_mean": ("T2ME", "mean T2"),
            "T2_sd": ("T2SD", "SD of T2"),
            "T2_valid": ("T2VP", "voxels with valid T2"),
            "T2_deep": ("T2DP", "mean T2 of deep half"),
            "T2_superficial": ("T2SU", "mean T2 of superficial half"),
        },
        source=OWN,
        category=T2,
    ),
    **_numbered(
        71,
        {
            "mJSW": ("JSWM", "minimum joint-space width"),
            "nmJSW": ("NJWM", "minimum joint-space width / femoral width"),
            "mJSW_x": ("JSWX", "place of minimum joint-space width"),
            "JSA": ("JSAR", "joint-space area"),
            "meanJSW": ("JSWA", "mean joint-space width"),
            "nmeanJSW": ("NJWA", "mean joint-space width / femoral width"),
        },
        source=_FILM_WIDTH,
        category=JOINT_SPACE,
    ),
    **_numbered(
        77,
        {
            "rim_distance": ("RIMD", "height of plateau rim above floor"),
            "femoral_width": ("FWID", "femoral width"),
        },
        source=_FILM_FRAME,
        category=JOINT_SPACE,
    ),
    **_numbered(
        79,
        {
            "JLCA": ("JLCA", "joint-line convergence angle"),
            "TPA": ("TPAN", "tibial plateau angle"),
            "FTA": ("FTAN", "femorotibial angle"),
        },
        source=OWN,
        category=ALIGNMENT,
    ),
    **_numbered(
        91,
        {
            "thinning_score": ("THIN", "thinning score"),
            "thickening_score": ("THCK", "thickening score"),
        },
        source=_ORDERED_VALUES,
        category=ORDERED,
    ),
    **_numbered(
        121,
        {
            "JSN": ("JSNR", "joint-space narrowing"),
            "osteophyte_femur": ("OSFL", "femoral osteophyte"),
            "nosteophyte_femur": ("OSFN", "femoral osteophyte / femoral width"),
            "osteophyte_femur_area": ("OSFA", "area of femoral osteophyte"),
            "osteophyte_tibia": ("OSTL", "tibial osteophyte"),
            "nosteophyte_tibia": ("OSTN", "tibial osteophyte / femoral width"),
            "osteophyte_tibia_area": ("OSTA", "area of tibial osteophyte"),
            "floor_depth": ("FLDP", "depth of plateau floor"),
            "nfloor_depth": ("FLDN", "depth of plateau floor / femoral width"),
            "condyle_bulge": ("CDBU", "bulge of condyle"),
            "ncondyle_bulge": ("CDBN", "bulge of condyle / femoral width"),
        },
        source=_ATLAS,
        category=KL_FEATURES,
    ),
    **_numbered(
        132,
        {
            "sclerosis_femur": ("SCLF", "femoral subchondral sclerosis index"),
            "sclerosis_tibia": ("SCLT", "tibial subchondral sclerosis index"),
        },
        source=_KELLGREN,
        category=KL_FEATURES,
    ),
    **_numbered(
        134,
        {
            "FD_across": ("FDAC", "fractal dimension of trabeculae, across"),
            "FD_down": ("FDDN", "fractal dimension of trabeculae, down"),
        },
        source=_TEXTURE,
        category=KL_FEATURES,
    ),
    **_numbered(
        136,
        {"JSW_share": ("JSWS", "medial share of joint space")},
        source=OWN,
        category=KL_FEATURES,
    ),
    **_numbered(
        141,
        {
            **{f"KL_P{grade}": (f"KLP{grade}", f"P(KL = {grade}), support") for grade in range(5)},
            "KL_grade": ("KLGR", "suggested KL grade, support"),
        },
        source=_KELLGREN,
        category=KL_SUPPORT,
    ),
    **_numbered(
        151,
        {
            **{
                f"KLN_P{grade}": (f"KNP{grade}", f"P(KL = {grade}) by networks, support")
                for grade in range(5)
            },
            "KLN_grade": ("KNGR", "KL grade suggested by networks, support"),
        },
        source=_KELLGREN,
        category=KL_SUPPORT,
    ),
}
_ORDERED_START = 100  # OV1 is 101
_FIXED_START, _NORMALISED_START = 1000, 2000  # fJSW_0250 is 1250, nfJSW_0250 is 2250

_FIXED = re.compile(r"(n?)fJSW_0(\d{3})")
_ORDERED = re.compile(r"OV([1-9]|1[0-6])")
_UNIT_TEXT: Mapping[str, str] = {"ratio": "ratio", "count": "n"}


def parameter_of(region: str, quantity: str, unit: str) -> Parameter:
    """The parameter of a quantity of a region.

    Raises
    ------
    StudyError
        INTERNAL_ERROR when the table above does not know one of the names.

    Examples
    --------
    >>> found = parameter_of("cMFTC", "ThCtAB_aMe", "mm")
    >>> found.paramcd, found.paramn
    ('CMFCTTME', 540007)
    >>> found.param
    'Central medial femorotibial compartment (sum): mean cartilage thickness over total bone area
    (mm)'
    >>> parameter_of("medial", "fJSW_0225", "mm").paramcd
    'MEDJ225'
    """
    place, kind = _REGIONS.get(region), _quantity(quantity)
    if place is None or kind is None:
        raise StudyError(
            "the table of parameters does not know a measured quantity",
            code=ReasonCode.INTERNAL_ERROR,
            expected="a region and a quantity of kneeimg/trial/parameters.py",
            found=f"{region}_{quantity}",
            action="add it there and run scripts/make_parameters.py",
        )
    sources = [kind.source]
    if kind.category in (MORPHOMETRY, ORDERED) and place.source:
        sources.append(place.source)
    return Parameter(
        paramcd=place.code + kind.code,
        param=f"{place.text}: {kind.text} ({_UNIT_TEXT.get(unit, unit)})",
        paramn=10000 * place.number + kind.number,
        parcat1=kind.category,
        region=region,
        quantity=quantity,
        unit=unit,
        source="; ".join(dict.fromkeys(sources)),
    )


def _quantity(name: str) -> _Named | None:
    """The quantity of a name, also of the names that follow a rule."""
    if fixed := _FIXED.fullmatch(name):
        normalised, digits = bool(fixed[1]), fixed[2]
        start = _NORMALISED_START if normalised else _FIXED_START
        text = f"joint-space width at x = {int(digits) / 1000:.3f}"
        return _Named(
            start + int(digits),
            f"{'N' if normalised else 'J'}{digits}",
            text + (" / femoral width" if normalised else ""),
            _FILM_WIDTH,
            JOINT_SPACE,
        )
    if ordered := _ORDERED.fullmatch(name):
        rank = int(ordered[1])
        return _Named(
            _ORDERED_START + rank,
            f"OV{rank:02d}",
            f"ordered value {rank} of 16 of change in mean thickness",
            _ORDERED_VALUES,
            ORDERED,
        )
    return _QUANTITIES.get(name)
