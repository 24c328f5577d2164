"""Curves through the series of single pixels, one pixel and band at a time: with NumPy, and as public peers do it.

A loop takes observations [t c n] (NaN where not clear), days [t] and target days [q], and gives [q c n].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, linalg, optimize, signal

Array = NDArray[np.float64]
OnePixel = Callable[[Array, Array, Array], Array]

PENALTY, ORDER, SAVGOL_STEP, SAVGOL_WINDOW, SAVGOL_DEGREE = 10_000.0, 2, 5, 9, 2
YEAR = 365.25


def each_pixel(values: Array, days: Array, targets: Array, one: OnePixel) -> Array:
    """`one` on the clear days and values of every pixel and band."""
    _, c, n = values.shape
    out = np.empty((len(targets), c, n))
    for b in range(c):
        for i in range(n):
            seen = np.isfinite(values[:, b, i])
            out[:, b, i] = one(days[seen], values[seen, b, i], targets)
    return out


def linear(days: Array, values: Array, targets: Array) -> Array:
    return np.interp(targets, days, values)


def spline(kind: str) -> OnePixel:
    """SciPy's curve, its ends repeated."""
    make = {
        "akima": interpolate.Akima1DInterpolator,
        "pchip": interpolate.PchipInterpolator,
        "cubic": interpolate.CubicSpline,
    }[kind]
    return lambda days, values, targets: make(days, values)(targets.clip(days[0], days[-1]))


def harmonic(days: Array, values: Array, targets: Array) -> Array:
    def design(t: Array) -> Array:
        waves = [f(2 * np.pi * j * t / YEAR) for j in (1, 2) for f in (np.cos, np.sin)]
        return np.stack([np.ones_like(t), *waves], 1)

    found: Array = design(targets) @ np.linalg.lstsq(design(days), values, rcond=None)[0]
    return found


def double_logistic(days: Array, values: Array, targets: Array) -> Array:
    """SciPy's least squares, from a guess of a season in the middle of the year."""

    def curve(p: Array, t: Array) -> Array:
        rise, fall = 1 / (1 + np.exp(-p[4] * (t - p[2]))), 1 / (1 + np.exp(p[5] * (t - p[3])))
        found: Array = p[0] + (p[1] - p[0]) * (rise + fall - 1)
        return found

    low, high = np.quantile(values, (0.1, 0.9))
    guess = [low, high, days[0] + 0.3 * np.ptp(days), days[0] + 0.7 * np.ptp(days), 0.1, 0.1]
    with np.errstate(over="ignore"):
        return curve(optimize.least_squares(lambda p: curve(p, days) - values, guess, max_nfev=60).x, targets)


def whittaker(first: float, last: float) -> OnePixel:
    """A banded system per pixel (SciPy)."""
    size = int(last - first) + 1
    d = np.diff(np.eye(size), ORDER, axis=0)
    penalty = PENALTY * d.T @ d
    bands = np.stack([np.pad(np.diagonal(penalty, k), (k, 0)) for k in range(ORDER, -1, -1)])

    def one(days: Array, values: Array, targets: Array) -> Array:
        at = (days - first).astype(int)
        system, right = bands.copy(), np.zeros(size)
        system[-1, at] += 1
        right[at] = values
        curve: Array = linalg.solveh_banded(system, right)
        found: Array = curve[(targets.clip(days[0], days[-1]) - first).astype(int)]
        return found

    return one


def whittaker_eilers(first: float, last: float) -> OnePixel:
    """The package `whittaker-eilers` (Rust; MIT or Apache-2.0).

    Raises:
        ImportError: it is not installed.
    """
    from whittaker_eilers import WhittakerSmoother  # type: ignore[import-not-found]

    size = int(last - first) + 1
    smoother: Any = WhittakerSmoother(lmbda=PENALTY, order=ORDER, data_length=size, weights=[1.0] * size)

    def one(days: Array, values: Array, targets: Array) -> Array:
        at, weights, padded = (days - first).astype(int), np.zeros(size), np.zeros(size)
        weights[at], padded[at] = 1, values
        smoother.update_weights(weights.tolist())
        curve = np.array(smoother.smooth(padded.tolist()))
        found: Array = curve[(targets.clip(days[0], days[-1]) - first).astype(int)]
        return found

    return one


def savgol(first: float, last: float) -> OnePixel:
    """SciPy's filter on a regular grid."""
    grid = first + SAVGOL_STEP * np.arange(int(np.ceil((last - first) / SAVGOL_STEP)) + 1)

    def one(days: Array, values: Array, targets: Array) -> Array:
        smooth = signal.savgol_filter(np.interp(grid, days, values), SAVGOL_WINDOW, SAVGOL_DEGREE)
        return np.interp(targets.clip(first, last), grid, smooth)

    return one
