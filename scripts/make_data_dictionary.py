"""Write docs/data-dictionary.md: every column of every table, every code, every parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kneeimg.core.dataset import Parameter
from kneeimg.core.result_tables import CHANGE_COLUMNS, DISPOSITION_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.io.tables import WIDE_KEYS
from kneeimg.pipeline.parameters import PARAMETER_COLUMNS, all_parameters
from kneeimg.report.glossary import quantity_meaning, region_meaning
from kneeimg.trial.adam_variables import CHANGE_CLASSES, CHANGE_METHODS, adam_variables

HEAD = """# Data dictionary

Every column of every table under `RESULTS/tables`, and every parameter. How to read them in R and
Python: [importing](importing.md). How each quantity is measured: [what every number
means](measurements.md). The tables of the analysis by arm have a page of their own.

A number that was not measured is an empty cell (CSV), null (Parquet, JSON) or missing (SAS); 0 is a
measured zero. Text that a spreadsheet would take for a formula has a leading apostrophe in CSV.
"""

_WHO = {
    "participant": "study id",
    "side": "`left` or `right`; empty when nobody could tell",
    "visit": "visit id of the study file; `U` and the day for a scan outside every window",
    "kind": "`mri` or `film`",
    "region": "region, see below",
    "quantity": "quantity, see below",
    "unit": "`mm`, `mm^2`, `mm^3`, `%`, `deg`, `ratio`, `ms` or `count`",
    "status": "`ok`, or `not_measurable`",
    "reason": "[reason code](reason-codes.md) where there is no value",
    "method": "how it was measured, such as `ray/soft` or `ray/hard`",
    "tab_source": "how the total subchondral bone area was obtained",
    "series_uid_hash": "names the image series without its UID",
    "software_version": "version of kneeimg",
}

MEASUREMENTS: Mapping[str, str] = {
    **_WHO,
    "day": "days since the participant's baseline",
    "scan": "`run-1`, `run-2`, … of repeated scans of one visit; empty for the only scan and for "
    "the average",
    "dtype": "`AVERAGE` on the mean of repeated scans of one visit",
    "value": "the measurement, in `unit`",
    "aggregate": "`sum` for sums over regions",
    "femur_fraction": "where the central femoral condyle ends, as a fraction of the distance from "
    "the notch to the back of the condyle",
    "spacing_source": "where the pixel size of a film comes from",
    "qc_flags": "reason codes that a reader should know beside the value, joined by `;`",
    "model_sha256": "hash of the segmentation network; empty for given masks",
}

CHANGE: Mapping[str, str] = {
    **_WHO,
    "visit_from": "baseline visit",
    "visit_to": "follow-up visit",
    "days": "days between the visits",
    "dtype": "`AVERAGE` where a visit has repeated scans",
    "baseline": "baseline value; for MR cartilage over the bone area that both visits share",
    "followup": "follow-up value over the same area",
    "change": "followup − baseline",
    "change_pct": "change in % of baseline, where that means something",
    "change_per_year": "change × 365.25 / days",
    "change_class": "`loss`, `gain`, `within measurement error` or `no repeatability data`",
    "sdc": "95 % smallest detectable change of a single knee, in `unit`",
    "sdc_source": "the repeatability study that it comes from",
    "progression": "progression of joint space by published cut-offs",
    "registration_rms_mm": "residual of the alignment of the bones, mm; the largest for sums",
    "drift": "acquisition parameters that differ between the visits",
}

DISPOSITION: Mapping[str, str] = {
    **_WHO,
    "source": "the scan relative to the input folder",
    "status": "`measured`, `refused`, `skipped` or `missing`",
    "code": "[reason code](reason-codes.md) of the first finding",
    "message": "what is the matter",
    "expected": "what was expected",
    "found": "what was found",
    "action": "what to do",
}

PARTICIPANTS: Mapping[str, str] = {
    "participant_id": "`sub-` and the study id",
    "index_knee": "knee under study, `n/a` when the study does not say",
}

WIDE: Mapping[str, str] = {
    **{name: MEASUREMENTS[name] for name in ("participant", "side", "visit", "day")},
    "REGION_QUANTITY": "one column per region and quantity, named as in the OAI files "
    "(`MT_ThCtAB_aMe`); units as in the list of parameters",
}

PARAMETERS: Mapping[str, str] = {
    "PARAMCD": "code: the region's (1 to 4 characters), then the quantity's (always 4)",
    "PARAM": "region, quantity and unit in words",
    "PARAMN": "10000 × number of the region + number of the quantity; never given away again",
    "PARCAT1": "group",
    "region": "region as in the measurements",
    "quantity": "quantity as in the measurements",
    "unit": "unit",
    "definition": "what it means",
    "source": "where it is defined: DOI, PMC or PMID; `kneeimg` for definitions of its own",
}


def described(columns: Sequence[str], meanings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each column with its meaning.

    Raises
    ------
    SystemExit
        When a column has none: it must be written above.
    """
    missing = [name for name in columns if name not in meanings]
    if missing:
        raise SystemExit(f"columns without a meaning in make_data_dictionary.py: {missing}")
    return [(f"`{name}`", meanings[name]) for name in columns]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def section(title: str, about: str, columns: Sequence[str], meanings: Mapping[str, str]) -> str:
    """One table of columns."""
    return f"\n## {title}\n\n{about}\n\n" + markdown(
        ("column", "meaning"), described(columns, meanings)
    )


def adknee_section() -> str:
    """Columns of ADKNEE with their labels and types."""
    rows = [
        (f"`{v.name}`", v.label, v.data_type, v.meaning) for v in adam_variables(with_arms=True)
    ]
    methods = [(f"`{code}`", text) for code, text in CHANGE_METHODS.items()]
    classes = [(f"`{code}`", text) for code, text in CHANGE_CLASSES.items()]
    return (
        "\n## adam/ADKNEE (.json, .xpt, .csv, .parquet, define.xml)\n\n"
        "ADaM basic data structure, one row per subject, knee, parameter, visit and scan or "
        "average. `TRTP` and `TRTPN` exist only in the unblinded dataset.\n\n"
        + markdown(("variable", "label", "type", "meaning"), rows)
        + "\n`CHGMTHD`:\n\n"
        + markdown(("code", "meaning"), methods)
        + "\n`CHGCAT1`:\n\n"
        + markdown(("code", "meaning"), classes)
    )


def regions_section(parameters: Sequence[Parameter]) -> str:
    """Regions with their codes and numbers."""
    first: dict[str, Parameter] = {}
    for parameter in parameters:
        first.setdefault(parameter.region, parameter)
    rows = [
        (f"`{region}`", f"`{p.paramcd[:-4]}`", str(p.paramn // 10000), region_meaning(region))
        for region, p in first.items()
    ]
    return "\n## Regions\n\n" + markdown(("region", "code", "number", "meaning"), rows)


def quantities_section(parameters: Sequence[Parameter]) -> str:
    """Quantities with their codes, numbers and units."""
    first: dict[str, Parameter] = {}
    for parameter in sorted(parameters, key=lambda p: p.paramn % 10000):
        first.setdefault(parameter.quantity, parameter)
    rows = [
        (
            f"`{name}`",
            f"`{p.paramcd[-4:]}`",
            str(p.paramn % 10000),
            p.unit,
            quantity_meaning(name),
        )
        for name, p in first.items()
    ]
    return "\n## Quantities\n\n" + markdown(
        ("quantity", "code", "number", "unit", "definition"), rows
    )


def parameters_section(parameters: Sequence[Parameter]) -> str:
    """Every parameter."""
    rows = [
        (f"`{p.paramcd}`", str(p.paramn), p.param, f"`{p.region}_{p.quantity}`", p.unit, p.source)
        for p in parameters
    ]
    about = (
        "`configs/parameters.csv` holds the same with the definitions. Joint-space widths at other "
        "fixed positions follow the rule `J` (normalised: `N`) and x in thousandths."
    )
    header = ("PARAMCD", "PARAMN", "PARAM", "region_quantity", "unit", "source")
    return f"\n## Parameters\n\n{about}\n\n" + markdown(header, rows)


def page() -> str:
    """The whole page as Markdown."""
    parameters = all_parameters()
    return "".join(
        (
            HEAD,
            section(
                "measurements (.csv, .parquet)",
                "One row per participant, knee, visit, scan, region and quantity; every planned "
                "measurement has one, also when it failed.",
                MEASUREMENT_COLUMNS,
                MEASUREMENTS,
            ),
            section(
                "measurements_wide (.csv, .parquet)",
                "One row per participant, knee and visit.",
                (*WIDE_KEYS, "REGION_QUANTITY"),
                WIDE,
            ),
            section(
                "change (.csv, .parquet)",
                "One row per participant, knee, follow-up, region and quantity.",
                CHANGE_COLUMNS,
                CHANGE,
            ),
            section(
                "disposition.csv",
                "One row per scan, also of those that were not measured or never came.",
                DISPOSITION_COLUMNS,
                DISPOSITION,
            ),
            section(
                "participants.tsv", "One row per participant.", tuple(PARTICIPANTS), PARTICIPANTS
            ),
            adknee_section(),
            section("configs/parameters.csv", "The published list.", PARAMETER_COLUMNS, PARAMETERS),
            regions_section(parameters),
            quantities_section(parameters),
            parameters_section(parameters),
        )
    )


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / "docs" / "data-dictionary.md"
    target.write_text(page(), encoding="utf-8")
