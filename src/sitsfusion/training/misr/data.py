"""Samples of BreizhSR, or of made-up places in its layout, for training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sitsfusion.datasets.breizhsr import BreizhSr, MisrSample, Split, collate, cropped, index_file
from sitsfusion.datasets.breizhsr_convert import convert_breizhsr
from sitsfusion.datasets.breizhsr_twin import fabricate_breizhsr
from sitsfusion.errors import InputError
from sitsfusion.training.config import LoaderConfig
from sitsfusion.training.data import SampleModule
from sitsfusion.training.misr.config import Config


@dataclass
class Sites:
    """The samples of a split. `crop`: side of random squares, drawn from (seed, epoch, index); None: whole sites."""

    sites: BreizhSr
    crop: int | None = None
    seed: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.sites)

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the samples asked for next."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> MisrSample:
        sample = self.sites[index]
        if self.crop is None:
            return sample
        height, width = sample.views.shape[-2:]
        if min(height, width) < self.crop:
            raise InputError(
                f"site {sample.id} has {height} x {width} pixels, less than the crop of {self.crop}: lower "
                "datamodule.crop"
            )
        rng = np.random.default_rng([self.seed, self.epoch, index])
        row, col = (int(rng.integers(side - self.crop + 1)) for side in (height, width))
        return cropped(sample, self.crop, row, col)


def datamodule(config: Config) -> SampleModule:
    """The data module of a configuration; makes up and prepares sites where that was asked for."""
    options = config.datamodule
    if options.made_up is not None:
        made = options.made_up
        fabricate_breizhsr(options.root, sites=made.sites, side=made.side, seed=made.seed)
        if not index_file(options.root, "test").is_file():
            convert_breizhsr(options.root)
    train, validation, test = (_sites(config, split) for split in ("train", "val", "test"))
    loader = LoaderConfig.model_validate({name: getattr(options, name) for name in LoaderConfig.model_fields})
    return SampleModule(replace(train, crop=options.crop), validation, collate, loader, config.seed, test)


def _sites(config: Config, split: Split) -> Sites:
    options = config.datamodule
    maxima = tuple(options.maxima.values())
    found = BreizhSr(Path(options.root), split, views=config.network.views, maxima=maxima, matching=options.matching)
    return Sites(found, seed=config.seed)
