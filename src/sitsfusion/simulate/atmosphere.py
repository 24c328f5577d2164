"""From surface to top-of-atmosphere reflectance, for images that nobody has corrected (Sentinel-2 level 1C).

Single scattering by molecules and aerosols for a sensor overhead, and the transmission of gases: enough to make the
blue bright, to wash contrasts out, and to make both follow the sun and the haze of the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.noise import Map
from sitsfusion.simulate.spectra import BANDS, MICRONS
from sitsfusion.simulate.sun import Sun

#                       B01   B02   B03   B04   B05   B06   B07   B08   B8A   B11   B12
# Transmission of the gases (ozone, water vapour, oxygen) down and up, the sun 60 degrees from the zenith.
_GASES = np.array([0.990, 0.975, 0.930, 0.950, 0.940, 0.955, 0.980, 0.940, 0.985, 0.965, 0.940])
_RAYLEIGH = 0.008569 * MICRONS**-4 * (1 + 0.0113 * MICRONS**-2)  # optical depth of the molecules at sea level
_BACKSCATTER = 0.22  # phase function of aerosols towards the sun's side, times their single scattering albedo
_AGAIN = 1.15  # light that is scattered more than once
_LOWEST_SUN = 0.1  # cosine of the zenith angle


@dataclass(frozen=True)
class Atmosphere:
    """The mean atmosphere over a place.

    `aerosol`: optical depth at 550 nm; `angstrom`: its power of the wavelength; `gases`: absorption relative to the
    default; `unrest`: standard deviation of the logarithm of the aerosol between images.
    """

    aerosol: float = 0.12
    angstrom: float = 1.2
    gases: float = 1.0
    unrest: float = 0.0

    def over(self, surface: Mapping[str, Map], sun: Sun, haze: float = 1.0) -> dict[str, Map]:
        """Top-of-atmosphere reflectance [h, w] by band of `spectra.BANDS`; `haze`: aerosol of the day over the mean."""
        path, transmission = self.terms(sun, haze)
        found = {band: (values, BANDS.index(band)) for band, values in surface.items()}
        return {band: path[b] + transmission[b] * values for band, (values, b) in found.items()}

    def terms(self, sun: Sun, haze: float = 1.0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Reflectance of the path and transmission down and up, each [11]."""
        height = max(sun.height, _LOWEST_SUN)
        airmass = 1 / height + 1
        aerosol = self.aerosol * haze * (MICRONS / 0.55) ** -self.angstrom
        gases = _GASES ** (self.gases * airmass / 3)
        scattered = 0.75 * (1 + height**2) * _RAYLEIGH + _BACKSCATTER * aerosol
        path = gases * _AGAIN * scattered / (4 * height)
        transmission = gases * np.exp(-(0.5 * _RAYLEIGH + 0.15 * aerosol) * airmass)
        return path.astype(np.float32), transmission.astype(np.float32)
