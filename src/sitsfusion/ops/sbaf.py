"""Spectral band adjustment: what Sentinel-2A would have measured where Landsat 8 or 9 measured.

Static: out = in / a - b / a with (a, b) per band. Adaptive: out = in (p NDVI + q) where the NDVI is above 0.1, static
elsewhere. Coefficients and rules of the sen2like processor (Saunier et al. 2022). Bands by their common name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from sitsfusion.errors import InputError

# Slope and offset of Landsat as a function of Sentinel-2A.
STATIC: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "coastal": (0.9959, -0.0002),
        "blue": (0.9778, -0.0040),
        "green": (1.0053, -0.0009),
        "red": (0.9765, 0.0009),
        "nir08": (0.9983, -0.0001),
        "swir16": (0.9987, -0.0011),
        "swir22": (1.0030, -0.0012),
    }
)
# Ratio Sentinel-2A / Landsat as a linear function of the NDVI: (slope, offset).
ADAPTIVE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "coastal": (-0.13363398, 0.92552824),
        "blue": (0.1422238, 1.05114394),
        "green": (0.00898318, 0.97937428),
        "red": (-0.09417763, 1.0296573),
        "nir08": (-0.00292645, 0.99517658),
        "swir16": (0.01377031, 0.99593527),
        "swir22": (0.01272434, 0.97395877),
    }
)
# Bands that sen2like adjusts by NDVI unless told otherwise.
ADAPTIVE_BANDS = ("red", "swir16", "swir22")
_LEAST_NDVI = 0.1


def static_adjustment(reflectance: Tensor, band: str) -> Tensor:
    """Landsat reflectance of one band (any shape) as Sentinel-2A would see it. NaN stays NaN.

    Raises:
        InputError: a band without coefficients.
    """
    slope, offset = _of(STATIC, band)
    return reflectance / slope - offset / slope


def adaptive_adjustment(
    reflectance: Tensor, ndvi: Tensor, band: str, bands: tuple[str, ...] = ADAPTIVE_BANDS
) -> Tensor:
    """As `static_adjustment`, but by the NDVI (same shape) where it is above 0.1, for the bands in `bands`.

    Where the NDVI is NaN the static adjustment holds.

    Raises:
        InputError: a band without coefficients.
    """
    static = static_adjustment(reflectance, band)
    if band not in bands:
        return static
    slope, offset = _of(ADAPTIVE, band)
    return torch.where(ndvi > _LEAST_NDVI, reflectance * (slope * ndvi + offset), static)


def _of(table: Mapping[str, tuple[float, float]], band: str) -> tuple[float, float]:
    if band not in table:
        raise InputError(f"no spectral adjustment is known for band {band!r}; known: {', '.join(table)}")
    return table[band]
