"""Published lists of LS2S2: sites, places, splits."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from sitsfusion.datasets import ls2s2_splits
from sitsfusion.errors import InputError, ReadError


def test_places_of_the_published_sites() -> None:
    every = ls2s2_splits.aois()
    assert (len(ls2s2_splits.aois("train")), len(ls2s2_splits.aois("test")), len(every)) == (64, 41, 105)
    site = every["34TFS_24"]
    assert site.aoi == (610410.0, 5148960.0, 620310.0, 5158860.0)
    assert (site.crs, site.start_date, site.end_date) == ("EPSG:32634", date(2022, 1, 1), date(2023, 1, 1))
    assert all(edge % 30 == 0 for aoi in every.values() for edge in aoi.aoi)
    assert all(aoi.crs == f"EPSG:326{name[:2]}" for name, aoi in every.items())


def test_splits() -> None:
    sites = ls2s2_splits.content().sites
    assert {group: [len(sites[group][s]) for s in ("train", "test")] for group in sites} == {
        "eu22": [60, 41],
        "wwmy": [133, 68],
    }
    for parts in sites.values():
        assert not set(parts["train"]) & set(parts["test"])
    published = ls2s2_splits.content().validation
    assert [(len(items), max(items)) for items in published.values()] == [(106, 2085), (239, 4786)]
    assert set(sites["eu22"]["test"]) == set(ls2s2_splits.aois("test"))
    dropped = set(ls2s2_splits.aois("train")) - set(sites["eu22"]["train"])
    assert dropped == {"22NBK_12", "22NCL_12", "22NCL_24", "33VVK_6"}


def test_description_goes_to_a_file_and_back(tmp_path: Path) -> None:
    site = ls2s2_splits.aois()["31TCJ_12"]
    file = tmp_path / "31TCJ_12.json"
    file.write_text(site.model_dump_json())
    assert ls2s2_splits.read_aoi(file) == site
    assert list(json.loads(file.read_text())) == ["name", "aoi", "crs", "start_date", "end_date"]
    file.write_text('{"name": "31TCJ_12"}')
    with pytest.raises(InputError, match="description of a site"):
        ls2s2_splits.read_aoi(file)
    with pytest.raises(ReadError, match="cannot be read"):
        ls2s2_splits.read_aoi(tmp_path / "none.json")


@pytest.mark.parametrize("layout", ["{group}/{split}", "data/{split}", "{split}"])
def test_folders_of_the_sites(tmp_path: Path, layout: str) -> None:
    sites = ls2s2_splits.content().sites
    for group, parts in sites.items():
        for name in parts["test"]:
            (tmp_path / layout.format(group=group, split="test") / name).mkdir(parents=True)
    found = ls2s2_splits.site_folders(tmp_path, "ls2s2_all", "test")
    assert [folder.name for folder in found] == [*sites["eu22"]["test"], *sites["wwmy"]["test"]]
    assert all(folder.is_dir() for folder in found)


def test_missing_sites_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"60 of 60 train sites of ls2s2_2022 are not below .*: 30SUF_21, "):
        ls2s2_splits.site_folders(tmp_path, "ls2s2_2022", "train")
    with pytest.raises(InputError, match="ls2s2_2022, ls2s2_all, ls2s2_wwmy"):
        ls2s2_splits.site_folders(tmp_path, "ls2s2", "train")


def test_sites_that_a_user_names(tmp_path: Path) -> None:
    own = ls2s2_splits.aois()["31TCJ_12"].model_copy(update={"name": "mine"})
    file = tmp_path / "mine.json"
    file.write_text(own.model_dump_json())
    found = ls2s2_splits.find_aois([str(file), "31TCJ_12", "test", "31TCJ_12"])
    assert [aoi.name for aoi in found[:2]] == ["mine", "31TCJ_12"]
    assert len(found) == 42
    assert len(ls2s2_splits.find_aois(["train"])) == 64
    file.write_text(own.model_copy(update={"name": "31TCJ_12", "start_date": date(2023, 1, 1)}).model_dump_json())
    with pytest.raises(InputError, match="31TCJ_12 is described twice"):
        ls2s2_splits.find_aois(["31TCJ_12", str(file)])
    with pytest.raises(InputError, match="nor a JSON file"):
        ls2s2_splits.find_aois(["31TCJ_13"])
    with pytest.raises(ReadError, match="cannot be read"):
        ls2s2_splits.find_aois([str(tmp_path / "none.json")])
