"""The steps of the sen2like chain before fusion: inter-calibration, NBAR and spectral adjustment of one image.

The geometry check is in `geometry`. Out of scope: atmospheric correction (SMAC), top-of-atmosphere conversion,
co-registration and topographic correction; the inputs are surface reflectances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from odc.geo.geobox import GeoBox
from torch import Tensor

from sitsfusion.cube import Cube, Item
from sitsfusion.errors import InputError
from sitsfusion.ops import nbar, sbaf

# Sentinel-2B before processing baseline 04.00 is this much darker (sen2like), in the bands named.
_S2B_GAIN = 1.011
_S2B_BANDS = frozenset({"B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A"})
_SBAF_SENSORS = "landsat-8-9"


@dataclass(frozen=True)
class Chain:
    """Which steps are on, and the latitude (degrees) that NBAR takes the normal sun of."""

    intercalibration: bool
    nbar: bool
    sbaf: Literal["off", "static", "adaptive"]
    latitude: float = 0.0


def harmonised(values: Tensor, cube: Cube, t: int, chain: Chain) -> Tensor:
    """Image number t of a cube, values [c h w] in the cube's bands, through the steps of the chain that concern it."""
    item = cube.items[t]
    if chain.intercalibration:
        values = _intercalibrated(values, cube.bands, item)
    if chain.nbar:
        values = _nbar(values, cube, item, chain.latitude)
    if chain.sbaf != "off" and cube.sensor.name.startswith(_SBAF_SENSORS):
        values = _adjusted(values, [band.common_name for band in cube.band_info()], chain.sbaf == "adaptive")
    return values


def check_chain(cube: Cube, role: str, chain: Chain) -> None:
    """Refuse before any pixel is read what a step of the chain cannot do.

    Raises:
        InputError: NBAR without angles; spectral adjustment of a sensor without coefficients.
    """
    for day, item in zip(cube.dates, cube.items, strict=True):
        if chain.nbar and _angles(item) is None:
            raise InputError(
                f"sen2like: the {role} image of {day} has no sun and view angles, which NBAR needs; "
                "give them (Item.sun_zenith, ...) or switch the step off (--set nbar=false)"
            )
    if role == "coarse" and chain.sbaf != "off" and not cube.sensor.name.startswith(_SBAF_SENSORS):
        raise InputError(
            f"sen2like: spectral adjustment is known for Landsat 8 and 9, the coarse images are {cube.sensor.name}; "
            "switch the step off (--set sbaf=off)"
        )


def latitude_of(grid: GeoBox) -> float:
    """Latitude of the centre of a grid, degrees.

    Raises:
        InputError: a grid without coordinate system.
    """
    if grid.crs is None:
        raise InputError("sen2like: NBAR needs the latitude, the grid has no coordinate system (--set nbar=false)")
    x, y = grid.affine @ (grid.shape.x / 2, grid.shape.y / 2)
    _, latitude = grid.crs.transformer_to_crs("EPSG:4326")(x, y)
    return float(latitude)


def _intercalibrated(values: Tensor, bands: Sequence[str], item: Item) -> Tensor:
    old = item.baseline is not None and item.baseline < "04.00"
    if not (item.platform == "Sentinel-2B" and old):
        return values
    gain = torch.tensor([_S2B_GAIN if band in _S2B_BANDS else 1.0 for band in bands])
    return values * gain[:, None, None].to(values)


def _nbar(values: Tensor, cube: Cube, item: Item, latitude: float) -> Tensor:
    angles = _angles(item)
    if angles is None:
        raise InputError(f"{item.id} has no angles for NBAR")
    out = values.clone()
    for c, band in enumerate(cube.band_info()):
        if band.common_name in nbar.ROY:
            factor = nbar.c_factor(angles, latitude, nbar.ROY[band.common_name]).to(values)
            out[c] = nbar.nbar(values[c], factor)
    return out


def _angles(item: Item) -> nbar.Angles | None:
    known = (item.sun_zenith, item.sun_azimuth, item.view_zenith)
    # Seen from the nadir, the azimuth of the view has no meaning and may be unknown.
    azimuth = 0.0 if item.view_azimuth is None and item.view_zenith == 0 else item.view_azimuth
    if azimuth is None or any(angle is None for angle in known):
        return None
    sun, sun_azimuth, view = (torch.tensor(float(angle or 0), dtype=torch.float64) for angle in known)
    return nbar.Angles(sun, view, sun_azimuth - azimuth)


def _adjusted(values: Tensor, names: Sequence[str], adaptive: bool) -> Tensor:
    out = values.clone()
    ndvi = _ndvi(values, names) if adaptive else None
    for c, name in enumerate(names):
        if name in sbaf.STATIC:
            plain = values[c]
            out[c] = (
                sbaf.static_adjustment(plain, name) if ndvi is None else sbaf.adaptive_adjustment(plain, ndvi, name)
            )
    return out


def _ndvi(values: Tensor, names: Sequence[str]) -> Tensor:
    """NDVI [h w]; a missing band makes the adaptive adjustment impossible."""
    if not {"red", "nir08"} <= set(names):
        raise InputError("sen2like: sbaf=adaptive needs the red and near infrared coarse bands; use sbaf=static")
    red, nir = values[names.index("red")], values[names.index("nir08")]
    return (nir - red) / (nir + red)
