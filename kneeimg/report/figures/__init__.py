"""Pictures of scans, maps, films and courses, each returned as the bytes of one PNG.

Equal input gives equal bytes: matplotlib's defaults are used whatever the user's own style file
says, and nothing about the program or the time is written into the file.
"""

from kneeimg.report.figures.course import visit_plot
from kneeimg.report.figures.film import film_panel
from kneeimg.report.figures.flat import flat_views
from kneeimg.report.figures.slices import qc_overlay
from kneeimg.report.figures.views import change_views, thickness_views

__all__ = [
    "change_views",
    "film_panel",
    "flat_views",
    "qc_overlay",
    "thickness_views",
    "visit_plot",
]
