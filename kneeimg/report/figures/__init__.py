"""Pictures of scans, maps, films and courses, each returned as the bytes of one PNG.

Equal input gives equal bytes: matplotlib's defaults are used whatever the user's own style file
says, and nothing about the program or the time is written into the file.
"""

from kneeimg.report.figures.course import visit_plot
from kneeimg.report.figures.film import film_panel
from kneeimg.report.figures.flat import flat_views
from kneeimg.report.figures.forest import ForestPanel, ForestRow, forest_plot
from kneeimg.report.figures.repeats import AgreementPanel, agreement_grid
from kneeimg.report.figures.shares import ShareBar, shares_plot
from kneeimg.report.figures.slices import qc_overlay
from kneeimg.report.figures.spaghetti import (
    GroupMean,
    SpaghettiPanel,
    Strand,
    spaghetti_plot,
)
from kneeimg.report.figures.strip import strip_plot, thumbnail
from kneeimg.report.figures.views import change_views, thickness_views
from kneeimg.report.figures.waterfall import waterfall_plot

__all__ = [
    "AgreementPanel",
    "ForestPanel",
    "ForestRow",
    "GroupMean",
    "ShareBar",
    "SpaghettiPanel",
    "Strand",
    "agreement_grid",
    "change_views",
    "film_panel",
    "flat_views",
    "forest_plot",
    "qc_overlay",
    "shares_plot",
    "spaghetti_plot",
    "strip_plot",
    "thickness_views",
    "thumbnail",
    "visit_plot",
    "waterfall_plot",
]
