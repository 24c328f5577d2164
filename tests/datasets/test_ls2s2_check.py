"""Sites that are whole, and sites that are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sitsfusion.datasets.ls2s2_check import check
from sitsfusion.datasets.ls2s2_extract import extract_site
from tests.fake.ls2s2_cubes import AOI, write_cubes

DAY = "20220105"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = write_cubes(tmp_path_factory.mktemp("made"))
    extract_site(AOI, site)
    return site


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / AOI.name))


def errors(site: Path) -> list[str]:
    return [finding.message for finding in check(AOI, site) if finding.level == "error"]


def rewrite(file: Path, **changes: object) -> None:
    """The same pixels with another profile; a smaller height or width cuts."""
    with rasterio.open(file) as opened:
        profile, values = {**opened.profile, **changes}, opened.read()
    count, height, width = (int(profile[name]) for name in ("count", "height", "width"))
    with rasterio.open(file, "w", **profile) as opened:
        opened.write(np.resize(values[:, :height, :width], (count, height, width)))


def test_a_whole_site(site: Path) -> None:
    assert check(AOI, site) == []


@pytest.mark.parametrize(
    "file", [f"sentinel2/{DAY}/sentinel2_bands_{DAY}.tif", f"landsat/{DAY}/landsat_pan_mask_{DAY}.tif",
             f"landsat/{DAY}/landsat_snow_mask_{DAY}.tif"],
)  # fmt: skip
def test_missing_and_damaged_files(site: Path, file: str) -> None:
    (site / file).write_bytes(b"II*\x00")
    assert any(Path(file).name in message for message in errors(site))
    (site / file).unlink()
    assert any(Path(file).name in message and "download or unpack it again" in message for message in errors(site))


def test_other_sizes(site: Path) -> None:
    for kind in ("bands", "mask", "snow_mask"):
        for day in (DAY, "20220206"):
            rewrite(site / "sentinel2" / day / f"sentinel2_{kind}_{day}.tif", width=23)
    assert errors(site) == ["sentinel2/index.csv: images have 18 x 23 pixels; expected 18 x 24"]


def test_one_other_grid(site: Path) -> None:
    rewrite(site / "landsat" / DAY / f"landsat_mask_{DAY}.tif", height=5)
    assert errors(site) == ["landsat/index.csv: images have 2 different grids, first on 2022-01-05, 2022-01-05"]


def test_other_bands(site: Path) -> None:
    rewrite(site / "landsat" / DAY / f"landsat_bands_{DAY}.tif", count=7)
    (message,) = errors(site)
    assert "has 7 bands; expected 8" in message


def test_indices(site: Path) -> None:
    index = site / "landsat" / "index_pan.csv"
    text = index.read_text()
    index.write_text(text.replace("True", "False"))
    assert errors(site) == ["landsat/index_pan.csv: no date is valid"]
    index.write_text(text.replace(f"{DAY}/landsat_pan_mask_{DAY}.tif", ""))
    assert errors(site) == ["landsat/index_pan.csv: 2022-01-05 is valid, but has no mask"]
    index.unlink()
    (message,) = errors(site)
    assert "index_pan.csv cannot be read" in message
    assert check(AOI, site, ("sentinel2", "landsat")) == []
    assert check(AOI, site, ("landsat",)) == []


def test_other_places_are_warnings(site: Path) -> None:
    left, bottom, right, top = AOI.aoi
    moved = AOI.model_copy(update={"aoi": (left + 30, bottom, right + 30, top)})
    found = check(moved, site)
    assert {finding.level for finding in found} == {"warning"}
    assert len(found) == 3
    assert "was asked for" in found[0].message
    other = AOI.model_copy(update={"crs": "EPSG:32632"})
    assert next(f.message for f in check(other, site)) == (
        "sentinel2/index.csv: images are in EPSG:32631; EPSG:32632 was asked for"
    )


def test_what_only_reading_finds(site: Path) -> None:
    for day in (DAY, "20220206"):
        rewrite(site / "sentinel2" / day / f"sentinel2_bands_{day}.tif", dtype="float32")
    (message,) = errors(site)
    assert message.startswith("a patch cannot be read: ")
