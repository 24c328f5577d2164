"""Training sequences from simulated scenes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import pytest
import torch

from sitsfusion.training.compose import compose
from sitsfusion.training.run import train
from sitsfusion.training.utilise import simulated
from sitsfusion.training.utilise.config import Config, SimulatedConfig
from sitsfusion.training.utilise.simulated import datasets, draw_sample, scene_arrays

OPTIONS = SimulatedConfig(
    kind="simulated", scenes=2, validation_scenes=1, test_scenes=1, samples_per_scene=2, size=24, crop=20, length=5
)


@pytest.fixture(scope="module")
def arrays() -> simulated.Tensors:
    return scene_arrays(24, ("B03", "B8A"), 0.2, 3)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, arrays: simulated.Tensors) -> None:
    """One scene stands for all seeds."""
    monkeypatch.setattr(simulated, "_simulated", lambda *_: arrays)
    monkeypatch.setattr(simulated, "scene_arrays", lambda *_: arrays)


def test_a_scene_holds_usable_images_and_their_truth(arrays: simulated.Tensors) -> None:
    t = len(arrays["images"])
    assert arrays["images"].shape == arrays["truth"].shape == (t, 2, 24, 24)
    assert float(arrays["usable"].float().mean((1, 2)).min()) >= 0.2
    assert len(arrays["clouds"]) > t
    clear = arrays["usable"][:, None].expand(-1, 2, -1, -1)
    error = (arrays["images"].float() - arrays["truth"].float())[clear].abs() / 10_000
    assert float(error.median()) < 0.03


def test_what_is_hidden_is_one_and_what_is_shown_is_near_the_truth(arrays: simulated.Tensors) -> None:
    for seed in range(4):
        sample = draw_sample(arrays, OPTIONS, random.Random(seed), augment=True)
        hidden = sample["masks"].bool().expand_as(sample["x"])
        assert bool((sample["x"][hidden] == 1).all())
        assert float((sample["x"] - sample["y"])[~hidden].abs().median()) < 0.03
        assert sample["x"].shape == (5, 2, 20, 20)
        assert bool((sample["days"].diff() > 0).all())
        assert float(sample["days"][0]) == 0


def test_samples_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    train_samples, validation, test = datasets(OPTIONS.model_copy(update={"cache": tmp_path}))
    assert (len(train_samples), len(validation), len(test)) == (4, 2, 2)
    first, again = train_samples[3], train_samples[3]
    assert torch.equal(first["x"], again["x"])
    train_samples.set_epoch(1)
    assert not torch.equal(train_samples[3]["x"], first["x"])
    assert len({s.first_seed for s in (train_samples, validation, test)}) == 3
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_the_experiment_runs_to_its_table(tmp_path: Path) -> None:
    options = [
        *("experiment=utilise-simulated", f"location.runs={tmp_path}", "network.encoder_widths=[4,8]"),
        *("network.decoder_widths=[4,8]", "trainer.max_steps=2", "trainer.val_check_interval=2"),
        "trainer.log_every_n_steps=1",
        *("datamodule.size=24", "datamodule.crop=16", "+datamodule.bands=[B03,B8A]", "datamodule.scenes=2"),
        *("datamodule.test_scenes=1", "datamodule.validation_scenes=1", "callbacks.progress_bar=false"),
        *("datamodule.samples_per_scene=2", "training_module.score_samples=1"),
    ]
    config = cast(Config, compose(options))
    train(config)
    text = (tmp_path / "utilise-sim" / "scores.csv").read_text()
    assert text.startswith("filler,ssim")
    assert len(text.splitlines()) == 6
    assert len(list((tmp_path / "utilise-sim" / "pictures").glob("*.png"))) == 1
