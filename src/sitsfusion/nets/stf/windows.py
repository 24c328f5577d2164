"""Windows of the Swin transformer: cutting, shifting, masks, and biases by relative position.

Liu et al. 2021, "Swin Transformer: hierarchical vision transformer using shifted windows".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

SHIFTED_APART = -100.0  # added to the logit of two tokens that the shift brought together
_SIDE = 8


@dataclass(frozen=True)
class Windows:
    """Windows of `side` x `side` tokens over a map of `size` x `size`, after a shift.

    A map of 8 tokens or less is one window, never shifted.
    """

    size: int
    side: int
    shift: int

    @classmethod
    def of(cls, size: int, odd: bool) -> Windows:
        """The windows of an even or odd block over a map of `size` tokens a side."""
        return cls(size, size, 0) if size <= _SIDE else cls(size, _SIDE, _SIDE // 2 if odd else 0)

    def cut(self, x: Tensor) -> Tensor:
        """Tokens `[n (h w) c]` -> `[(n windows) tokens c]`."""
        grid = rearrange(x, "n (h w) c -> n h w c", h=self.size)
        if self.shift:
            grid = grid.roll((-self.shift, -self.shift), (1, 2))
        return rearrange(grid, "n (i p) (j q) c -> (n i j) (p q) c", p=self.side, q=self.side)

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of `cut`."""
        count = self.size // self.side
        grid = rearrange(windows, "(n i j) (p q) c -> n (i p) (j q) c", i=count, j=count, p=self.side)
        if self.shift:
            grid = grid.roll((self.shift, self.shift), (1, 2))
        return rearrange(grid, "n h w c -> n (h w) c")

    def mask(self) -> Tensor | None:
        """`[windows tokens tokens]`: what keeps apart tokens that are no neighbours in the image; None unshifted."""
        if not self.shift:
            return None
        at = torch.arange(self.size)
        region = (at >= self.size - self.side).long() + (at >= self.size - self.shift).long()  # [size]
        regions = (3 * region[:, None] + region).reshape(1, -1, 1)
        cut = Windows(self.size, self.side, 0).cut(regions)[..., 0]  # [windows tokens]
        return (cut[:, None] != cut[:, :, None]).float() * SHIFTED_APART


class PositionBias(nn.Module):
    """A learnt bias for each offset between two tokens of a window, and each head.

    Mixed into attention modules, so that the table bears its published name.
    """

    relative_position_index: Tensor

    def __init__(self, side: int, heads: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * side - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02, a=-2, b=2)
        at = torch.cartesian_prod(torch.arange(side), torch.arange(side))  # [tokens 2]
        offset = at[:, None] - at[None] + side - 1
        index = offset[..., 0] * (2 * side - 1) + offset[..., 1]
        self.register_buffer("relative_position_index", index, persistent=False)

    def bias(self) -> Tensor:
        """`[heads tokens tokens]`."""
        return rearrange(self.relative_position_bias_table[self.relative_position_index], "p q h -> h p q")


def with_mask(bias: Tensor, mask: Tensor | None, windows: int) -> Tensor:
    """Bias `[h p q]` and mask `[k p q]` for `windows` = n k windows: `[windows or 1, h, p, q]`."""
    if mask is None:
        return bias[None]
    both = bias[None] + mask[:, None].to(bias.dtype)  # [k h p q]
    return both.repeat(windows // len(mask), 1, 1, 1)
