"""From cubes to an LS2S2 site: masks bit by bit, values, indices, and that our own reader opens what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from sitsfusion.datasets import ls2s2_masks
from sitsfusion.datasets.ls2s2 import SiteParameters, SiteReader
from sitsfusion.datasets.ls2s2_extract import extract, extract_site, sharpened, shifted, stored
from sitsfusion.datasets.ls2s2_rows import clean
from sitsfusion.errors import DateError, InputError, ReadError
from tests.fake.ls2s2_cubes import AOI, DAYS, HEIGHT, LEFT, WIDTH, cube, write_cubes

TILE = 60


def landsat_layers(**layers: float) -> dict[str, np.ndarray]:
    clear = {"BQA": 64, "QA_RADSAT": 0, "SR_QA_AEROSOL": 0, "ST_CDIST": 5}
    bands = dict.fromkeys(ls2s2_masks.LANDSAT_BANDS, 0.2)
    return {name: np.full((TILE, TILE), value, np.float32) for name, value in {**bands, **clear, **layers}.items()}


def s2_layers(**layers: float) -> dict[str, np.ndarray]:
    clear = {"SCL": 4, "CLM": 0, "CLP": 20, "dataMask": 1}
    bands = dict.fromkeys(ls2s2_masks.S2_BANDS, 2000)
    return {name: np.full((TILE, TILE), value, np.float32) for name, value in {**bands, **clear, **layers}.items()}


@pytest.mark.parametrize("bit", range(16))
def test_landsat_quality_bits(bit: int) -> None:
    found = ls2s2_masks.landsat_masks(landsat_layers(BQA=1 << bit))
    assert found.unusable.all() == (bit <= 4)
    assert found.snow is not None
    assert found.snow.all() == (bit == 5)
    saturated = ls2s2_masks.landsat_masks(landsat_layers(QA_RADSAT=1 << bit))
    assert saturated.unusable.all() == (bit <= 6 or bit == 11)


@pytest.mark.parametrize(("bits", "bad"), [((1, 6, 7), "both"), ((6, 7), "1.0.0"), ((1, 6), "none"), ((1, 7), "none")])
def test_landsat_aerosol(bits: tuple[int, ...], bad: str) -> None:
    layers = landsat_layers(SR_QA_AEROSOL=sum(1 << bit for bit in bits))
    for release in ("1.0.0", "2.0.0"):
        assert ls2s2_masks.landsat_masks(layers, release).unusable.any() == (bad in (release, "both"))  # type: ignore[arg-type]


def test_landsat_releases_differ_in_spots_and_distance() -> None:
    layers = landsat_layers(BQA=64)
    layers["BQA"][20:24, 20:24] = 8
    layers["BQA"][40:45, 40:45] = 8
    assert ls2s2_masks.landsat_masks(layers, "2.0.0").unusable.sum() == 25
    assert ls2s2_masks.landsat_masks(layers, "1.0.0").unusable.sum() == 16 + 25
    assert not ls2s2_masks.landsat_masks(landsat_layers(ST_CDIST=0.5), "2.0.0").unusable.any()
    assert ls2s2_masks.landsat_masks(landsat_layers(ST_CDIST=0.5), "1.0.0").unusable.all()


def test_landsat_zeros_are_grown_and_gaps_are_not() -> None:
    layers = landsat_layers()
    layers["B03"][30, 30] = 0
    assert ls2s2_masks.landsat_masks(layers).unusable.sum() == 100
    layers = landsat_layers()
    layers["B10"][30, 30] = np.nan
    assert ls2s2_masks.landsat_masks(layers).unusable.sum() == 1


@pytest.mark.parametrize("scl", range(12))
def test_sentinel2_classes(scl: int) -> None:
    found = ls2s2_masks.sentinel2_masks(s2_layers(SCL=scl))
    assert found.unusable.any() == (scl in (0, 1, 2, 3, 7, 8, 9, 10))
    assert found.snow is not None
    assert found.dark is not None
    assert (found.snow.all(), found.dark.all()) == (scl == 11, scl == 2)


@pytest.mark.parametrize(
    ("layer", "value", "bad"), [("CLM", 1, True), ("CLP", 151, True), ("CLP", 150, False), ("dataMask", 0, True)]
)
def test_sentinel2_clouds(layer: str, value: float, bad: bool) -> None:
    assert ls2s2_masks.sentinel2_masks(s2_layers(**{layer: value})).unusable.any() == bad


def test_sentinel2_clouds_grow_and_spots_vanish() -> None:
    layers = s2_layers()
    layers["SCL"][30:39, 30:39] = 9
    assert not ls2s2_masks.sentinel2_masks(layers).unusable.any()
    layers["SCL"][25:36, 25:36] = 9
    found = ls2s2_masks.sentinel2_masks(layers).unusable
    assert found.sum() == (11 + 24) ** 2
    layers["SCL"][:] = 4
    layers["B12"][1, 1] = np.nan
    assert ls2s2_masks.sentinel2_masks(layers).unusable.sum() == 1


def test_a_missing_pixel_stays_alone() -> None:
    """In the reference it makes the band missing in the whole series."""
    image = np.add.outer(np.arange(12.0), np.arange(10.0))
    image[4, 5] = np.nan
    moved = shifted(image)
    np.testing.assert_array_equal(np.isnan(moved), np.isnan(image))
    inner = moved[7:-2, 2:-2]
    np.testing.assert_allclose(inner, np.add.outer(np.arange(7, 10) - 0.5, np.arange(2, 8) - 0.5), atol=0.05)
    assert np.isnan(shifted(np.full((4, 4), np.nan))).all()


@pytest.mark.parametrize(("offset", "first"), [(-0.25, 9.75), (0.25, 10.25)])
def test_20m_bands_follow_a_ramp(offset: float, first: float) -> None:
    ramp = np.arange(40.0).repeat(2)[None].repeat(80, 0)
    found = sharpened(ramp, (offset, offset))
    np.testing.assert_allclose(found[20, 20:60], first + 0.5 * np.arange(40), atol=1e-3)


def test_stored_numbers_are_truncated() -> None:
    values = np.array([1.9, -1.9, np.nan, 1e9, -1e9])
    assert stored(values).tolist() == [1, -1, -10000, 32767, -32768]


def test_extracted_site_opens(tmp_path: Path) -> None:
    site = write_cubes(tmp_path)
    done = extract_site(AOI, site)
    assert {name: (found.dates, found.written) for name, found in done.items()} == {
        "sentinel2": (2, 2),
        "landsat": (2, 2),
        "landsat_pan": (2, 2),
    }
    parameters = SiteParameters(
        patch_size=180, lr_index_files=("index.csv", "index_pan.csv"), lr_bands=((7,), None), lr_resolution=15,
        dt_orig=DAYS[0], exclude_last_date=False,
    )  # fmt: skip
    lr, hr = SiteReader(site, parameters)[0]
    assert lr.days.tolist() == hr.days.tolist() == [[0, 32]]
    expected = np.floor((np.arange(18) + 0.5) * 10 / WIDTH * 2000 + 2000)
    np.testing.assert_allclose(hr.values[0, 0, 0], np.broadcast_to(expected, (18, 18)), atol=1)
    assert hr.usable().all()
    with rasterio.open(site / "landsat" / "20220105" / "landsat_bands_20220105.tif") as file:
        assert file.bounds == (LEFT, AOI.aoi[1], LEFT + WIDTH, AOI.aoi[1] + HEIGHT)
        assert file.shape == (6, 8)
        ramp = ((np.arange(8)) * 30 / WIDTH * 0.2 + 0.2) * 100 + 260  # half a pixel, 15 m, further west
        np.testing.assert_allclose(file.read(8)[3, 2:-2], ramp[2:-2] * 10, atol=1.1)
    assert extract_site(AOI, site) == {}
    assert list(extract_site(AOI, site, ["landsat"], override=True)) == ["landsat"]


def test_cloudy_dates_have_a_line_but_no_file(tmp_path: Path) -> None:
    site = write_cubes(tmp_path)
    cloudy = cube("landsat")
    cloudy["BQA"][1] = 8
    cloudy.to_netcdf(site / "landsat.nc", engine="h5netcdf")
    extract_site(AOI, site)
    lines = (site / "landsat" / "index.csv").read_text().splitlines()
    assert lines[2] == "landsat_20220206\tlandsat_20220206\t2022-02-06\t0.0\t0.0\tFalse\t\t\t"
    # the panchromatic image knows nothing of the cloud until the indices are made to agree
    pan = (site / "landsat" / "index_pan.csv").read_text().splitlines()
    assert pan[2] == "landsat_20220206\t2022-02-06\t0.0\tFalse\t\t"
    assert not (site / "landsat" / "20220206").exists()
    before = (site / "landsat" / "index.csv").read_text()
    clean(site)
    assert (site / "landsat" / "index.csv").read_text() == before


def test_cube_of_another_zone(tmp_path: Path) -> None:
    other = AOI.model_copy(update={"crs": "EPSG:32632"})
    file = tmp_path / "landsat.nc"
    cube("landsat", pad=2).to_netcdf(file, engine="h5netcdf")
    extract(other, file, tmp_path, "landsat")
    with rasterio.open(tmp_path / "landsat" / "20220105" / "landsat_bands_20220105.tif") as image:
        assert image.crs.to_epsg() == 32631
        assert image.shape == (6, 8)
        assert image.bounds.left == LEFT - 60


def test_what_is_refused(tmp_path: Path) -> None:
    def refuse(changed: xr.Dataset, match: str) -> None:
        file = tmp_path / "pan.nc"
        changed.to_netcdf(file, engine="h5netcdf")
        with pytest.raises(InputError, match=match):
            extract(AOI, file, tmp_path, "landsat_pan")
        file.unlink()

    whole = cube("landsat_pan")
    refuse(whole.drop_vars("B08"), "lacks B08")
    refuse(whole.isel(y=slice(None, None, -1)), "y increasing")
    refuse(cube("landsat_pan", days=("2022-01-05", "2022-01-05")), "date twice")
    refuse(whole.isel(x=slice(4, None)), "12 x 13 pixels inside 31TCJ_0; expected 12 x 16")
    with pytest.raises(ReadError, match=r"none\.nc cannot be read"):
        extract(AOI, tmp_path / "none.nc", tmp_path, "landsat")


def test_index_without_dates_removes_nothing(tmp_path: Path) -> None:
    site = write_cubes(tmp_path)
    extract_site(AOI, site)
    index = site / "landsat" / "index.csv"
    index.write_text(index.read_text().replace("2022-02-06\t", "\t").replace("True", "False"))
    with pytest.raises(DateError):
        clean(site)
    assert all((site / "landsat" / day.replace("-", "")).is_dir() for day in DAYS)
    index.write_text("bands\tmask\n")
    with pytest.raises(InputError, match="has no column acquisition_date"):
        clean(site)


def test_quality_layers_keep_their_bits(tmp_path: Path) -> None:
    site = write_cubes(tmp_path)
    flagged = cube("landsat")
    flagged["BQA"][0] = (1 << 15) | (1 << 6)
    flagged["BQA"][0, 2, 3] = np.nan
    flagged["ST_CDIST"][0] = 0.75
    flagged.to_netcdf(site / "landsat.nc", engine="h5netcdf")
    seen = cube("sentinel2")
    for layer in ("AOT", "SNW"):
        seen[layer] = seen["CLP"] + 100
    seen.to_netcdf(site / "sentinel2.nc", engine="h5netcdf")
    extract_site(AOI, site, quality=True)
    day = site / "landsat" / "20220105"
    assert sorted(f.name.removesuffix("_20220105.tif") for f in day.iterdir()) == [
        "landsat_bands", "landsat_mask", "landsat_pan", "landsat_pan_mask", "landsat_qa", "landsat_qa_radsat",
        "landsat_snow_mask", "landsat_sr_qa_aerosol", "landsat_st_cdist",
    ]  # fmt: skip
    with rasterio.open(day / "landsat_qa_20220105.tif") as file:
        bits = file.read(1)
        assert (file.dtypes, file.shape, file.descriptions) == (("uint16",), (6, 8), ("BQA",))
        assert bits[1, 2] == 1  # the cube has one pixel more on each side; missing is fill
        assert (np.delete(bits.ravel(), 10) == (1 << 15) | (1 << 6)).all()
    with rasterio.open(day / "landsat_st_cdist_20220105.tif") as file:
        assert (file.dtypes, file.read(1).min()) == (("float32",), 0.75)
    with rasterio.open(site / "sentinel2" / "20220105" / "sentinel2_qa_20220105.tif") as file:
        assert file.descriptions == ("SCL", "CLM", "CLP", "AOT", "SNW", "dataMask")
        assert file.read()[:, 0, 0].tolist() == [4, 0, 20, 120, 120, 1]
    assert not list((site / "landsat" / "20220105").glob("*emis*"))
    without = cube("landsat").drop_vars("ST_CDIST")
    without.to_netcdf(site / "landsat.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="lacks ST_CDIST"):
        extract_site(AOI, site, ["landsat"], quality=True, override=True)


def test_snow_counts_only_on_request(tmp_path: Path) -> None:
    site = write_cubes(tmp_path)
    snowy = cube("landsat")
    snowy["BQA"][0, 1:4] = (1 << 6) | (1 << 5)
    snowy.to_netcdf(site / "landsat.nc", engine="h5netcdf")
    extract_site(AOI, site)
    settings = {"patch_size": 180, "dt_orig": DAYS[0], "exclude_last_date": False}
    assert SiteReader(site, SiteParameters(**settings))[0].lr.usable().all()
    lr, hr = SiteReader(site, SiteParameters(**settings, mask_snow=True))[0]
    clear = lr.usable()[0]
    assert not clear[0, :3].any()
    assert clear[0, 3:].all()
    assert clear[1].all()
    assert hr.usable().all()
    both = SiteParameters(
        **settings,
        lr_index_files=("index.csv", "index_pan.csv"),
        lr_bands=(None, None),
        lr_resolution=15,
        mask_snow=True,
    )
    assert not SiteReader(site, both)[0].lr.usable()[0, 0, :6].any()


def test_sites_of_the_first_release_have_no_snow(tmp_path: Path) -> None:
    site = write_cubes(tmp_path)
    extract_site(AOI, site)
    for folder in ("sentinel2", "landsat"):
        index = site / folder / "index.csv"
        lines = [line.split("\t")[:-1] for line in index.read_text().splitlines()]
        index.write_text("".join("\t".join(line) + "\n" for line in lines))
    settings = {"patch_size": 180, "dt_orig": DAYS[0]}
    assert len(SiteReader(site, SiteParameters(**settings))[0].hr.days[0]) == 1
    with pytest.raises(InputError, match=r"landsat_mask_20220105.tif has no snow mask .* mask_snow=False"):
        SiteReader(site, SiteParameters(**settings, mask_snow=True))[0]
