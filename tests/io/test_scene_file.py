"""`scene.yaml`, and how places become a scene."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sitsfusion.errors import DateError, GridError, InputError, ReadError
from sitsfusion.io import READERS, RoleSource, find_reader, open_scene, reader
from sitsfusion.io.scene_file import Resample, SceneFile, read_scene_file, write_scene_file
from sitsfusion.io.xarray_io import to_xarray
from tests.fake.geotiffs import L8, S2, cube, grid, numbers, write_image, write_stacks

DAYS = ("20220105", "20220110")


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Folders s2 (10 m) and l8 (30 m, half a pixel off), and their temperature."""
    write_stacks(tmp_path / "s2", DAYS, size=36)
    for band in ("SR_B4", "SR_B5", "ST_B10"):
        image = numbers(1, 14, 14, low=8000, high=9000)
        write_image(tmp_path / "l8" / f"LC08_20220107_{band}.tif", image, grid(14, 14, 30, (-15, -15)))
    return tmp_path


def text_of(place: Path, text: str) -> Path:
    path = place / "scene.yaml"
    path.write_text(text)
    return path


SCENE = """
name: fields
origin: 2022-01-01
roles:
  fine: {path: s2, sensor: sentinel-2-l2a, options: {offset: 0}}
  coarse: {path: l8, reader: geotiff, sensor: landsat-8-9-c2-l2, resample: {onto: fine, ratio: 3}}
"""


# -- scene.yaml -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "scene.yaml"])
def test_a_scene_file_opens(places: Path, name: str) -> None:
    text_of(places, SCENE)
    scene = open_scene(places / name)
    assert (scene.name, scene.origin) == ("fields", date(2022, 1, 1))
    assert {role: c.dates for role, c in scene.cubes.items()} == {
        "fine": (date(2022, 1, 5), date(2022, 1, 10)),
        "coarse": (date(2022, 1, 7),),
        "thermal": (date(2022, 1, 7),),  # came with the coarse place
    }
    assert scene.per_cell("fine") == 3
    assert scene["coarse"].grid.affine.a == 30
    assert open_scene(places / name, origin=date(2021, 1, 1)).origin == date(2021, 1, 1)


def test_round_trip(tmp_path: Path) -> None:
    scene = SceneFile.model_validate(
        {
            "name": "fields",
            "origin": date(2022, 1, 1),
            "roles": {
                "fine": RoleSource(path=tmp_path / "data" / "s2", options={"offset": 0.0, "bands": ["B04"]}),
                "thermal": RoleSource(path=tmp_path / "st", resample=Resample(onto="fine", method="bilinear")),
            },
        }
    )
    path = tmp_path / "data" / "scene.yaml"
    path.parent.mkdir()
    write_scene_file(scene, path, notes=["looked at by the doctor"])
    text = path.read_text()
    assert text.startswith("# looked at by the doctor\nname: fields\n")
    assert "path: s2" in text
    assert "path: ../st" in text
    assert read_scene_file(path) == scene


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("roles: {fine: {path: s2, sensr: x}}", r"roles\.fine\.sensr: extra inputs are not permitted"),
        ("roles: {fine: {path: s2}}\nnmae: x", r"nmae: extra inputs"),
        ("roles: {fine: {path: s2, resample: {method: lanczos}}}", r"roles\.fine\.resample\.method: input should be"),
        ("roles: {fine: {path: s2, resample: {ratio: 0}}}", r"resample\.ratio: input should be greater"),
        ("roles: {finest: {path: s2}}", r"roles\.finest.*'fine', 'coarse'"),
        ("roles: {}", "roles: dictionary should have at least 1 item"),
        ("roles: {fine: {}}", r"roles\.fine\.path: field required"),
        ("- fine", "does not describe a scene"),
        ("origin: someday\nroles: {fine: {path: s2}}", "origin: input should be a valid date"),
    ],
)
def test_wrong_scene_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_scene(text_of(tmp_path, text))


def test_unreadable_scene_files(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="not valid YAML"):
        open_scene(text_of(tmp_path, "roles: ["))
    with pytest.raises(ReadError, match="cannot be read"):
        open_scene(tmp_path / "absent.yaml")


def test_unknown_options_of_a_reader(places: Path) -> None:
    text_of(places, "roles: {fine: {path: s2, options: {scael: 1}}}")
    with pytest.raises(InputError, match=r"options of reader geotiff .*scael: extra.*possible: .*scale") as caught:
        open_scene(places)
    assert caught.value.__notes__ == ["while opening the fine images"]


# -- places -----------------------------------------------------------------------------------------------------------


def test_one_place(places: Path) -> None:
    scene = open_scene(places / "s2", sensor=S2, options={"offset": 0})
    assert (set(scene.cubes), scene.name) == ({"fine"}, "s2")


def test_a_mapping_of_places(places: Path) -> None:
    sources = {
        "fine": RoleSource(path=places / "s2", sensor=S2, options={"offset": 0}),
        "coarse": RoleSource(path=places / "l8", sensor=L8),
        "thermal": RoleSource(path=places / "l8", sensor=L8),
    }
    with pytest.raises(GridError, match="do not nest"):
        open_scene(sources)
    scene = open_scene(sources, resample={"coarse": Resample(), "thermal": Resample(onto="fine", ratio=6)})
    assert {role: c.bands for role, c in scene.cubes.items()} == {
        "fine": ("B02", "B03", "B04", "B08"),
        "coarse": ("B04", "B05"),
        "thermal": ("LST",),
    }
    assert scene["thermal"].grid.affine.a == 60
    assert scene["coarse"].frame(0).valid.any()


def test_the_role_need_not_be_the_readers(places: Path) -> None:
    """Landsat is the fine sensor beside MODIS."""
    scene = open_scene({"fine": RoleSource(path=places / "l8", sensor=L8)})
    assert scene["fine"].bands == ("B04", "B05")
    with pytest.raises(InputError, match="holds coarse, thermal images; which are the sar ones is not clear"):
        open_scene({"sar": RoleSource(path=places / "l8", sensor=L8)})


def test_what_a_place_holds_besides_joins_on_the_same_grid(places: Path) -> None:
    """The temperature that came with Landsat is resampled as Landsat is."""
    scene = open_scene(read_scene_file(text_of(places, SCENE)))
    assert scene["thermal"].grid == scene["coarse"].grid
    assert scene["thermal"].bands == ("LST",)


def test_two_places_that_both_hold_temperatures(places: Path) -> None:
    landsat = RoleSource(path=places / "l8", sensor="landsat-8-9-c2-l2")
    with pytest.raises(InputError, match="both hold thermal images"):
        open_scene({"coarse": landsat, "fine": landsat})
    named = open_scene({"coarse": landsat, "thermal": landsat})
    assert set(named.cubes) == {"coarse", "thermal"}


def test_duplicates_are_passed_on(tmp_path: Path) -> None:
    for letter in "ab":
        write_image(tmp_path / f"S2_20220105{letter}.tif", numbers(1, 1, 6, 6), names=["B04"])
    common: dict[str, Any] = {"sensor": S2, "options": {"offset": 0}}
    with pytest.raises(DateError):
        open_scene(tmp_path, **common)
    assert len(open_scene(tmp_path, duplicates="merge", **common)["fine"]) == 1


def test_resampling_that_cannot_be(places: Path) -> None:
    fine = {"fine": RoleSource(path=places / "s2", sensor=S2, options={"offset": 0})}
    with pytest.raises(InputError, match="role coarse is to be resampled but is not there"):
        open_scene(fine, resample={"coarse": Resample()})
    with pytest.raises(InputError, match="cannot be put onto the grid of none"):
        open_scene(fine, resample={"fine": Resample()})
    both = {**fine, "coarse": RoleSource(path=places / "l8", sensor=L8)}
    with pytest.raises(InputError, match="onto the grid of thermal; other roles"):
        open_scene(both, resample={"coarse": Resample(onto="thermal")})


def test_unknown_roles_and_readers(places: Path) -> None:
    with pytest.raises(InputError, match=r"does not describe a scene: .*finest"):
        open_scene({"finest": places / "s2"})
    with pytest.raises(InputError, match=r"unknown reader 'gdal'; known: .*geotiff"):
        open_scene(places / "s2", reader="gdal")
    with pytest.raises(ReadError, match="absent does not exist"):
        open_scene(places / "absent")
    (places / "empty").mkdir()
    with pytest.raises(InputError, match=r"no reader knows .*empty: expected a folder of GeoTIFFs"):
        open_scene(places / "empty")


def test_hdf4_has_a_message_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "MOD09GA.A2022005.hdf").write_bytes(b"")
    for place in (tmp_path, tmp_path / "MOD09GA.A2022005.hdf"):
        with pytest.raises(InputError, match=r"HDF4 files .*conda"):
            open_scene(place)


def test_readers_are_found(places: Path, tmp_path: Path) -> None:
    assert find_reader(places / "s2").NAME == "geotiff"
    store = tmp_path / "a.zarr"
    to_xarray(cube([date(2022, 1, 5)])).to_zarr(store, consolidated=False)
    assert find_reader(store).NAME == "xarray"
    # both a store and GeoTIFFs: the particular reader wins over the general one
    write_stacks(store, DAYS[:1])
    assert find_reader(store).NAME == "xarray"
    with pytest.raises(InputError, match="reader xarray"):
        open_scene(store, options={"layers": ["B04"]})


@pytest.mark.parametrize("name", READERS)
def test_every_reader_keeps_the_contract(name: str) -> None:
    module = reader(name)
    assert str(module.NAME) == name
    config = module.Options.model_config
    assert (config.get("frozen"), config.get("extra")) == (True, "forbid")
    for key, option in module.Options.model_fields.items():
        assert option.description, f"option {key} of {name} is not described"


def test_pixels_come_through(places: Path) -> None:
    text_of(places, SCENE)
    scene = open_scene(places)
    again = scene.load()
    np.testing.assert_array_equal(again["fine"].frame(1).values, scene["fine"].frame(1).values)
    np.testing.assert_array_equal(again["coarse"].frame(0).values, scene["coarse"].frame(0).values)
