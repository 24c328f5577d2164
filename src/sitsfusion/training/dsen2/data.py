"""Pairs by degradation: the images a factor coarser go in, the native bands are what should come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.errors import InputError
from sitsfusion.io import Opening, open_cubes
from sitsfusion.methods.dsen2.arrays import degraded, interpolated
from sitsfusion.training.dsen2.config import Config, ImagesConfig, SimulatedConfig
from sitsfusion.training.image_pairs import PairSamples, Tensors
from sitsfusion.training.simulated_places import TEN_FINE, UNSEEN, noisy, seen_by, surface
from sitsfusion.weights.dsen2 import TWENTY, Dsen2Weights


def samples(config: Config) -> tuple[PairSamples, PairSamples]:
    """Training and validation samples of a configuration."""
    options, weights = config.datamodule, config.weights()
    if isinstance(options, SimulatedConfig):
        return _simulated(options, weights, options.first_seed, options.places, True), _simulated(
            options, weights, UNSEEN, options.validation_places, False
        )
    return _images(options, weights, options.images, True), _images(options, weights, options.validation, False)


def pair(groups: Sequence[Tensor], weights: Dsen2Weights) -> Tensors:
    """One training pair of native groups `[c_i, h_i, w_i]` (finest first), in network units, on the last group's grid.

    `group0`, `group1` ...: the degraded groups, interpolated; `target`: the last group as it is.
    """
    # whole coarse pixels only: what is beyond the last of them is left out
    rows, cols = (groups[-1].shape[dim] // weights.factor * weights.factor for dim in (-2, -1))
    ratios = [group.shape[-1] // groups[-1].shape[-1] for group in groups]
    whole = [x[..., : rows * n, : cols * n] for x, n in zip(groups, ratios, strict=True)]
    coarse = degraded(whole, weights.factor)
    given = interpolated(coarse, weights.interpolation)
    found = {f"group{i}": x / weights.unit for i, x in enumerate(given)}
    return {**found, "target": whole[-1] / weights.unit}


def native_groups(path: Path, groups: Sequence[Sequence[str]], clear: float, opening: Opening) -> list[list[Tensor]]:
    """The groups of bands of every clear image of a place at their native pixels.

    Each group is opened alone, so that a product gives it as it was measured; what lies on a finer grid than its bands
    is averaged over their pixels.

    Raises:
        InputError: no image is clear enough.
    """
    cubes = [_fine(path, keys, opening) for keys in groups]
    found = []
    for t in range(len(cubes[0])):
        frames = [cube.frame(t) for cube in cubes]
        if min(frame.valid.mean() for frame in frames) < clear:
            continue
        images = [torch.from_numpy(frame.values).nan_to_num(0.0) for frame in frames]
        found.append([_averaged(x, cube) for x, cube in zip(images, cubes, strict=True)])
    if not found:
        raise InputError(f"no image of {path} has {clear:.0%} usable pixels; lower datamodule.min_clear_share")
    return found


def _fine(path: Path, keys: Sequence[str], opening: Opening) -> Cube:
    cubes = open_cubes(path, replace(opening, options={**opening.options, "bands": list(keys)}))
    if "fine" not in cubes:
        raise InputError(f"{path} holds {', '.join(cubes)}, no fine images; give Sentinel-2 images")
    return cubes["fine"].select(bands=keys)


def _averaged(x: Tensor, cube: Cube) -> Tensor:
    """Bands at their own pixels: `[c, h, w]` of the cube's grid."""
    resolution = max(band.resolution for band in cube.band_info())
    factor = round(resolution / abs(cube.grid.affine.a))
    return x if factor == 1 else F.avg_pool2d(x[None], factor)[0]


def _stack(pairs: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([pair[name] for pair in pairs]) for name in pairs[0]}


def _simulated(options: SimulatedConfig, weights: Dsen2Weights, first: int, places: int, train: bool) -> PairSamples:
    def load(number: int) -> Tensors:
        bands = surface(options, first + number)["fine"]  # [t 10 h w]
        chosen = [bands[:, [TEN_FINE.index(key) for key in group]] for group in weights.groups]
        seen = [chosen[0], seen_by(chosen[1], weights.sensor, TWENTY, 2)]
        images = [noisy(x, options.noise, first + number) for x in seen]
        return _stack([pair([x[t] for x in images], weights) for t in range(len(bands))])

    return _pairs(options, load, places, train)


def _images(options: ImagesConfig, weights: Dsen2Weights, places: Sequence[Path], train: bool) -> PairSamples:
    if not places:
        raise InputError("no images are given: datamodule.images=[PLACE, ...] datamodule.validation=[PLACE, ...]")

    opening = Opening(options.reader, options.sensor, options=options.options)

    def load(number: int) -> Tensors:
        images = native_groups(places[number], weights.groups, options.min_clear_share, opening)
        return _stack([pair(groups, weights) for groups in images])

    return _pairs(options, load, len(places), train)


def _pairs(
    options: SimulatedConfig | ImagesConfig, load: Callable[[int], Tensors], places: int, train: bool
) -> PairSamples:
    return PairSamples(
        load,
        places,
        per_place=options.samples_per_place if train else options.validation_samples_per_place,
        crop=options.crop,
        seed=options.seed,
        augment=train,
    )
