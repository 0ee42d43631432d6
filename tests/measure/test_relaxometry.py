"""T2: exact without noise, unbiased with it, closed form against a simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.errors import GeometryError, MeasurementError
from kneeimg.measure.decay import fit_decay
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.relaxometry import SteadyState, dess_ratio, dess_t2_ms, t2_map
from kneeimg.measure.t2_regions import measure_t2, planned_t2
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.relaxation import decay_echoes, dual_echo_steady_state, layered_t2_ms
from kneeimg.settings.relaxometry import RelaxometrySettings

TE_MS = tuple(6.312 * n for n in range(1, 9))
BOX = slice_grid("sagittal", (3.0, 0.6, 0.6), (4, 10, 12))


def test_without_noise_t2_is_exact() -> None:
    true_ms = np.linspace(8.0, 120.0, 480).reshape(BOX.shape)
    found = t2_map(decay_echoes(true_ms, TE_MS, BOX), TE_MS)
    assert found.valid.all()
    assert found.t2.unit == "ms"
    assert found.t2.data == pytest.approx(true_ms, rel=1e-6)  # float32 of the map
    assert found.r_squared.data == pytest.approx(1.0)
    assert "echoes 2-8" in found.method


def test_the_fit_itself_is_exact_in_double_precision() -> None:
    t2_ms = np.array([3.0, 30.0, 80.0, 400.0])
    signal = 250.0 * np.exp(-np.array(TE_MS) / t2_ms[:, None])
    found = fit_decay(signal, np.array(TE_MS))
    assert found.t2_ms == pytest.approx(t2_ms, rel=1e-9)
    assert found.amplitude == pytest.approx(250.0, rel=1e-9)
    assert found.residual_rms == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("t2_ms", [20.0, 40.0, 60.0])
def test_noise_leaves_the_median_within_half_a_per_cent(t2_ms: float) -> None:
    """20 000 voxels at SNR 50 (S0 over the SD of a channel): Rice fit 0.5 %, bare fit 1 %."""
    rng = np.random.default_rng(11)
    grid = Grid((20, 25, 40), np.eye(4), "1.2.3")
    echoes = decay_echoes(
        np.full(grid.shape, t2_ms), TE_MS, grid, amplitude=100.0, noise_sd=2.0, rng=rng
    )
    rice = t2_map(echoes, TE_MS, RelaxometrySettings(noise_sd=2.0, skip_echoes=0))
    bare = t2_map(echoes, TE_MS, RelaxometrySettings(skip_echoes=0))
    assert np.median(rice.t2.data[rice.valid]) == pytest.approx(t2_ms, rel=0.005)
    assert np.median(bare.t2.data[bare.valid]) == pytest.approx(t2_ms, rel=0.010)
    assert rice.valid.mean() > 0.99


def test_the_rice_fit_takes_the_noise_floor_away() -> None:
    """At T2 = 12 ms the late echoes lie in the noise: the bare fit reads long."""
    rng = np.random.default_rng(12)
    grid = Grid((20, 25, 20), np.eye(4), "1.2.3")
    echoes = decay_echoes(
        np.full(grid.shape, 12.0), TE_MS, grid, amplitude=100.0, noise_sd=5.0, rng=rng
    )
    rice, bare = (
        np.nanmedian(t2_map(echoes, TE_MS, RelaxometrySettings(noise_sd=sd, skip_echoes=0)).t2.data)
        for sd in (5.0, None)
    )
    assert rice == pytest.approx(12.0, rel=0.02)
    assert bare > 1.08 * rice


def test_a_low_first_echo_matters_only_when_it_is_used() -> None:
    echoes = list(decay_echoes(np.full(BOX.shape, 40.0), TE_MS, BOX))
    echoes[0] = echoes[0].with_data(0.9 * echoes[0].data, unit="a.u.")
    skipped = t2_map(echoes, TE_MS)
    kept = t2_map(echoes, TE_MS, RelaxometrySettings(skip_echoes=0))
    assert skipped.t2.data == pytest.approx(40.0, rel=1e-6)
    assert np.nanmin(kept.t2.data) > 42.0


def test_what_is_no_decay_is_not_valid_and_never_zero() -> None:
    flat = [Volume(np.full(BOX.shape, 7.0), BOX, "a.u.") for _ in TE_MS]
    empty = [Volume(np.zeros(BOX.shape), BOX, "a.u.") for _ in TE_MS]
    rising = [Volume(np.full(BOX.shape, 1.0 + te), BOX, "a.u.") for te in TE_MS]
    for echoes in (flat, empty, rising):
        found = t2_map(echoes, TE_MS)
        assert not found.valid.any()
        assert np.isnan(found.t2.data).all()


def test_only_the_wanted_voxels_are_fitted() -> None:
    wanted = np.zeros(BOX.shape, dtype=bool)
    wanted[1, 2:5, 3] = True
    found = t2_map(decay_echoes(np.full(BOX.shape, 40.0), TE_MS, BOX), TE_MS, voxels=wanted)
    assert np.array_equal(np.isfinite(found.t2.data), wanted)
    assert np.array_equal(found.valid, wanted)


def test_refusals() -> None:
    echoes = decay_echoes(np.full(BOX.shape, 40.0), TE_MS, BOX)
    with pytest.raises(MeasurementError, match="too few echoes"):
        t2_map(echoes[:3], TE_MS[:3])
    with pytest.raises(MeasurementError, match="two echoes"):
        t2_map(echoes, TE_MS, RelaxometrySettings(estimator="dess"))
    with pytest.raises(GeometryError, match="ascend"):
        t2_map(echoes, TE_MS[::-1])
    moved = replace(echoes[1].grid, affine=np.diag([1.0, 1.0, 1.0, 1.0]) @ np.eye(4))
    with pytest.raises(GeometryError):
        t2_map((echoes[0], Volume(echoes[1].data, moved, "a.u."), *echoes[2:]), TE_MS)
    with pytest.raises(ValueError, match="two different"):
        fit_decay(np.ones((1, 2)), np.array([5.0, 5.0]))


@pytest.mark.parametrize("t2_ms, limit", [(20.0, 0.01), (30.0, 0.02), (40.0, 0.04), (50.0, 0.07)])
@pytest.mark.parametrize("scan", [SteadyState(25.0, 7.48, 30.0), SteadyState(18.2, 5.9, 20.0)])
def test_the_closed_form_agrees_with_extended_phase_graphs(
    scan: SteadyState, t2_ms: float, limit: float
) -> None:
    first, second = dual_echo_steady_state(
        1200.0,
        t2_ms,
        repetition_ms=scan.repetition_ms,
        echo_ms=scan.echo_ms,
        flip_deg=scan.flip_deg,
    )
    found = dess_t2_ms(np.array([first]), np.array([second]), scan, 1200.0, 0.0)
    assert found[0] == pytest.approx(t2_ms, rel=limit)


def test_dual_echo_map_and_its_name() -> None:
    scan = SteadyState(25.0, 7.48, 30.0, spoiler_area=31.32, spoiler_ms=1.76)
    second = np.full(BOX.shape, 100.0 * dess_ratio(35.0, scan, 1200.0, 1.25e-3))
    echoes = (Volume(np.full(BOX.shape, 100.0), BOX, "a.u."), Volume(second, BOX, "a.u."))
    found = t2_map(echoes, (7.48, 42.52), steady_state=scan)
    assert found.t2.data == pytest.approx(35.0, rel=1e-6)
    assert "steady state" in found.method
    assert "1200" in found.method
    without = replace(scan, spoiler_area=0.0)
    assert "diffusion left out" in t2_map(echoes, (7.48, 42.52), steady_state=without).method
    assert dess_ratio(35.0, scan, 1200.0, 1.25e-3) < dess_ratio(35.0, scan, 1200.0, 0.0)
    gone = t2_map((echoes[1], echoes[0]), (7.48, 42.52), steady_state=scan)  # ratio above 1
    assert not gone.valid.any()


@pytest.mark.slow
def test_layers_and_plates_of_a_knee() -> None:
    """30 ms at bone rising to 50 ms at the surface: mean 40, halves 35 and 45."""
    grid = slice_grid("sagittal", (1.5, 0.4, 0.4), (64, 260, 260))
    phantom = KneePhantom(Side.RIGHT, thickness_variation=0.0)
    label_map = phantom.label_map(grid, hard=True)
    echoes = decay_echoes(layered_t2_ms(phantom, grid, 30.0, 50.0), TE_MS, grid)
    knee = measure_knee(label_map, Side.RIGHT)
    cartilage = np.isin(label_map.labels, (2, 4, 6))
    found = t2_map(echoes, TE_MS, voxels=cartilage)
    rows = measure_t2(found, label_map, knee.surfaces)
    assert tuple((r.region, r.quantity, r.unit) for r in rows) == planned_t2()
    value = {row.name: row.value for row in rows}
    for region in ("MT", "LT", "cMF", "cLF", "TrF", "P", "femoral_cartilage"):
        assert value[f"{region}_T2_mean"] == pytest.approx(40.0, abs=0.5), region
        assert value[f"{region}_T2_valid"] == pytest.approx(100.0)
    for region in ("MT", "LT", "cMF", "cLF", "TrF", "P"):
        assert value[f"{region}_T2_deep"] == pytest.approx(35.0, abs=0.6), region
        assert value[f"{region}_T2_superficial"] == pytest.approx(45.0, abs=0.6), region
    assert np.isnan(value["MM_T2_mean"])


def test_a_mask_without_bones_still_gives_tissues() -> None:
    grid = slice_grid("sagittal", (3.0, 1.0, 1.0), (30, 100, 100))
    label_map = KneePhantom(Side.RIGHT).label_map(grid, hard=True)
    echoes = decay_echoes(np.full(grid.shape, 40.0), TE_MS, grid)
    noisy = echoes[1].data.copy()
    noisy[label_map.labels == 6] = 0.0  # a broken patella: poor fits there
    spoiled = (echoes[0], echoes[1].with_data(noisy, unit="a.u."), *echoes[2:])
    rows = {row.name: row for row in measure_t2(t2_map(spoiled, TE_MS), label_map, {})}
    assert rows["tibial_cartilage_T2_mean"].value == pytest.approx(40.0, rel=1e-6)
    assert rows["MT_T2_mean"].reason is not None
    assert rows["patellar_cartilage_T2_mean"].reason is not None
    assert rows["patellar_cartilage_T2_valid"].value == 0.0
    assert rows["patellar_cartilage_T2_valid"].flags
