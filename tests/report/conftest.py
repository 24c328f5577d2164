"""Two sensors on two grids, a prediction and a truth: small, seeded, with clouds and a strip never observed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfusion import sensors
from sitsfusion.cube import Cube
from sitsfusion.report import Layer, write_page

START = date(2022, 3, 1)
FINE_BANDS = ["blue", "green", "red", "nir", "swir16", "swir22"]
COARSE_BANDS = ["blue", "green", "red", "nir08", "swir16", "swir22", "lwir11"]
REFUSED = {date(2021, 12, 1): "90 days before the first clear observation"}


def make_cube(
    sensor: str, bands: Sequence[str], days: Sequence[int], shape: tuple[int, int], *, seed: int, cloudy: bool = False
) -> Cube:
    """Random reflectances (kelvin for lwir11) on a grid over 360 m x 240 m (of any pixel size) in EPSG:32631."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.02, 0.4, (len(days), len(bands), *shape)).astype(np.float32)
    if "lwir11" in bands:
        values[:, bands.index("lwir11")] = rng.uniform(280, 310, (len(days), *shape))
    valid = np.ones((len(days), *shape), bool)
    if cloudy:
        values[1:, :, :, 0] = np.nan
        valid[::2, :, shape[1] // 2 :] = False
    pixel = 360 / shape[1]
    grid = GeoBox(shape, Affine(pixel, 0, 600_000, 0, -pixel, 4_900_000), "EPSG:32631")
    dates = [START + timedelta(day) for day in days]
    return Cube.from_array(values, sensor=sensors.get(sensor), bands=bands, grid=grid, dates=dates, valid=valid)


@pytest.fixture(scope="session")
def layers() -> list[Layer]:
    fine, coarse = "sentinel-2-l2a", "landsat-8-9-c2-l2"
    return [
        Layer("Sentinel-2 input", "input", make_cube(fine, FINE_BANDS, (0, 10, 20), (24, 36), seed=1, cloudy=True)),
        Layer("Landsat input", "input", make_cube(coarse, COARSE_BANDS, (4, 20, 33), (8, 12), seed=2, cloudy=True)),
        Layer("prediction", "prediction", make_cube(fine, FINE_BANDS, (0, 5, 10, 20), (24, 36), seed=3)),
        Layer("truth", "truth", make_cube(fine, FINE_BANDS, (0, 10, 20), (24, 36), seed=4)),
    ]


@pytest.fixture(scope="session")
def page(layers: list[Layer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(
        tmp_path_factory.mktemp("report") / "page.html",
        layers,
        title="Two sensors",
        provenance={"method": "linear", "weights": "none", "version": "0.1.0"},
        refused=REFUSED,
    )
