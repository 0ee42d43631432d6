"""Settings of the tables for the trial analyst."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kneeimg.settings.base import Settings


class TablesSettings(Settings):
    """Table `[tables]`: what the analysis dataset ADKNEE may tell.

    Attributes
    ----------
    site : Study site of all participants, for SITEID; empty when there is only one without a name.
    analysis_dates : Write calendar dates (ADT) for participants whose `baseline_date` is known. By
        default they hold days since baseline only.
    """

    site: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{0,32}$")] = ""
    analysis_dates: bool = False
