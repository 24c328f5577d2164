"""Tiny made-up copies of the eight spatiotemporal fusion data sets, for tests and for trying a training."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from sitsfusion.datasets.stf_sets import StfSet, folders

_PATCH = 8


def fabricate(described: StfSet, root: Path, dates: int = 5, size: tuple[int, int] = (40, 48), seed: int = 0) -> Path:
    """Write a valid copy below `root`, in the layout and the numbers of the data set; returns its folder.

    Fields of 8 pixels change linearly in time; coarse images are means of 8 x 8 pixels. The same for the same seed.
    """
    where = folders(described, root)
    rng = np.random.default_rng([seed, sum(described.key.encode())])
    fields = tuple(-(-side // _PATCH) for side in size)
    level = rng.uniform(0.1, 0.4, (len(described.bands), *fields))
    slope = rng.uniform(-0.03, 0.03, level.shape)
    texture = rng.normal(0, 0.01, (len(described.bands), *size))
    for t in range(dates):
        day = date(2019, 1, 17) + timedelta(40 * t)
        coarse = np.kron(level + slope * t, np.ones((_PATCH, _PATCH)))[:, : size[0], : size[1]]
        for sensor, image in (("fine", coarse + texture), ("coarse", coarse)):
            folder = where[sensor]  # type: ignore[index]
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / file_name(described, day, sensor == "fine"), image, described)
    return where["fine"].parent


def file_name(described: StfSet, day: date, fine: bool) -> str:
    """How a file of this date is called."""
    plain, loose = f"{day:%Y%m%d}", f"{day.year}-{day.month}-{day.day}"
    modis = f"MOD09GA_A{day:%Y%j}.sur_refl.tif"
    names = {
        "CIA": (f"L71093084_084{plain}_HRF_modtran_surf_ref_agd66.tif", modis),
        "LGC": (f"{plain}_TM.tif", modis),
        **dict.fromkeys(("AHB", "DX", "TJ"), (f"L_{loose}.tif", f"M_{loose}.tif")),
        "WH": (f"G_{plain}.tif", f"L_{plain}.tif"),
        **dict.fromkeys(("IC", "BC"), (f"S2_{plain}.tif", f"S3_{plain}_real.tif")),
    }
    return names[described.key][0 if fine else 1]


def _write(path: Path, image: NDArray[Any], described: StfSet) -> None:
    kind = {1.0: "float32", 255.0: "uint8"}.get(described.divisor, "int16")
    stored = image * described.divisor
    stored = stored if kind == "float32" else np.round(stored)
    side = described.pixels[0]
    options = {
        "driver": "GTiff",
        "count": len(image),
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": kind,
        "crs": "EPSG:32650",
        "transform": from_origin(500_000, 4_000_000, side, side),
    }
    with rasterio.open(path, "w", **options) as file:
        file.write(np.clip(stored, 0, None).astype(kind))
