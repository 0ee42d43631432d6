"""The published table of parameters: every quantity of every region that kneeimg can emit."""

from __future__ import annotations

from kneeimg.core.dataset import Parameter
from kneeimg.longitudinal.ordered import planned_ordered
from kneeimg.measure.t2_regions import planned_t2
from kneeimg.pipeline.planned import planned_rows
from kneeimg.report.glossary import quantity_meaning, region_meaning
from kneeimg.settings.study import StageSettings
from kneeimg.trial.parameters import parameter_of

PARAMETER_COLUMNS = (
    "PARAMCD",
    "PARAM",
    "PARAMN",
    "PARCAT1",
    "region",
    "quantity",
    "unit",
    "definition",
    "source",
)


def all_parameters(settings: StageSettings | None = None) -> tuple[Parameter, ...]:
    """Parameters of MR, film, T2 and ordered change, by PARAMN.

    Parameters
    ----------
    settings : Decide the fixed positions of joint-space widths on films.
    """
    settings = settings or StageSettings()
    planned = (
        *planned_rows("mri", settings),
        *planned_rows("film", settings),
        *planned_t2(),
        *planned_ordered(),
    )
    return tuple(sorted((parameter_of(*row) for row in planned), key=lambda p: p.paramn))


def definition_of(parameter: Parameter) -> str:
    """What a parameter means, in words.

    >>> definition_of(parameter_of("MT", "VC", "mm^3"))
    'cartilage volume; region: medial tibia'
    """
    return f"{quantity_meaning(parameter.quantity)}; region: {region_meaning(parameter.region)}"


def parameter_rows(settings: StageSettings | None = None) -> list[dict[str, str | int]]:
    """The published table, columns as `PARAMETER_COLUMNS`."""
    return [
        {
            "PARAMCD": parameter.paramcd,
            "PARAM": parameter.param,
            "PARAMN": parameter.paramn,
            "PARCAT1": parameter.parcat1,
            "region": parameter.region,
            "quantity": parameter.quantity,
            "unit": parameter.unit,
            "definition": definition_of(parameter),
            "source": parameter.source,
        }
        for parameter in all_parameters(settings)
    ]
