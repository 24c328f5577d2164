"""Tiny openEO cubes as the download of an LS2S2 site leaves them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import rasterio.crs
import xarray as xr

from sitsfusion.datasets.ls2s2_masks import LANDSAT_BANDS, PAN_BANDS, S2_BANDS
from sitsfusion.datasets.ls2s2_splits import Aoi

LEFT, BOTTOM, WIDTH, HEIGHT = 351360.0, 4869450.0, 240.0, 180.0  # not square on purpose
AOI = Aoi(
    name="31TCJ_0",
    aoi=(LEFT, BOTTOM, LEFT + WIDTH, BOTTOM + HEIGHT),
    crs="EPSG:32631",
    start_date=date(2022, 1, 1),
    end_date=date(2023, 1, 1),
)
DAYS = ("2022-01-05", "2022-02-06")
_SENSORS = {
    "sentinel2": (10.0, S2_BANDS, {"SCL": 4, "CLM": 0, "CLP": 20, "dataMask": 1}),
    "landsat": (30.0, LANDSAT_BANDS, {"BQA": 64, "QA_RADSAT": 0, "SR_QA_AEROSOL": 0, "ST_CDIST": 5}),
    "landsat_pan": (15.0, PAN_BANDS, {}),
}


def cube(name: str, pad: int = 1, days: tuple[str, ...] = DAYS) -> xr.Dataset:
    """All clear; every band is a ramp from west to east that differs between dates."""
    step, bands, quality = _SENSORS[name]
    columns, rows = round(WIDTH / step) + 2 * pad, round(HEIGHT / step) + 2 * pad
    x = LEFT - pad * step + step * (np.arange(columns) + 0.5)
    y = BOTTOM + HEIGHT + pad * step - step * (np.arange(rows) + 0.5)
    ramp = (x - LEFT) / WIDTH * 0.2 + 0.2
    images = np.broadcast_to(ramp, (len(days), rows, columns)) + 0.1 * np.arange(len(days))[:, None, None]
    variables = {band: (("t", "y", "x"), values(band, images, name)) for band in bands}
    variables |= {layer: (("t", "y", "x"), np.full(images.shape, v, np.float32)) for layer, v in quality.items()}
    variables["crs"] = ((), np.int32(0), {"crs_wkt": rasterio.crs.CRS.from_epsg(32631).to_wkt()})
    return xr.Dataset(variables, coords={"t": np.array(days, "datetime64[ns]"), "y": y, "x": x})


def values(band: str, images: np.ndarray, name: str) -> np.ndarray:
    if name == "sentinel2":
        return np.floor(images * 10000).astype(np.float32)
    return (images * 100 + 260 if band == "B10" else images).astype(np.float32)


def write_cubes(folder: Path) -> Path:
    """The site's folder with its three cubes."""
    site = folder / AOI.name
    site.mkdir(parents=True)
    for name in _SENSORS:
        cube(name).to_netcdf(site / f"{name}.nc", engine="h5netcdf")
    return site
