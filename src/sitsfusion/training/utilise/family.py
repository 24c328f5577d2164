"""U-TILISE as a family of networks that can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from sitsfusion.checkpoints.utilise import load_utilise
from sitsfusion.datasets.utilise_data import gap_samples
from sitsfusion.datasets.utilise_samples import collate
from sitsfusion.training.data import SampleModule
from sitsfusion.training.utilise import simulated
from sitsfusion.training.utilise.config import Config, SimulatedConfig
from sitsfusion.training.utilise.module import UtiliseModule
from sitsfusion.training.utilise.prepare import prepare
from sitsfusion.training.utilise.scores import ScoresAtEnd

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> UtiliseModule:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    weights = config.weights()
    torch.manual_seed(config.seed)
    built = UtiliseModule(weights, config.training_module, seed=config.seed, folder=folder)
    return built.start_from(config.training_module.start_from_checkpoint, load_utilise)


def data(config: Config) -> SampleModule:
    """Training, validation and test samples; makes what is missing of the files, opens them."""
    options = config.datamodule
    parts: tuple[Any, Any, Any]
    if isinstance(options, SimulatedConfig):
        parts = simulated.datasets(options)
    else:
        prepare(options, config.seed)
        settings = options.data
        # tested on whole sequences
        whole = settings.model_copy(update={"max_seq_length": None})
        parts = (
            gap_samples(settings, options.mask, "train", seed=config.seed),
            gap_samples(settings, options.mask, "val", seed=config.seed),
            gap_samples(whole, options.mask, "test", seed=config.seed),
        )
    train, validation, test = parts
    return SampleModule(train, validation, collate, options, config.seed, test)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """The table of scores at the end, if asked for."""
    options = config.training_module
    return [ScoresAtEnd(folder, options.score_samples)] if options.score_at_end else []
