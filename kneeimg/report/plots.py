"""Which plots the pages have, made from the tables: before unblinding nothing knows an arm."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kneeimg.report.glossary import quantity_meaning, region_meaning
from kneeimg.report.results import Picture, Results
from kneeimg.report.summaries import (
    COURSE_PANELS,
    FOREST_REGIONS,
    MJSW_LOSS_MM,
    THICKNESS,
    WATERFALLS,
    MeanChange,
    follow_ups,
    mean_changes,
    measured_change,
    sdc_kind,
    singles,
)

FOLDER = "pictures"
#: Days to which the two change maps beside the baseline lie nearest: 6 and 12 months.
_MAP_DAYS = (182.0, 365.0)


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture that the report draws itself.

    Attributes
    ----------
    name : Path below OUT/report.
    png : Its bytes.
    caption, alt : Below it, and for those who cannot see it.
    """

    name: str
    png: bytes
    caption: str
    alt: str

    @property
    def width(self) -> int:
        """Pixels, from the header of the PNG."""
        return int(struct.unpack(">I", self.png[16:20])[0])

    @property
    def height(self) -> int:
        """Pixels, from the header of the PNG."""
        return int(struct.unpack(">I", self.png[20:24])[0])


def group_plots(results: Results) -> Iterator[Plot]:
    """Plots of the first page: mean change, courses and single changes, without arms."""
    means = mean_changes(results)
    if means:
        shown = results.change[results.change["quantity"] == THICKNESS]
        yield _forest(means, sdc_kind(shown["sdc_source"].unique()))
    if follow_ups(results):
        plot = _spaghetti(results)
        if plot is not None:
            yield plot
        yield from _waterfalls(results)


def _forest(means: Sequence[MeanChange], kind: str) -> Plot:
    from kneeimg.report.figures import ForestPanel, ForestRow, forest_plot

    visits = list(dict.fromkeys(mean.visit for mean in means))
    regions = [r for r in FOREST_REGIONS if any(mean.region == r for mean in means)]
    of = {(mean.region, mean.visit): mean for mean in means}
    nothing = (math.nan, math.nan, math.nan, math.nan)
    panels = []
    for visit in visits:
        rows = []
        for region in regions:
            mean = of.get((region, visit))
            numbers = (mean.mean, mean.low, mean.high, mean.sdc) if mean else nothing
            rows.append(ForestRow(region, str(mean.n if mean else 0), *numbers))
        panels.append(ForestPanel(f"Baseline → {visit}", tuple(rows)))
    png = forest_plot(
        panels,
        title="Mean change of cartilage thickness (ThCtAB)",
        subtitle="mean over knees and 95 % interval (Student's t)",
        label="change, follow-up − baseline",
        unit="mm",
        sdc_kind=kind,
    )
    return Plot(
        f"{FOLDER}/change_forest.png",
        png,
        "Mean change per region and visit with its 95 % interval, over all knees and without arms. "
        "Orange: the interval lies below 0; blue: above. Grey band: SDC of a single knee, where "
        "repeatability data are at hand; the mean of a group can be known far better than that.",
        "Forest plot of the mean change of cartilage thickness per region and visit; the numbers "
        "stand in the table below",
    )


def _spaghetti(results: Results) -> Plot | None:
    from kneeimg.report.figures import GroupMean, SpaghettiPanel, Strand, spaghetti_plot

    places = visit_places(results)
    kind = sdc_kind(results.change["sdc_source"].unique())
    panels = []
    for region, quantity in COURSE_PANELS:
        rows = measured_change(results, region, quantity)
        if not len(rows):
            continue
        by_knee: dict[str, list[tuple[float, float]]] = {}
        for row in rows.to_dict("records"):
            day = row["days"] if math.isfinite(row["days"]) else places[row["visit_to"]]
            name = f"{row['participant']} {row['side']}"
            by_knee.setdefault(name, []).append((day, float(row["change"])))
        means = tuple(
            (places[mean.visit], mean.mean, mean.low, mean.high)
            for mean in mean_changes(results, (region,), quantity)
        )
        panels.append(
            SpaghettiPanel(
                title=panel_title(region, quantity),
                unit=str(rows["unit"].iloc[0]),
                strands=tuple(Strand(n, "", tuple(sorted(p))) for n, p in by_knee.items()),
                means=(GroupMean("all knees", means),),
                sdc=float(rows["sdc"].max()),
            )
        )
    if not panels:
        return None
    return Plot(
        f"{FOLDER}/change_courses.png",
        spaghetti_plot(panels, places, title="Course of every knee", sdc_kind=kind),
        "Change since baseline: one thin line for each knee, joined across a visit without a "
        "value; thick: mean over knees with its 95 % interval.",
        "Lines of the change since baseline of every knee, for regions of cartilage thickness and "
        "for joint-space width",
    )


def panel_title(region: str, quantity: str) -> str:
    """Heading of a panel.

    >>> panel_title("FTJ", "ThCtAB_aMe"), panel_title("medial", "mJSW")
    ('FTJ, ThCtAB', 'medial mJSW (film)')
    """
    if quantity == THICKNESS:
        return f"{region}, ThCtAB"
    return f"{region} {quantity} (film)"


def visit_places(results: Results) -> dict[str, float]:
    """Baseline and follow-ups at their median days, or at 0, 1, 2 … where days are unknown."""
    change = results.change
    later = follow_ups(results)
    start = change["visit_from"].mode()
    baseline = str(start.iloc[0]) if len(start) else "BL"
    days = change.groupby("visit_to")["days"].median()
    known = [float(days[visit]) for visit in later]
    if not all(math.isfinite(day) for day in known):
        known = [float(number) for number in range(1, len(later) + 1)]
    return {baseline: 0.0} | dict(zip(later, known, strict=True))


def _waterfalls(results: Results) -> Iterator[Plot]:
    from kneeimg.report.figures import waterfall_plot

    for region, quantity in WATERFALLS:
        visit = last_visit_with(results, region, quantity)
        if visit is None:
            continue
        rows = measured_change(results, region, quantity)
        unit = str(rows["unit"].iloc[0])
        yield Plot(
            f"{FOLDER}/waterfall_{region}_{quantity}_{visit}.png",
            waterfall_plot(
                singles(results, region, quantity, visit),
                title=f"{panel_title(region, quantity)}: change of every knee, baseline → {visit}",
                unit=unit,
                limits=film_limits(quantity),
                sdc_kind=sdc_kind(rows["sdc_source"].unique()),
            ),
            f"Single changes of {quantity_meaning(quantity)}, {region_meaning(region)}, {visit}. "
            "Dashed lines: the smallest detectable change (SDC) of one knee, where repeatability "
            "data are at hand. A bar inside them is within measurement error.",
            f"Bars of the change of every knee at {visit}, sorted; the numbers stand on the pages "
            "of the participants",
        )


def film_limits(quantity: str) -> tuple[tuple[float, str], ...]:
    """The published threshold of a film quantity that is a plain change."""
    return ((-MJSW_LOSS_MM, "published: loss of 0.7 mm"),) if quantity == "mJSW" else ()


def last_visit_with(results: Results, region: str, quantity: str) -> str | None:
    """The last follow-up at which two knees or more have a value."""
    rows = measured_change(results, region, quantity)
    counts = rows["visit_to"].value_counts()
    visits = [visit for visit in follow_ups(results) if counts.get(visit, 0) > 1]
    return visits[-1] if visits else None


def map_strip(results: Results, participant: str, side: str) -> bytes | None:
    """Baseline map and the change maps of about 6 and 12 months side by side; None without both."""
    from kneeimg.report.figures import strip_plot

    own = [p for p in results.pictures if p.participant == participant and p.side == side]
    places = visit_places(results)
    baseline = next(iter(places))
    thickness = [p for p in own if (p.kind, p.role, p.visit) == ("mri", "thickness", baseline)]
    changes = {p.visit: p for p in own if p.kind == "change" and p.visit in places}
    if not thickness or not changes:
        return None
    return strip_plot(
        (f"{baseline}: thickness", thickness[0].file),
        [(f"{baseline} → {p.visit}: change", p.file) for p in _two_visits(changes, places)],
        title=f"{participant} · {side} knee",
    )


def _two_visits(changes: dict[str, Picture], places: dict[str, float]) -> list[Picture]:
    """The maps nearest to 6 and to 12 months, in time; the last two where days are unknown."""
    in_time = sorted(changes, key=lambda visit: places[visit])
    if max(places.values()) <= len(places):
        return [changes[visit] for visit in in_time[-2:]]
    wanted = {min(in_time, key=lambda v: (abs(places[v] - day), places[v])) for day in _MAP_DAYS}
    return [changes[visit] for visit in in_time if visit in wanted]
