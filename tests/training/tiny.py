"""Training small enough for tests: a data set drawn from numbers, and options that make everything tiny."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from sitsfusion.samples import Sample
from sitsfusion.series import Series
from sitsfusion.training.compose import compose
from sitsfusion.training.tamrfsits import data
from sitsfusion.training.tamrfsits.config import Config

SIDE = 6  # coarse pixels

NETWORK = [
    *(f"training_module.network.{name}=4" for name in ("latent", "feedforward", "decoder_feedforward")),
    *(f"training_module.network.{name}=2" for name in ("heads", "decoder_heads", "sensor_token")),
    "training_module.network.layers=1",
    "positional_encoding.encoding_features=4",
    "hr_encoder.growth=2",
    "lr_encoder.growth=2",
    "decoder.hidden=4",
]
OBJECTIVE = ["training_module.objective_config.margin=3", "training_module.objective_config.lpips=false"]
RUN = [
    "trainer=cpu",
    "datamodule=simulated",
    "~datamodule.config",
    "+datamodule.config={samples:6,num_workers:0,spoilt:null}",
    "training_module.optimiser.learning_rate=0.01",
    "training_module.optimiser.warmup_steps=3",
    "trainer.max_steps=8",
    "trainer.val_check_interval=4",
    "trainer.log_every_n_steps=1",
    "callbacks.progress_bar=false",
    "callbacks.last_every_n_steps=1",
]


class TinySamples:
    """Smooth images under random clouds; the dates of a sample depend on the epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0
        self.spoilt: int | None = None  # a sample that is NaN where it says that it is valid

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = torch.Generator().manual_seed(1000 * self.seed + 10 * index + self.epoch)
        lr, hr = (series(rng, 3 + index % 2, bands, side) for bands, side in ((8, SIDE), (10, 3 * SIDE)))
        lr.values[:, :, 7] = 290 + 10 * lr.values[:, :, 7]  # kelvin
        if index == self.spoilt:
            hr.values.fill_(torch.inf)
        days = torch.arange(0, 300, 60)[None]
        truth = (series(rng, 5, 8, 3 * SIDE), series(rng, 5, 10, 3 * SIDE))
        truth[0].values[:, :, 7] = 290 + 10 * truth[0].values[:, :, 7]
        return Sample(lr, hr, (Series(truth[0].values, days), Series(truth[1].values, days)))


def series(rng: torch.Generator, dates: int, bands: int, side: int) -> Series:
    values = 0.2 + 0.1 * torch.rand(1, dates, bands, side, side, generator=rng)
    days = torch.randperm(300, generator=rng)[:dates].sort().values[None] + 1
    return Series(values, days, torch.rand(1, dates, side, side, generator=rng) > 0.2)


# --- the protocol of `data.KINDS` -------------------------------------------------------------------------------


def configure(options: Mapping[str, Any]) -> Mapping[str, Any]:
    return options


def datasets(options: Mapping[str, Any]) -> tuple[TinySamples, TinySamples, None]:
    train = TinySamples(options["samples"], 1)
    train.spoilt = options.get("spoilt")
    return train, TinySamples(2, 2), None


def use(monkeypatch: Any) -> None:
    """Make `datamodule=simulated` mean this module."""
    monkeypatch.setitem(data.KINDS, "simulated", __name__)


def tiny(*overrides: str, folder: Path, objective: bool = True) -> Config:
    """`objective`: with the options of the tamrfsits objective."""
    found = compose([*RUN, *NETWORK, *(OBJECTIVE if objective else ()), f"location.runs={folder}", *overrides])
    return cast(Config, found)


def losses(folder: Path, name: str = "train/total_loss", version: int | str = "*") -> dict[int, float]:
    """By step, from the CSV logs of a run: one log for each time it was started."""
    found: dict[int, float] = {}
    for file in sorted((folder / "csv").glob(f"version_{version}/metrics.csv")):
        rows = list(csv.DictReader(file.read_text().splitlines()))
        found |= {int(row["step"]): float(row[name]) for row in rows if row.get(name)}
    return found
