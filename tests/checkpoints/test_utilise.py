"""U-TILISE weights: our format, and the published layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

from sitsfusion.checkpoints.utilise import load_utilise, read_published, save_utilise
from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.fetch import find_entry
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.nets.utilise_config import PUBLISHED
from sitsfusion.weights.utilise import PUBLISHED_WEIGHTS, UtiliseWeights
from tests.fake.utilise import SMALL, seeded_utilise, small_net


def published(path: Path, net: UTILISE) -> Path:
    """As the released code saves: a scheduler's counter among plain values."""
    content = {
        "epoch": 7,
        "iter": 9,
        "best_loss": 0.1,
        "best_epoch": 3,
        "model_state_dict": net.state_dict(),
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 2e-4, "params": [0]}]},
        "scheduler_state_dict": {"milestones": Counter({50: 1, 100: 1}), "gamma": 0.5},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def same(one: UTILISE, other: UTILISE) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_our_format_comes_back(tmp_path: Path) -> None:
    net, weights = load_utilise(seeded_utilise(tmp_path))
    assert same(net, small_net())
    assert weights.window == 4
    assert not net.training
    other = UTILISE(PUBLISHED["utilise_earthnet2021"])
    with pytest.raises(InputError, match="another architecture"):
        save_utilise(tmp_path / "other", other, weights)


def test_published_files_are_known_by_name(tmp_path: Path) -> None:
    for name, config in PUBLISHED.items():
        net = UTILISE(config)
        found, weights = load_utilise(published(tmp_path / f"{name}.pth", net))
        assert same(net, found)
        assert weights == PUBLISHED_WEIGHTS[name]
    assert weights.sar_bands == ("VV", "VH")


def test_every_published_file_can_be_fetched() -> None:
    for name in PUBLISHED:
        entry = find_entry(name.replace("_", "-"))
        assert entry.main == f"{name}.pth"
        assert entry.source.endswith(f"/{name}.pth")
    assert find_entry("earthnet2021-iid-utilise").kind == "dataset"


def test_a_run_of_the_authors_code_is_read_by_its_configuration(tmp_path: Path) -> None:
    net = small_net()
    file = published(tmp_path / "run" / "checkpoints" / "Model_best.pth", net)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        load_utilise(file)
    run = {
        "data": {"dataset": "earthnet2021", "channels": "bgr-nir", "max_seq_length": 8, "pe_strategy": "absolute"},
        "mask": {"fill_value": 0.5},
        "method": {"pad_value": 0},
        "utilise": {**SMALL, "encoder_widths": [4, 8], "encoder_norm": "none"},
    }
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(run))
    found, weights = load_utilise(file)
    assert same(net, found)
    assert (weights.window, weights.positions, weights.fill_value) == (8, "absolute", 0.5)
    assert weights.bands == ("B02", "B03", "B04", "B8A")
    run["data"]["channels"] = "swir"
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(run))
    with pytest.raises(InputError, match="'swir'"):
        read_published(file, tmp_path / "other.yaml")


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = published(tmp_path / "utilise_earthnet2021.pth", small_net())
    with pytest.raises(CheckpointError, match="missing"):
        load_utilise(file)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="no model_state_dict"):
        load_utilise(tmp_path / "empty.pth")
    _, weights = load_utilise(seeded_utilise(tmp_path / "w"))
    with pytest.raises(ValueError, match="5 optical"):
        UtiliseWeights.model_validate({**weights.model_dump(), "bands": ("B02", "B03", "B04", "B08", "B8A")})
