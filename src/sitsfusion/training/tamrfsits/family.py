"""TAMRFSITS as a family of networks that can be trained."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Callback

from sitsfusion.checkpoints.tamrfsits import load_tamrfsits
from sitsfusion.training.data import SampleModule
from sitsfusion.training.tamrfsits.config import Config
from sitsfusion.training.tamrfsits.data import datamodule
from sitsfusion.training.tamrfsits.module import TamrfsitsModule
from sitsfusion.training.tamrfsits.tasks import build_task
from sitsfusion.training.tamrfsits.validation import ValidationMetrics

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> TamrfsitsModule:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    weights = config.weights()
    torch.manual_seed(config.seed)
    options = config.training_module
    built = TamrfsitsModule(weights, build_task(options, weights), options.optimiser, seed=config.seed, folder=folder)
    return built.start_from(options.start_from_checkpoint, load_tamrfsits)


def data(config: Config) -> SampleModule:
    """Training and validation samples; opens the data."""
    return datamodule(config.datamodule, config.seed)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """Errors at hidden and given dates, if asked for."""
    return [ValidationMetrics()] if config.training_module.validation_metrics else []
