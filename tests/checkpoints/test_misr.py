"""Super-resolution weights: our format, and the published layout there and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sitsfusion.checkpoints.misr import convert_published, load_misr, read_published
from sitsfusion.checkpoints.misr_names import published_backbone_name, published_name
from sitsfusion.errors import CheckpointError, ReadError
from sitsfusion.nets.diffusion import betas_of, schedule_numbers
from sitsfusion.nets.misr_config import MisrConfig
from sitsfusion.nets.srdiff import build_misr
from tests.fake.misr import BACKBONES, seeded_misr, small_config

KINDS = [(name, diffusion) for name in BACKBONES for diffusion in (False, True)] + [(None, True)]


def published_entries(config: MisrConfig) -> dict[str, torch.Tensor]:
    """A network's state dict under its published names, with the buffers of the schedule."""
    state, backbone = build_misr(config).state_dict(), config.backbone
    if config.diffusion is None:
        assert backbone is not None
        return {published_backbone_name(backbone, name): w for name, w in state.items()}
    found = {published_name(backbone, name): w for name, w in state.items()}
    numbers = schedule_numbers(betas_of(config.diffusion.schedule, config.diffusion.steps))
    return found | {name: values.float() for name, values in numbers.items()}


def write(folder: Path, entries: dict[str, torch.Tensor], step: int = 5, flat: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"model_ckpt_steps_{step}.ckpt"
    state = {f"model.{n}": w for n, w in entries.items()} if flat else {"model": entries}
    torch.save({"global_step": step, "state_dict": state}, file, _use_new_zipfile_serialization=False)
    return file


@pytest.mark.parametrize(("name", "diffusion"), KINDS)
def test_published_checkpoints_are_read_back(name: str | None, diffusion: bool, tmp_path: Path) -> None:
    config = small_config(name, diffusion=diffusion, views=8)
    entries = published_entries(config)
    file = write(tmp_path / "some_run", entries, flat=diffusion)
    net, weights = read_published(file, reference="closest")
    assert published_entries(weights.architecture).keys() == entries.keys()
    inner = weights.architecture.backbone
    if name == "rrdb_highresnet":
        assert inner is not None
        assert getattr(inner, "published_range") is True  # noqa: B009
    else:
        assert weights.architecture == config
    names = [published_name(inner, n) if diffusion else published_backbone_name(inner, n) for n in net.state_dict()]  # type: ignore[arg-type]
    for ours, published in zip(net.state_dict().values(), names, strict=True):
        torch.testing.assert_close(ours, entries[published])


def test_our_format_there_and_back(tmp_path: Path) -> None:
    config = small_config("rrdb", diffusion=True)
    net, weights = load_misr(seeded_misr(tmp_path, config))
    assert weights.architecture == config
    assert not net.training
    assert not [name for name in net.state_dict() if "betas" in name]


def test_converting_keeps_every_number(tmp_path: Path) -> None:
    file = write(tmp_path / "misr_pretrain", published_entries(small_config("highresnet_ltae", views=8)))
    convert_published(file, tmp_path / "ours")
    (first, told), (second, _) = load_misr(tmp_path / "ours"), load_misr(file)
    torch.testing.assert_close(first.state_dict(), second.state_dict())
    assert getattr(told.architecture.backbone, "reference") == "closest"  # noqa: B009


def test_the_newest_checkpoint_of_a_folder_is_taken(tmp_path: Path) -> None:
    config = small_config("rrdb")
    write(tmp_path, published_entries(config), step=900)
    newest = published_entries(config)
    write(tmp_path, newest, step=10_000)
    net, weights = read_published(tmp_path)
    assert weights.source == "model_ckpt_steps_10000.ckpt"
    torch.testing.assert_close(net.state_dict()["decoder.last.bias"], newest["conv_last.bias"])


def test_what_cannot_be_known_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "mine", published_entries(small_config("highresnet_ltae")))
    with pytest.raises(CheckpointError, match="reference="):
        read_published(file)
    entries = published_entries(small_config(None, diffusion=True))
    entries["betas"] = entries["betas"] * 0.5
    with pytest.raises(CheckpointError, match="noise schedule"):
        read_published(write(tmp_path / "other", entries))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no network of MISR-S2"):
        read_published(write(tmp_path, {"conv1.weight": torch.zeros(1)}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="model_ckpt_steps"):
        read_published(tmp_path / "empty")
    entries = published_entries(small_config("rrdb"))
    del entries["HRconv.bias"]
    with pytest.raises(CheckpointError, match=r"HRconv\.bias"):
        read_published(write(tmp_path / "a", entries))
