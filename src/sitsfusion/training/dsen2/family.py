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
from sitsfusion.training.export import is_run_checkpoint, read_trained
from sitsfusion.training.image_pairs import collate
from sitsfusion.training.module import require_same_network

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> Dsen2Module:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    weights, options = config.weights(), config.training_module
    torch.manual_seed(config.seed)
    net = build(weights)
    if config.network.zero_start:
        torch.nn.init.zeros_(net.conv2.weight)
    built = Dsen2Module(net, weights, options, seed=config.seed, folder=folder)
    path = options.start_from_checkpoint
    if path is not None:
        given, found = read_trained(path) if is_run_checkpoint(path) else load_dsen2(path)
        require_same_network(found, weights, str(path))
        built.net.load_state_dict(given.state_dict())
    return built


def data(config: Config) -> SampleModule:
    """Training and validation samples; opens the images, or simulates places as they are needed."""
    train, validation = samples(config)
    return SampleModule(train, validation, collate, config.datamodule, config.seed)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """None beside those that all runs have."""
    return []
