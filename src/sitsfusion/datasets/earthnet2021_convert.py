"""From the distributed EarthNet2021 archives (npz) to the HDF5 files that U-TILISE reads.

The rules are those of the published converter: which tiles are for training and validation, which frames are cloudy.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sitsfusion.datasets.earthnet2021 import Cube2021
from sitsfusion.datasets.utilise_detection import impaired_frames, missing_frames
from sitsfusion.datasets.utilise_hdf5 import MIN_GOOD, new_group, write_array, write_frame_lists, write_texts
from sitsfusion.errors import ReadError

if TYPE_CHECKING:
    import h5py

Array = NDArray[Any]
Split = Literal["train", "iid", "ood", "extreme", "seasonal"]
Mode = Literal["train", "val", "all"]
VALIDATION_CUBES = 5000  # at least so many are left for validation


@dataclass(frozen=True)
class Converted:
    """What was written: the file, its number of samples, and how many of them have enough good frames."""

    file: Path
    samples: int
    usable: int


def convert_earthnet2021(source: Path, destination: Path, split: Split, mode: Mode = "all") -> Converted:
    """Write the cubes of a split into `destination`/`<split>.hdf5` (tests: `<split>_test_split.hdf5`).

    Args:
        source: folder that holds `train`, `iid_test_split`, ... as distributed.
        destination: folder of the file. Parts of split train (`mode` train, val, all) go into one file.
        split: which archive.
        mode: of split train, which tiles.

    Raises:
        ReadError: a folder or array is missing or damaged.
        InputError: the file holds this part already. WriteError: it cannot be written.
    """
    tiles = train_tiles(source / "train", mode) if split == "train" else _test_tiles(source, split)
    part = mode if split == "train" else f"{split}_test_split"
    path = destination / f"{'train' if split == 'train' else part}.hdf5"
    good: list[str] = []
    with new_group(path, part) as file:
        for tile, cubes in tiles.items():
            for name, files in cubes.items():
                group = file.create_group(f"/{part}/{tile}/{name}")
                if _write_cube(group, np.concatenate([read_cube(each) for each in files], axis=-1)) >= MIN_GOOD:
                    good.append(str(group.name))
        write_texts(file, f"path_samples_{part}", sorted(good))
    return Converted(path, sum(map(len, tiles.values())), len(good))


Tiles = Mapping[str, Mapping[str, Sequence[Path]]]  # tile -> cube -> files, context before target


def train_tiles(folder: Path, mode: Mode, keep: int = VALIDATION_CUBES) -> Tiles:
    """The tiles of split train that are for training, for validation, or all: tile -> cube -> files.

    Tiles are drawn for training, by the published seed, until all but `keep` cubes are; the others are for validation.
    """
    tiles = {tile.name: {file.stem: [file] for file in _cubes(tile)} for tile in _tiles(folder)}
    if mode == "all":
        return tiles
    drawn = _drawn_for_training([len(cubes) for cubes in tiles.values()], keep)
    return {tile: cubes for n, (tile, cubes) in enumerate(tiles.items()) if (n in drawn) == (mode == "train")}


def _drawn_for_training(counts: Sequence[int], keep: int) -> set[int]:
    draws, total = np.random.RandomState(0), sum(counts)
    remaining, probability = list(range(len(counts))), np.array(counts) / total
    drawn: set[int] = set()
    while sum(counts[n] for n in drawn) < total - keep:
        at = int(draws.choice(np.arange(len(remaining)), replace=False, p=probability))
        drawn.add(remaining.pop(at))
        probability = np.delete(probability, at)
        probability = probability / probability.sum() if len(probability) else probability
    return drawn


def _test_tiles(source: Path, split: str) -> Tiles:
    folder = source / f"{split}_test_split"
    tiles: dict[str, dict[str, list[Path]]] = {}
    for tile in _tiles(folder / "context"):
        pairs = {context.stem.removeprefix("context_"): context for context in _cubes(tile)}
        tiles[tile.name] = {
            name: [context, folder / "target" / tile.name / f"target_{name}.npz"] for name, context in pairs.items()
        }
    return tiles


def _tiles(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ReadError(f"{folder} is missing: give the folder into which the EarthNet2021 archives were unpacked")
    found = sorted(tile for tile in folder.iterdir() if tile.is_dir())  # beside them may lie a LICENSE
    if not found:
        raise ReadError(f"{folder} holds no tile: unpack the EarthNet2021 archive again")
    return found


def _cubes(tile: Path) -> list[Path]:
    return sorted(tile.glob("*.npz"))


def read_cube(path: Path) -> Array:
    """Array `highresdynamic` [h, w, c, t] of an npz file. Raises ReadError where it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as content:
            found: Array = content["highresdynamic"]
            return found
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ReadError(f"{path} is missing, damaged or no EarthNet2021 cube ({error}): unpack it again") from error


def _write_cube(group: h5py.Group, stored: Array) -> int:
    """Write one cube with its lists of frames; the number of good ones."""
    cube = Cube2021.of(stored, str(group.name))
    impaired = impaired_frames(cube.optical, cube.cloud_mask, cube.cloud_probability)
    write_array(group, "highresdynamic", stored)
    return write_frame_lists(group, impaired, missing_frames(cube.optical))
