"""The kinds of data that TAMRFSITS trains on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sitsfusion.samples import collate_samples
from sitsfusion.training.data import SampleModule
from sitsfusion.training.tamrfsits.config import DatamoduleConfig

# Modules that offer `configure(options) -> pydantic config` (no file is opened) and
# `datasets(config) -> (train, validation, test)`.
KINDS = {"ls2s2": "sitsfusion.training.tamrfsits.ls2s2", "simulated": "sitsfusion.training.tamrfsits.simulated"}


def configure(config: DatamoduleConfig) -> Any:
    """The data set's own configuration; InputError names the full path of what does not fit. Opens no file."""
    return import_module(KINDS[config.kind]).configure(config.options())


def datamodule(config: DatamoduleConfig, seed: int) -> SampleModule:
    """The data module of a configuration; opens the data."""
    train, validation, _ = import_module(KINDS[config.kind]).datasets(configure(config))
    return SampleModule(train, validation, collate_samples, config.loader(), seed)
