"""Tiles of the images of a spatiotemporal fusion data set, as training samples and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.datasets.stf_batch import StfBatch
from sitsfusion.datasets.stf_files import Dated, Pairing
from sitsfusion.datasets.stf_sets import StfSet
from sitsfusion.errors import GridError, InputError, MissingBandError, ReadError

_BRIGHTEST, _DARKEST = 1.6, 0.004  # surface reflectance beyond these, in most of an image, is another unit
_KEPT = 8  # images as stored, in memory


@dataclass(frozen=True)
class Place:
    """A tile: first row and column, and what part of it no earlier tile covers (rows, columns from its end)."""

    row: int
    col: int
    size: tuple[int, int]
    new: tuple[int, int]


@dataclass(frozen=True)
class Values:
    """What stored numbers mean.

    Attributes:
        divisor: of the stored numbers.
        nodata: stored number of what was never observed, besides negative ones; None for no such number.
        published: negative numbers are 0 and everything counts as observed, as in the survey.
    """

    divisor: float
    nodata: float | None = None
    published: bool = False


def places(size: tuple[int, int], side: int, stride: int, *, published: bool = False) -> list[Place]:
    """Tiles of an image, row by row.

    Args:
        size: of the image (rows, columns).
        side: of a tile; smaller where the image is.
        stride: between tiles. The last ones end at the border, so that every pixel is covered.
        published: no overlap and no tile that would be cut: the rest at the right and bottom is left out.

    Raises:
        InputError: a stride that would leave gaps, or no whole tile in the published layout.
    """
    if not published and not 1 <= stride <= side:
        raise InputError(f"a stride of {stride} pixels leaves gaps between tiles of {side}: give 1 to {side}")
    rows, columns = (_starts(n, side, stride, published) for n in size)
    if not rows or not columns:
        raise InputError(f"no tile of {side} pixels fits into an image of {size[0]} x {size[1]}")
    height, width = (min(side, n) for n in size)
    return [
        Place(row, col, (height, width), (own_rows, own_columns))
        for row, own_rows in zip(rows, _new(rows, height), strict=True)
        for col, own_columns in zip(columns, _new(columns, width), strict=True)
    ]


def _starts(length: int, side: int, stride: int, published: bool) -> list[int]:
    if published:
        return list(range(0, length - side + 1, side))
    return [0] if length <= side else [*range(0, length - side, stride), length - side]


def _new(starts: Sequence[int], side: int) -> list[int]:
    """How much of each tile no earlier one covers, at its end."""
    return [side, *(min(side, b - a) for a, b in pairwise(starts))]


def bands_first(stored: NDArray[Any], bands: int, name: str) -> NDArray[Any]:
    """An image as stored, [h w c] or [c h w], as [c h w].

    Raises:
        MissingBandError: neither axis has this number of bands.
    """
    if stored.ndim == 3 and stored.shape[-1] == bands:
        return np.moveaxis(stored, -1, 0)
    if stored.ndim == 3 and stored.shape[0] == bands:
        return stored
    raise MissingBandError(f"{name} is stored as {stored.shape}; expected {bands} bands on the first or last axis")


def physical(stored: NDArray[Any], values: Values) -> NDArray[np.float32]:
    """Stored numbers as reflectance; NaN where nothing was observed (in the published way: 0)."""
    if values.published:
        clipped: NDArray[np.float32] = (np.maximum(stored, 0) / values.divisor).astype(np.float32)
        return clipped
    empty = (stored < 0) | ~np.isfinite(stored.astype(np.float64))
    if values.nodata is not None:
        empty |= stored == values.nodata
    return np.where(empty, np.nan, stored / values.divisor).astype(np.float32)


def read_stored(path: Path) -> NDArray[Any]:
    """A TIFF as stored: 3 axes, bands first, or pages first where it has several.

    Raises:
        ReadError: no such file, or not an image.
    """
    try:
        with rasterio.open(path) as file:
            pages = file.subdatasets
            if not pages:
                found: NDArray[Any] = file.read()
                return found
        return np.stack([_first_band(page) for page in pages])
    except rasterio.errors.RasterioIOError as error:
        raise ReadError(f"{path} cannot be read as an image ({error})") from error


def _first_band(name: str) -> NDArray[Any]:
    with rasterio.open(name) as page:
        found: NDArray[Any] = page.read(1)
        return found


class StfImages:
    """The images of a data set, read when asked for; the last few are kept."""

    def __init__(self, described: StfSet, values: Values) -> None:
        self.described, self.values = described, values
        self._read = lru_cache(_KEPT)(self._load)

    def size(self, path: Path) -> tuple[int, int]:
        """(rows, columns)."""
        stored = self._read(path)
        return stored.shape[1], stored.shape[2]

    def window(self, path: Path, place: Place) -> NDArray[np.float32]:
        """Reflectance of a tile [c h w], NaN where not observed."""
        (h, w), stored = place.size, self._read(path)
        return physical(stored[:, place.row : place.row + h, place.col : place.col + w], self.values)

    def check(self, dates: Sequence[Dated]) -> None:
        """Sizes of both images of every date, and the range of the first date's numbers.

        Raises:
            GridError: sizes that differ. InputError: numbers that are not reflectance with the declared divisor.
        """
        sizes = {path: self.size(path) for d in dates for path in (d.fine, d.coarse)}
        first = next(iter(sizes.values()))
        other = [f"{path.name}: {h} x {w}" for path, (h, w) in sizes.items() if (h, w) != first]
        if other:
            raise GridError(
                f"{self.described.key}: images must have one size, {first[0]} x {first[1]} of the first; {other[0]}. "
                "Coarse images are stored on the fine grid: resample them"
            )
        for path in (dates[0].fine, dates[0].coarse):
            self._check_range(path)

    def _check_range(self, path: Path) -> None:
        found = physical(self._read(path), Values(self.values.divisor, self.values.nodata))
        level = float(np.nanmedian(found)) if np.isfinite(found).any() else float("nan")
        if not _DARKEST <= level <= _BRIGHTEST:
            raise InputError(
                f"{path}: half of its values are {'above' if level > _BRIGHTEST else 'not above'} {level:.3g} after "
                f"division by {self.values.divisor:g}, which {self.described.key} declares: its numbers are in another "
                "unit; set data.divisor (10000 for integers, 1 for reflectance, 255 for 8-bit pictures)"
            )

    def _load(self, path: Path) -> NDArray[Any]:
        return bands_first(read_stored(path), len(self.described.bands), path.name)


class StfTiles:
    """Samples: every tile of every pair, of batch size 1, in reflectance scaled to network units.

    Args:
        images: of the data set.
        pairs: reference and target dates.
        tiles: of the images.
        scale: (factor, offset) from reflectance to network units.
        augment_seed: turns and mirrors drawn from (seed, epoch, index); None for none.
        once: of tiles that overlap, each pixel is valid in one only, so that scores count it once.
    """

    def __init__(
        self,
        images: StfImages,
        pairs: Sequence[Pairing],
        tiles: Sequence[Place],
        scale: tuple[float, float] = (1.0, 0.0),
        augment_seed: int | None = None,
        once: bool = False,
    ) -> None:
        self.images, self.pairs, self.tiles, self.scale = images, list(pairs), list(tiles), scale
        self.augment_seed, self.once, self.epoch = augment_seed, once, 0

    def __len__(self) -> int:
        return len(self.pairs) * len(self.tiles)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is: turns are drawn from it."""
        self.epoch = epoch

    def date(self, index: int) -> str:
        """The target date of a sample."""
        return str(self.pair(index).target.day)

    def pair(self, index: int) -> Pairing:
        """The pair of a sample."""
        return self.pairs[index // len(self.tiles)]

    def __getitem__(self, index: int) -> StfBatch:
        pair, place = self.pair(index), self.tiles[index % len(self.tiles)]
        paths = (pair.reference.coarse, pair.reference.fine, pair.target.coarse, pair.target.fine)
        arrays = [self.images.window(path, place) for path in paths]
        valid = np.logical_and.reduce([np.isfinite(a).all(0) for a in arrays])
        if self.once:
            valid[: place.size[0] - place.new[0]] = False
            valid[:, : place.size[1] - place.new[1]] = False
        scaled = [np.nan_to_num(a) * self.scale[0] + self.scale[1] for a in arrays]
        turned = [self._turned(a.astype(np.float32), index)[None] for a in (*scaled, valid)]
        coarse_ref, fine_ref, coarse, target, seen = turned
        return StfBatch(coarse_ref, fine_ref, coarse, target, None if valid.all() else seen.bool())

    def _turned(self, array: NDArray[Any], index: int) -> Tensor:
        if self.augment_seed is not None:
            rng = np.random.default_rng([self.augment_seed, self.epoch, index])
            quarters, mirror = int(rng.integers(4)), rng.random() < 0.5
            square = array.shape[-1] == array.shape[-2]
            array = np.rot90(array, quarters if square else 2 * (quarters % 2), (-2, -1))
            array = array[..., ::-1] if mirror else array
        return torch.from_numpy(np.ascontiguousarray(array))
