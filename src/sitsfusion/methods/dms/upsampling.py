"""Cubic resampling of images with gaps to a grid r times finer, as GDAL's warper does it (verified to 1e-7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


@dataclass(frozen=True)
class Enlargement:
    """A grid `ratio` times finer, of an image that begins at column `first` of one of `columns` columns (None: it is
    the whole). Only ties depend on the whole: which side of a pixel's centre a point exactly on it falls.
    """

    ratio: int
    first: int = 0
    columns: int | None = None


def upsample(low: Image, grid: Enlargement, shape: tuple[int, int]) -> Image:
    """Low-resolution image [h w], NaN where missing, on a finer grid, cropped or edge-padded to `shape`.

    Where the pixel that holds the sample is NaN: NaN. Where all 4 x 4 pixels around are there: cubic convolution,
    a = -0.5. Elsewhere bilinear over the valid ones of 2 x 2. Then each NaN pixel inside the image takes the mean of
    its valid neighbours (4), once.
    """
    ratio = grid.ratio
    if ratio == 1:
        return _fitted(low.astype(np.float64), shape)
    rows, cols = _rows(low.shape[0], ratio), _columns(low.shape[1], grid)
    cubic = _gathered(low, rows, cols, 4)
    linear = _weighted_bilinear(low, rows, cols)
    out = np.where(np.isnan(cubic), linear, cubic)
    holder = np.repeat(np.repeat(low, ratio, 0), ratio, 1)
    out[np.isnan(holder)] = np.nan
    return _fitted(_gaps_from_neighbours(out), shape)


def _rows(side: int, ratio: int) -> tuple[NDArray[np.int64], Image]:
    """For each output row: the input row at or before its centre, and how far beyond it is (0..1)."""
    position = (np.arange(side * ratio) + 0.5) / ratio - 0.5
    first = np.floor(position).astype(np.int64)
    return first, position - first


def _columns(side: int, grid: Enlargement) -> tuple[NDArray[np.int64], Image]:
    """As `_rows`, along a row of the whole image.

    GDAL computes the first and the last column of a row and interpolates between them; the rounding decides on which
    side the columns fall whose centre is a low pixel's centre, and with it whether they are cubic or bilinear at the
    second pixel from the border and beside gaps.
    """
    x = np.arange((grid.columns or side) * grid.ratio) + 0.5
    ends = x[[0, -1]] / grid.ratio
    position = ends[0] + (ends[1] - ends[0]) / (x[-1] - x[0]) * (x - x[0]) - 0.5
    at = slice(grid.first * grid.ratio, (grid.first + side) * grid.ratio)
    first = np.floor(position[at]).astype(np.int64)
    return first - grid.first, position[at] - first


def _cubic_weights(f: Image) -> Image:
    """Keys' cubic convolution with a = -0.5 at taps -1..2: [4 n]."""
    a = -0.5
    distance = np.abs(np.stack([1 + f, f, 1 - f, 2 - f]))
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _gathered(
    low: Image, rows: tuple[NDArray[np.int64], Image], cols: tuple[NDArray[np.int64], Image], n: int
) -> Image:
    """Cubic convolution, NaN where a tap is missing or beyond the image: rows first, then columns."""
    padded = np.pad(low.astype(np.float64), 2, constant_values=np.nan)
    across = sum(
        w[:, None] * padded[rows[0] + 2 + k] for k, w in zip(range(-1, n - 1), _cubic_weights(rows[1]), strict=True)
    )
    taps = zip(range(-1, n - 1), _cubic_weights(cols[1]), strict=True)
    return np.asarray(sum(w * np.asarray(across)[:, cols[0] + 2 + k] for k, w in taps))


def _weighted_bilinear(
    low: Image, rows: tuple[NDArray[np.int64], Image], cols: tuple[NDArray[np.int64], Image]
) -> Image:
    """Bilinear over the pixels of 2 x 2 that exist and are not NaN, weights renormalised; NaN where none is."""
    padded = np.pad(low.astype(np.float64), 1, constant_values=np.nan)
    total, weight = np.zeros((len(rows[0]), len(cols[0]))), np.zeros((len(rows[0]), len(cols[0])))
    for down in (0, 1):
        for right in (0, 1):
            value = padded[np.ix_(rows[0] + 1 + down, cols[0] + 1 + right)]
            share = np.abs(1 - down - rows[1])[:, None] * np.abs(1 - right - cols[1])
            seen = ~np.isnan(value)
            total += np.where(seen, share * value, 0.0)
            weight += np.where(seen, share, 0.0)
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def _gaps_from_neighbours(image: Image) -> Image:
    out = image.copy()
    inner = image[1:-1, 1:-1]
    if inner.size == 0:
        return out
    around = np.stack([image[:-2, 1:-1], image[2:, 1:-1], image[1:-1, :-2], image[1:-1, 2:]])
    seen = ~np.isnan(around)
    count = seen.sum(0)
    fillable = np.isnan(inner) & (count > 0)
    mean = np.where(seen, around, 0.0).sum(0) / np.maximum(count, 1)
    out[1:-1, 1:-1] = np.where(fillable, mean, inner)
    return out


def _fitted(image: Image, shape: tuple[int, int]) -> Image:
    """Cropped to a shape, or its last row and column repeated."""
    image = image[: shape[0], : shape[1]]
    return np.pad(image, [(0, want - have) for want, have in zip(shape, image.shape, strict=True)], mode="edge")
