"""DSTFN as a family of networks that can be trained."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Callback

from sitsfusion.checkpoints.dstfn import load_dstfn
from sitsfusion.training.data import SampleModule
from sitsfusion.training.dstfn.config import Config
from sitsfusion.training.dstfn.module import DstfnModule
from sitsfusion.training.image_pairs import PairSamples, collate
from sitsfusion.training.simulated_places import UNSEEN, landsat_pair

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> DstfnModule:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    weights, options = config.weights(), config.training_module
    torch.manual_seed(config.seed)
    built = DstfnModule(weights, options, seed=config.seed, folder=folder)
    return built.start_from(options.start_from_checkpoint, load_dstfn)


def data(config: Config) -> SampleModule:
    """Training and validation samples; places are simulated as they are needed."""
    options = config.datamodule

    def samples(first: int, places: int, train: bool) -> PairSamples:
        return PairSamples(
            lambda number: landsat_pair(options, first + number),
            places,
            per_place=options.samples_per_place if train else options.validation_samples_per_place,
            crop=options.crop,
            seed=options.seed,
            augment=train,
            other_day={"fine": "target"},
        )

    train = samples(options.first_seed, options.places, True)
    return SampleModule(train, samples(UNSEEN, options.validation_places, False), collate, options, config.seed)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """None beside those that all runs have."""
    return []
