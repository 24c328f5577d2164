"""Cross-sensor super-resolution as a family of networks that can be trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from sitsfusion.checkpoints.misr import MisrNet, load_misr, read_published
from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.metrics.lpips_alex import load_alex_lpips
from sitsfusion.nets.misr import Backbone
from sitsfusion.nets.misr_config import MisrConfig
from sitsfusion.nets.srdiff import SrDiff, build_misr
from sitsfusion.training.data import SampleModule
from sitsfusion.training.export import is_run_checkpoint, read_trained
from sitsfusion.training.misr.config import Config
from sitsfusion.training.misr.data import datamodule
from sitsfusion.training.misr.module import MisrModule
from sitsfusion.training.misr.tables import write_tables
from sitsfusion.weights.misr import MisrWeights

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> MisrModule:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    options = config.training_module
    trained = _trained_backbone(config)
    architecture = config.network if trained is None else _with_backbone(config.network, trained[1].architecture)
    weights = config.weights(architecture)
    torch.manual_seed(config.seed)
    net = build_misr(architecture)
    if trained is not None and isinstance(net, SrDiff) and net.backbone is not None:
        net.backbone.load_state_dict(trained[0].state_dict())
    lpips = None if options.lpips_files is None else load_alex_lpips(options.lpips_files)
    built = MisrModule(net, weights, options, lpips=lpips, seed=config.seed, folder=folder)
    return built.start_from(options.start_from_checkpoint, read_any)


def data(config: Config) -> SampleModule:
    """Training, validation and test samples; makes up and prepares sites where that was asked for."""
    return datamodule(config)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """The table of the test samples, if asked for."""
    return [TableAtEnd()] if config.training_module.table_at_end else []


class TableAtEnd(Callback):
    """Scores the test samples when training ends, in the main process."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        samples: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not trainer.is_global_zero or not isinstance(pl_module, MisrModule):
            return
        rows, baseline = [], []
        pl_module.eval()
        for index in range(len(samples.test)):  # all of them, however many processes train
            batch = samples.collate([samples.test[index]])
            moved = {name: values.to(pl_module.device) for name, values in batch.items()}
            rows += pl_module.test_rows(moved, index)
            baseline += pl_module.baseline_rows(moved)
        write_tables(pl_module.folder, rows, baseline)


def read_any(path: Path) -> tuple[MisrNet, MisrWeights]:
    """A network of a run, of our weights format, or of a published checkpoint or experiment folder.

    Raises:
        ReadError, CheckpointError: as the readers; a run of another family.
    """
    if is_run_checkpoint(path):
        net, weights = read_trained(path)
        if not isinstance(net, Backbone | SrDiff):
            raise CheckpointError(f"{path} holds no super-resolution network but {type(net).__name__}")
        return net, weights
    if path.is_dir() and any(path.glob("model_ckpt_steps_*.ckpt")):
        return read_published(path)
    return load_misr(path)


def _trained_backbone(config: Config) -> tuple[Backbone, MisrWeights] | None:
    path = config.training_module.backbone_weights
    needed = config.network.diffusion is not None and config.network.backbone is not None
    if not needed:
        if path is not None:
            raise InputError(f"{config.network.describe()} has no frozen backbone: leave out backbone_weights ({path})")
        return None
    if path is None:
        raise InputError(
            f"{config.network.describe()} needs a trained backbone: train one first, then give its run as "
            "training_module.backbone_weights=RUN"
        )
    net, weights = read_any(path)
    if not isinstance(net, Backbone):
        raise CheckpointError(f"{path} holds {weights.architecture.describe()}, expected a backbone alone")
    own = config.weights()
    if weights.bands != own.bands:
        raise CheckpointError(
            f"the backbone in {path} was trained on {_told(weights)}, this run on {_told(own)}: set datamodule.maxima "
            "to the backbone's"
        )
    return net, weights


def _with_backbone(network: MisrConfig, trained: MisrConfig) -> MisrConfig:
    """The network on the trained backbone, whose options are taken over; CheckpointError if it is of another kind."""
    same = network.backbone is not None and trained.backbone is not None
    if not same or network.backbone.name != trained.backbone.name or network.views != trained.views:  # type: ignore[union-attr]
        raise CheckpointError(
            f"the backbone is {trained.describe()} of {trained.views} view(s), the configuration asks for "
            f"{network.describe()} of {network.views}"
        )
    return replace(network, backbone=trained.backbone)


def _told(weights: MisrWeights) -> str:
    return ", ".join(f"{band.key} up to {band.maximum:g}" for band in weights.bands)
