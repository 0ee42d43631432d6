"""Settings of T2 relaxometry."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kneeimg.settings.base import Settings


class RelaxometrySettings(Settings):
    """How T2 is estimated from a multi-echo series.

    Attributes
    ----------
    estimator : "mono-exponential" (three echoes or more), "dess" (two echoes of a dual-echo steady
        state), or "auto": "dess" when there are two echoes with TE2 = 2 TR − TE1.
    skip_echoes : Echoes left out at the start of a multi-echo spin-echo train. The first echo holds
        no stimulated echo and lies below the decay of the others; 1 is common practice.
    noise_sd : SD of the noise in each receiver channel, in image units; then the mean of the Rice
        distribution is fitted instead of the bare exponential, so that the noise floor of the
        late echoes does not lengthen T2. None fits the bare exponential.
    min_r2 : A mono-exponential fit that explains less of the variance over the echoes is not valid.
    range_ms : T2 outside of these limits is not valid, ms.
    t1_ms : T1 that the dual-echo steady-state estimator assumes, ms (cartilage at 3 T). Where the
        true T1 is 900 ms, a T2 of 40 ms reads 38.1 to 38.6 ms.
    diffusion_mm2_s : Diffusion coefficient that it assumes, mm²/s; it matters only with strong
        spoilers, and only when the file tells the spoiler.
    deep_share : Cartilage below this share of its thickness, from bone, is the deep layer.
    min_voxels : A region or layer with fewer valid voxels is not measurable.
    undetermined_flag_pct : Share of voxels without a valid T2 above which a value is flagged, %.
    """

    estimator: Literal["auto", "mono-exponential", "dess"] = "auto"
    skip_echoes: int = Field(default=1, ge=0)
    noise_sd: float | None = Field(default=None, gt=0.0)
    min_r2: float = Field(default=0.8, ge=0.0, le=1.0)
    range_ms: tuple[float, float] = (5.0, 150.0)
    t1_ms: float = Field(default=1200.0, gt=0.0)
    diffusion_mm2_s: float = Field(default=1.25e-3, ge=0.0)
    deep_share: float = Field(default=0.5, gt=0.0, lt=1.0)
    min_voxels: int = Field(default=10, ge=1)
    undetermined_flag_pct: float = Field(default=20.0, ge=0.0, le=100.0)
