"""Spectra of what covers the ground, and how leaves hide the ground.

Values are surface reflectances at nadir, typical of temperate Europe. They follow, in round numbers, what is known
of these materials: soils, straw, roofs and asphalt as in public spectral libraries (USGS splib07, ECOSTRESS),
canopies, forests and water as in clear Sentinel-2 level 2A images of Belgium and northern France.
They are given for the eleven bands of `BANDS`; `sensors` derives other sensors from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.landscape import Cover, by_cover

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")  # of Sentinel-2
MICRONS = np.array([0.443, 0.492, 0.560, 0.665, 0.704, 0.741, 0.783, 0.833, 0.865, 1.614, 2.202])  # their centres

Spectrum = NDArray[np.float32]  # [11]


def _spectrum(*values: float) -> Spectrum:
    return np.array(values, np.float32)


#                      B01    B02    B03    B04    B05    B06    B07    B08    B8A    B11    B12
LOAM = _spectrum(0.075, 0.092, 0.125, 0.165, 0.190, 0.208, 0.222, 0.235, 0.252, 0.335, 0.290)
SAND = _spectrum(0.130, 0.160, 0.220, 0.275, 0.300, 0.315, 0.330, 0.345, 0.360, 0.440, 0.400)
LITTER = _spectrum(0.025, 0.030, 0.045, 0.058, 0.085, 0.110, 0.125, 0.140, 0.155, 0.190, 0.125)
WATER = _spectrum(0.045, 0.042, 0.045, 0.030, 0.026, 0.019, 0.018, 0.016, 0.014, 0.009, 0.006)
ASPHALT = _spectrum(0.080, 0.090, 0.103, 0.114, 0.120, 0.125, 0.130, 0.136, 0.142, 0.165, 0.152)
TILES = _spectrum(0.060, 0.070, 0.100, 0.175, 0.200, 0.215, 0.230, 0.240, 0.250, 0.310, 0.270)
SLATES = _spectrum(0.055, 0.060, 0.068, 0.076, 0.080, 0.085, 0.090, 0.095, 0.100, 0.130, 0.125)
PALE = _spectrum(0.250, 0.290, 0.330, 0.350, 0.360, 0.365, 0.370, 0.375, 0.380, 0.370, 0.320)
STRAW = _spectrum(0.060, 0.080, 0.120, 0.165, 0.200, 0.232, 0.255, 0.275, 0.295, 0.350, 0.240)

CROP_LEAVES = _spectrum(0.016, 0.024, 0.060, 0.027, 0.092, 0.400, 0.530, 0.550, 0.575, 0.215, 0.092)
GRASS_LEAVES = _spectrum(0.018, 0.028, 0.067, 0.037, 0.104, 0.370, 0.475, 0.500, 0.525, 0.235, 0.115)
TREE_LEAVES = _spectrum(0.014, 0.020, 0.045, 0.024, 0.076, 0.285, 0.370, 0.395, 0.415, 0.180, 0.078)
NEEDLES = _spectrum(0.010, 0.013, 0.026, 0.016, 0.044, 0.140, 0.180, 0.200, 0.215, 0.085, 0.035)

SNOW = _spectrum(0.840, 0.850, 0.850, 0.840, 0.830, 0.810, 0.800, 0.780, 0.750, 0.120, 0.090)

# Added to a canopy in full (yellow) flower.
FLOWERS = _spectrum(0.005, 0.005, 0.080, 0.095, 0.075, 0.030, 0.020, 0.020, 0.010, 0.020, 0.015)
# Extinction per unit of leaf area: chlorophyll and water make leaves opaque in the visible and short-wave infrared,
# scattering lets near-infrared light go on through several layers of leaves.
EXTINCTION = _spectrum(0.95, 0.95, 0.85, 0.95, 0.75, 0.45, 0.38, 0.36, 0.36, 0.55, 0.70)
# Share of its brightness that a dry soil loses when wet.
WETTING = _spectrum(0.38, 0.38, 0.39, 0.40, 0.40, 0.40, 0.41, 0.41, 0.42, 0.46, 0.52)

_GROUND = {
    Cover.FIELD: LOAM, Cover.MEADOW: LOAM, Cover.BROADLEAF: LITTER, Cover.CONIFER: LITTER, Cover.GARDEN: LOAM,
    Cover.WATER: WATER, Cover.SAND: SAND, Cover.ROAD: ASPHALT, Cover.TRACK: LOAM, Cover.TILE: TILES,
    Cover.SLATE: SLATES, Cover.PALE_ROOF: PALE,
}  # fmt: skip
_LEAVES = {
    Cover.FIELD: CROP_LEAVES, Cover.BROADLEAF: TREE_LEAVES, Cover.CONIFER: NEEDLES, Cover.GARDEN: TREE_LEAVES,
}  # fmt: skip
_SOILS = (Cover.FIELD, Cover.MEADOW, Cover.GARDEN, Cover.TRACK, Cover.SAND)  # darken when wet
_TEXTURE = {
    Cover.FIELD: 0.020, Cover.MEADOW: 0.030, Cover.BROADLEAF: 0.09, Cover.CONIFER: 0.08, Cover.GARDEN: 0.10,
    Cover.SAND: 0.05, Cover.ROAD: 0.05, Cover.TRACK: 0.06, Cover.TILE: 0.12, Cover.SLATE: 0.12, Cover.PALE_ROOF: 0.2,
}  # fmt: skip
# Share of the light lost in the shadows that trees and houses cast on themselves when the sun is at the horizon.
_SHADE = {
    Cover.FIELD: 0.06, Cover.MEADOW: 0.06, Cover.BROADLEAF: 0.35, Cover.CONIFER: 0.40, Cover.GARDEN: 0.40,
    Cover.ROAD: 0.35, Cover.TRACK: 0.20, Cover.TILE: 0.35, Cover.SLATE: 0.35, Cover.PALE_ROOF: 0.35, Cover.SAND: 0.2,
}  # fmt: skip


GROUND = np.stack([_GROUND[cover] for cover in Cover])  # [covers, 11]
LEAVES = np.stack([_LEAVES.get(cover, GRASS_LEAVES) for cover in Cover])  # [covers, 11]
# Which of the three factors of a parcel's leaves holds for a band: visible, near or short-wave infrared.
LEAF_FACTOR = (0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2)
# Share of the ground, and of the canopy, that can lie under snow.
SNOW_ON_GROUND = by_cover(
    dict.fromkeys(Cover, 1.0) | {Cover.WATER: 0.0, Cover.ROAD: 0.5, Cover.TILE: 0.8, Cover.SLATE: 0.8}
)
SNOW_ON_LEAVES = by_cover({
    Cover.FIELD: 0.95, Cover.MEADOW: 0.95, Cover.TRACK: 0.95, Cover.GARDEN: 0.3, Cover.BROADLEAF: 0.15,
    Cover.CONIFER: 0.10,
})  # fmt: skip
IS_SOIL = by_cover(dict.fromkeys(_SOILS, 1.0))
TEXTURE = by_cover(_TEXTURE)
SHADE = by_cover(_SHADE)


_GROUPS = {
    "soil": _SOILS, "water": (Cover.WATER,), "litter": (Cover.BROADLEAF, Cover.CONIFER),
    "sealed": (Cover.ROAD, Cover.TILE, Cover.SLATE, Cover.PALE_ROOF),
}  # fmt: skip
Factors = tuple[float, ...]  # eleven, one for each of `BANDS`
_AS_THEY_ARE: Factors = (1.0,) * len(BANDS)


@dataclass(frozen=True)
class Colours:
    """Factors of the reflectance of the grounds, the leaves and the straw of one place.

    `bare_woods`: share of the ground of woods that is soil instead of litter. `slopes`: share of the brightness of a
    slope that follows the sun; terrain correction has removed the rest.
    """

    soil: Factors = _AS_THEY_ARE
    water: Factors = _AS_THEY_ARE
    litter: Factors = _AS_THEY_ARE
    sealed: Factors = _AS_THEY_ARE
    leaves: Factors = _AS_THEY_ARE
    straw: Factors = _AS_THEY_ARE
    bare_woods: float = 0.0
    slopes: float = 0.35

    def ground_spectra(self) -> NDArray[np.float32]:
        """Reflectance of the ground under each cover, [covers, 11]."""
        ground = GROUND.copy()
        for name, covers in _GROUPS.items():
            ground[list(covers)] *= np.array(getattr(self, name), np.float32)
        soil, woods = ground[Cover.FIELD], list(_GROUPS["litter"])
        ground[woods] += np.float32(self.bare_woods) * (soil - ground[woods])
        return ground

    def leaf_spectra(self) -> NDArray[np.float32]:
        """Reflectance of infinitely many leaves of each cover, [covers, 11]."""
        return LEAVES * np.array(self.leaves, np.float32)

    def straw_spectrum(self) -> Spectrum:
        """Reflectance of straw and dry leaves, [11]."""
        return STRAW * np.array(self.straw, np.float32)


def canopy_reflectance(
    ground: NDArray[np.float32], leaves: NDArray[np.float32], leaf_area: NDArray[np.float32], extinction: float
) -> NDArray[np.float32]:
    """Reflectance of a canopy over its ground in one band, all shapes alike.

    `leaves + (ground - leaves) exp(-extinction * leaf_area)`: from the ground's reflectance to that of infinitely
    many leaves (Baret and Guyot, 1991, semi-empirical form of Beer's law). `leaf_area` is m2 of leaves per m2.
    """
    return np.asarray(leaves + (ground - leaves) * np.exp(-np.float32(extinction) * leaf_area), np.float32)
