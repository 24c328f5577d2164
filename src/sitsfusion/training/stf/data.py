"""Training, validation and test samples of a run."""

from __future__ import annotations

from sitsfusion.datasets import stf_files, stf_sets, stf_tiles
from sitsfusion.datasets.stf_batch import stacked
from sitsfusion.errors import InputError
from sitsfusion.training.data import SampleModule
from sitsfusion.training.stf.config import Config
from sitsfusion.training.stf.simulated import simulated_samples


def datamodule(config: Config) -> SampleModule:
    """Opens the data set, or draws simulated places as they are needed.

    Raises:
        ReadError: files that are missing. DateError: dates that do not match, or too few. GridError: images of
            different sizes. MissingBandError, InputError: other bands or numbers than declared.
    """
    options, scale = config.data, config.weights().scale
    if options.simulated:
        made_up = simulated_samples(options, scale, config.seed)
        return SampleModule(*made_up[:2], stacked, options, config.seed, made_up[2])
    described = stf_sets.get(options.set)
    published = options.split == "published"
    dates = stf_files.open_pairs(described, config.location.data, published=published, max_gap=options.max_gap)
    values = stf_tiles.Values(options.divisor or described.divisor, options.nodata, options.values == "published")
    images = stf_tiles.StfImages(described, values)
    images.check(dates)
    parts = stf_files.splits(described, dates, options.split)
    whole = options.coverage == "published"
    tiles = stf_tiles.places(images.size(dates[0].fine), options.tile, options.stride or options.tile, published=whole)
    _check_tile(tiles[0], options.tile, config)
    pairs = stf_files.all_pairs(parts["train"]) if options.pairing == "all" else parts["train"]
    train = stf_tiles.StfTiles(images, pairs, tiles, scale, config.seed if options.augment else None)
    validation, test = (stf_tiles.StfTiles(images, parts[p], tiles, scale, once=True) for p in stf_files.HELD_OUT)
    return SampleModule(train, validation, stacked, options, config.seed, test)


def _check_tile(first: stf_tiles.Place, tile: int, config: Config) -> None:
    if first.size != (tile, tile):
        raise InputError(
            f"the images of {config.data.set} are {first.size[0]} x {first.size[1]} pixels or more, smaller than the "
            f"tiles of {tile}: set data.tile"
        )
