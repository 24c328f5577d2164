"""Reflectance as if seen from the nadir: the c-factor of kernel models of the surface's directional reflectance.

The reflectance of a surface seen from (sun zenith s, view zenith v, relative azimuth phi) is modelled as
f_iso + f_geo Kg(s, v, phi) + f_vol Kv(s, v, phi); the c-factor is the model's value at the nadir, under the mean sun
of the latitude, over its value as observed. Angles are degrees everywhere in this module.

Sources: Kg Li-Sparse-Reciprocal and Kv Ross-Thick (Lucht, Schaaf, Strahler, IEEE TGRS 38, 2000) with the scaling of
the MODIS theoretical basis document; hot spot by Maignan, Breon, Lacaze (RSE 90, 2004); c-factor and coefficients by
Roy et al. (RSE 176, 2016); limits of 20 % as in the sen2like processor (Saunier et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

# Angle of the hot spot (Maignan et al.), degrees.
_HOT_SPOT = 1.5
# The correction may change a reflectance by no more than this share.
_LIMIT = 0.2


class Kernels(NamedTuple):
    """Weights of the three kernels of one band: isotropic, geometric (Li-Sparse-Reciprocal), volume (Ross-Thick)."""

    iso: float
    geo: float
    vol: float


# By common band name (Roy et al. 2016, table 5). Bands that are not here (coastal, red edge) are left as they are.
ROY: Mapping[str, Kernels] = MappingProxyType(
    {
        "blue": Kernels(0.0774, 0.0079, 0.0372),
        "green": Kernels(0.1306, 0.0178, 0.0580),
        "red": Kernels(0.1690, 0.0227, 0.0574),
        "nir": Kernels(0.3093, 0.0330, 0.1535),
        "nir08": Kernels(0.3093, 0.0330, 0.1535),
        "swir16": Kernels(0.3430, 0.0453, 0.1154),
        "swir22": Kernels(0.2658, 0.0387, 0.0639),
    }
)


@dataclass(frozen=True, eq=False)
class Angles:
    """Sun and view of an image, degrees: tensors of one shape (any, also no dimension).

    `relative_azimuth` is sun azimuth minus view azimuth.
    """

    sun_zenith: Tensor
    view_zenith: Tensor
    relative_azimuth: Tensor

    def radians(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three angles in radians, float64."""
        s, v, a = (
            torch.deg2rad(torch.as_tensor(x, dtype=torch.float64))
            for x in (self.sun_zenith, self.view_zenith, self.relative_azimuth)
        )
        return s, v, a


def mean_sun_zenith(latitude: Tensor | float) -> Tensor:
    """Mean sun zenith at the overpass for a latitude, both in degrees: a polynomial of degree 6 (sen2like)."""
    x = torch.as_tensor(latitude, dtype=torch.float64)
    factors = (31.0076, -0.1272, 0.01187, 2.40e-5, -9.48e-7, -1.95e-9, 6.15e-11)
    total = torch.zeros_like(x)
    for factor in reversed(factors):
        total = total * x + factor
    return total


def li_sparse_reciprocal(angles: Angles) -> Tensor:
    """Kg with h/b = 2 and b/r = 1, shaped as the angles, float64."""
    s, v, azimuth = angles.radians()
    sec = 1 / s.cos() + 1 / v.cos()
    phase = s.cos() * v.cos() + s.sin() * v.sin() * azimuth.cos()
    across = s.tan() * v.tan()
    distance = s.tan() ** 2 + v.tan() ** 2 - 2 * across * azimuth.cos()
    cos_t = (2 * torch.sqrt(distance.clamp(min=0) + (across * azimuth.sin()) ** 2) / sec).clamp(-1, 1)
    t = torch.arccos(cos_t)
    overlap = (t - t.sin() * cos_t) * sec / math.pi
    return overlap - sec + (1 + phase) / (s.cos() * v.cos()) / 2


def ross_thick(angles: Angles, hot_spot: bool = False) -> Tensor:
    """Kv, scaled by 4 / (3 pi) and less 1/3, shaped as the angles, float64; `hot_spot` adds the peak of Maignan."""
    s, v, azimuth = angles.radians()
    cos_phase = (s.cos() * v.cos() + s.sin() * v.sin() * azimuth.cos()).clamp(-1, 1)
    phase = torch.arccos(cos_phase)
    fraction = 4 / (3 * math.pi) * ((math.pi / 2 - phase) * cos_phase + phase.sin()) / (s.cos() + v.cos())
    if hot_spot:
        fraction = fraction * (1 + 1 / (1 + phase / math.radians(_HOT_SPOT)))
    return fraction - 1 / 3


def c_factor(angles: Angles, latitude: float, kernels: Kernels, hot_spot: bool = False) -> Tensor:
    """Model at the nadir under the mean sun of the latitude, over the model as observed: shaped as the angles."""
    zero = torch.zeros((), dtype=torch.float64)
    nadir = Angles(mean_sun_zenith(latitude), zero, zero)
    normal, seen = (
        kernels.iso + kernels.geo * li_sparse_reciprocal(a) + kernels.vol * ross_thick(a, hot_spot)
        for a in (nadir, angles)
    )
    return normal / seen


def nbar(reflectance: Tensor, factor: Tensor, fill: float = 0.0) -> Tensor:
    """Reflectance times its c-factor, changed by at most 20 %; `fill` where it is 0 or less. NaN stays NaN.

    The published chain writes 0 where reflectance is not positive, because 0 is its no-data number.
    """
    corrected = (reflectance * factor).clamp(min=(1 - _LIMIT) * reflectance, max=(1 + _LIMIT) * reflectance)
    return torch.where(reflectance <= 0, fill, corrected)
