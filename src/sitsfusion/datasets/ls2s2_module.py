"""LS2S2 for training: configuration, published presets, and the three data sets of `Sample`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from sitsfusion.datasets import ls2s2_splits
from sitsfusion.datasets.ls2s2 import SiteParameters, SitesReader
from sitsfusion.datasets.statistics import SampleStatistics, collect
from sitsfusion.errors import InputError
from sitsfusion.samples import Sample
from sitsfusion.series import Series

NODATA = -10000


class Ls2s2DataConfig(SiteParameters):
    """Sites, and how they are cut into training, validation and test samples.

    Names are those of the reference (TAMRFSITS), defaults those of its published settings; but dates are drawn among
    those of the slice, and the last date is not lost (`preset(..., reference=True)` gives what the reference does).
    """

    training_sites: tuple[Path, ...] = Field(min_length=1, description="folders; item numbers follow their order")
    testing_sites: tuple[Path, ...] = Field((), description="folders of other places")
    patch_size: float = Field(1650, gt=0, description="side of a patch, metres")
    mtf_for_downsampling: float = Field(0.3, gt=0, le=1, description="at Nyquist; used where pixels become coarser")
    dt_orig: date | None = Field(None, description="day 0; None: the first valid fine date of the site")
    time_slices_in_days: int | None = Field(365, gt=0, description="length of a slice; None: one slice for all dates")
    min_nb_dates: int = Field(5, ge=0, description="slices need more dates than this of both sensors")
    max_nb_dates: int | None = Field(50, gt=0, description="dates of a training or validation sample, drawn at random")
    draw_from: Literal["site", "slice"] = Field("slice", description="what dates are drawn from, as in SiteParameters")
    exclude_last_date: bool = Field(False, description="leave out the last date, as in SiteParameters")
    testing_random_reduce_rate: float | None = Field(None, gt=0, le=1, description="as random_reduce_rate, test only")
    validation_indices: tuple[int, ...] | None = Field(
        None, description="items of the training sites kept for validation; all others are for training"
    )
    train_ratio: float = Field(0.9, gt=0, le=1, description="without validation_indices: share drawn for training")
    validation_ratio: float = Field(0.1, ge=0, lt=1, description="without validation_indices: share for validation")
    cache_dir: Path | None = Field(None, description="folder that keeps samples as read, for the next epochs")
    seed: int = Field(42, description="of all random choices: split, dates")

    @model_validator(mode="after")
    def _shares_fit(self) -> Ls2s2DataConfig:
        if self.train_ratio + self.validation_ratio > 1 + 1e-9:
            raise ValueError(f"train_ratio {self.train_ratio} and validation_ratio {self.validation_ratio} exceed 1")
        if self.validation_indices is not None and len(set(self.validation_indices)) < len(self.validation_indices):
            raise ValueError("validation_indices names an item twice")
        return self

    def site_parameters(self, **changes: object) -> SiteParameters:
        """What the reader of a site needs of this, with changes."""
        own = self.model_dump(include=set(SiteParameters.model_fields))
        return SiteParameters.model_validate(own | changes)


class DataSets(NamedTuple):
    """The three data sets; `test` is None without testing sites."""

    train: Ls2s2Samples
    validation: Ls2s2Samples
    test: Ls2s2Samples | None


class Ls2s2Samples(Dataset[Sample]):
    """Items of several sites as `Sample` in physical units, batch size 1.

    Values are float32 (reflectance, kelvin), NaN where the file has no data; `valid` is True where clear and observed.
    Dates are drawn from (`purpose`, `seed`, `epoch`, item) alone: any sample of any epoch can be had again, in any
    order and from any process.

    Attributes:
        reader: the sites.
        items: number in `reader` of each sample.
    """

    def __init__(self, reader: SitesReader, items: Sequence[int], seed: int, purpose: str) -> None:
        self.reader, self.items = reader, tuple(items)
        self._key = f"{purpose}/{seed}"
        # in shared memory: worker processes that outlive an epoch see the next one's number
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Draw other dates from now on: those of this epoch. Call it before the epoch's iterator is made."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        item = self.items[index]
        # Text seeds go through SHA-512: neighbouring keys give unrelated numbers, the same ones on every machine.
        rng = random.Random(f"{self._key}/{int(self._epoch)}/{item}")  # noqa: S311 (not a secret)
        lr, hr = self.reader.read(item, rng)
        lr_scales, hr_scales = self.reader.locate(item)[0].scales
        return Sample(physical(lr, lr_scales), physical(hr, hr_scales))


def physical(stored: Series, scales: Tensor) -> Series:
    """Stored numbers times `scales [c]` as float32; NaN, and not valid, where a band has no data (-10000)."""
    absent = stored.values == NODATA  # [b t c h w]
    values = (stored.values * scales[:, None, None]).masked_fill(absent, torch.nan)
    return Series(values, stored.days, stored.usable() & ~absent.any(2))


def datasets(config: Ls2s2DataConfig) -> DataSets:
    """Training, validation and test samples.

    Training and validation samples are patches of the same sites, test samples those of others. Test samples have
    all dates of their slice (but for `testing_random_reduce_rate`).

    Raises:
        InputError: no site has an item; validation items that do not exist; nothing left to train on.
        ReadError: a site that is missing or cannot be read.
    """
    reader = SitesReader(config.training_sites, config.site_parameters(), cache_dir=config.cache_dir)
    train, validation = split(len(reader), config)
    test = None
    if config.testing_sites:
        whole = config.site_parameters(max_nb_dates=None, random_reduce_rate=config.testing_random_reduce_rate)
        others = SitesReader(config.testing_sites, whole, cache_dir=config.cache_dir)
        test = Ls2s2Samples(others, range(len(others)), config.seed, "test")
    return DataSets(
        Ls2s2Samples(reader, train, config.seed, "train"),
        Ls2s2Samples(reader, validation, config.seed, "validation"),
        test,
    )


def split(count: int, config: Ls2s2DataConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Item numbers for training and for validation, of `count` items.

    Raises:
        InputError: validation items that do not exist, or nothing left to train on.
    """
    if config.validation_indices is None:
        train, validation = _random_split(count, config)
    else:
        validation = config.validation_indices
        absent = sorted(item for item in validation if not 0 <= item < count)
        if absent:
            raise InputError(
                f"validation_indices {absent[:5]} do not exist: the training sites have items 0 to {count - 1}; are "
                "all sites of the published list there?"
            )
        kept = set(validation)
        train = tuple(item for item in range(count) if item not in kept)
    if not train:
        raise InputError(f"none of {count} item(s) is left to train on; give more sites or fewer validation items")
    return train, validation


def _random_split(count: int, config: Ls2s2DataConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed)).tolist()
    train = round(count * config.train_ratio)
    return tuple(order[:train]), tuple(order[train : train + round(count * config.validation_ratio)])


def training_statistics(config: Ls2s2DataConfig, patches: int = 2000) -> SampleStatistics:
    """Means and standard deviations of at most `patches` training patches, chosen at random, with all their dates.

    In units of stored number / 10000 (reflectance, kelvin / 1000), as weights are standardised. Errors as `datasets`.
    """
    whole = config.site_parameters(max_nb_dates=None, random_reduce_rate=None)
    reader = SitesReader(config.training_sites, whole, cache_dir=config.cache_dir)
    items = list(split(len(reader), config)[0])
    random.Random(f"statistics/{config.seed}").shuffle(items)  # noqa: S311 (not a secret)
    samples = Ls2s2Samples(reader, items[:patches], config.seed, "statistics")
    lr_scales, hr_scales = reader.sites[0].scales
    return collect((samples[i] for i in range(len(samples))), 1e-4 / lr_scales, 1e-4 / hr_scales)


def preset(name: str, root: Path, *, reference: bool = False, **changes: object) -> Ls2s2DataConfig:
    """A published configuration: `ls2s2_2022`, `ls2s2_all` or `ls2s2_wwmy`, its sites below `root`.

    Args:
        name: of the preset.
        root: folder of the sites (`ls2s2_splits.site_folders` says how it is searched).
        reference: draw dates from the whole site and leave out its last date, as the published training did. Item
            numbers, and with them the published validation items, are the same either way.
        changes: other values of fields.

    Raises:
        InputError: no such preset, or changes that do not fit.
        ReadError: sites that are not there.
    """
    found = ls2s2_splits.published(name)
    content = ls2s2_splits.content()
    fields: dict[str, object] = {
        **content.settings,
        "dt_orig": found.dt_orig,
        "validation_indices": content.validation[found.validation],
        "draw_from": "site" if reference else "slice",
        "exclude_last_date": reference,
    }
    if "training_sites" not in changes:
        fields["training_sites"] = ls2s2_splits.site_folders(root, name, "train")
    if "testing_sites" not in changes:
        fields["testing_sites"] = ls2s2_splits.site_folders(root, name, "test")
    return Ls2s2DataConfig.model_validate(fields | changes)
