"""U-TILISE runs: from archives as distributed to a table of scores, and on after a kill."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from sitsfusion.checkpoints.utilise import load_utilise, save_utilise
from sitsfusion.datasets import earthnet2021_convert
from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.training.compose import compose
from sitsfusion.training.export import export_safetensors, read_trained
from sitsfusion.training.run import assess, train
from sitsfusion.training.utilise.config import Config
from sitsfusion.training.utilise.family import module as build_module
from sitsfusion.training.utilise.module import UtiliseModule
from tests.fake.utilise_archives import write_earthnet, write_sen12
from tests.training.tiny import losses

RUN = [
    *("trainer=cpu", "trainer.max_steps=3", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1"),
    *("callbacks.progress_bar=false", "callbacks.last_every_n_steps=1", "callbacks.permanent_every_n_epochs=null"),
    *("datamodule.batch_size=1", "datamodule.num_workers=0", "training_module.learning_rate=0.01"),
    *("network.encoder_widths=[4,8]", "network.decoder_widths=[4,8]", "+network.n_head=2"),
]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    tiles = {"29SND": 2, "33UVP": 2}
    return {"earthnet2021": write_earthnet(folder / "e", tiles=tiles), "sen12mscrts": write_sen12(folder / "s")}


@pytest.fixture(autouse=True)
def _few_validation_cubes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tile for training: the archives are smaller than the published number of validation cubes."""
    divide = partial(earthnet2021_convert.train_tiles, keep=2)
    monkeypatch.setattr(earthnet2021_convert, "train_tiles", divide)


def configured(experiment: str, archive: Path, folder: Path, *more: str) -> Config:
    dataset = experiment.split("-")[1]
    clouds = [f"datamodule.clouds={archive / 'clouds'}"] if dataset == "sen12mscrts" else []
    where = [f"location.data={folder / 'data'}", f"location.runs={folder}", f"datamodule.source={archive}"]
    return cast(Config, compose([f"experiment={experiment}", *RUN, *where, *clouds, *more]))


@pytest.mark.parametrize("experiment", ["utilise-earthnet2021", "utilise-sen12mscrts", "utilise-sen12mscrts-sar"])
def test_from_the_archives_to_a_table(experiment: str, archives: dict[str, Path], tmp_path: Path) -> None:
    config = configured(experiment, archives[experiment.split("-")[1]], tmp_path)
    last = train(config)
    run = tmp_path / experiment
    with (run / "scores.csv").open() as file:
        rows = {row["filler"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["utilise", "last", "next", "closest", "linear_interpolation"]
    assert float(rows["utilise"]["masked_psnr_occluded_input_pixels"]) > 0
    assert {"ssim", "masked_sam", "masked_mae_observed_input_pixels"} <= rows["utilise"].keys()
    assert float(rows["last"]["masked_mae_observed_input_pixels"]) < 1e-6
    net, weights = read_trained(run)
    assert weights.sar_bands == (("VV", "VH") if experiment.endswith("sar") else ())
    assert len(weights.bands) == (4 if "earthnet" in experiment else 13)
    export_safetensors(net, weights, tmp_path / "weights")
    again, found = load_utilise(tmp_path / "weights")
    assert found == weights
    x = torch.rand(1, 4, weights.architecture.input_dim, 16, 16)
    assert torch.equal(again(x).images, net(x).images)
    tested = assess(config, last, "test", tmp_path / "assessed")
    assert tested["test/masked_psnr"] == pytest.approx(float(rows["utilise"]["masked_psnr"]), rel=1e-3)


class Killed(Exception):
    pass


@pytest.mark.parametrize("schedule", ["MultiStepLR", "warm_restarts"])
def test_a_killed_run_goes_on(
    schedule: str, archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        *("training_module.score_at_end=false", "trainer.max_steps=5"),
        *(f"training_module.schedule.name={schedule}", "training_module.schedule.milestones=[1,2]"),
    ]
    straight, killed = (
        configured("utilise-earthnet2021", archives["earthnet2021"], tmp_path / name, *options)
        for name in ("straight", "killed")
    )
    train(straight)
    original = UtiliseModule.training_step

    def dying(self: UtiliseModule, batch: Any, index: int) -> Any:
        if self.global_step == 3:
            raise Killed
        return original(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(UtiliseModule, "training_step", dying)
        with pytest.raises(Killed):
            train(killed)
    train(killed, resume=True)
    name = "utilise-earthnet2021"
    expected = losses(tmp_path / "straight" / name)
    assert losses(tmp_path / "killed" / name) == expected
    assert len(expected) == 5
    one, other = (read_trained(tmp_path / run / name)[0].state_dict() for run in ("straight", "killed"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_starts_from_given_weights(archives: dict[str, Path], tmp_path: Path) -> None:
    config = configured("utilise-earthnet2021", archives["earthnet2021"], tmp_path)
    first = build_module(config, tmp_path)
    save_utilise(tmp_path / "weights", first.net, config.weights())
    given = {"start_from_checkpoint": tmp_path / "weights"}
    training = config.training_module.model_copy(update=given)
    other = build_module(config.model_copy(update={"training_module": training, "seed": 5}), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), other.net.parameters(), strict=True))
    wider = {"network": {**config.network, "d_k": 3}, "training_module": training}
    with pytest.raises(CheckpointError, match="d_k"):
        build_module(config.model_copy(update=wider), tmp_path)


@pytest.mark.parametrize("schedule", ["StepLR", "ExponentialLR", "CosineAnnealingLR", "ReduceLROnPlateau", "constant"])
def test_every_schedule_and_optimiser(schedule: str, archives: dict[str, Path], tmp_path: Path) -> None:
    options = [
        *(f"training_module.schedule.name={schedule}", "training_module.optimiser=sgd"),
        *("training_module.score_at_end=false", "trainer.max_steps=2"),
    ]
    train(configured("utilise-earthnet2021", archives["earthnet2021"], tmp_path, *options))
    found = losses(tmp_path / "utilise-earthnet2021")
    assert len(found) == 2
    assert all(value > 0 for value in found.values())


def test_errors_name_the_option(archives: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"datamodule.*channels"):
        configured("utilise-earthnet2021", archives["earthnet2021"], tmp_path, "datamodule.data.channels=all")
    config = configured("utilise-earthnet2021", archives["earthnet2021"], tmp_path, "+network.heads=3")
    with pytest.raises(InputError, match="heads"):
        config.weights()
