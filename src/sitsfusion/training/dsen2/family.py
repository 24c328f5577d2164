"""DSen2 as a family of networks that can be trained."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Callback

from sitsfusion.checkpoints.dsen2 import build, load_dsen2
from sitsfusion.training.data import SampleModule
from sitsfusion.training.dsen2.config import Config
from sitsfusion.training.dsen2.data import samples
from sitsfusion.training.dsen2.module import Dsen2Module
from sitsfusion.training.image_pairs import collate

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> Dsen2Module:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    weights, options = config.weights(), config.training_module
    torch.manual_seed(config.seed)
    net = build(weights)
    if config.network.zero_start:
        torch.nn.init.zeros_(net.conv2.weight)
    built = Dsen2Module(net, weights, options, seed=config.seed, folder=folder)
    return built.start_from(options.start_from_checkpoint, load_dsen2)


def data(config: Config) -> SampleModule:
    """Training and validation samples; opens the images, or simulates places as they are needed."""
    train, validation = samples(config)
    return SampleModule(train, validation, collate, config.datamodule, config.seed)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """None beside those that all runs have."""
    return []
