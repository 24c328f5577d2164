"""Spatial encoders on a part of an image, exactly as on the whole image.

A part is read with a margin. Each 3x3 convolution makes one more ring of its pixels unusable, so every intermediate
image is cut to what the following convolutions still need. Where the part ends at the border of the image nothing is
cut, and the zero padding of the convolutions acts as it does on the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.reach import esr_convolutions
from sitsfusion.nets.rrdb import SLOPE, DenseBlock, EsrEncoder, Rrdb


@dataclass(frozen=True)
class Shrinking:
    """Images that end up covering `want`, a part of an image of `size` (rows, columns).

    With k convolutions still to come they cover `area(k)`: k pixels more on every side, clipped to the image.
    """

    want: Window
    size: tuple[int, int]

    def area(self, k: int) -> Window:
        return self.want.padded(k, self.size)

    def cut(self, x: Tensor, k: int, to: int) -> Tensor:
        """An image of area k cut to area `to` (<= k): a view."""
        rows, cols = self.area(to).relative_to(self.area(k)).slices
        return x[..., rows, cols]

    def conv(self, layer: nn.Conv2d, x: Tensor, k: int) -> Tensor:
        """A 3x3 convolution: area k -> area k - 1."""
        before, after = self.area(k), self.area(k - 1)
        # An axis without any image border needs no padding at all.
        pad_rows, pad_cols = after.height + 2 > before.height, after.width + 2 > before.width
        y = F.conv2d(x, layer.weight, layer.bias, padding=(int(pad_rows), int(pad_cols)))
        top = after.row - before.row if pad_rows else 0
        left = after.col - before.col if pad_cols else 0
        return y[..., top : top + after.height, left : left + after.width]


def esr_features(net: EsrEncoder, x: Tensor, area: Shrinking) -> Tensor:
    """`EsrEncoder.native` over `area.want`.

    `x [n, bands, h, w]` covers `area.area(k)`, k = `esr_convolutions` of the net -> `[n, features, h', w']`.
    """
    depth = esr_convolutions(len(net.blocks))
    first = z = area.conv(net.first, x, depth)
    left = depth - 1
    for block in net.blocks:
        z, left = _rrdb(cast(Rrdb, block), z, area, left)
    return area.conv(net.last, z, left) + area.cut(first, depth - 1, 0)


def _rrdb(rrdb: Rrdb, x: Tensor, area: Shrinking, k: int) -> tuple[Tensor, int]:
    """An image of area k -> the result, and the convolutions that are left after it."""
    y, left = x, k
    for block in rrdb.dense:
        y, left = _dense_block(cast(DenseBlock, block), y, area, left)
    return y.mul_(rrdb.scale).add_(area.cut(x, k, left)), left


def _dense_block(block: DenseBlock, x: Tensor, area: Shrinking, k: int) -> tuple[Tensor, int]:
    # One buffer for all 192 channels would save the concatenations. But a convolution copies its input when that is
    # a slice of channels, which on a CPU is slower (46 against 56 GMAC/s) than joining what had to be cut anyway.
    seen, left = [(x, k)], k
    for conv in block.convs:
        joined = torch.cat([area.cut(one, at, left) for one, at in seen], dim=1)
        y = F.leaky_relu_(area.conv(cast(nn.Conv2d, conv), joined, left), SLOPE)
        left -= 1
        seen.append((y, left))
    return y.mul_(block.scale).add_(area.cut(x, k, left)), left
