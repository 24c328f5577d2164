"""Published layouts of the deep fusion models, and our own format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sitsfusion.checkpoints import stf
from sitsfusion.errors import CheckpointError
from sitsfusion.nets.stf import registry
from tests.fake.stf_weights import small_config

KEYS = {
    "ecpwstfn": "stf_ecpw",
    "edcstfn": "stf_edc",
    "ganstfm": "stf_ganstfm",
    "mlffgan": "stf_mlff",
    "srsfgan": "stf_srsf",
    "stfdiff": "stf_stfdiff",
}
DATA = Path(__file__).parents[1] / "golden" / "data"


def published(path: Path, keys: str) -> Path:
    """A checkpoint with the entries of a published one, beside what Lightning saves."""
    listed = json.loads((DATA / f"{keys}.keys.json").read_text())
    state = {
        name: torch.rand(shape) if dtype == "float32" else torch.zeros(shape, dtype=getattr(torch, dtype))
        for name, (shape, dtype) in listed.items()
    }
    torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": {"bands": 6}}, path)
    return path


@pytest.mark.parametrize("model", KEYS)
def test_published_checkpoints_are_recognised(model: str, tmp_path: Path) -> None:
    net, config = stf.load_stf(published(tmp_path / "x.ckpt", KEYS[model]))
    assert (config.model, len(config.bands)) == (model, 6)
    has_slip = bool(registry.get(model).published)
    assert config.wiring == ("published" if has_slip else "corrected")
    assert not net.training


def test_the_bare_transformer_is_recognised_and_its_buffers_are_dropped(tmp_path: Path) -> None:
    config = small_config("swinstfm", options={"size": 32, "width": 32, "attention": "published"})
    state = stf.network(config).state_dict()
    state = {f"{k}": v for k, v in state.items()} | {
        "coarse_down.down1.layer.blocks.1.attn_mask": torch.zeros(4, 64, 64)
    }
    torch.save(state, tmp_path / "swin.pth")
    _, found = stf.read_published(tmp_path / "swin.pth", config)
    assert found.wiring == "published"
    with pytest.raises(CheckpointError, match="3 bands"):
        stf.load_stf(tmp_path / "swin.pth")


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="none of the models"):
        stf.load_stf(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="conv8"):
        stf.read_auto_encoder(tmp_path / "other.ckpt")
    torch.save({"state_dict": {"conv8.weight": torch.zeros(1)}, "optim_dict": {}}, tmp_path / "ae.pth")
    assert list(stf.read_auto_encoder(tmp_path / "ae.pth")) == ["conv8.weight"]


def test_our_format_keeps_everything(tmp_path: Path) -> None:
    config = small_config("edcstfn")
    net = stf.network(config)
    stf.save_stf(tmp_path, net, config)
    again, found = stf.load_stf(tmp_path)
    assert found == config
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in net.state_dict().items())
