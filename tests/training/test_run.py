"""Runs: they train, stop, go on as if they had not, and leave what they should."""

from __future__ import annotations

import errno
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from sitsfusion.checkpoints.tamrfsits import load_tamrfsits
from sitsfusion.errors import CheckpointError, InputError, PlanError, ReadError, WriteError
from sitsfusion.training.callbacks import AtomicCheckpointIO, Requeued
from sitsfusion.training.config import OptimiserConfig
from sitsfusion.training.export import read_trained
from sitsfusion.training.module import MAX_SKIPPED, NAN_BATCH, VALIDATION_SEED, DivergedError
from sitsfusion.training.run import assess, require_device, train
from sitsfusion.training.tamrfsits.family import module as build_module
from sitsfusion.training.tamrfsits.module import TamrfsitsModule, standardised

from .tiny import TinySamples, losses, tiny, use


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)


class Killed(Exception):
    pass


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Stop as a crash would, within a step, after the last checkpoint."""
    original = TamrfsitsModule.training_step

    def training_step(self: TamrfsitsModule, batch: Any, index: int) -> Any:
        if self.global_step == step:
            raise Killed
        return original(self, batch, index)

    monkeypatch.setattr(TamrfsitsModule, "training_step", training_step)


PUBLISHED = OptimiserConfig(learning_rate=1e-4, warmup_steps=2018, restart_period=40360, minimum=2e-5)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 3.333e-5), (1000, 6.637e-5), (2018, 1e-4), (22198, 6e-5), (42377, 2e-5), (42378, 1e-4)],
)
def test_published_schedule(step: int, rate: float) -> None:
    assert PUBLISHED.rate(step) == pytest.approx(rate, rel=1e-3)


def test_the_second_cosine_is_twice_as_long() -> None:
    assert PUBLISHED.rate(42378 + 40360) == pytest.approx(6e-5)
    assert PUBLISHED.rate(42378 + 2 * 40360) == pytest.approx(1e-4)


@pytest.mark.parametrize("step", [1, 4, 5, 6])
def test_a_killed_run_goes_on_as_if_it_had_not_been(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four checkpoints: within an epoch, at a validation, at an epoch's end (6 steps) and start."""
    straight, killed = tiny(folder=tmp_path / "straight"), tiny(folder=tmp_path / "killed")
    train(straight)
    expected = losses(tmp_path / "straight" / "base")
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            train(killed)
    train(killed, resume=True)
    folder = tmp_path / "killed" / "base"
    assert losses(folder) == expected
    assert len(expected) == 8
    one, other = (read_trained(tmp_path / name / "base")[0].state_dict() for name in ("straight", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    name = "validation/total_loss"
    validated = losses(folder, name)
    assert validated.items() <= losses(tmp_path / "straight" / "base", name).items()
    # What was saved just before the validation of step 4 does not begin with it.
    assert losses(folder, name, version=1).keys() == ({3, 7} if step < 4 else {7})


def test_averaged_weights_are_kept_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["callbacks.ema_decay=0.5", "trainer.max_steps=4", "trainer.val_check_interval=100"]
    straight, killed = (tiny(*options, folder=tmp_path / name) for name in ("straight", "killed"))
    train(straight)
    with monkeypatch.context() as patch:
        kill_at(patch, 2)
        with pytest.raises(Killed):
            train(killed)
    train(killed, resume=True)
    one, other = (read_trained(tmp_path / name / "base")[0].state_dict() for name in ("straight", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    content = torch.load(tmp_path / "straight/base/checkpoints/last.ckpt", weights_only=True)
    assert any(not torch.equal(v, content["current_model_state"][k]) for k, v in content["state_dict"].items())


def test_what_a_run_leaves(tmp_path: Path) -> None:
    last = train(tiny("callbacks.pictures_every_n_epochs=1", "callbacks.permanent_every_n_epochs=1", folder=tmp_path))
    folder = tmp_path / "base"
    assert last == folder / "checkpoints" / "last.ckpt"
    names = {file.name for file in last.parent.iterdir()}
    assert {"best-epoch=0000-step=0000004.ckpt", "best-epoch=0001-step=0000008.ckpt"} < names
    assert any(name.startswith("epoch-") for name in names)
    assert len(list((folder / "pictures").glob("*.png"))) == 2
    rates = losses(folder, "lr-Adam")
    assert rates[0] == pytest.approx(0.01 / 3)
    assert rates[3] == pytest.approx(0.01)
    assert losses(folder, "train/lr_clr_loss")
    assert losses(folder, "validation/total_loss").keys() == {3, 7}
    with pytest.raises(PlanError, match="holds a run already"):
        train(tiny(folder=tmp_path))


def test_truth_trains_too(tmp_path: Path) -> None:
    train(tiny("training_module=supervised", "trainer.max_steps=2", folder=tmp_path, objective=False))
    assert losses(tmp_path / "base", "train/compensated_loss").keys() == {0, 1}


def test_mixed_precision(tmp_path: Path) -> None:
    options = ["trainer.max_steps=1", "trainer.val_check_interval=1"]
    for precision in ("32-true", "bf16-mixed"):
        train(tiny(*options, f"trainer.precision={precision}", folder=tmp_path / precision))
    full, mixed = (losses(tmp_path / precision / "base")[0] for precision in ("32-true", "bf16-mixed"))
    assert mixed == pytest.approx(full, rel=0.05)
    assert mixed != full
    assert all(v.dtype == torch.float32 for v in read_trained(tmp_path / "bf16-mixed/base")[0].state_dict().values())


@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_loggers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    train(tiny(f"logger={kind}", "loggers.offline=true", "trainer.max_steps=1", folder=tmp_path))
    patterns = {"tensorboard": "tensorboard/*/events*", "wandb": "wandb/offline-run-*/*.wandb"}
    assert list((tmp_path / "base").glob(patterns[kind]))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="not finite"):
        train(tiny("datamodule.config.spoilt=2", folder=tmp_path))
    content = torch.load(tmp_path / "base" / NAN_BATCH, weights_only=True)
    assert bool(content["batch"]["hr"]["values"].isinf().any())
    assert not bool(content["terms"]["total_loss"].isfinite())
    assert content["state_dict"]


def spoil_gradients(monkeypatch: pytest.MonkeyPatch, steps: range) -> None:
    """Finite losses whose gradient is NaN: the root of 0, times 0."""
    original = TamrfsitsModule._terms

    def terms(self: TamrfsitsModule, batch: Any, draws: Any) -> Any:
        found = original(self, batch, draws)
        if self.training and self.global_step in steps:
            found["total_loss"] = found["total_loss"] + (0 * self.net.decoder.sensor_token.sum()).sqrt()
        return found

    monkeypatch.setattr(TamrfsitsModule, "_terms", terms)


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["trainer.limit_val_batches=1", "trainer.val_check_interval=100"]
    train(tiny(*options, "trainer.max_steps=2", folder=tmp_path / "before"))
    spoil_gradients(monkeypatch, range(2, 5))
    last = train(tiny(*options, "trainer.max_steps=5", folder=tmp_path / "spoilt"))
    before, after = (read_trained(tmp_path / name / "base")[0].state_dict() for name in ("before", "spoilt"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    folder = tmp_path / "spoilt" / "base"
    assert losses(folder, "train/skipped_steps") == {0: 0, 1: 0, 2: 1, 3: 2, 4: 3}
    assert last.is_file()
    train(tiny(*options, "trainer.max_steps=6", folder=tmp_path / "spoilt"), resume=True)
    after = read_trained(folder)[0].state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert losses(folder, "train/skipped_steps")[5] == 3


def test_ten_such_gradients_in_a_row_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_gradients(monkeypatch, range(1, 100))
    with pytest.raises(DivergedError, match=f"last {MAX_SKIPPED} steps are not finite.*step {MAX_SKIPPED}"):
        train(tiny("trainer.max_steps=20", "trainer.val_check_interval=100", folder=tmp_path))
    content = torch.load(tmp_path / "base" / NAN_BATCH, weights_only=True)
    assert content["step"] == MAX_SKIPPED
    assert bool(content["terms"]["total_loss"].isfinite())


def test_validation_metrics(tmp_path: Path) -> None:
    options = ["training_module.validation_metrics=true", "trainer.max_steps=1", "trainer.val_check_interval=1"]
    config = tiny(*options, folder=tmp_path)
    train(config)
    module = build_module(config, tmp_path)
    module.net.load_state_dict(read_trained(tmp_path / "base")[0].state_dict())
    expected = by_hand(module.eval())
    assert {name.split("_", 1)[1] for name in expected} >= {"lr_clr_90m", "lr_mae_30m", "hr_mae_10m", "hr_clr_20m"}
    for name, value in expected.items():
        assert losses(tmp_path / "base", name)[0] == pytest.approx(value, rel=1e-4)


def by_hand(module: Any) -> dict[str, float]:
    """Root mean squared errors of the validation samples, image by image and band by band."""
    rng, found = random.Random(VALIDATION_SEED), {}
    for i in range(2):
        sample = standardised(TinySamples(2, 2)[i], module.weights)
        (hidden,) = module.task.splits(sample, [rng])
        (judged,) = module.task.objective.judged(module.net, sample.lr, sample.hr, [hidden])
        for role, one in judged.items():
            bands = (module.weights.lr if role == "lr" else module.weights.hr).bands
            for t, given in enumerate(one.given):
                for c, band in enumerate(bands):
                    error = (one.prediction[t, c] - one.target[t, c])[one.valid[t]].detach() * band.std / band.scale
                    name = f"validation/rmse_{role}_{'clr' if given else 'mae'}_{band.resolution:g}m"
                    found.setdefault(name, []).append(float(error.square().mean().sqrt()))
    return {name: sum(values) / len(values) for name, values in found.items()}


def test_validation_metrics_need_hidden_dates(tmp_path: Path) -> None:
    options = ["training_module=supervised", "training_module.validation_metrics=true"]
    with pytest.raises(InputError, match=r"training_module\.validation_metrics"):
        train(tiny(*options, folder=tmp_path, objective=False))


def test_a_step_without_loss_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = TamrfsitsModule._terms

    def terms(self: TamrfsitsModule, batch: Any, draws: Any) -> Any:
        return None if self.training else original(self, batch, draws)

    monkeypatch.setattr(TamrfsitsModule, "_terms", terms)
    config = tiny("trainer.max_steps=2", folder=tmp_path)
    train(config)
    before, after = build_module(config, tmp_path).net.state_dict(), read_trained(tmp_path / "base")[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train(tiny("trainer.max_steps=1", folder=tmp_path))
    with pytest.raises(CheckpointError, match=r"architecture\.layers: the checkpoint has 1, the configuration 2"):
        train(tiny("training_module.network.layers=2", folder=tmp_path), resume=True)
    with pytest.raises(CheckpointError, match="samples: checkpoint 6, now 5"):
        train(tiny("datamodule.config.samples=5", folder=tmp_path), resume=True)
    start = f"training_module.start_from_checkpoint={tmp_path / 'base'}"
    with pytest.raises(CheckpointError, match="belongs to another configuration"):
        build_module(tiny(start, "training_module.network.layers=2", folder=tmp_path), tmp_path)


def test_start_from_weights_alone(tmp_path: Path) -> None:
    train(tiny("trainer.max_steps=1", folder=tmp_path))
    expected = read_trained(tmp_path / "base")[0].state_dict()
    start = f"training_module.start_from_checkpoint={tmp_path / 'base'}"
    found = build_module(tiny(start, "seed=7", folder=tmp_path), tmp_path).net.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="to resume from"):
        train(tiny(folder=tmp_path), resume=True)


def test_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="asks for 1 GPU"):
        require_device(tiny("trainer=gpu", folder=tmp_path).trainer)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "last.ckpt"
    saver = AtomicCheckpointIO()
    saver.save_checkpoint({"step": 1}, file)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(WriteError, match="No space left"):
        saver.save_checkpoint({"step": 2}, file)
    assert torch.load(file, weights_only=True) == {"step": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["last.ckpt"]


def test_requeue_saves_between_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "scontrol"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    slurm = {"SLURM_NTASKS": 1, "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": 77, "SLURM_PROCID": 0, "SLURM_LOCALID": 0}
    for name, value in (slurm | {"SLURM_NODEID": 0}).items():
        monkeypatch.setenv(name, str(value))
    options = ["callbacks.last_every_n_steps=100", "trainer.max_steps=5"]
    train(tiny(*options, folder=tmp_path / "straight"))
    original = TamrfsitsModule.training_step

    def training_step(self: TamrfsitsModule, batch: Any, index: int) -> Any:
        if self.global_step == 2:
            os.kill(os.getpid(), signal.SIGUSR1)  # in the middle of a step
        return original(self, batch, index)

    before = signal.getsignal(signal.SIGUSR1)
    with monkeypatch.context() as patch:
        patch.setattr(TamrfsitsModule, "training_step", training_step)
        with pytest.raises(Requeued, match="step 3 is saved"):
            train(tiny(*options, folder=tmp_path / "queued"))
    assert (tmp_path / "asked").read_text() == "requeue 77\n"
    assert signal.getsignal(signal.SIGUSR1) is before
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    train(tiny(*options, folder=tmp_path / "queued"))  # the same command, without --resume
    straight, queued = (losses(tmp_path / name / "base") for name in ("straight", "queued"))
    del straight[2]  # a step is logged after it is saved
    assert queued == straight


def test_our_weights_are_a_start_too(tmp_path: Path) -> None:
    from sitsfusion.training.export import export_safetensors

    train(tiny("trainer.max_steps=1", folder=tmp_path))
    export_safetensors(*read_trained(tmp_path / "base"), tmp_path / "weights")
    start = f"training_module.start_from_checkpoint={tmp_path / 'weights'}"
    found = build_module(tiny(start, folder=tmp_path), tmp_path).net.state_dict()
    expected = load_tamrfsits(tmp_path / "weights")[0].state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_checkpoint_is_scored_without_training(tmp_path: Path) -> None:
    last = train(tiny("trainer.max_steps=4", folder=tmp_path))
    found = assess(tiny(folder=tmp_path), last, "validate", tmp_path / "scored")
    assert found["validation/total_loss"] == pytest.approx(
        losses(tmp_path / "base", "validation/total_loss")[3], rel=1e-5
    )
    with pytest.raises(InputError, match="family tamrfsits has no test"):
        assess(tiny(folder=tmp_path), last, "test", tmp_path / "scored")
    with pytest.raises(ReadError, match="no checkpoint"):
        assess(tiny(folder=tmp_path), tmp_path / "none.ckpt", "validate", tmp_path / "scored")
