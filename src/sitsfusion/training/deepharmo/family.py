"""Deep-Harmonization as a family of networks that can be trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback

from sitsfusion.checkpoints.deepharmo import load_deepharmo
from sitsfusion.datasets.s2l8h import PairType, PatchPair, find_patch, read_metadata, read_patch
from sitsfusion.training.data import SampleModule
from sitsfusion.training.deepharmo.config import Config, PatchesConfig, SimulatedConfig
from sitsfusion.training.deepharmo.module import DeepHarmoModule
from sitsfusion.training.image_pairs import PairSamples, Tensors, collate
from sitsfusion.training.simulated_places import UNSEEN, landsat_pair

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> DeepHarmoModule:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    weights, options = config.weights(), config.training_module
    torch.manual_seed(config.seed)
    built = DeepHarmoModule(weights, options, seed=config.seed, folder=folder)
    return built.start_from(options.start_from_checkpoint, load_deepharmo)


def data(config: Config) -> SampleModule:
    """Training, validation and, for patches, test samples; opens the table, or simulates places as they are needed."""
    options = config.datamodule
    if isinstance(options, SimulatedConfig):
        train = _places(options, options.first_seed, options.places, True)
        validation = _places(options, UNSEEN, options.validation_places, False)
        return SampleModule(train, validation, collate, options, config.seed)
    train, validation, test = (_patches(options, pair_type) for pair_type in ("Train", "Validation", "Test"))
    return SampleModule(train, validation, collate, options, config.seed, test)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """None beside those that all runs have."""
    return []


def _places(options: SimulatedConfig, first: int, places: int, train: bool) -> PairSamples:
    return PairSamples(
        lambda number: landsat_pair(options, first + number),
        places,
        per_place=options.samples_per_place if train else options.validation_samples_per_place,
        crop=options.crop,
        seed=options.seed,
        augment=train,
    )


def _patches(options: PatchesConfig, pair_type: PairType) -> PairSamples:
    rows: Sequence[PatchPair] = read_metadata(
        options.metadata,
        pair_type=pair_type,
        locations=options.locations,
        dates=options.dates,
        min_fields=options.min_fields,
    )

    def load(number: int) -> Tensors:
        patch = read_patch(find_patch(options.folder, rows[number].patch_id), scaled=options.scaled)
        arrays = {"coarse": patch.l8, "pan": patch.pan, "target": patch.s2}
        return {name: torch.from_numpy(x)[None] for name, x in arrays.items()}

    augment = options.augment and pair_type == "Train"
    return PairSamples(load, len(rows), per_place=1, crop=None, seed=options.seed, augment=augment)
