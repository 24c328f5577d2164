"""Random numbers by purpose, and random fields with a given spectrum.

Every part of a simulation draws from a stream of its own, so that adding draws to one part changes no other, and
the draws of one date or year do not depend on which others were asked for.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]


def stream(seed: int, *purpose: object) -> np.random.Generator:
    """The generator of one purpose, e.g. `stream(seed, "crops", 2022)`: same arguments, same numbers."""
    name = "/".join(str(part) for part in purpose)
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))


def periodic_field(
    rng: np.random.Generator,
    side: int,
    step: float,
    wavelength: float,
    slope: float,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Map:
    """A Gaussian random field [side, side] that continues across its borders, of mean 0 and variance 1.

    Its amplitude spectrum is flat for waves longer than `wavelength` and falls as frequency ** -slope for shorter
    ones (1.5 is rough like a cloud edge, 3 is smooth like hills). `step` is the pixel, in the unit of `wavelength`.
    Structures are `stretch` times longer in the direction `angle` (radians, from the columns' axis to the rows').
    """
    rows = (wavelength * np.fft.fftfreq(side, step)).astype(np.float32)[:, None]
    cols = (wavelength * np.fft.rfftfreq(side, step)).astype(np.float32)[None, :]
    turn, tilt = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = stretch * (cols * turn + rows * tilt), rows * turn - cols * tilt
    amplitude = (1 + along * along + across * across) ** np.float32(-slope / 2)
    amplitude[0, 0] = 0.0
    spectrum = np.empty(amplitude.shape, np.complex64)
    parts = rng.standard_normal((2, side, side // 2 + 1), np.float32)
    spectrum.real, spectrum.imag = amplitude * parts
    field: Map = np.fft.irfft2(spectrum, (side, side)).astype(np.float32, copy=False)
    field -= field.mean()
    field /= field.std()
    return field


def field(rng: np.random.Generator, shape: tuple[int, int], step: float, wavelength: float, slope: float = 2.0) -> Map:
    """A Gaussian random field [h, w] of variance about 1 (see `periodic_field`), with unlike opposite borders."""
    side = next_power_of_two(max(shape) + round(wavelength / step))
    return periodic_field(rng, side, step, wavelength, slope)[: shape[0], : shape[1]]


def sample(periodic: Map, rows: NDArray[np.floating], cols: NDArray[np.floating]) -> Map:
    """Linear interpolation of a periodic field at fractional `rows` [h] and `cols` [w] -> [h, w]."""
    return _interpolate(_interpolate(periodic, rows, axis=0), cols, axis=1)


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is not below the number."""
    return 1 << max(number - 1, 1).bit_length()


def _interpolate(values: Map, at: NDArray[np.floating], axis: int) -> Map:
    low = np.floor(at)
    weight = (at - low).astype(np.float32)
    weight = weight[:, None] if axis == 0 else weight[None, :]
    index = low.astype(np.int64)
    first: Map = values.take(index, axis, mode="wrap")
    second: Map = values.take(index + 1, axis, mode="wrap")
    return np.asarray(first + weight * (second - first), np.float32)
