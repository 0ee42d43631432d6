"""Colours of the figures and the page, chosen to be told apart by colour-blind readers.

Contours follow Okabe & Ito (https://jfly.uni-koeln.de/color/): bone and cartilage of one joint
partner differ in hue and in lightness. Thickness runs through viridis, which holds no red, so
that denuded bone (red) cannot be taken for a thickness. Change is orange for loss, blue for gain.
"""

from __future__ import annotations

from collections.abc import Mapping

from kneeimg.core.anatomy import Tissue

#: Contour colour of every tissue on a grey image.
TISSUE_COLOURS: Mapping[Tissue, str] = {
    Tissue.FEMUR: "#56B4E9",
    Tissue.FEMORAL_CARTILAGE: "#F0E442",
    Tissue.TIBIA: "#2FC79A",
    Tissue.TIBIAL_CARTILAGE: "#FF9F1C",
    Tissue.PATELLA: "#C9A0FF",
    Tissue.PATELLAR_CARTILAGE: "#FF6FB5",
    Tissue.MEDIAL_MENISCUS: "#FFFFFF",
    Tissue.LATERAL_MENISCUS: "#B8D8E8",
    Tissue.FIBULA: "#9A9A9A",
}

TISSUE_NAMES: Mapping[Tissue, str] = {
    tissue: tissue.name.lower().replace("_", " ")
    for tissue in Tissue
    if tissue is not Tissue.BACKGROUND
}

THICKNESS_MAP = "viridis"
DENUDED = "#D8213B"
UNDETERMINED = "#B48EAD"
UNDETERMINED_STRIPE = "#8A3A7C"
BONE = "#DDD9D0"
PLATE_LINE = "#3A3A3A"

#: Loss (negative), none, gain: orange, white, blue, equal in lightness at equal distance from 0.
CHANGE_STOPS = ("#7F3B08", "#C96410", "#F5B36B", "#FBFBFB", "#86BBDD", "#2F7DB8", "#0B3C6F")

#: Lines of plates and compartments in plots; the marker differs too.
SERIES_STYLES: Mapping[str, tuple[str, str]] = {
    "MT": ("#0072B2", "o"),
    "LT": ("#56B4E9", "s"),
    "cMF": ("#D55E00", "^"),
    "cLF": ("#E69F00", "D"),
    "medial": ("#1B1B1B", "o"),
    "lateral": ("#7A7A7A", "s"),
}

FEMORAL_MARGIN = "#56B4E9"
TIBIAL_MARGIN = "#FF9F1C"
FILM_AXIS = "#F0E442"
NARROWEST = "#FF5DA2"

PAPER = "#FFFFFF"
INK = "#1C2226"
QUIET_INK = "#5B666E"
DARK = "#0D0F11"
LIGHT_INK = "#F2F2F2"
QUIET_LIGHT_INK = "#A9B1B7"


def thickness_colours() -> object:
    """Matplotlib colour map of cartilage thickness."""
    from matplotlib import colormaps

    return colormaps[THICKNESS_MAP]


def change_colours() -> object:
    """Matplotlib colour map of thickness change, centred on no change."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("kneeimg_change", CHANGE_STOPS)


#: Class of a single change, as the change table has it.
CLASS_COLOURS: Mapping[str, str] = {
    "loss": "#C96410",
    "gain": "#2F7DB8",
    "within measurement error": "#AEB6BB",
    "no repeatability data": "#E4E7E9",
}
#: Hatch of a class beside its colour, for a grey print.
CLASS_HATCHES: Mapping[str, str] = {"loss": "", "gain": "////", "no repeatability data": "...."}

#: Arms in the order of their names: colour, marker, line style.
ARM_STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "^", "--"),
    ("#009E73", "s", "-."),
    ("#CC79A7", "D", ":"),
)
SERIES = "#8D979D"
SDC_BAND = "#DCE3E7"
GRID_LINE = "#E3E6E8"
THINNING_MARK = "#4A1F00"
THICKENING_MARK = "#03213F"
