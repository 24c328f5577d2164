"""How a coarse image lies against fine ones, and how its bands relate to theirs: sums over the whole scene.

A shift is (rows, columns) in fine pixels: coarse pixel i, j shows the fine pixels that begin at (ratio i + rows,
ratio j + columns). All shifts are compared in one pass, by the moments of the two images for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Fewer pixels than this say nothing about a shift.
_FEWEST = 16


@dataclass(frozen=True, eq=False)
class Moments:
    """Count and sums of x, y, xx, yy, xy over the pixels of both images: [6 n b] for n shifts and b bands."""

    sums: Tensor

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.sums + other.sums)

    def at(self, shift: int) -> Moments:
        """Those of one shift."""
        return Moments(self.sums[:, shift : shift + 1])

    def correlation(self) -> Tensor:
        """Mean over bands [n]; -1 where the images share too few pixels, or a band is constant."""
        count = self.sums[0]
        xx, yy, xy = self._central()
        found = xy / (xx * yy).sqrt()
        return torch.where((count >= _FEWEST) & (xx > 0) & (yy > 0), found, -1.0).mean(-1)

    def line(self) -> tuple[Tensor, Tensor]:
        """Slope and offset [n b] of y on x; slope 1 where x is constant, 1 and 0 without pixels."""
        count, x, y = self.sums[0].clamp(min=1), self.sums[1], self.sums[2]
        xx, _, xy = self._central()
        slope = torch.where(xx > 0, xy / xx, 1.0)
        return slope, (y - slope * x) / count

    def _central(self) -> tuple[Tensor, Tensor, Tensor]:
        """Variances of x and y and their covariance, times the count; what is within rounding of 0 is 0."""
        count, x, y, xx, yy, xy = self.sums
        n = count.clamp(min=1)
        var_x, var_y = xx - x * x / n, yy - y * y / n
        return var_x * (var_x > 1e-12 * xx), var_y * (var_y > 1e-12 * yy), xy - x * y / n


def shifts(most: int) -> list[tuple[int, int]]:
    """All shifts of at most `most` fine pixels, the smallest first: of equally good ones the first is taken."""
    span = range(-most, most + 1)
    return sorted(((dy, dx) for dy in span for dx in span), key=lambda s: (s[0] ** 2 + s[1] ** 2, s))


def moments(coarse: Tensor, fine: Tensor, ratio: int, most: int) -> Moments:
    """Moments of x = `coarse [b h w]` and y = block means of `fine`, for all shifts of at most `most` fine pixels.

    `fine [b ratio h + 2 most, ratio w + 2 most]` has `most` pixels around the coarse image. NaN = not usable.
    """
    means = F.avg_pool2d(fine.double(), ratio, stride=1)
    height, width = (side * ratio for side in coarse.shape[-2:])
    x, found = coarse.double(), []
    for dy, dx in shifts(most):
        y = means[:, most + dy : most + dy + height : ratio, most + dx : most + dx + width : ratio]
        both = (x + y).isfinite()
        a, b = x.masked_fill(~both, 0.0), y.masked_fill(~both, 0.0)
        found.append(torch.stack([both.double(), a, b, a * a, b * b, a * b]).sum((-2, -1)))  # [6 b]
    return Moments(torch.stack(found, 1))


def on_fine_grid(image: Tensor, ratio: int, shift: tuple[int, int]) -> Tensor:
    """A coarse image on the fine grid, put where its shift says: [... h w] -> [... ratio h, ratio w].

    Blocks of equal pixels; NaN where the shift uncovers the border.
    """
    blocks = image.repeat_interleave(ratio, -2).repeat_interleave(ratio, -1)
    (dy, dx), (height, width) = shift, blocks.shape[-2:]
    around = F.pad(blocks, (max(dx, 0), max(-dx, 0), max(dy, 0), max(-dy, 0)), value=torch.nan)
    top, left = max(-dy, 0), max(-dx, 0)
    return around[..., top : top + height, left : left + width]
