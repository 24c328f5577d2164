"""Samples of simulated places: noise-free fine images as truth, and coarse ones made of them.

Of a place the truth is known at any day, for the bands of both sensors. A sample is a crop of two days, at most three
months apart: F1 and F2 are the fine sensor's truth, C1 and C2 the coarse sensor's, averaged over coarse pixels, with a
little noise, and brought back onto the fine grid (bicubic), as they would be at inference.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sitsfusion.datasets.cache import Tensors, fetch
from sitsfusion.datasets.stf_batch import StfBatch
from sitsfusion.datasets.stf_sets import SIX
from sitsfusion.methods.stf_classical.blocks import block_means
from sitsfusion.ops.resample import bicubic
from sitsfusion.simulate import World, simulate_place
from sitsfusion.training.stf.config import DataConfig

_YEAR = 2022
_UNSEEN = 1_000_000  # seeds of validation places begin here; of test places at twice that
_EVERY = 12  # days between the images kept
_FARTHEST = 8  # images between the two days of a sample: three months, as far as one looks for a clear pair
_NOISE = 0.004  # standard deviation of a coarse reflectance
_SCALE = 10_000
_IN_MEMORY = 12


def simulated_samples(
    options: DataConfig, scale: tuple[float, float], seed: int
) -> tuple[SimulatedPairs, SimulatedPairs, SimulatedPairs]:
    """Training, validation and test samples of different places."""
    few = options.validation_scenes

    def unseen(first: int) -> SimulatedPairs:
        return SimulatedPairs(options, scale, seed, range(first, first + few), augment=False)

    train = SimulatedPairs(options, scale, seed, range(options.scenes), augment=options.augment)
    return train, unseen(_UNSEEN), unseen(2 * _UNSEEN)


class SimulatedPairs:
    """Sample i is of place `i % places`; crops and days are drawn from (seed, epoch, i)."""

    def __init__(
        self, options: DataConfig, scale: tuple[float, float], seed: int, places: range, *, augment: bool
    ) -> None:
        self.options, self.scale, self.seed, self.places = options, scale, seed, places
        self.augment, self.epoch = augment, 0
        self._place: Callable[[int], Tensors] = lru_cache(_IN_MEMORY)(self._opened)

    def __len__(self) -> int:
        return len(self.places) * self.options.samples_per_scene

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is; samples that are not augmented are the same in all."""
        self.epoch = epoch if self.augment else 0

    def date(self, index: int) -> str:
        """The place of a sample: what a table of simulated tests has a row for."""
        return f"place {self.places[index % len(self.places)]}"

    def __getitem__(self, index: int) -> StfBatch:
        place = self._place(self.places[index % len(self.places)])
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")  # noqa: S311
        second = rng.randrange(len(place["fine"]))
        near = range(max(0, second - _FARTHEST), min(len(place["fine"]), second + _FARTHEST + 1))
        first = rng.choice([t for t in near if t != second])
        side, ratio = self.options.tile, self.options.ratio
        corner = [ratio * rng.randrange((n - side) // ratio + 1) for n in place["fine"].shape[-2:]]
        cut = (..., slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side))
        noise = np.random.default_rng(rng.getrandbits(32))

        def image(name: str, t: int) -> Tensor:
            values = place[name][t].float() / _SCALE
            return (values if name == "fine" else _coarse(values, ratio, noise))[cut]

        turn, mirror = (rng.randrange(4), rng.random() < 0.5) if self.augment else (0, False)
        images = [image(*which) for which in (("coarse", first), ("fine", first), ("coarse", second), ("fine", second))]
        turned = [torch.rot90(x.flip(-1) if mirror else x, turn, (-2, -1))[None].contiguous() for x in images]
        coarse_ref, fine_ref, coarse, target = (x * self.scale[0] + self.scale[1] for x in turned)
        return StfBatch(coarse_ref, fine_ref, coarse, target)

    def _opened(self, seed: int) -> Tensors:
        folder, size = self.options.cache, self.options.size

        def make() -> Tensors:
            return simulated_place(seed, size)

        return make() if folder is None else fetch(folder / f"stf-{seed}-{size}px.safetensors", make)


def simulated_place(seed: int, size: int) -> Tensors:
    """Truth of a place every 12 days of a year: `fine` and `coarse`, int16 reflectance x 10000 [t 6 h w]."""
    place = simulate_place(size, seed=seed, world=World.draw(seed))
    days = [date(_YEAR, 1, 8) + timedelta(n) for n in range(0, 350, _EVERY)]
    found: Tensors = {}
    for role in ("fine", "coarse"):
        instrument = place.instrument(role)
        names = [instrument.sensor.band(key).common_name for key in instrument.bands]
        values = np.stack([place.truth(role, day)[[names.index(name) for name in SIX]] for day in days])
        found[role] = torch.from_numpy(np.clip(np.round(values * _SCALE), 0, 32767).astype(np.int16))
    return found


def _coarse(truth: Tensor, ratio: int, noise: np.random.Generator) -> Tensor:
    """What a coarse sensor sees of `[c h w]`, on the fine grid."""
    h, w = (side - side % ratio for side in truth.shape[-2:])
    means = block_means(truth[..., :h, :w], ratio)
    drawn = torch.from_numpy(noise.normal(0, _NOISE, tuple(means.shape)).astype(np.float32))
    seen: Tensor = bicubic(means + drawn, 1 / ratio)
    return seen
