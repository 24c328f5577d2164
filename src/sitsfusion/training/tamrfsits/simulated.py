"""Training samples from simulated scenes: images with clouds and errors in, the noise-free truth out.

Scene number i is simulated from seed `first_seed + i`, whole, once; it is kept in `cache` (one file per scene) or, if
there is none, in memory as long as it is among the last few. A sample is a random crop of a scene, turned and mirrored,
of which some dates are hidden by a strategy (`strategies`), some bands or a whole product taken away, and the truth of
some days asked for. All of that is drawn anew in each epoch, from (seed, epoch, index) alone.

Days count as at inference. With `dt_orig: null`, from the scene's first usable HR date, plus a random number of days in
half of the samples: a network must not learn the season from day 0, which may be any day of the year. With `dt_orig:
local_year`, from the local new year (`dates.local_year`), plus one or two whole years in some samples: there it should.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from sitsfusion.dates import days_since, every
from sitsfusion.samples import Sample
from sitsfusion.series import Series
from sitsfusion.simulate import Simulated, World, simulate_scene
from sitsfusion.strategies import Split, TrainingPool
from sitsfusion.training.config import checked
from sitsfusion.training.tamrfsits.tasks import draw_split

PATH = "datamodule.config"
RATIO = 3
_YEAR = 2022
_IN_MEMORY = 8  # scenes kept without a cache
_UNSEEN = 1_000_000  # seeds of validation scenes begin here
_NOTHING = -32768  # stored: not observed
_KELVIN = 273.15
_HALF_YEAR = 184  # days from July 1st to January 1st

Arrays = Mapping[str, NDArray[Any]]


class SimulatedConfig(BaseModel):
    """Options of `datamodule.config` with kind simulated.

    Attributes:
        scenes: training scenes; validation_scenes: others, which training never sees.
        samples_per_scene: samples of each training scene in an epoch.
        first_seed: of the training scenes.
        seed: of crops, splits and everything else drawn per sample.
        size: side of a scene in 10 m pixels; crop: side of a sample; multiples of 3.
        truth_every: days between the days of which the truth is kept.
        max_dates: images in a sample, of both sensors together; min_clear_share: images with less are left out.
        queries: days of truth in a sample.
        dt_orig: day 0; None for the first usable HR date.
        pool: strategies and their ranges, the published ones by default.
        absent: probability that a sample lacks the coastal band, the temperature, and all coarse reflectances (each).
        cache: folder for simulated scenes; None: simulate again when needed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenes: PositiveInt = 256
    validation_scenes: NonNegativeInt = 8
    samples_per_scene: PositiveInt = 8
    first_seed: NonNegativeInt = 0
    seed: int = 42
    size: int = Field(48, ge=24, multiple_of=RATIO)
    crop: int = Field(24, ge=24, multiple_of=RATIO)
    truth_every: PositiveInt = 5
    max_dates: PositiveInt = 50
    min_clear_share: float = Field(0.25, ge=0, le=1)
    queries: PositiveInt = 8
    dt_orig: Literal["local_year"] | None = None
    pool: TrainingPool = TrainingPool()
    absent: float = Field(0.1, ge=0, le=1)
    cache: Path | None = None


def configure(options: Mapping[str, Any]) -> SimulatedConfig:
    """Check options. Raises InputError with the full path of what does not fit."""
    return checked(SimulatedConfig, options, PATH)


def datasets(config: SimulatedConfig) -> tuple[SimulatedSamples, SimulatedSamples, SimulatedSamples]:
    """Training, validation and test samples; the scenes of the last two are the same and none of the first."""
    unseen = config.model_copy(update={"first_seed": _UNSEEN, "scenes": max(config.validation_scenes, 1)})
    return SimulatedSamples(config), SimulatedSamples(unseen), SimulatedSamples(unseen)


class SimulatedSamples:
    """Map-style data set: sample i is of scene `i % scenes`."""

    def __init__(self, config: SimulatedConfig) -> None:
        self.config, self.epoch = config, 0

    def __len__(self) -> int:
        return self.config.scenes * self.config.samples_per_scene

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is: crops, splits and days are drawn from it."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        """Sample of batch size 1: reflectance and kelvin, NaN where never observed or taken away."""
        seed = self.config.first_seed + index % self.config.scenes
        scene = _cached(self.config, seed)
        rng = random.Random(f"{self.config.seed}/{self.epoch}/{index}")  # noqa: S311
        return draw_sample(scene, self.config, rng, southern=_southern(seed))


def simulated_arrays(simulated: Simulated, truth_every: int) -> dict[str, NDArray[Any]]:
    """What training needs of a scene: stored images, masks, days, and truth at regular days, by name.

    `lr`, `hr`: int16 [t, c, h, w], reflectance x 10000, temperature (C) x 100, -32768 where not observed;
    `lr_usable`, `hr_usable`: bool [t, h, w]; `lr_days`, `hr_days`, `truth_days`: from January 1st;
    `lr_truth`, `hr_truth`: int16 [q, c, H, W].
    """
    cubes = {"lr": simulated.scene["coarse"], "hr": simulated.scene["fine"]}
    start = min(cube.dates[0] for cube in cubes.values()).replace(month=1, day=1)
    days = every(start, start.replace(month=12, day=31), truth_every)
    found: dict[str, NDArray[Any]] = {"truth_days": days_since(days, start)}
    for name, role in (("lr", "coarse"), ("hr", "fine")):
        frames = [cubes[name].frame(t) for t in range(len(cubes[name]))]
        found[name] = _stored(np.stack([frame.values for frame in frames]), name)
        found[f"{name}_usable"] = np.stack([frame.valid for frame in frames])
        found[f"{name}_days"] = days_since(cubes[name].dates, start)
        found[f"{name}_truth"] = _stored(simulated.truth(role, days), name)
    return found


def draw_sample(scene: Arrays, config: SimulatedConfig, rng: random.Random, *, southern: bool = False) -> Sample:
    """A random crop of a scene, of the southern hemisphere or not, with hidden dates, missing bands and wanted days."""
    kept = {name: _chosen(scene, name, config, rng) for name in ("lr", "hr")}
    shift = _new_year(rng, southern) if config.dt_orig else _first_image(scene, kept, rng)
    days = {name: [float(scene[f"{name}_days"][t]) for t in at] for name, at in kept.items()}
    split = draw_split(config.pool, days["lr"], days["hr"], rng)
    given = _given(split, kept)
    corner = [RATIO * rng.randrange((config.size - config.crop) // RATIO + 1) for _ in range(2)]
    turn, mirror = rng.randrange(4), rng.random() < 0.5

    def cut(name: str, at: list[int], times: int) -> Tensor:
        y, x = (start // times for start in corner)
        side = config.crop // times
        values = np.rot90(scene[name][at][..., y : y + side, x : x + side], turn, (-2, -1))
        return torch.from_numpy(np.ascontiguousarray(values[..., ::-1] if mirror else values))

    def images(name: str, times: int) -> Series:
        at = given[name]
        at_days = torch.tensor([[float(scene[f"{name}_days"][t]) + shift for t in at]]).reshape(1, len(at))
        values, usable = _physical(cut(name, at, times), name), cut(f"{name}_usable", at, times)
        return Series(values[None], at_days, usable[None])

    asked = sorted(rng.sample(range(len(scene["truth_days"])), min(config.queries, len(scene["truth_days"]))))
    asked_days = torch.tensor([[float(scene["truth_days"][q]) + shift for q in asked]])
    truth = [Series(_physical(cut(f"{name}_truth", asked, 1), name)[None], asked_days, None) for name in ("lr", "hr")]
    return Sample(_without(images("lr", RATIO), config.absent, rng), images("hr", 1), (truth[0], truth[1]))


def _first_image(scene: Arrays, kept: Mapping[str, list[int]], rng: random.Random) -> int:
    """What to add to days since January 1st for days since the first fine image, or since some other day."""
    origin = int(scene["hr_days"][kept["hr"][0]]) if kept["hr"] else 0
    return rng.choice((0, rng.randint(0, 700))) - origin


def _new_year(rng: random.Random, southern: bool) -> int:
    """The same for days since the local new year of this year or of one before."""
    return (_HALF_YEAR if southern else 0) + 365 * rng.choice((0, 0, 0, 1, 2))


@cache
def _southern(seed: int) -> bool:
    return World.draw(seed).latitude < 0


def _chosen(scene: Arrays, name: str, config: SimulatedConfig, rng: random.Random) -> list[int]:
    """Usable dates of one sensor, at most its share of `max_dates`."""
    usable = {n: np.flatnonzero(scene[f"{n}_usable"].mean((1, 2)) >= config.min_clear_share) for n in ("lr", "hr")}
    total = sum(map(len, usable.values()))
    found = [int(t) for t in usable[name]]
    if total <= config.max_dates:
        return found
    return sorted(rng.sample(found, len(found) * config.max_dates // total))


def _given(split: Split, kept: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Dates of the scene that the network is given."""
    inputs = {"lr": split.lr_input, "hr": split.hr_input}
    return {n: [kept[n][p] for p in (one.positions if one else ()) if p is not None] for n, one in inputs.items()}


def _without(lr: Series, absent: float, rng: random.Random) -> Series:
    """The coarse series without the coastal band, the temperature or all reflectances, each by chance."""
    values = lr.values.clone()
    for bands in (slice(0, 1), slice(7, 8), slice(0, 7)):
        if rng.random() < absent:
            values[:, :, bands] = torch.nan
    return Series(values, lr.days, lr.valid)


def _stored(values: NDArray[np.float32], name: str) -> NDArray[np.int16]:
    """Physical values [t, c, h, w] as int16."""
    scaled = values * np.float32(10_000)
    if name == "lr":
        scaled[:, 7] = (values[:, 7] - _KELVIN) * 100
    return np.where(np.isnan(scaled), _NOTHING, np.clip(np.round(scaled), -32767, 32767)).astype(np.int16)


def _physical(stored: Tensor, name: str) -> Tensor:
    """The way back, NaN where not observed."""
    values = stored.float() / 10_000
    if name == "lr":
        values[:, 7] = stored[:, 7].float() / 100 + _KELVIN
    return values.masked_fill(stored == _NOTHING, torch.nan)


def _cached(config: SimulatedConfig, seed: int) -> Arrays:
    """Arrays of the scene of a seed: from the cache, or simulated and then put there."""
    if config.cache is None:
        return _simulated(seed, config.size, config.truth_every)
    file = config.cache / f"{config.size}px-{config.truth_every}d" / f"{seed}.safetensors"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        save_file(
            {k: np.ascontiguousarray(v) for k, v in _simulate(seed, config.size, config.truth_every).items()}, part
        )
        part.replace(file)
    with safe_open(file, "np") as found:
        return {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118


def _simulate(seed: int, size: int, truth_every: int) -> dict[str, NDArray[Any]]:
    return simulated_arrays(simulate_scene(size, year=_YEAR, seed=seed, world=World.draw(seed)), truth_every)


_simulated = lru_cache(_IN_MEMORY)(_simulate)
