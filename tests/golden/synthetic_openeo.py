"""Made-up openEO results (NetCDF cubes with t, y, x and a crs variable) for one small site.

`build_cubes(folder, seed)` writes <folder>/aoi.json and <folder>/<name>/{sentinel2,landsat,landsat_pan}.nc,
what the download step leaves behind; the extract step turns them into the LS2S2 layout.
Used by the golden `ls2s2_extract.npz`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio.crs
import xarray as xr
from .recipe import array

EPSG = 32631
SIDE = 600.0
S2 = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
LS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B10"]
SITES = {
    1: {"name": "TINY_1", "left": 351360.0, "bottom": 4869450.0},
    2: {"name": "TINY_2", "left": 610410.0, "bottom": 5148960.0},
}
DATES = {
    1: {"s2": ["2022-01-05", "2022-02-06", "2022-03-10"], "ls": ["2022-01-05", "2022-01-21", "2022-03-02"]},
    2: {"s2": ["2022-04-11", "2022-05-01", "2022-07-30"], "ls": ["2022-04-03", "2022-05-21", "2022-07-30"]},
}


def _cube(tag: str, site: dict, dates: list[str], res: float, pad: int, bands: list[str], seed: int,
          low: float, high: float) -> xr.Dataset:
    """Uniform float32 noise, `pad` pixels larger than the site on every side, pixel-centre coordinates."""
    n = int(SIDE / res) + 2 * pad
    x = site["left"] - pad * res + res * (np.arange(n) + 0.5)
    y = site["bottom"] + SIDE + pad * res - res * (np.arange(n) + 0.5)
    variables = {b: (("t", "y", "x"), array(f"nc:{tag}:{b}", (len(dates), n, n), seed, low, high)) for b in bands}
    wkt = rasterio.crs.CRS.from_epsg(EPSG).to_wkt()
    variables["crs"] = ((), np.int32(0), {"crs_wkt": wkt})
    return xr.Dataset(variables, coords={"t": np.array(dates, "datetime64[ns]"), "y": y, "x": x})


def cubes(seed: int) -> dict[str, xr.Dataset]:
    """The three cubes of one site."""
    site, dates = SITES[seed], DATES[seed]
    k = 3 * (seed - 1)  # moves the flagged blocks between seeds

    s2 = _cube("s2", site, dates["s2"], 10.0, 2, S2, seed, 1, 6000)
    for b in S2:
        s2[b] = np.floor(s2[b])
    shape = s2["B02"].shape
    layer = {name: np.full(shape, value, np.float32)
             for name, value in dict(SCL=4, CLM=0, CLP=20, AOT=100, SNW=0, dataMask=1).items()}
    layer["SCL"][0, 5 + k : 25 + k, 10:40] = 9  # a cloud
    layer["SCL"][0, 40, 40] = 8  # a lone pixel, removed by the opening
    layer["SCL"][0, 50:, :8] = 11  # snow: kept clear
    layer["CLP"][0, 5:30, 10:45] = 200
    layer["SCL"][1] = 8  # nothing clear: date dropped
    layer["SCL"][2, 30:45, 30 + k : 45 + k] = 2  # dark
    layer["CLM"][2, 50:, 50:] = 1
    layer["dataMask"][2, :14, 40:] = 0
    for name, value in layer.items():
        s2[name] = (("t", "y", "x"), value)
    blue = s2["B02"].values.copy()
    blue[0, 60, 60] = np.nan  # a hole in one 10 m band
    s2["B02"] = (("t", "y", "x"), blue)

    ls = _cube("ls", site, dates["ls"], 30.0, 1, LS, seed, 0.01, 0.6)
    ls["B10"] = (("t", "y", "x"), array("nc:ls:lst", ls["B10"].shape, seed, 270.0, 320.0))
    shape = ls["B02"].shape
    flag = {name: np.zeros(shape, np.uint16) for name in ("BQA", "QA_RADSAT", "SR_QA_AEROSOL")}
    flag["BQA"][:] = 1 << 6  # the "clear" bit, not looked at
    flag["BQA"][0, 3 + k : 11 + k, 2:9] |= 1 << 3
    flag["BQA"][0, 15, 15] |= 1 << 4  # lone shadow pixel, removed by the opening
    flag["BQA"][0, 18:, 3:6] |= 1 << 5  # snow
    flag["BQA"][1] |= 1  # fill everywhere: date dropped
    flag["SR_QA_AEROSOL"][2, 2:9, 12:19] = (1 << 1) | (1 << 6) | (1 << 7)  # valid and high: masked
    flag["SR_QA_AEROSOL"][2, 12:19, 2:9] = (1 << 6) | (1 << 7)  # high but not valid: kept
    flag["QA_RADSAT"][2, 13:20, 13:20] = 1 << 11
    for name, value in flag.items():
        ls[name] = (("t", "y", "x"), value)
    ls["ST_CDIST"] = (("t", "y", "x"), np.full(shape, 5, np.float32))
    ls["ST_EMIS"] = (("t", "y", "x"), np.full(shape, 0.98, np.float32))
    green = ls["B03"].values.copy()
    green[2, 10, 10] = 0.0  # a zero: masked after a 10 x 10 dilation
    ls["B03"] = (("t", "y", "x"), green)

    pan = _cube("pan", site, dates["ls"], 15.0, 2, ["B08"], seed, 0.01, 0.6)
    grey = pan["B08"].values.copy()
    grey[0, 20:24, 7:12] = 0.0
    grey[1] = 0.0
    pan["B08"] = (("t", "y", "x"), grey)
    return {"sentinel2": s2, "landsat": ls, "landsat_pan": pan}


def build_cubes(folder: str | Path, seed: int) -> Path:
    """Write the site description and the three NetCDF files; return the path of the description."""
    site, folder = SITES[seed], Path(folder)
    (folder / site["name"]).mkdir(parents=True, exist_ok=True)
    for sensor, cube in cubes(seed).items():
        cube.to_netcdf(folder / site["name"] / f"{sensor}.nc")
    box = [site["left"], site["bottom"], site["left"] + SIDE, site["bottom"] + SIDE]
    path = folder / "aoi.json"
    path.write_text(json.dumps({"name": site["name"], "aoi": box, "crs": f"EPSG:{EPSG}",
                                "start_date": "2022-01-01", "end_date": "2023-01-01"}))
    return path
