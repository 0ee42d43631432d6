"""Attenuation, blur, scatter and noise of the analytic films."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from kneeimg.phantoms.film import FilmKnee, FilmSetup, from_pixels
from kneeimg.phantoms.film_growths import growth_neper

FloatArray = NDArray[np.float64]

# Linear attenuation at about 60 keV effective, per mm; bone as excess over the soft tissue it
# replaces (NIST tables, rounded). The subchondral plate is compact and marrow in equal parts.
SOFT_PER_MM = 0.020
TRABECULAR_PER_MM = 0.010
PLATE_PER_MM = 0.022
CORTEX_PER_MM = 0.065
METAL_PER_MM = 0.50

_OVERSAMPLING = 3  # samples per pixel edge: a straight margin is then true to 0.01 pixel
_BLOCK_ROWS = 48
_CORTEX_MM = 0.9
_PLATE_MM = 1.6
_GREY_PER_NEPER = 650.0


def render(knee: FilmKnee, setup: FilmSetup) -> FloatArray:
    """(rows, columns) grey values 0..4095 of a left knee, bright where dense."""
    neper, bone = attenuation(knee, setup)
    textured = neper + bone * setup.texture * _texture(setup, neper.shape)
    return expose(textured, setup)


def expose(neper: FloatArray, setup: FilmSetup) -> FloatArray:
    """Grey values of an oversampled attenuation map: exposure, blur, pixels, scatter, noise, log.

    Parameters
    ----------
    neper : (3 rows, 3 columns) attenuation, sampled three times per pixel edge.
    setup : How the film is taken.

    Returns
    -------
    (rows, columns) grey values 0..4095, proportional to the log of the signal.
    """
    primary = np.exp(-neper)
    samples = setup.blur_mm / setup.knee_pixel_mm * _OVERSAMPLING
    primary = _bin(gaussian_filter(primary, samples, mode="nearest"))
    wide = 20.0 / setup.knee_pixel_mm
    step = max(1, int(wide / 4))
    haze = gaussian_filter(primary[::step, ::step], wide / step, mode="nearest")
    haze = zoom(haze, np.divide(primary.shape, haze.shape), order=1)
    signal = (1 - setup.scatter) * primary + setup.scatter * haze
    rng = np.random.default_rng(setup.seed)
    quanta = signal * setup.photons
    noisy = quanta + np.sqrt(quanta) * rng.standard_normal(quanta.shape)
    grey = -np.log(np.maximum(noisy, 1.0) / setup.photons) * _GREY_PER_NEPER
    return np.clip(np.round(grey), 0, 4095)


def sample_points(knee: FilmKnee, setup: FilmSetup) -> tuple[FloatArray, FloatArray]:
    """u, v in mm of every sample of the oversampled film, two (3 rows, 3 columns) arrays."""
    rows, columns = setup.shape
    r = (np.arange(rows * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - 0.5
    c = (np.arange(columns * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - 0.5
    column, row = np.meshgrid(c, r)
    points = from_pixels(np.stack([column, row], axis=-1).reshape(-1, 2), knee, setup)
    return points[:, 0].reshape(row.shape), points[:, 1].reshape(row.shape)


def attenuation(knee: FilmKnee, setup: FilmSetup) -> tuple[FloatArray, FloatArray]:
    """Attenuation in neper of the whole knee and of its bone alone, oversampled."""
    u, v = sample_points(knee, setup)
    whole, bone = np.empty_like(u), np.empty_like(u)
    for start in range(0, len(u), _BLOCK_ROWS):  # blocks that stay in the processor's cache
        rows = slice(start, start + _BLOCK_ROWS)
        part = _femur(knee, u[rows], v[rows])
        part += _tibia(knee, u[rows], v[rows])
        part += _fibula(knee, u[rows], v[rows])
        part += growth_neper(knee, u[rows], v[rows])
        bone[rows] = part
        whole[rows] = part + _soft_tissue(knee, u[rows], v[rows])
    return whole, bone


def _rounded(depth: FloatArray, radius: float, thickness: float | FloatArray) -> FloatArray:
    """Path in mm through a rounded body at a depth inside its silhouette."""
    share = np.clip(depth / radius, 0.0, 1.0)
    path: FloatArray = thickness * np.sqrt(share * (2 - share))
    return path


def _shelled(depth: FloatArray, radius: float, thickness: float | FloatArray) -> FloatArray:
    """Attenuation of a rounded bone with a compact shell around trabecular bone."""
    whole = _rounded(depth, radius, thickness)
    inside = _rounded(depth - _CORTEX_MM, radius - _CORTEX_MM, thickness - 2 * _CORTEX_MM)
    neper: FloatArray = CORTEX_PER_MM * (whole - inside) + TRABECULAR_PER_MM * inside
    return neper


def _slope_of(knee: FilmKnee, u: FloatArray, *, tibia: bool) -> tuple[FloatArray, FloatArray]:
    """Height of a margin and the cosine of its slope at each u, by table."""
    table = np.linspace(-0.6 * knee.femoral_width_mm, 1.6 * knee.femoral_width_mm, 8192)
    if tibia:
        height = knee.tibia_v(table)
    else:
        height = knee.femur_v(np.clip(table, 0, knee.femoral_width_mm))
    slope = np.gradient(height, table)
    cosine = 1 / np.sqrt(1 + np.minimum(np.abs(slope), 50.0) ** 2)
    return np.interp(u, table, height), np.interp(u, table, cosine)


def _femur(knee: FilmKnee, u: FloatArray, v: FloatArray) -> FloatArray:
    width, height = knee.femoral_width_mm, knee.condyle_height_mm
    margin, cosine = _slope_of(knee, u, tibia=False)
    depth = (margin - v) * cosine
    # above the widest point the femur narrows to its shaft, in a smooth S
    up = np.clip((-v - height) / 45.0, 0.0, 1.0)
    inset = (up**2 * (3 - 2 * up)) * 0.29 * width
    # the lean grows over the metaphysis; from there on the middle of the shaft is straight
    away = np.where(up < 1, 45.0 * (up**3 - up**4 / 2), -v - height - 22.5)
    across = u - np.tan(np.deg2rad(knee.femoral_shaft_deg)) * away
    depth = np.minimum(depth, np.minimum(across - inset, width - inset - across))
    thickness = 50.0 - 18.0 * up
    return _shelled(depth, 20.0, thickness)


def _tibia(knee: FilmKnee, u: FloatArray, v: FloatArray) -> FloatArray:
    width = knee.femoral_width_mm
    floor, cosine = _slope_of(knee, u, tibia=True)
    down = np.clip((v - 6.0) / 50.0, 0.0, 1.0)
    inset = (down**2 * (3 - 2 * down)) * 0.28 * width
    inset = inset + 1.2 * np.exp(-np.maximum(v - floor, 0.0) / 1.5)  # rounded corner
    side = np.minimum(u - inset, width - inset - u)
    depth = (v - floor) * cosine
    across = _rounded(side, 12.0, 1.0) * knee.plateau_depth_mm
    plate = np.where((depth > 0) & (depth < _PLATE_MM), 1.0, 0.0)
    fade = np.where(depth >= _PLATE_MM, np.exp(-np.maximum(depth - _PLATE_MM, 0.0) / 1.5), 0.0)
    neper = np.where(depth > 0, TRABECULAR_PER_MM, 0.0) * across
    neper += (PLATE_PER_MM - TRABECULAR_PER_MM) * (plate + fade) * across
    shell = _rounded(side, 12.0, 1.0) - _rounded(side - _CORTEX_MM, 12.0 - _CORTEX_MM, 0.97)
    neper += np.where(depth > 0, shell, 0.0) * 40.0 * (CORTEX_PER_MM - TRABECULAR_PER_MM)
    if knee.rim_mm > 0:
        above = np.where((depth <= 0) & (depth > -knee.rim_mm * cosine), 1.0, 0.0)
        neper += above * TRABECULAR_PER_MM * across * 0.25
    return neper


def _fibula(knee: FilmKnee, u: FloatArray, v: FloatArray) -> FloatArray:
    width = knee.femoral_width_mm
    centre_u, top = 0.97 * width, 16.0  # mm
    down = np.clip((v - top) / 12.0, 0.0, 1.0)
    half = 12.0 * np.sqrt(down * (2 - down)) - 5.0 * np.clip((v - top - 12.0) / 25.0, 0.0, 1.0)
    bow = centre_u - 0.10 * np.maximum(v - top, 0.0)
    depth = np.where(v > top, half - np.abs(u - bow), -1.0)
    return _shelled(depth, 10.0, 20.0)


def _soft_tissue(knee: FilmKnee, u: FloatArray, v: FloatArray) -> FloatArray:
    middle, widest = knee.femoral_width_mm / 2, 0.72 * knee.femoral_width_mm + 4.0
    half = widest * (1 - 0.0012 * np.abs(v))  # a leg tapers slightly away from the joint
    share = np.clip(1 - ((u - middle) / half) ** 2, 0.0, 1.0)
    return SOFT_PER_MM * 120.0 * np.sqrt(share)


def _texture(setup: FilmSetup, shape: tuple[int, ...]) -> FloatArray:
    """Mean 0, SD 1 pattern of vertical streaks, like trabeculae along the load."""
    coarse = (shape[0] // _OVERSAMPLING + 1, shape[1] // _OVERSAMPLING + 1)
    noise = np.random.default_rng(setup.seed + 1).standard_normal(coarse)
    pixel = setup.knee_pixel_mm
    streaks = gaussian_filter(noise, (1.2 / pixel, 0.25 / pixel), mode="wrap")
    streaks /= streaks.std()
    fine = np.repeat(np.repeat(streaks, _OVERSAMPLING, axis=0), _OVERSAMPLING, axis=1)
    return fine[: shape[0], : shape[1]]


def _bin(fine: FloatArray) -> FloatArray:
    """Mean of each block of samples that makes a pixel."""
    n = _OVERSAMPLING
    rows, columns = fine.shape[0] // n, fine.shape[1] // n
    binned: FloatArray = fine.reshape(rows, n, columns, n).mean(axis=(1, 3))
    return binned
