"""The plots by arm, drawn from the tables of `kneeimg trial`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kneeimg.report.plots import FOLDER, Plot, film_limits, panel_title
from kneeimg.report.summaries import COURSE_PANELS, FOREST_REGIONS, THICKNESS, Single, sdc_kind
from kneeimg.report.trial_page import analysed_visits
from kneeimg.report.trial_tables import TrialTables

if TYPE_CHECKING:
    import pandas as pd

    from kneeimg.report.figures import GroupMean, Strand

_ALL = "all"


def trial_plots(trial: TrialTables) -> Iterator[tuple[str, Plot]]:
    """(section, plot): which table a plot belongs to, and the plot."""
    yield from (("ancova", plot) for plot in _differences(trial))
    yield from (("courses", plot) for plot in _courses(trial))
    yield from (("courses", plot) for plot in _waterfalls(trial))
    yield from (("responders", plot) for plot in _responders(trial))
    yield from (("srm", plot) for plot in _responsiveness(trial))
    yield from (("association", plot) for plot in _associations(trial))


def _differences(trial: TrialTables) -> Iterator[Plot]:
    """Adjusted differences of cartilage thickness, one plot for each pair of arms."""
    from kneeimg.report.figures import ForestPanel, ForestRow, forest_plot

    table = trial.rows("ancova", "region", "quantity", "visit", "arm", "reference_arm",
                       "difference", "ci_low", "ci_high", "n_arm", "n_reference")  # fmt: skip
    if table is None:
        return
    table = table[(table["quantity"] == THICKNESS) & (table["reference_arm"] != "")]
    for number, ((arm, reference), rows) in enumerate(table.groupby(["arm", "reference_arm"])):
        panels = []
        regions = [region for region in FOREST_REGIONS if region in set(rows["region"])]
        for visit in dict.fromkeys(rows["visit"]):
            own = {row["region"]: row for row in rows[rows["visit"] == visit].to_dict("records")}
            lines = tuple(
                ForestRow(
                    region,
                    f"{own[region]['n_arm']:.0f} / {own[region]['n_reference']:.0f}",
                    own[region]["difference"],
                    own[region]["ci_low"],
                    own[region]["ci_high"],
                    note=str(own[region].get("reason", "")),
                )
                if region in own
                else ForestRow(region, "0", math.nan, math.nan, math.nan)
                for region in regions
            )
            panels.append(ForestPanel(f"Baseline → {visit}", lines))
        yield Plot(
            f"{FOLDER}/trial_difference_{number + 1}.png",
            forest_plot(
                panels,
                title=f"{arm} − {reference}: change of cartilage thickness",
                subtitle="difference adjusted for baseline, 95 % interval",
                label="difference between arms",
                unit="mm",
            ),
            f"Difference between {arm} and {reference} in ThCtAB at equal baseline (ANCOVA), with "
            "its 95 % interval. Right of 0: thicker under the first.",
            "Forest plot of the differences between arms; the numbers stand in the table below",
        )


def _courses(trial: TrialTables) -> Iterator[Plot]:
    from kneeimg.report.figures import SpaghettiPanel, spaghetti_plot

    values = trial.rows("values", "participant", "arm", "region", "quantity", "visit", "change",
                        "days")  # fmt: skip
    if values is None:
        return
    values = values[values["change"].notna() & (values["arm"] != "")]
    days = values.groupby("visit")["days"].median()
    places = {v: float(days[v]) for v in analysed_visits(trial) if v in days and days[v] == days[v]}
    panels = []
    for region, quantity in COURSE_PANELS:
        rows = values[(values["region"] == region) & (values["quantity"] == quantity)]
        rows = rows[rows["visit"].isin(list(places))]
        if len(rows):
            sdc = rows["sdc"].max() if "sdc" in rows else math.nan
            panels.append(
                SpaghettiPanel(
                    panel_title(region, quantity),
                    str(rows["unit"].iloc[0]) if "unit" in rows else "mm",
                    _strands(rows),
                    tuple(_means(trial, region, quantity, places)),
                    float(sdc),
                )
            )
    if panels:
        yield Plot(
            f"{FOLDER}/trial_courses.png",
            spaghetti_plot(
                panels,
                {"BL": 0.0} | places,
                title="Course of every knee by arm",
                sdc_kind=_sdc_kind(values),
            ),
            "Change since baseline: one thin line for each knee, thick: mean of the arm with its "
            "95 % interval, from the table of responsiveness.",
            "Lines of the change since baseline of every knee, coloured by arm",
        )


def _sdc_kind(rows: pd.DataFrame) -> str:
    return sdc_kind(rows["sdc_source"].unique()) if "sdc_source" in rows else ""


def _strands(rows: pd.DataFrame) -> tuple[Strand, ...]:
    from kneeimg.report.figures import Strand

    return tuple(
        Strand(
            str(participant),
            str(own["arm"].iloc[0]),
            tuple(sorted((float(d), float(c)) for d, c in own[["days", "change"]].values)),
        )
        for participant, own in rows.groupby("participant")
    )


def _means(
    trial: TrialTables, region: str, quantity: str, places: dict[str, float]
) -> Iterator[GroupMean]:
    from kneeimg.report.figures import GroupMean

    table = trial.rows("srm", "arm", "region", "quantity", "visit", "mean_change", "change_low",
                       "change_high")  # fmt: skip
    for arm in sorted(set(trial.arms().values())):
        points: list[tuple[float, float, float, float]] = []
        if table is not None:
            own = (table["arm"] == arm) & (table["region"] == region)
            own &= (table["quantity"] == quantity) & table["mean_change"].notna()
            points = [
                (places[r["visit"]], r["mean_change"], r["change_low"], r["change_high"])
                for r in table[own].to_dict("records")
                if r["visit"] in places
            ]
        yield GroupMean(arm, tuple(sorted(points)))


def _waterfalls(trial: TrialTables) -> Iterator[Plot]:
    from kneeimg.report.figures import waterfall_plot

    values = trial.rows("values", "participant", "arm", "region", "quantity", "visit", "change",
                        "change_class", "sdc", "unit")  # fmt: skip
    if values is None:
        return
    values = values[values["change"].notna() & (values["arm"] != "")]
    for region, quantity in (("FTJ", THICKNESS), ("medial", "mJSW")):
        rows = values[(values["region"] == region) & (values["quantity"] == quantity)]
        visits = [visit for visit in analysed_visits(trial) if visit in set(rows["visit"])]
        if not visits:
            continue
        last = rows[rows["visit"] == visits[-1]].sort_values("change", kind="stable")
        bars = [
            Single(str(r["participant"]), "", float(r["change"]), str(r["change_class"]),
                   float(r["sdc"]))
            for r in last.to_dict("records")
        ]  # fmt: skip
        yield Plot(
            f"{FOLDER}/trial_waterfall_{region}_{quantity}.png",
            waterfall_plot(
                bars,
                title=f"{panel_title(region, quantity)}: every knee, baseline → {visits[-1]}",
                unit=str(last["unit"].iloc[0]),
                groups=trial.arms(),
                limits=film_limits(quantity),
                sdc_kind=_sdc_kind(last),
            ),
            f"Single changes at {visits[-1]}, the arm as a marker at the foot. Dashed: SDC of "
            "one knee, where repeatability data are at hand.",
            "Bars of the change of every knee, sorted, with the arm of each",
        )


def _responders(trial: TrialTables) -> Iterator[Plot]:
    from kneeimg.report.figures import ShareBar, shares_plot

    table = trial.rows("responders", "endpoint", "visit", "arm", "outcome", "n", "count", "share")
    if table is None:
        return
    known = table[table["share"].notna()]
    primary = known[known["role"] == "primary"] if "role" in known else known
    for number, (endpoint, rows) in enumerate(primary.groupby("endpoint", sort=False)):
        bars = [
            ShareBar(
                f"{visit}  {arm}",
                int(own["n"].max()),
                {str(o): int(c) for o, c in own[["outcome", "count"]].values},
                {str(o): float(s) for o, s in own[["outcome", "share"]].values},
            )
            for (visit, arm), own in rows.groupby(["visit", "arm"], sort=False)
        ]
        yield Plot(
            f"{FOLDER}/trial_responders_{number + 1}.png",
            shares_plot(
                bars,
                title=f"{endpoint}: responders",
                subtitle=" ".join(("against the", _sdc_kind(rows), "SDC")).replace("  ", " "),
            ),
            f"Participants whose {endpoint} worsened, stayed or improved beyond the smallest "
            "detectable change of one knee; the counts stand in the bars.",
            "Stacked bars of responders by arm and visit; the counts stand in the table below",
        )


def _responsiveness(trial: TrialTables) -> Iterator[Plot]:
    from kneeimg.report.figures import ForestPanel, ForestRow, forest_plot

    table = trial.rows("srm", "endpoint", "quantity", "visit", "arm", "n", "srm", "ci_low",
                       "ci_high")  # fmt: skip
    if table is None:
        return
    table = table[(table["quantity"] == THICKNESS) & (table["arm"] != _ALL)]
    visits = list(dict.fromkeys(table["visit"]))
    if not visits:
        return
    last = table[table["visit"] == visits[-1]]
    regions = [region for region in FOREST_REGIONS if region in set(last["region"])]
    panels = []
    for arm, rows in last.groupby("arm"):
        own = {row["region"]: row for row in rows.to_dict("records")}
        lines = (
            ForestRow(r, f"{own[r]['n']:.0f}", own[r]["srm"], own[r]["ci_low"], own[r]["ci_high"])
            if r in own
            else ForestRow(r, "0", math.nan, math.nan, math.nan)
            for r in regions
        )
        panels.append(ForestPanel(str(arm), tuple(lines)))
    yield Plot(
        f"{FOLDER}/trial_srm.png",
        forest_plot(
            panels,
            title=f"Responsiveness of cartilage thickness, baseline → {visits[-1]}",
            subtitle="standardised response mean, 95 % interval by resampling participants",
            label="SRM",
            unit="",
        ),
        "Standardised response mean (mean change over its SD) of each arm: the larger its absolute "
        "value, the fewer participants the next trial needs.",
        "Forest plot of standardised response means by arm; the numbers stand in the table below",
    )


def _associations(trial: TrialTables) -> Iterator[Plot]:
    from kneeimg.report.figures import ForestPanel, ForestRow, forest_plot

    table = trial.rows("association", "endpoint", "visit", "marker", "population", "n", "spearman",
                       "spearman_low", "spearman_high", "role")  # fmt: skip
    if table is None:
        return
    table = table[(table["population"] == _ALL) & (table["role"] == "primary")]
    if not len(table):
        return
    markers = list(dict.fromkeys(table["marker"]))
    panels = []
    for (endpoint, visit), rows in table.groupby(["endpoint", "visit"], sort=False):
        own = {row["marker"]: row for row in rows.to_dict("records")}
        lines = (
            ForestRow(m, f"{own[m]['n']:.0f}", own[m]["spearman"], own[m]["spearman_low"],
                      own[m]["spearman_high"])
            if m in own
            else ForestRow(m, "0", math.nan, math.nan, math.nan)
            for m in markers
        )  # fmt: skip
        panels.append(ForestPanel(f"{endpoint}, {visit}", tuple(lines)))
    yield Plot(
        f"{FOLDER}/trial_association.png",
        forest_plot(
            panels,
            title="Change in structure beside change in symptoms and markers",
            subtitle="rank correlation, 95 % interval by resampling participants",
            label="Spearman's correlation",
            unit="",
        ),
        "Rank correlations of the changes over all participants: not causes.",
        "Forest plot of correlations; the numbers stand in the table below",
    )
