from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import sitsfusion.cli.simulate  # noqa: F401  (registers the command)
from sitsfusion.io import open_scene

SMALL = ("--size", 12, "--world", "temperate")


def test_sites_are_written_that_open_as_scenes(run: Callable[..., object], tmp_path: Path) -> None:
    ran = run("simulate", tmp_path, *SMALL, "--count", 2, "--seed", 3, "--truth", "2022-06-15,2022-07-01", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert [scene["folder"] for scene in said] == [str(tmp_path / "sim-3"), str(tmp_path / "sim-4")]
    for scene in said:
        opened = open_scene(Path(scene["folder"]))
        assert set(opened.cubes) == {"fine", "coarse"}
        assert scene["dates"]["fine"] == 73
        assert len(list((Path(scene["folder"]) / "truth").iterdir())) == 4


def test_plain_folders_of_a_random_place(run: Callable[..., object], tmp_path: Path) -> None:
    ran = run("simulate", tmp_path, "--size", 12, "--layout", "geotiff", "--truth", "100d")
    assert ran.code == 0, ran.err
    assert "sim-0: " in ran.out
    assert {folder.name for folder in (tmp_path / "sim-0").iterdir()} == {"sentinel2", "landsat", "truth"}
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--size", 13), "multiples of 3"), (("--truth", "june"), "'june' is not a date"), ((), "is there already")],
)
def test_wrong_use_is_refused_with_a_reason(
    run: Callable[..., object], tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    if not words:
        (tmp_path / "sim-0").mkdir()
    ran = run("simulate", tmp_path, *SMALL, *words)
    assert ran.code == 3
    assert message in ran.err
    assert not list(tmp_path.glob("sim-*/*"))


def test_help_fits_on_a_screen(run: Callable[..., object]) -> None:
    ran = run("simulate", "--help")
    assert ran.code == 0
    assert len(ran.out.splitlines()) <= 40
    assert "Example: sitsfusion simulate" in ran.out
