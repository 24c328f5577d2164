"""Moving windows over images, one offset at a time for a whole block of pixels.

A window of `2 radius + 1` pixels is clipped at the border of the image: images are padded with NaN (never a candidate)
or 0 (adds nothing). Work is cut into small blocks that stay in the processor's cache, so memory does not grow with the
image. Every pixel sees the same additions in the same order wherever a block or a tile begins: results do not depend
on tiles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import hypot

import torch
from torch import Tensor
from torch.nn import functional as F

# Numbers in one block of all layers: what fits in a core's cache, yet is worth the call of an operation.
_BLOCK_NUMBERS, _BLOCK_COLUMNS = 49_152, 128
# Where the most similar neighbours are searched: bytes of the table of scores, numbers of one line of the window.
_TABLE_BYTES, _LINE_NUMBERS, _FEWEST_PIXELS = 2**22, 2**17, 64
_INDEX_BITS = 16


@dataclass(frozen=True)
class Ring:
    """Offsets (rows, columns) of one distance in pixels."""

    distance: float
    offsets: tuple[tuple[int, int], ...]


def rings(radius: int) -> list[Ring]:
    """All offsets of a square window, grouped by distance: what depends on the distance is computed once a ring."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            found[dy * dy + dx * dx].append((dy, dx))
    return [Ring(hypot(*found[d][0]), tuple(found[d])) for d in sorted(found)]


@dataclass(frozen=True)
class Neighbourhood:
    """A block of pixels of an image padded by `radius`: `rows`, `columns` of the image, all it sees around it."""

    rows: slice
    columns: slice
    radius: int

    def around(self, padded: Tensor) -> Tensor:
        """The block and its surroundings, of an image [..., h + 2 radius, w + 2 radius]: a view."""
        r = 2 * self.radius
        return padded[..., self.rows.start : self.rows.stop + r, self.columns.start : self.columns.stop + r]

    def neighbours(self, around: Tensor) -> Callable[[int, int], Tensor]:
        """A function from an offset to the neighbours of the block's pixels out of `around`: a view [..., rows,
        columns]. (Made once a block: indexing would cost as much as the arithmetic on it.)
        """
        size = (*around.shape[:-2], self.rows.stop - self.rows.start, self.columns.stop - self.columns.start)
        stride, (down, right) = around.stride(), around.stride()[-2:]
        first = around.storage_offset() + self.radius * (down + right)
        return lambda dy, dx: around.as_strided(size, stride, first + dy * down + dx * right)

    def lines(self, around: Tensor) -> Callable[[int], Tensor]:
        """As `neighbours`, for all offsets of one line of the window, from left to right: a view [..., rows, columns,
        n].
        """
        height, width = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        size = (*around.shape[:-2], height, width, 2 * self.radius + 1)
        down, right = around.stride()[-2:]
        stride, first = (*around.stride()[:-2], down, right, right), around.storage_offset()
        return lambda dy: around.as_strided(size, stride, first + (self.radius + dy) * down)


def neighbourhoods(size: Sequence[int], radius: int, layers: int) -> Iterator[Neighbourhood]:
    """The blocks that an image of (rows, columns) is worked through in, when `layers` of it are used together."""
    height, width = size
    rows = max(1, _BLOCK_NUMBERS // (_BLOCK_COLUMNS * layers))
    for row in range(0, height, rows):
        for column in range(0, width, _BLOCK_COLUMNS):
            across = slice(column, min(column + _BLOCK_COLUMNS, width))
            yield Neighbourhood(slice(row, min(row + rows, height)), across, radius)


def padded(image: Tensor, radius: int, fill: float) -> Tensor:
    """`image [... h w]` with `radius` pixels of `fill` on every side."""
    return F.pad(image, (radius, radius, radius, radius), value=fill)


def mirrored(image: Tensor, before: int, after: int) -> Tensor:
    """`image [... h w]` continued by mirrors, `before` above and left, `after` below and right; the edge pixel is not
    repeated. An image smaller than that is mirrored back and forth.
    """
    for axis in (-2, -1):
        side = image.shape[axis]
        period = max(2 * (side - 1), 1)
        folded = torch.arange(-before, side + after, device=image.device).remainder(period)
        image = image.index_select(axis, torch.where(folded < side, folded, period - folded))
    return image


def box_sum(image: Tensor, radius: int) -> Tensor:
    """Sum over the window clipped at the border: `image [c h w]`, NaN counted as 0. Any float type."""
    size = 2 * radius + 1
    whole = padded(image.nan_to_num(0.0), radius, 0.0)
    columns = F.avg_pool2d(whole, (1, size), stride=1, divisor_override=1)
    return F.avg_pool2d(columns, (size, 1), stride=1, divisor_override=1)


@dataclass(frozen=True, eq=False)
class Similar:
    """The most similar neighbours of a block's pixels, the best first.

    `score` [n, p] (infinite where there are fewer than n), `distance` [n, p] in pixels, `place` [n, p]: position in
    `around` of a padded image, flattened.
    """

    score: Tensor
    distance: Tensor
    place: Tensor

    def take(self, around: Tensor) -> Tensor:
        """Values of an image `around [c H W]` at the neighbours: [c, n, p]."""
        return around.flatten(1)[:, self.place]


Score = Callable[[Tensor, Tensor], Tensor]


def most_similar(image: Tensor, count: int, radius: int, score: Score) -> Iterator[tuple[Neighbourhood, Similar]]:
    """The `count` neighbours with the smallest score, block by block; ties go to the first in row-major order.

    Args:
        image: padded by `radius`, [c, h + 2 radius, w + 2 radius].
        count: neighbours wanted; fewer where the window holds fewer.
        radius: of the window.
        score: of (centre [c, rows, columns, 1], neighbours [c, rows, columns, n]) -> [rows, columns, n] >= 0; infinite
            or NaN for pixels that are no candidates.
    """
    side, (height, width) = 2 * radius + 1, (length - 2 * radius for length in image.shape[-2:])
    number = torch.arange(side**2, device=image.device)
    for block in _table_blocks(height, width, radius, len(image)):
        around = block.around(image)
        centre = block.neighbours(around)(0, 0)
        line = block.lines(around)
        table = image.new_empty(centre[0].numel(), side**2)
        for dy in range(-radius, radius + 1):  # one line of the window at a time
            first = (dy + radius) * side
            table[:, first : first + side] = score(centre[..., None], line(dy)).flatten(0, 1)
        # Non-negative doubles order as their bits do; the lowest bits give way to the offset, so that equal scores
        # keep their order.
        keys = table.nan_to_num_(torch.inf, torch.inf).double().view(torch.int64)
        keys.bitwise_and_(-(2**_INDEX_BITS)).bitwise_or_(number)
        best = keys.topk(min(count, side**2), largest=False).values  # [p n], sorted
        yield block, _similar(best.T, block, around.shape[-1])


def _similar(best: Tensor, block: Neighbourhood, stride: int) -> Similar:
    number = best & (2**_INDEX_BITS - 1)
    score = (best - number).view(torch.float64)
    side = 2 * block.radius + 1
    down, right = number // side - block.radius, number % side - block.radius  # [n p]
    rows = torch.arange(block.rows.stop - block.rows.start, device=best.device) + block.radius
    columns = torch.arange(block.columns.stop - block.columns.start, device=best.device) + block.radius
    centre = (rows[:, None] * stride + columns).flatten()  # [p]
    return Similar(score, (down.square() + right.square()).double().sqrt(), centre + down * stride + right)


def _table_blocks(height: int, width: int, radius: int, layers: int) -> Iterator[Neighbourhood]:
    """Blocks whose table of scores and whose neighbours along one line of the window stay in the cache."""
    side = 2 * radius + 1
    pixels = max(_FEWEST_PIXELS, min(_TABLE_BYTES // (8 * side**2), _LINE_NUMBERS // (layers * side)))
    rows = max(1, pixels // min(width, _BLOCK_COLUMNS))
    for row in range(0, height, rows):
        for column in range(0, width, _BLOCK_COLUMNS):
            across = slice(column, min(column + _BLOCK_COLUMNS, width))
            yield Neighbourhood(slice(row, min(row + rows, height)), across, radius)
