"""Gaps of one fine image filled from other ones: a regression per class, corrected by the errors of similar pixels.

Luo, Guan, Peng (RSE 214, 2018), "adaptive-average correction". Every pixel is worked out by itself, so results do not
depend on tiles that have `Search.largest // 2` pixels around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_TABLE_BYTES = 2**23


@dataclass(frozen=True)
class Search:
    """Similar neighbours: how many, in a window of `window` pixels that grows by `growth` until they are found, up to
    `largest` (then those that were found are taken).
    """

    neighbours: int
    window: int
    growth: int
    largest: int

    @property
    def radii(self) -> list[int]:
        """Radii of the windows tried, in pixels."""
        found = list(range(self.window // 2, self.largest // 2, max(1, self.growth // 2)))
        return [*found, self.largest // 2]


def fill(image: Tensor, others: Tensor, classes: Tensor, lines: Tensor, search: Search) -> Tensor:
    """`image [b h w]` with its gaps (NaN in all bands) filled from `others [r b h w]`, the first that can.

    In class c, other image j says slope x other + offset, with `lines [r k b 2]` (slope, offset; NaN: unknown); added
    is the mean error of that at the most similar pixels of the class around, where any is seen in both images.
    `classes [h w]`, -1: none. A gap that no other image fills stays NaN.
    """
    filled = image.clone()
    for other, line in zip(others, lines, strict=True):
        slope, offset = (part[classes.clamp(min=0)].movedim(-1, 0).to(image) for part in line.unbind(-1))  # [b h w]
        expected = (slope * other + offset).masked_fill(classes < 0, torch.nan)
        gap = filled[0].isnan() & expected.isfinite().all(0)
        if gap.any():
            correction = _mean_errors(image - expected, other, classes, gap, search)  # [b n]
            filled[:, gap] = expected[:, gap] + correction
    return filled


def _mean_errors(errors: Tensor, other: Tensor, classes: Tensor, gap: Tensor, search: Search) -> Tensor:
    """Mean of `errors [b h w]` at the most similar neighbours of each gap pixel: [b n], 0 where there is none."""
    r = search.radii[-1]
    border = (r, r, r, r)
    labels = torch.where(errors.isfinite().all(0), classes, -1)  # -1: no neighbour
    radii = _radii(labels, classes, search)[gap]
    labels = F.pad(labels, border, value=-1)
    field = _Field(labels.flatten(), F.pad(other, border).flatten(1), F.pad(errors, border).flatten(1))
    rows, columns = gap.nonzero(as_tuple=True)
    centres = (rows + r) * labels.shape[1] + columns + r  # places in the padded image
    own = classes[gap]
    found = torch.zeros(len(errors), len(centres), dtype=errors.dtype, device=gap.device)
    for radius in search.radii:
        around = torch.arange(-radius, radius + 1, device=gap.device)
        offsets = (around[:, None] * labels.shape[1] + around).flatten()
        for chunk in _chunks((radii == radius).nonzero()[:, 0], len(offsets)):
            places = centres[chunk, None] + offsets  # [n k]
            found[:, chunk] = field.mean_error(centres[chunk], places, own[chunk], search.neighbours)
    return found


def _radii(labels: Tensor, classes: Tensor, search: Search) -> Tensor:
    """The radius of the window of each pixel [h w]: the first in which enough neighbours have its class."""
    (height, width), most = labels.shape, search.radii[-1]
    found = torch.full_like(classes, most)
    for c in range(int(classes.max()) + 1):
        padded = F.pad((labels == c).int(), (most + 1, most, most + 1, most))
        total = padded.cumsum(0).cumsum(1)  # of all pixels above and left
        for radius in search.radii[-2::-1]:  # from the largest, so that the smallest that holds enough stays
            first, last = most - radius, most + radius + 1
            up, down, left, right = (
                slice(at, at + side) for side in (height, width) for at in (first, last)
            )  # bounds of the windows
            count = total[down, right] - total[up, right] - total[down, left] + total[up, left]
            found = torch.where((count >= search.neighbours) & (classes == c), radius, found)
    return found


@dataclass(frozen=True, eq=False)
class _Field:
    """Padded and flattened: class of pixels with an error [m] (-1: none), other image and errors [b m]."""

    labels: Tensor
    other: Tensor
    errors: Tensor

    def mean_error(self, centres: Tensor, places: Tensor, own: Tensor, count: int) -> Tensor:
        """`centres [n]` of the classes `own [n]`, `places [n k]` -> [b n]: mean over the `count` pixels of the class
        with the smallest spectral distance.
        """
        similar = self.labels.take(places) == own[:, None]
        pixel, _ = similar.nonzero(as_tuple=True)
        other, centre = places[similar], centres[pixel]
        apart = torch.zeros(len(pixel), dtype=self.other.dtype, device=places.device)
        for band in self.other:
            apart += (band[other] - band[centre]).square_()
        squares = torch.full(places.shape, torch.inf, dtype=apart.dtype, device=places.device)
        squares[similar] = apart
        nearest = squares.topk(min(count, squares.shape[1]), 1, largest=False)
        used = nearest.values.isfinite()  # [n count]
        chosen = self.errors[:, places.gather(1, nearest.indices)].masked_fill(~used, 0.0)  # [b n count]
        return chosen.sum(-1) / used.sum(1).clamp(min=1)


def _chunks(number: Tensor, neighbours: int) -> Iterator[Tensor]:
    size = max(1, _TABLE_BYTES // (24 * neighbours))
    return (number[start : start + size] for start in range(0, len(number), size))
