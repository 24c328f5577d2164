"""Figures and exported patches of a made-up site, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from typer.testing import CliRunner

from sitsfusion.cli.dataset import dataset
from sitsfusion.datasets import ls2s2_look
from sitsfusion.errors import InputError
from tests.fake.products import days, ls2s2_values, write_ls2s2

S2 = days("2022-01-05", "2022-02-10", "2022-03-12")
LANDSAT = days("2022-01-01", "2022-02-10", "2022-03-20", "2022-04-21")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ls2s2(tmp_path_factory.mktemp("ls2s2"), S2, LANDSAT, side=240)


def test_colours() -> None:
    values = np.array([[0, 750, 3000]] * 3, np.float32).reshape(3, 1, 3)
    clear, masked = np.zeros((1, 3), bool), np.ones((1, 3), bool)
    np.testing.assert_allclose(ls2s2_look.rgb(values, clear)[0], [[0] * 3, [0.5] * 3, [1] * 3])
    np.testing.assert_allclose(ls2s2_look.rgb(values, masked)[0], [[1, 0, 0], [0.5, 0, 0], [1, 0, 0]])


def test_look(site: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(dataset, ["look", str(site), str(tmp_path), "--patch-size", "90"])
    assert result.exit_code == 0, result.output
    figures = ["landsat_synopsis", "landsat_thermal_synopsis", "sentinel2_synopsis"]
    assert sorted(f.name for f in tmp_path.glob("*.png")) == [f"{site.name}_{figure}.png" for figure in figures]
    assert "7 images" in result.output
    # days count from the first Sentinel-2 date
    assert sorted(f.name for f in (tmp_path / "lr").iterdir()) == ["-4_lr.tif", "106_lr.tif", "36_lr.tif", "74_lr.tif"]
    with (
        rasterio.open(tmp_path / "hr" / "0_hr.tif") as file,
        rasterio.open(site / "sentinel2" / "20220105" / "sentinel2_bands_20220105.tif") as whole,
    ):
        assert file.crs == whole.crs
        assert (file.bounds.left, file.bounds.bottom) == (whole.bounds.left, whole.bounds.bottom)
        assert file.res == whole.res
        expected = ls2s2_values("bandssentinel2", "20220105", 10, 24)
        side = 240 / (240 // 90) / 10  # patches spread evenly; the first starts at the corner
        assert side == 12
        np.testing.assert_array_equal(file.read(), expected[:, 15:24, :9])


def test_only_some(site: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(dataset, ["look", str(site), str(tmp_path), "--only", "thermal"])
    assert result.exit_code == 0, result.output
    assert [f.name for f in tmp_path.iterdir()] == [f"{site.name}_landsat_thermal_synopsis.png"]


def test_patch_larger_than_the_site(site: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no patch of 1650 m"):
        ls2s2_look.export_patch(site, tmp_path)


def test_statistics_command(site: Path, tmp_path: Path) -> None:
    arguments = ["statistics", str(site), "--set", "patch_size=60", "--set", "min_nb_dates=1", "--name", "here"]
    file = tmp_path / "here.yaml"
    shown = CliRunner().invoke(dataset, [*arguments, "--out", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "of 16 patches" in shown.output
    written = yaml.safe_load(file.read_text())["standardisation"]["here"]
    result = CliRunner().invoke(dataset, [*arguments, "--json"])
    found = json.loads(result.output)
    np.testing.assert_allclose(written["hr_mean"], found["hr_mean"], rtol=1e-5)
    assert len(found["lr_std"]) == 8
    refused = CliRunner().invoke(dataset, [*arguments, "--set", "patch=3"])
    assert isinstance(refused.exception, InputError)


def test_sites_command(tmp_path: Path) -> None:
    assert "31TCJ_12" in CliRunner().invoke(dataset, ["sites"]).output
    assert len(json.loads(CliRunner().invoke(dataset, ["sites", "--split", "test", "--json"]).output)) == 41
    CliRunner().invoke(dataset, ["sites", "--split", "train", "--out", str(tmp_path)])
    assert len(list(tmp_path.glob("*.json"))) == 64


@pytest.mark.parametrize("command", [[], ["statistics"], ["look"], ["sites"]])
def test_help_fits_a_screen(command: list[str]) -> None:
    lines = CliRunner().invoke(dataset, [*command, "--help"]).output.splitlines()
    assert 5 < len(lines) <= 40
