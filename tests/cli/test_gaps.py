"""From archives to files of simulated gaps on the command line."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import yaml
from typer.testing import CliRunner

from sitsfusion.cli.main import app
from sitsfusion.errors import InputError
from tests.fake.utilise_archives import ROI, write_earthnet, write_sen12


def said(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def config(folder: Path, **data: object) -> Path:
    path = folder / "config.yaml"
    mask = {"mask_type": "random_clouds", "ratio_masked_frames": 0.5, "non_masked_frames": [0]}
    rule = {"type": "cloud-free", "min_length": 5, "return_valid_obs_only": True}
    path.write_text(
        yaml.safe_dump({"data": {"filter_settings": rule, **data}, "mask": mask, "misc": {"random_seed": 0}})
    )
    return path


def test_earthnet2021(tmp_path: Path) -> None:
    write_earthnet(tmp_path / "archive")
    told = said("convert", "earthnet2021", tmp_path / "archive", tmp_path, "--split", "iid")
    assert "3 cubes, 3 of them usable" in told
    file = config(tmp_path, dataset="earthnet2021", root=str(tmp_path), split="train", channels="bgr-nir")
    out = tmp_path / "gaps.hdf5"
    said("simulate-gaps", file, out, "--split", "iid", "--ratio-masked", "0.25", "--ratio-fully-masked", "0.1",
         "--seed", "3", "--set", "data.max_seq_length=6")  # fmt: skip
    with h5py.File(out) as content:
        name = content["path_samples_iid_test_split"].asstr()[0]
        assert "ratio_masked_0.25_fully_masked_0.1" in content[name]
        assert content[name]["frames_target"].shape == (6, 4, 16, 16)
    with pytest.raises(InputError, match="already"):
        said("simulate-gaps", file, out, "--split", "iid", "--ratio-masked", "0.25", "--ratio-fully-masked", "0.1")


def test_sen12mscrts(tmp_path: Path) -> None:
    write_sen12(tmp_path / "archive", size=(8, 8))
    told = said(
        "convert", "sen12mscrts", tmp_path / "archive", tmp_path, "--split", "test", "--region", ROI, "--no-sar"
    )
    assert "2 patches; not found" in told
    file = tmp_path / "test.hdf5"
    assert "2 with new cloud masks" in said(
        "detect-clouds", file, "--clouds", tmp_path / "archive/clouds", "--max-days", 28
    )
    settings = {"dataset": "sen12mscrts", "root": str(tmp_path), "split": "test", "channels": "all"}
    said("simulate-gaps", config(tmp_path, **settings), tmp_path / "gaps.hdf5")
    with h5py.File(tmp_path / "gaps.hdf5") as content:
        assert "S1" not in content[content["path_samples"].asstr()[0]]


def test_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two sources"):
        said("detect-clouds", tmp_path / "x.hdf5", "--clouds", tmp_path, "--s2cloudless")
    path = config(tmp_path, dataset="sen12mscrts", root=".", split="test", channels="all")
    path.write_text(path.read_text().partition("mask:")[0])
    with pytest.raises(InputError, match="has no section mask"):
        said("simulate-gaps", path, tmp_path / "gaps.hdf5")
