"""A training run: a folder with its configuration, checkpoints, logs and pictures.

RUN/config.yaml          what was asked for, complete
RUN/checkpoints/         last.ckpt, the best, the permanent ones
RUN/csv, tensorboard, wandb, pictures
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from sitsfusion.errors import InputError, MissingExtraError, PlanError, ReadError
from sitsfusion.training import families
from sitsfusion.training.callbacks import CHECKPOINTS, LAST, AtomicCheckpointIO, callbacks, logger
from sitsfusion.training.compose import as_yaml
from sitsfusion.training.config import RunConfig, TrainerConfig
from sitsfusion.training.module import TrainedModule

try:
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.strategies import DDPStrategy
except ImportError as error:
    raise MissingExtraError("training", "train") from error

CONFIG = "config.yaml"
# Remarks of Lightning on what is meant to be so.
_EXPECTED = (
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",  # scored, not trained
    "Checkpoint directory .* exists and is not empty",  # a resumed run
    "`training_step` returned `None`",  # a step without any computable term
    ".*does not have many workers",  # num_workers is the user's choice
    "Precision .* is not supported by the model summary",
    r".*isinstance\(treespec, LeafSpec\)",  # Lightning against newer PyTorch
)


def train(config: RunConfig, folder: Path | None = None, *, resume: bool = False) -> Path:
    """Train, or go on training, and return the last checkpoint.

    Args:
        config: of the run.
        folder: of the run; by default its name below `location.runs`.
        resume: go on from the folder's last checkpoint. A job that SLURM restarted does so by itself.

    Raises:
        InputError: data or options that cannot be used, no GPU where one is asked for.
        PlanError: the folder holds a run and `resume` was not asked for, or holds none and it was.
        CheckpointError: the checkpoint belongs to another configuration.
        DivergedError: the loss is not finite. WriteError: the disk is full. Requeued: SLURM runs the rest later.
    """
    folder = folder or config.location.runs / config.name
    require_device(config.trainer)
    start = _starting_point(folder, resume)
    family = families.get(config.family)
    module, data = family.module(config, folder), family.data(config)
    _write_config(config, folder)
    trainer = _prepared(config, folder, module)
    with _without_expected_remarks():
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    return folder / CHECKPOINTS / LAST


def assess(config: RunConfig, checkpoint: Path, stage: Literal["validate", "test"], folder: Path) -> dict[str, float]:
    """The numbers that a checkpoint of this configuration has on the validation or test samples, also logged in
    `folder`; nothing is trained.

    Raises:
        ReadError: no checkpoint there. CheckpointError: it belongs to another configuration. InputError: as `train`.
    """
    if not checkpoint.is_file():
        raise ReadError(f"no checkpoint at {checkpoint}: give a .ckpt file of a run")
    require_device(config.trainer)
    family = families.get(config.family)
    module, data = family.module(config, folder), family.data(config)
    if stage == "test" and type(module).test_step is LightningModule.test_step:
        raise InputError(f"family {config.family} has no test: use --validate, or sitsfusion evaluate")
    # Callbacks that save are left out, and with them what they would take from the checkpoint.
    trainer = _prepared(config, folder, module, callbacks=family.callbacks(config, folder))
    run = trainer.validate if stage == "validate" else trainer.test
    with _without_expected_remarks():
        [found] = run(module, data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    return dict(found)


def _prepared(config: RunConfig, folder: Path, module: TrainedModule, **changes: Any) -> Trainer:
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    torch.set_float32_matmul_precision(config.trainer.matmul_precision)
    return build_trainer(config, folder, module.steps_per_batch, **changes)


@contextmanager
def _without_expected_remarks() -> Iterator[None]:
    with warnings.catch_warnings():
        for remark in _EXPECTED:
            warnings.filterwarnings("ignore", remark)
        yield


def build_trainer(config: RunConfig, folder: Path, steps_per_batch: int = 1, **changes: Any) -> Trainer:
    """Lightning's trainer; `changes` replace its arguments. Configured steps are batches; Lightning counts those of
    optimisers.
    """
    options = config.trainer
    slurm = SLURMEnvironment.detect()
    several = options.devices * options.num_nodes > 1
    # Not every step uses every encoder (a sensor may be hidden altogether).
    strategy = DDPStrategy(find_unused_parameters=True) if several else "auto"
    arguments: dict[str, Any] = {
        "accelerator": options.accelerator,
        "devices": options.devices,
        "num_nodes": options.num_nodes,
        "strategy": strategy,
        "precision": options.precision,
        "gradient_clip_val": options.gradient_clip_val,
        "max_epochs": options.max_epochs,
        "max_steps": options.max_steps * steps_per_batch,
        "val_check_interval": options.val_check_interval,
        "check_val_every_n_epoch": None,
        "limit_val_batches": options.limit_val_batches,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": options.log_every_n_steps,
        "enable_progress_bar": config.callbacks.progress_bar,
        "enable_model_summary": False,  # a callback of ours
        "use_distributed_sampler": False,  # `StepSampler` knows the processes
        "default_root_dir": folder,
        "logger": logger(config.loggers, folder, config.name),
        "callbacks": callbacks(config.callbacks, folder, slurm, families.get(config.family).callbacks(config, folder)),
        "plugins": [AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if slurm else [])],
    }
    return Trainer(**arguments | changes)


def require_device(options: TrainerConfig) -> None:
    """InputError if GPUs are asked for that are not there."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.accelerator == "gpu" and found < options.devices:
        raise InputError(
            f"the training asks for {options.devices} GPU(s) and {found} can be used: train on a machine with GPUs, "
            "or choose trainer=cpu"
        )


def _starting_point(folder: Path, resume: bool) -> Path | None:
    last = folder / CHECKPOINTS / LAST
    restarted = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    if resume or (restarted and last.is_file()):
        if not last.is_file():
            raise PlanError(f"{folder} holds no {CHECKPOINTS}/{LAST} to resume from: start without --resume")
        return last
    if last.is_file():
        raise PlanError(f"{folder} holds a run already: go on with --resume, or choose another folder with --out")
    return None


def _write_config(config: RunConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(as_yaml(config))
