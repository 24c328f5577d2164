"""Training samples of networks that turn images of one day into one image: crops of places, turned and mirrored.

A place is a dictionary of tensors `[t, c, h, w]` of one extent on grids that nest: a crop is a number of cells, the
pixels of the coarsest tensor. Which day, crop and turn a sample has follows from (seed, epoch, index) alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from sitsfusion.errors import InputError

Tensors = dict[str, Tensor]
_IN_MEMORY = 64  # places


class PairSamples:
    """Map-style data set: sample i is of place `i % places`.

    Args:
        load: the tensors of a place by its number; the last few are kept in memory.
        places: how many there are.
        per_place: samples of each in an epoch.
        crop: side of a sample in cells; None for whole places.
        seed: of days, crops and turns.
        augment: whether to turn and mirror.
        other_day: {new name: name}: the same tensor on another day of the place.

    Raises:
        InputError: a place without another day though one is wanted, or smaller than a crop.
    """

    def __init__(
        self,
        load: Callable[[int], Mapping[str, Tensor]],
        places: int,
        *,
        per_place: int,
        crop: int | None,
        seed: int,
        augment: bool,
        other_day: Mapping[str, str] | None = None,
    ) -> None:
        self.load = lru_cache(_IN_MEMORY)(load)
        self.places, self.per_place, self.crop = places, per_place, crop
        self.seed, self.augment, self.other_day = seed, augment, dict(other_day or {})
        self.epoch = 0

    def __len__(self) -> int:
        return self.places * self.per_place

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is: samples are drawn from it."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Tensors:
        """Tensors `[c, h, w]` by name."""
        place = self.load(index % self.places)
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")  # noqa: S311
        days = len(next(iter(place.values())))
        day = rng.randrange(days)
        sample = {name: images[day] for name, images in place.items()}
        if self.other_day:
            if days < 2:
                raise InputError(f"place {index % self.places} has one day only; two are needed")
            at = rng.choice([t for t in range(days) if t != day])
            sample |= {name: place[source][at] for name, source in self.other_day.items()}
        if self.crop is not None:
            sample = cropped(sample, self.crop, rng)
        return turned(sample, rng.randrange(4), rng.random() < 0.5) if self.augment else sample


def cropped(sample: Tensors, side: int, rng: random.Random) -> Tensors:
    """A random square of `side` cells of tensors of one extent; InputError if they are smaller."""
    height, width = (min(x.shape[dim] for x in sample.values()) for dim in (-2, -1))
    if min(height, width) < side:
        raise InputError(f"a crop of {side} cells does not fit images of {height} x {width}")
    row, col = rng.randrange(height - side + 1), rng.randrange(width - side + 1)
    out = {}
    for name, x in sample.items():
        n = x.shape[-2] // height
        out[name] = x[..., row * n : (row + side) * n, col * n : (col + side) * n]
    return out


def turned(sample: Tensors, turn: int, mirror: bool) -> Tensors:
    """All tensors turned by `turn` quarters and, if asked for, mirrored."""
    rotated = {name: x.rot90(turn, (-2, -1)) for name, x in sample.items()}
    return {name: (x.flip(-1) if mirror else x).contiguous() for name, x in rotated.items()}


def collate(samples: Sequence[Tensors]) -> Tensors:
    """Samples of one size as a batch: `[n, c, h, w]` by name."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
