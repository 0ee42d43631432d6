"""Mono-exponential decay, fitted to many voxels at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

FloatArray = NDArray[np.float64]

_ROUNDS = 60
_DONE = 1e-10
_CHUNK = 1 << 16
#: Slowest and fastest decay that a fit may reach, per ms (T2 of 100 s and of 0.1 ms).
_SLOWEST, _FASTEST = 1e-5, 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Decay:
    """Fitted decays.

    Attributes
    ----------
    amplitude : (N,) signal at echo time 0, image units.
    t2_ms : (N,) ms; NaN where nothing could be fitted.
    r_squared : (N,) share of the variance over the echoes that the fit explains; NaN where the
        echoes do not vary.
    residual_rms : (N,) root mean square residual, image units.
    """

    amplitude: FloatArray
    t2_ms: FloatArray
    r_squared: FloatArray
    residual_rms: FloatArray


def fit_decay(signal: FloatArray, te_ms: FloatArray, noise_sd: float | None = None) -> Decay:
    """Least-squares fit of A · exp(−TE / T2) to magnitudes.

    Parameters
    ----------
    signal : (N, E) magnitudes at E echo times.
    te_ms : (E,) ms, at least two different ones.
    noise_sd : SD of the noise in each receiver channel; the mean of the Rice distribution around
        the decay is then fitted, which goes over into the bare decay where signal is strong.

    Returns
    -------
    Decay; NaN where fewer than two echoes are positive.

    Notes
    -----
    The start is the straight line through the logarithms, weighted with the squared signal (the
    inverse variance of a logarithm); Levenberg–Marquardt on both parameters follows, all voxels of
    a chunk at a time.

    Examples
    --------
    >>> te = np.array([10.0, 20.0, 30.0, 40.0])
    >>> found = fit_decay(100.0 * np.exp(-te / 35.0)[None, :], te)
    >>> round(float(found.t2_ms[0]), 6), round(float(found.amplitude[0]), 6)
    (35.0, 100.0)
    """
    signal = np.asarray(signal, dtype=np.float64)
    te = np.asarray(te_ms, dtype=np.float64)
    if signal.ndim != 2 or te.shape != signal.shape[1:]:
        raise ValueError(f"signal {signal.shape} at echo times {te.shape}")
    if len(np.unique(te)) < 2:
        raise ValueError(f"two different echo times are needed, got {te}")
    parts = [
        _fit(signal[first : first + _CHUNK], te, noise_sd)
        for first in range(0, max(len(signal), 1), _CHUNK)
    ]
    amplitude, rate = (np.concatenate(values) for values in zip(*parts, strict=True))
    return _quality(signal, te, amplitude, rate, noise_sd)


def _fit(signal: FloatArray, te: FloatArray, noise_sd: float | None) -> tuple[FloatArray, ...]:
    """(N,) amplitude and rate per ms of one chunk; NaN where a voxel has no start."""
    amplitude, rate = log_linear(signal, te)
    usable = np.flatnonzero(np.isfinite(amplitude) & np.isfinite(rate))
    found = _marquardt(signal[usable], te, amplitude[usable], rate[usable], noise_sd)
    amplitude[usable], rate[usable] = found
    return amplitude, rate


def log_linear(signal: FloatArray, te: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(N,) amplitude and rate per ms of the weighted straight line through the logarithms."""
    positive = signal > 0
    height = np.log(np.where(positive, signal, 1.0))
    scale = np.maximum(signal.max(axis=1, keepdims=True), 1e-300)
    weight = np.where(positive, (signal / scale) ** 2, 0.0)
    total = weight.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_t = (weight @ te) / total
        mean_h = (weight * height).sum(axis=1) / total
        gap = te - mean_t[:, None]
        slope = (weight * gap * height).sum(axis=1) / (weight * gap**2).sum(axis=1)
    rate = np.where(positive.sum(axis=1) >= 2, -slope, np.nan)
    amplitude = np.exp(np.clip(mean_h + np.clip(rate, _SLOWEST, _FASTEST) * mean_t, -700, 700))
    return np.where(np.isfinite(rate), amplitude, np.nan), rate


def rician_mean(signal: FloatArray, noise_sd: float) -> tuple[FloatArray, FloatArray]:
    """Mean magnitude of a signal in two-channel noise, and its derivative by the signal.

    Notes
    -----
    σ √(π/2) L½(−S² / 2σ²) with the Laguerre function written in Bessel functions
    (Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618).

    Examples
    --------
    >>> mean, slope = rician_mean(np.array([0.0, 1000.0]), 2.0)
    >>> round(float(mean[0]), 4), round(float(mean[1]), 3), round(float(slope[1]), 4)
    (2.5066, 1000.002, 1.0)
    """
    quarter = (signal / (2.0 * noise_sd)) ** 2
    zero, one = ive(0, quarter), ive(1, quarter)  # scaled by exp(-quarter): no overflow
    root = np.sqrt(np.pi / 2.0)
    mean = noise_sd * root * ((1.0 + 2.0 * quarter) * zero + 2.0 * quarter * one)
    return mean, root * signal / (2.0 * noise_sd) * (zero + one)


def _model(
    te: FloatArray, amplitude: FloatArray, rate: FloatArray, noise_sd: float | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(N, E) expected magnitude and its derivatives by amplitude and rate."""
    fall = np.exp(-rate[:, None] * te)
    decay = amplitude[:, None] * fall
    if noise_sd is None:
        return decay, fall, -te * decay
    mean, slope = rician_mean(decay, noise_sd)
    return mean, slope * fall, -slope * te * decay


def _marquardt(
    signal: FloatArray,
    te: FloatArray,
    amplitude: FloatArray,
    rate: FloatArray,
    noise_sd: float | None,
) -> tuple[FloatArray, FloatArray]:
    """Least squares from a start; a step is kept where it lowers the sum of squares."""
    rate = np.clip(rate, _SLOWEST, _FASTEST)
    damping = np.full(len(signal), 1e-3)
    active = np.arange(len(signal))
    for _ in range(_ROUNDS):
        if not len(active):
            break
        a, r, data, damp = amplitude[active], rate[active], signal[active], damping[active]
        mean, by_a, by_r = _model(te, a, r, noise_sd)
        rest = data - mean
        step_a, step_r = _step(by_a, by_r, rest, damp)
        new_a = np.maximum(a + step_a, 0.0)
        new_r = np.clip(r + step_r, _SLOWEST, _FASTEST)
        ahead = data - _model(te, new_a, new_r, noise_sd)[0]
        better = (ahead**2).sum(axis=1) <= (rest**2).sum(axis=1)
        amplitude[active] = np.where(better, new_a, a)
        rate[active] = np.where(better, new_r, r)
        damping[active] = np.where(better, damp / 10.0, damp * 10.0)
        still = (np.abs(new_a - a) > _DONE * a) | (np.abs(new_r - r) > _DONE * r)
        active = active[still & (damping[active] < 1e12)]
    return amplitude, rate


def _step(
    by_a: FloatArray, by_r: FloatArray, rest: FloatArray, damping: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(N,) damped Gauss–Newton steps of amplitude and rate."""
    aa = (by_a**2).sum(axis=1) * (1.0 + damping)
    rr = (by_r**2).sum(axis=1) * (1.0 + damping)
    ar = (by_a * by_r).sum(axis=1)
    ga, gr = (by_a * rest).sum(axis=1), (by_r * rest).sum(axis=1)
    size = np.maximum(aa * rr - ar**2, 1e-300)
    return (rr * ga - ar * gr) / size, (aa * gr - ar * ga) / size


def _quality(
    signal: FloatArray,
    te: FloatArray,
    amplitude: FloatArray,
    rate: FloatArray,
    noise_sd: float | None,
) -> Decay:
    known = np.isfinite(amplitude) & np.isfinite(rate)
    mean = _model(te, np.where(known, amplitude, 0.0), np.where(known, rate, 1.0), noise_sd)[0]
    squares = ((signal - mean) ** 2).sum(axis=1)
    spread = ((signal - signal.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r_squared = np.where(known & (spread > 0), 1.0 - squares / spread, np.nan)
        t2_ms = np.where(known, 1.0 / rate, np.nan)
    residual = np.where(known, np.sqrt(squares / len(te)), np.nan)
    return Decay(amplitude, t2_ms, r_squared, residual)
