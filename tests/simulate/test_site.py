from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sitsfusion.datasets.ls2s2 import SiteParameters, SiteReader
from sitsfusion.errors import InputError
from sitsfusion.io import open_scene
from sitsfusion.io.ls2s2_index import read_index
from sitsfusion.simulate import Simulated, World, simulate_scene, write_ls2s2

JUNE = date(2022, 6, 15)


@pytest.fixture(scope="module")
def made() -> Simulated:
    return simulate_scene(48, seed=2, cloudiness=0.35)


@pytest.fixture(scope="module")
def site(made: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites") / "sim"
    write_ls2s2(made, folder, truth=[JUNE])
    return folder


@pytest.mark.parametrize("role", ["fine", "coarse"])
def test_a_site_opens_as_the_scene_it_was_made_from(made: Simulated, site: Path, role: str) -> None:
    written, opened = made.scene[role], open_scene(site)[role]
    assert (opened.bands, opened.grid, opened.native) == (written.bands, written.grid, written.native)
    clear_enough = [t for t in range(len(written)) if written.frame(t).valid.mean() >= 0.25]
    assert opened.dates == tuple(written.dates[t] for t in clear_enough)
    assert len(opened.dates) < len(written.dates)
    steps = np.array([0.1 if key == "LST" else 1e-4 for key in written.bands])[:, None]
    for found, t in zip(range(len(opened)), clear_enough, strict=True):
        here, there = opened.frame(found), written.frame(t)
        # a pixel that is 0 in a band cannot be told from one that is masked
        dark = (np.abs(there.values[: 7 if role == "coarse" else 10]) < 1e-4).any(0)
        np.testing.assert_array_equal(here.valid[~dark], there.valid[~dark])
        difference = here.values[:, here.valid] - there.values[:, here.valid]
        assert (np.abs(difference) < 1.02 * steps).all()
        assert (difference * np.sign(there.values[:, here.valid]) < 0.02 * steps).all()  # truncated, not rounded


def test_an_index_tells_of_every_date(made: Simulated, site: Path) -> None:
    for role, name in (("fine", "sentinel2"), ("coarse", "landsat")):
        table = read_index(site / name / "index.csv")
        assert tuple(table) == made.scene[role].dates
        for item, line in zip(made.scene[role].items, table.values(), strict=True):
            assert line.clear_share == pytest.approx(item.clear_share)
            assert line.valid == ((item.clear_share or 0) >= 0.25)
            assert line.valid == (line.bands is not None and line.bands.is_file())
    assert (site / "sentinel2" / "index.csv").read_text().startswith("product_id\tproduct_id\tacquisition_date\tclear_")


def test_files_have_the_published_profile(made: Simulated, site: Path) -> None:
    day = next(f for f in sorted((site / "landsat").iterdir()) if f.is_dir()).name
    with rasterio.open(site / "landsat" / day / f"landsat_bands_{day}.tif") as file:
        assert (file.count, file.dtypes[0], file.nodata, file.res) == (8, "int16", -10000, (30, 30))
        assert file.profile["compress"] == "lzw"
        assert 2300 < np.median(file.read(8)) < 3400  # kelvin x 10
    for kind in ("mask", "snow_mask"):
        with rasterio.open(site / "landsat" / day / f"landsat_{kind}_{day}.tif") as file:
            assert (file.count, file.dtypes[0], file.nodata) == (1, "uint8", 0)
            assert set(np.unique(file.read())) <= {0, 1}
    with rasterio.open(site / "truth" / "fine_20220615.tif") as file:
        np.testing.assert_array_equal(file.read(), made.truth("fine", [JUNE])[0])


def test_training_samples_can_be_cut_from_a_site(site: Path) -> None:
    data = SiteReader(site, SiteParameters(patch_size=240))
    assert len(data) == 4
    coarse, fine = data[0]
    assert coarse.values.shape[2:] == (8, 8, 8)
    assert fine.values.shape[2:] == (10, 24, 24)


def test_snow_and_missing_parts_reach_the_files(tmp_path: Path) -> None:
    world = World.temperate()
    cold = simulate_scene(24, seed=4, cloudiness=0.1, world=_snowy_and_torn(world))
    write_ls2s2(cold, tmp_path / "site")
    snowy, missing = 0, 0
    for file in sorted((tmp_path / "site" / "sentinel2").glob("*/sentinel2_snow_mask_*.tif")):
        with rasterio.open(file) as snow, rasterio.open(str(file).replace("snow_mask", "bands")) as bands:
            snowy += int(snow.read().sum())
            values = bands.read()
        missing += int((values == -10000).all(0).sum())
    assert snowy > 0
    assert missing > 0


def test_top_of_atmosphere_is_refused(tmp_path: Path) -> None:
    made = simulate_scene(12, seed=1, world=World(toa=True))
    with pytest.raises(InputError, match="top-of-atmosphere"):
        write_ls2s2(made, tmp_path)


def _snowy_and_torn(world: World) -> World:
    from dataclasses import replace

    climate = replace(world.climate, coldest=-12.0, season=30.0, snowfall=1.0)
    fine = replace(world.fine, orbits=replace(world.fine.orbits, torn=0.5))
    return replace(world, climate=climate, fine=fine)
