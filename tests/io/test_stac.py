"""STAC: search, pairing, loading on native pixels, and the harmonisation of what is loaded."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sitsfusion import fuse
from sitsfusion.errors import GridError, InputError, ReadError
from sitsfusion.io.stac import StacOptions, area_of, find_items, pair_levels, pan_rescaling, readable
from sitsfusion.io.stac_scene import open_stac, write_files
from tests.fake import stac
from tests.methods.single_date import places

# odc-geo calls a function that shapely 2.2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:The .shapely.ops.transform:DeprecationWarning")
DATES = (date(2023, 2, 1), date(2023, 4, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stac")
    stac.catalogue(place)
    stac.add_sentinel2(place)
    return place


def options(folder: Path, **values: object) -> StacOptions:
    return StacOptions(landsat=str(folder / "stac"), requester_pays=False, **values)


def test_levels_pair_and_both_grids_are_kept(folder: Path) -> None:
    loaded = open_stac(stac.box(), DATES, options(folder))
    coarse, pan = loaded.scene["coarse"], loaded.scene["pan"]
    assert coarse.dates == pan.dates == (date(2023, 3, 1), date(2023, 3, 17))
    assert loaded.scene.per_cell("coarse") == 1
    assert loaded.scene.per_cell("pan") == 2
    # the panchromatic pixels are those of the place they lie at, not stretched onto the multispectral grid
    np.testing.assert_allclose(pan.frame(0).values[0], stac.surface(pan.grid), atol=2e-5)
    np.testing.assert_allclose(coarse.frame(0).values[0], stac.surface(coarse.grid), atol=3e-5)
    assert not coarse.frame(0).valid.all()
    assert coarse.frame(0).valid.mean() > 0.9
    assert loaded.products["pan"][0].startswith("LC08_L1TP_198030_20230301")


def test_the_whole_product_is_cropped_to_common_cells(folder: Path) -> None:
    scene = open_stac(stac.box(-2), DATES, options(folder)).scene
    assert scene["pan"].grid.affine.c == scene["coarse"].grid.affine.c
    assert scene.size[0] < stac.CELLS[0]


def test_harmonised_scene_has_the_landsat_days(folder: Path, tmp_path: Path) -> None:
    scene = open_stac(stac.box(), DATES, options(folder)).scene
    found = fuse(scene, ["2023-03-01", "2023-03-05"], method="deepharmo-unet", out=tmp_path / "out",
                 weights=places.deepharmo_weights())  # fmt: skip
    assert found["fine"].dates == (date(2023, 3, 1),)
    assert found["fine"].bands == places.SIX_FINE
    assert abs(found["fine"].grid.affine.a) == 10


def test_sentinel2_joins_on_its_own_grid(folder: Path, tmp_path: Path) -> None:
    loaded = open_stac(stac.box(), DATES, options(folder, sentinel2=str(folder / "stac-s2")))
    fine = loaded.scene["fine"]
    assert fine.native == (1, 1, 1, 2, 2, 2)
    np.testing.assert_allclose(fine.frame(0).values[0], stac.surface(fine.grid), atol=1e-4)
    files = write_files(loaded, tmp_path)
    with (tmp_path / "image_mapping.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert [row["dates"] for row in rows] == ["2023-03-01", "2023-03-17"]
    assert rows[0]["S2"].startswith("S2A")
    assert float(rows[0]["L8_invalid"]) > 0
    assert len(files) == 2 + 2 + 1 + 1
    with rasterio.open(tmp_path / "DN" / "L8" / f"{rows[0]['L8MS']}.tif") as written:
        dn = written.read()
    expected = (loaded.scene["coarse"].frame(0).values + 0.2) / 2.75e-5
    np.testing.assert_allclose(dn, expected, rtol=1e-4)


def test_filters(folder: Path) -> None:
    def found(**values: object) -> int:
        chosen = {"max_cloud": 10.0, **values}
        return len(find_items(str(folder / "stac"), "landsat-c2l2-sr", stac.box(), DATES, **chosen))  # type: ignore[arg-type]

    assert found() == 2
    assert found(platforms=["LANDSAT_8"]) == 1
    assert found(max_cloud=1.0) == 0
    assert find_items(str(folder / "stac"), "landsat-c2l2-sr", (100, 0, 101, 1), DATES, max_cloud=10) == []
    with pytest.raises(ReadError, match=r"catalog\.json"):
        find_items(str(folder / "nowhere"), "landsat-c2l2-sr", stac.box(), DATES, max_cloud=10)


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    items = find_items(str(folder / "stac"), "landsat-c2l1", stac.box(), DATES, max_cloud=10)
    with pytest.raises(InputError, match="same path, row and day"):
        pair_levels([], items)
    items[0].assets.pop("MTL.json")
    with pytest.raises(ReadError, match="mtl=constants"):
        pan_rescaling(items[0])
    west, south, east, north = stac.box()
    with pytest.raises((GridError, InputError)):
        open_stac((west + 5, south, east + 5, north), DATES, options(folder))


def test_addresses_of_the_usgs_become_those_of_its_bucket() -> None:
    href = "https://landsatlook.usgs.gov/data/collection02/x_B8.TIF"
    assert readable(href, requester_pays=True) == "s3://usgs-landsat/collection02/x_B8.TIF"
    assert readable(href, requester_pays=False) == href


def test_area_of_a_vector_file(tmp_path: Path) -> None:
    ring = [[1.0, 43.0], [1.4, 43.0], [1.4, 43.2], [1.0, 43.2], [1.0, 43.0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert area_of(file) == (1.0, 43.0, 1.4, 43.2)
    assert area_of(file, side=0.1) == pytest.approx((1.15, 43.05, 1.25, 43.15))
    file.write_text("{}")
    with pytest.raises(ReadError, match="GeoJSON"):
        area_of(file)
