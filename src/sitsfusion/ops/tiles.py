"""Padding for networks with size rules, and the tile layout of the published TAMRFSITS code.

The engine cuts a job into tiles without fake data around the image. `patchify`, `unpatchify` and
`reference_tiling` are the published layout instead, with zero pixels around the image; they exist to reproduce
published numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.series import Series

Predict = Callable[[Sequence[Series | None]], Sequence[Series | None]]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Mirror `x [... h w]` at its lower and right border until both sides are multiples of `multiple`.

    The edge pixel is not repeated; an image smaller than its padding is mirrored back and forth. Any dtype.
    Undo with `crop_to`.

    Raises:
        InputError: `multiple` < 1 or an empty image.
    """
    h, w = x.shape[-2:]
    if multiple < 1 or min(h, w) < 1:
        raise InputError(f"an image of {h} x {w} pixels cannot be padded to multiples of {multiple}")
    for axis, side in ((-2, h), (-1, w)):
        if side % multiple:
            x = x.index_select(axis, mirrored(side, 0, -(-side // multiple) * multiple).to(x.device))
    return x


def crop_to(x: Tensor, height: int, width: int) -> Tensor:
    """The upper left `height` x `width` pixels of `x [... h w]`: a view.

    Raises:
        InputError: the image is smaller than that.
    """
    if x.shape[-2] < height or x.shape[-1] < width:
        raise InputError(f"an image of {x.shape[-2]} x {x.shape[-1]} pixels cannot be cropped to {height} x {width}")
    return x[..., :height, :width]


def patchify(x: Tensor, size: int, margin: int) -> Tensor:
    """Overlapping tiles of an image padded with zeros: `[... h w]` -> `[rows columns ... size+2m size+2m]`.

    `margin` zeros are put on every side, and at the lower and right side what is missing to a multiple of `size`.
    Tile (i, j) starts at pixel (i * size - margin, j * size - margin) of the image. The result is a view of the
    padded image, so tiles share memory.

    Raises:
        InputError: `size` < 1 or a negative margin.
    """
    if size < 1 or margin < 0:
        raise InputError(f"tiles need a positive size and a margin of 0 or more, found {size} and {margin}")
    h, w = x.shape[-2:]
    padded = F.pad(x, (margin, margin + -w % size, margin, margin + -h % size))
    tiles = padded.unfold(-2, size + 2 * margin, size).unfold(-2, size + 2 * margin, size)  # [... rows columns s s]
    return tiles.movedim((-4, -3), (0, 1))


def unpatchify(tiles: Tensor) -> Tensor:
    """Tiles side by side: `[rows columns ... s s]` -> `[... rows*s columns*s]`.

    The inverse of `patchify` with margin 0. Sides are multiples of the tile size: cut to the image's with `crop_to`.
    """
    apart = tiles.movedim((0, 1), (-4, -2))  # [... rows s columns s]
    return apart.flatten(-4, -3).flatten(-2, -1)


def reference_tiling(
    predict: Predict, inputs: Sequence[Series | None], ratios: Sequence[int], size: int, margin: int
) -> list[Series | None]:
    """Predict an image tile by tile in the published layout (`patchify`), in row-major order.

    Args:
        predict: takes the inputs of one tile, in the order of `inputs`, and returns series on the fine grid, each of
            `size` + 2 `margin` fine pixels a side and with the same days for every tile (or None).
        inputs: series of one extent, each at its own resolution, without `valid`; None where a sensor is absent.
        ratios: for each input, how many fine pixels wide its pixels are (3 for 30 m beside 10 m). Ratios must
            divide `size` and `margin`.
        size: side of a tile in fine pixels, without margin.
        margin: fine pixels around a tile that are predicted and thrown away.

    Returns:
        One series per output of `predict`, without `valid`, its sides rounded up to multiples of `size` (the published
        code does not cut them to the image; `crop_to` does).

    Raises:
        InputError: no input, sizes that a ratio does not divide, inputs of different extents.
    """
    _check_tiling(inputs, ratios, size, margin)
    tiles = [
        None if s is None else patchify(s.values, size // r, margin // r) for s, r in zip(inputs, ratios, strict=True)
    ]
    rows, columns = next(t.shape[:2] for t in tiles if t is not None)
    predicted = [_predict_tile(predict, inputs, tiles, (i, j)) for i in range(rows) for j in range(columns)]
    merged: list[Series | None] = []
    for outputs in zip(*predicted, strict=True):
        present = [s for s in outputs if s is not None]
        if not present:
            merged.append(None)
            continue
        cores = torch.stack([s.crop(margin).values for s in present])  # [rows*columns b t c s s]
        merged.append(Series(unpatchify(cores.reshape(rows, columns, *cores.shape[1:])), present[0].days))
    return merged


def _predict_tile(
    predict: Predict, inputs: Sequence[Series | None], tiles: Sequence[Tensor | None], at: tuple[int, int]
) -> Sequence[Series | None]:
    """The prediction of the tile in row and column `at`."""
    return predict(
        [
            None if series is None or tile is None else Series(tile[at], series.days)
            for series, tile in zip(inputs, tiles, strict=True)
        ]
    )


def mirrored(side: int, first: int, end: int) -> Tensor:
    """Indices first..end-1 folded into 0..side-1 at the mirrors 0 and side-1, back and forth if need be."""
    period = max(2 * (side - 1), 1)
    folded = torch.arange(first, end) % period
    return torch.where(folded < side, folded, period - folded)


def _check_tiling(inputs: Sequence[Series | None], ratios: Sequence[int], size: int, margin: int) -> None:
    if any(size % r or margin % r for r in ratios):
        raise InputError(f"tile size {size} and margin {margin} must be multiples of the ratios {list(ratios)}")
    extents = {
        (s.values.shape[-2] * r, s.values.shape[-1] * r) for s, r in zip(inputs, ratios, strict=True) if s is not None
    }
    if len(extents) != 1:
        raise InputError(f"the inputs of a tiling must share one extent, found {sorted(extents)} fine pixels")
