"""From the distributed SEN12MS-CR-TS archives (GeoTIFF patches) to the HDF5 files that U-TILISE reads."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from sitsfusion.datasets.sen12mscrts import split_tiles
from sitsfusion.datasets.utilise_hdf5 import new_group, write_array, write_dates
from sitsfusion.dates import parse_day
from sitsfusion.errors import DateError, InputError, ReadError

if TYPE_CHECKING:
    import h5py

Array = NDArray[Any]
_BANDS = {"S2": 13, "S1": 2}


@dataclass(frozen=True)
class Converted:
    """What was written: the file, its number of patches, and the tiles of the split that were not found."""

    file: Path
    samples: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class PatchFiles:
    """The images of one patch by one sensor: `files` and `dates`, in the order of the time folders."""

    number: int
    files: tuple[Path, ...]
    dates: tuple[date, ...]


def convert_sen12mscrts(
    source: Path,
    destination: Path,
    split: Literal["train", "val", "test"],
    *,
    regions: Sequence[str] | None = None,
    sar: bool = True,
) -> Converted:
    """Write the patches of a split into `destination`/`<split>.hdf5`; cloud masks come later (`detect_clouds`).

    Args:
        source: folder of `<ROI>/<tile>/{S1,S2}/<time>/*.tif`, as distributed.
        destination: folder of the file; other regions can be added to it later.
        split: which tiles.
        regions: only these ROIs; None: all that are there.
        sar: with the Sentinel-1 images.

    Raises:
        ReadError: none of the tiles is there, or an image is missing or damaged.
        InputError: an unknown region, or one that the file holds already. WriteError: the file cannot be written.
    """
    tiles = split_tiles(split)
    if unknown := set(regions or ()) - set(tiles):
        raise InputError(f"{', '.join(sorted(unknown))}: no region of split {split}, which has {', '.join(tiles)}")
    wanted = [(roi, str(tile)) for roi in (regions or tiles) for tile in sorted(map(str, tiles[roi]))]
    there = [(roi, tile) for roi, tile in wanted if (source / roi / tile).is_dir()]
    if not there:
        raise ReadError(f"{source} holds no tile of split {split}, such as {'/'.join(wanted[0])}: unpack the archives")
    path, samples = destination / f"{split}.hdf5", 0
    for roi in dict.fromkeys(roi for roi, _ in there):
        with new_group(path, roi) as file:
            for tile in (tile for each, tile in there if each == roi):
                samples += _write_tile(file.create_group(f"/{roi}/{tile}"), source / roi / tile, f"{roi}_{tile}", sar)
    return Converted(path, samples, tuple("/".join(tile) for tile in wanted if tile not in there))


def _write_tile(group: h5py.Group, folder: Path, name: str, sar: bool) -> int:
    """Write all patches of a tile; how many there are."""
    optical = patches(folder / "S2")
    radar = patches(folder / "S1") if sar else [None] * len(optical)
    if len(radar) != len(optical):
        raise ReadError(f"{folder}: S2 has {len(optical)} patches, S1 has {len(radar)}: unpack the archives again")
    for s2, s1 in zip(optical, radar, strict=True):
        patch = group.create_group(f"{name}_patch_{s2.number}")
        _write_sensor(patch, "S2", s2, "uint16")
        if s1 is not None:
            _write_sensor(patch, "S1", s1, "float32")
    return len(optical)


def _write_sensor(patch: h5py.Group, sensor: str, found: PatchFiles, dtype: str) -> None:
    images = np.stack([read_image(file, _BANDS[sensor]) for file in found.files])
    if dtype == "uint16":
        images = np.clip(np.nan_to_num(images, nan=0), 0, np.iinfo(np.uint16).max)
    write_array(patch, f"{sensor}/{sensor}", images.astype(dtype))
    write_dates(patch, f"{sensor}/{sensor}_dates", found.dates)


def patches(folder: Path) -> list[PatchFiles]:
    """The patches of one sensor's folder of a tile: patch k is file k, in natural order, of every time folder.

    Raises:
        ReadError: there are no time folders, or they hold different patches.
    """
    times = [natural(time.glob("*.tif")) for time in natural(p for p in folder.glob("*") if p.is_dir())]
    if not times or not times[0]:
        raise ReadError(f"{folder} holds no images: expected <time>/*.tif; unpack the archive again")
    numbers = [[_token(file, -1) for file in files] for files in times]
    for files, here in zip(times, numbers, strict=True):
        if here != numbers[0]:
            where = files[0].parent if files else folder
            raise ReadError(f"{where} holds {len(here)} patches, not those of {times[0][0].parent}: unpack it again")
    stacks = zip(*times, strict=True)
    return [PatchFiles(int(n), tuple(s), tuple(map(_date, s))) for n, s in zip(numbers[0], stacks, strict=True)]


def natural(paths: Iterator[Path] | Sequence[Path]) -> list[Path]:
    """Paths in the order of their names, numbers in them compared as numbers."""
    return sorted(paths, key=lambda path: [int(part) if part.isdigit() else part for part in _DIGITS.split(path.name)])


_DIGITS = re.compile(r"(\d+)")


def _token(file: Path, at: int) -> str:
    """Part of a name such as s2_ROIs1868_100_ImgNo_0_2018-01-07_patch_12.tif."""
    tokens = file.stem.split("_")
    if len(tokens) < 8 or not tokens[-1].isdigit():
        raise ReadError(f"{file}: not named like an image of SEN12MS-CR-TS (s2_ROI_TILE_ImgNo_N_DATE_patch_N.tif)")
    return tokens[at]


def _date(file: Path) -> date:
    try:
        return parse_day(_token(file, 5))
    except DateError as error:
        raise ReadError(f"{file}: {error}") from error


def read_image(path: Path, bands: int | None) -> Array:
    """An image [bands, h, w] as stored (`bands` None: however many). ReadError if damaged or with other bands."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                found: Array = image.read()
    except RasterioError as error:
        raise ReadError(f"{path} cannot be read ({error}): unpack the archive again") from error
    if bands is not None and len(found) != bands:
        raise ReadError(f"{path} has {len(found)} band(s), expected {bands}")
    return found
