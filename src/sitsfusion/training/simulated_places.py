"""Places for `image_pairs`, simulated from seeds: the noise-free surface on a few days, as several sensors see it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from sitsfusion import sensors
from sitsfusion.datasets.cache import fetch
from sitsfusion.ops.mtf import degrade, psf_taps
from sitsfusion.simulate import World, simulate_place
from sitsfusion.training.config import LoaderConfig

UNSEEN = 1_000_000  # seeds of validation places begin here
TEN_FINE = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SIX_FINE = ("B02", "B03", "B04", "B8A", "B11", "B12")
SIX_COARSE = ("B02", "B03", "B04", "B05", "B06", "B07")
_COARSE, _PAN = "landsat-8-9-c2-l2", "landsat-8-9-c2-l1"
# The panchromatic band of Landsat 8 spans blue to red.
_PAN_OF = {"B02": 0.2, "B03": 0.4, "B04": 0.4}
_SCALE = 10_000
_YEAR = 2022


class PlacesConfig(LoaderConfig):
    """Simulated places, and the options of the loader.

    Attributes:
        places: for training, of seeds `first_seed`, `first_seed` + 1 ...; validation_places: others, never trained on.
        days: images of each place, a few weeks apart.
        size: side of a place in 10 m pixels, a multiple of 12.
        samples_per_place: samples of each in an epoch.
        validation_samples_per_place: the same in validation.
        crop: side of a sample in cells.
        seed: of days, crops, turns and noise.
        noise: standard deviation of the noise added to what sensors see, reflectance.
        cache: folder for simulated places; None: they are simulated again in each run.
    """

    places: PositiveInt = 48
    validation_places: PositiveInt = 4
    first_seed: NonNegativeInt = 0
    days: PositiveInt = 3
    size: int = Field(180, ge=48, multiple_of=12)
    samples_per_place: PositiveInt = 32
    validation_samples_per_place: PositiveInt = 4
    crop: PositiveInt = 32
    seed: int = 42
    noise: float = Field(0.002, ge=0)
    cache: Path | None = None


def surface(config: PlacesConfig, seed: int) -> dict[str, Tensor]:
    """The true surface of a place: `fine [t, 10, h, w]`, `coarse [t, 6, h, w]`, reflectance."""
    if config.cache is None:
        stored = _simulated(config.size, config.days, seed)
    else:
        file = config.cache / f"places-{config.size}px-{config.days}days" / f"{seed}.safetensors"
        stored = fetch(file, lambda: _simulated(config.size, config.days, seed))
    return {name: x.float() / _SCALE for name, x in stored.items()}


def landsat_pair(config: PlacesConfig, seed: int) -> dict[str, Tensor]:
    """What Landsat sees of a place, and the truth: `coarse [t, 6, h/3, w/3]`, `pan [t, 1, 2h/3, 2w/3]`, `target`."""
    found = surface(config, seed)
    target = found["fine"][:, [TEN_FINE.index(key) for key in SIX_FINE]]
    pan = torch.stack([found["fine"][:, TEN_FINE.index(key)] * weight for key, weight in _PAN_OF.items()]).sum(0)
    seen = {
        "coarse": seen_by(found["coarse"], _COARSE, SIX_COARSE, 3),
        "pan": seen_by(pan[:, None], _PAN, ("B08",), 1.5),
    }
    return {**{name: noisy(x, config.noise, seed) for name, x in seen.items()}, "target": target}


def noisy(x: Tensor, deviation: float, seed: int) -> Tensor:
    """With Gaussian noise that follows from the seed and the size."""
    generator = torch.Generator().manual_seed(seed * 1009 + x.shape[-1])
    return x + deviation * torch.randn(x.shape, generator=generator)


def seen_by(x: Tensor, sensor: str, keys: tuple[str, ...], factor: float) -> Tensor:
    """Bands of 10 m pixels as a sensor of pixels `factor` times larger sees them, by its MTF."""
    bands = [sensors.get(sensor).band(key) for key in keys]
    return degrade(x, psf_taps(10.0, [band.resolution for band in bands], [band.mtf for band in bands]), factor)


def _simulated(size: int, days: int, seed: int) -> dict[str, Tensor]:
    """Stored as reflectance x 10000, int16."""
    place = simulate_place(size, seed=seed, world=World.draw(seed))
    rng = np.random.default_rng([seed, 7])
    first = date(_YEAR, 1, 1) + timedelta(int(rng.integers(0, 365 - 30 * days)))
    when = [first + timedelta(30 * k + int(rng.integers(0, 25))) for k in range(days)]
    bands = place.instrument("coarse").bands
    six = [bands.index(key) for key in SIX_COARSE]
    coarse = np.stack([place.truth("coarse", day)[six] for day in when])
    fine = np.stack([place.truth("fine", day) for day in when])
    arrays = {"fine": fine, "coarse": coarse}
    return {k: torch.from_numpy((v * _SCALE).round().clip(-32767, 32767)).to(torch.int16) for k, v in arrays.items()}
