"""Training sequences from simulated scenes: images with clouds in, the noise-free surface of the same days out.

A scene is simulated whole from its seed, once, and kept in `cache` or, without one, in memory as long as it is among
the last few. A sample is a random crop of some consecutive images of a scene, turned and mirrored; what the cloud mask
marks is hidden, so are some whole frames and, in some frames, what the clouds of another day cover. All of that is
drawn anew in each epoch, from (seed, epoch, index) alone.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sitsfusion.datasets.cache import Tensors, digest, fetch
from sitsfusion.datasets.utilise_positions import positions
from sitsfusion.simulate import World
from sitsfusion.simulate.scene import simulate_place
from sitsfusion.training.utilise.config import SimulatedConfig

_YEAR = 2022
_IN_MEMORY = 8  # scenes kept without a cache
_VALIDATION, _TEST = 1_000_000, 2_000_000  # seeds of scenes that training never sees begin here
NOTHING = -32768  # stored: not observed
_SCALE = 10_000


def datasets(config: SimulatedConfig) -> tuple[SimulatedSamples, SimulatedSamples, SimulatedSamples]:
    """Training, validation and test samples, of different scenes."""
    return (
        SimulatedSamples(config, config.first_seed, config.scenes, augment=True),
        SimulatedSamples(config, _VALIDATION, config.validation_scenes),
        SimulatedSamples(config, _TEST, config.test_scenes),
    )


class SimulatedSamples:
    """Map-style data set: sample i is of scene `i % scenes`; entries as in `datasets.utilise_samples`."""

    def __init__(self, config: SimulatedConfig, first_seed: int, scenes: int, augment: bool = False) -> None:
        self.config, self.first_seed, self.scenes, self.augment = config, first_seed, scenes, augment
        self.epoch = 0

    def __len__(self) -> int:
        return self.scenes * self.config.samples_per_scene

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is: crops, gaps and turns are drawn from it."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample: `x` (1 where hidden), `y` (the truth), `masks`, `position_days`, `days`, `masks_valid_obs`."""
        scene = _cached(self.config, self.first_seed + index % self.scenes)
        rng = random.Random(f"{self.config.seed}/{self.epoch}/{index}")  # noqa: S311
        return draw_sample(scene, self.config, rng, self.augment)


def scene_arrays(size: int, bands: tuple[str, ...], least_clear: float, seed: int) -> Tensors:
    """What training needs of the Sentinel-2 images of a scene of one year.

    `images` and `truth` int16 [t, c, h, w], reflectance x 10000 (-32768: not observed), `usable` bool [t, h, w],
    `position_days` and `days` [t], of the images with a share of `least_clear` clear pixels, or else of the clearest;
    `clouds` bool [n, h, w], what the masks of all images hide.
    """
    place = simulate_place(size, seed=seed, world=World.draw(seed))
    instrument, passes = place.instrument("fine"), place.passes("fine", _YEAR)
    at = [instrument.bands.index(key) for key in bands]
    acquired = [place.acquire("fine", *image) for image in passes]
    clear = np.stack([each.clear for each in acquired])
    shares = clear.mean((1, 2))
    kept = np.flatnonzero(shares >= min(least_clear, shares.max()))
    values = [[instrument.encodings[b].decode(acquired[t].stored[b]) for b in at] for t in kept]
    dates = [passes[t].day for t in kept]
    return {
        "images": stored(torch.from_numpy(np.array(values, np.float32))),
        "truth": stored(torch.from_numpy(np.stack([place.truth("fine", day)[at] for day in dates]))),
        "usable": torch.from_numpy(clear[kept]),
        "clouds": torch.from_numpy(~clear),
        "position_days": torch.from_numpy(np.asarray(positions(dates, "day-of-year"))),
        "days": torch.from_numpy(np.asarray(positions(dates, "day-within-sequence"))),
    }


def draw_sample(scene: Tensors, config: SimulatedConfig, rng: random.Random, augment: bool) -> dict[str, Any]:
    """A random crop of some consecutive images of a scene, with gaps."""
    usable, clouds = scene["usable"], scene["clouds"]
    first = rng.randrange(max(1, len(usable) - config.length + 1))
    at = slice(first, first + config.length)
    size = usable.shape[-1]
    y, x = (rng.randrange(max(1, size - config.crop + 1)) for _ in range(2))
    cut = (..., slice(y, y + config.crop), slice(x, x + config.crop))
    hidden = ~usable[at][cut]
    for t in range(len(hidden)):
        if rng.random() < config.more_clouds:
            hidden[t] |= clouds[rng.randrange(len(clouds))][cut]
    for t in _hidden_frames(len(hidden), config.hidden, rng):
        hidden[t] = True
    truth, images = (_reflectance(scene[name][at][cut]) for name in ("truth", "images"))
    hidden |= images.isnan().any(1)
    masks = hidden[:, None].float()
    found = {"x": torch.where(hidden[:, None], 1.0, images.clamp(0, 1)), "y": truth.clamp(0, 1), "masks": masks}
    if augment:
        turn, mirror = rng.randrange(4), rng.random() < 0.5
        found = {name: _turned(value, turn, mirror) for name, value in found.items()}
    days = {"position_days": scene["position_days"][at], "days": scene["days"][at] - scene["days"][first]}
    return {**found, **days, "masks_valid_obs": torch.ones(len(hidden))}


def _hidden_frames(count: int, share: float, rng: random.Random) -> list[int]:
    """Frames hidden whole; at least half of all stay."""
    drawn = [t for t in range(count) if rng.random() < share]
    return drawn[: count // 2]


def _turned(images: Tensor, turn: int, mirror: bool) -> Tensor:
    turned = images.rot90(turn, (-2, -1))
    return (turned.flip(-1) if mirror else turned).contiguous()


def stored(values: Tensor) -> Tensor:
    """Reflectance as `scene_arrays` keeps it: int16, x 10000, `NOTHING` for NaN."""
    scaled = (values * _SCALE).round().clamp(-32767, 32767)
    return scaled.nan_to_num(NOTHING).to(torch.int16)


def _reflectance(stored: Tensor) -> Tensor:
    return (stored.float() / _SCALE).masked_fill(stored == NOTHING, torch.nan)


def _cached(config: SimulatedConfig, seed: int) -> Tensors:
    """Arrays of the scene of a seed: from the cache, or simulated and then put there."""
    options = (config.size, config.bands, config.min_clear_share)
    if config.cache is None:
        return _simulated(*options, seed)
    file = config.cache / f"utilise-{config.size}px-{digest(*map(str, options))}" / f"{seed}.safetensors"
    return fetch(file, lambda: scene_arrays(*options, seed))


_simulated = lru_cache(_IN_MEMORY)(scene_arrays)
