"""What a methods section has to state, as a list and as a paragraph to copy."""

from __future__ import annotations

from collections.abc import Sequence

from kneeimg import __version__
from kneeimg.report.overview import distinct
from kneeimg.report.results import Results
from kneeimg.report.summaries import sdc_sources

_METHOD_WORDS = {
    "ray/soft": "from tissue fractions (soft masks)",
    "ray/hard": "from hard masks",
}


def methods(results: Results) -> list[tuple[str, str]]:
    """Name and value of everything that a methods section has to state."""
    table = results.measurements
    fractions = sorted({float(f) for f in table["femur_fraction"] if f == f})
    listed = {
        "Measured with": [f"kneeimg {v}" for v in distinct(table["software_version"])],
        "Report written with": [f"kneeimg {__version__}"],
        "Segmentation (sha256 of the model)": distinct(table["model_sha256"]),
        "Methods": distinct(table["method"]),
        "Source of the total subchondral bone area": distinct(table["tab_source"]),
        "Central part of the femoral condyles": [f"{f:g} of their length" for f in fractions],
        "Source of the pixel size of films": distinct(table["spacing_source"]),
        "Smallest detectable change from": distinct(results.change["sdc_source"]),
        "Runs": [name for name, _ in results.configurations],
    }
    return [(name, ", ".join(values) or "not stated") for name, values in listed.items()]


def methods_paragraph(results: Results) -> str:
    """The methods in sentences, every version and setting as the tables have it.

    What the tables do not say is said to be missing, never filled in.
    """
    table, change = results.measurements, results.change
    sentences = [_software(results)]
    kinds = set(table.loc[table["status"] == "ok", "kind"])
    if "mri" in kinds:
        sentences.append(_thickness(results))
    if "film" in kinds:
        spacing = distinct(table.loc[table["kind"] == "film", "spacing_source"])
        sentences.append(
            "Joint-space width was measured between the femoral margin and the floor of the tibial "
            f"plateau; pixel size: {_listed(spacing)}."
        )
    if (change["status"] == "ok").any():
        sentences.append(
            "Change is follow-up minus baseline; each bone was registered rigidly on its own and "
            "the subchondral bone area of the baseline was carried to the follow-up."
        )
        sentences.append(_repeatability(results))
    sentences.append("Visits were measured without knowledge of their order or of the arm.")
    return " ".join(sentences)


def _software(results: Results) -> str:
    versions = distinct(results.measurements["software_version"])
    runs = [name.removeprefix("run-") for name, _ in results.configurations]
    return (
        f"Knees were measured with kneeimg {_listed(versions)} "
        f"(settings {_listed(runs)}); this report was written with kneeimg {__version__}."
    )


def _thickness(results: Results) -> str:
    rows = results.measurements[results.measurements["kind"] == "mri"]
    models = [sha[:12] for sha in distinct(rows["model_sha256"])]
    methods = [_METHOD_WORDS.get(name, name) for name in distinct(rows["method"])]
    fractions = sorted({float(f) for f in rows["femur_fraction"] if f == f})
    central = _listed([f"{f:g}" for f in fractions])
    return (
        "Cartilage thickness (ThCtAB, over the total subchondral bone area, denuded bone counted "
        f"as 0) was measured along the bone normal {_listed(methods)}; segmentation model (sha256) "
        f"{_listed(models)}; bone area: {_listed(distinct(rows['tab_source']))}; the central "
        f"femoral condyle ends at {central} of its length."
    )


def _repeatability(results: Results) -> str:
    sources = sdc_sources(results)
    if not sources:
        return (
            "No repeatability data of this software were at hand, so single changes are not "
            "classed against a smallest detectable change."
        )
    return (
        "Single changes were classed against the smallest detectable change (95 %) of this "
        f"software from: {_listed(list(sources))}."
    )


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values) or "not stated"
