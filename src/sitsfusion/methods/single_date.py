"""What the single-date networks share: one image of a role as tensors, and which pixels of it are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sitsfusion.methods.base import Tile
from sitsfusion.ops.resample import bicubic, nearest


class Image(NamedTuple):
    """`values [c h w]` float32, 0 where never observed; `seen [h w]`: observed; `clear [h w]`: observed and usable."""

    values: Tensor
    seen: Tensor
    clear: Tensor

    def resampled(self, factor: float) -> Image:
        """Pixels `factor` times larger: values bicubic, masks nearest."""
        return Image(bicubic(self.values, factor), nearest(self.seen, factor), nearest(self.clear, factor))


def image_of(tile: Tile, role: str, bands: Sequence[str]) -> Image:
    """The first date of a role in a tile."""
    frame = tile.cubes[role].select(bands=list(bands)).frame(0)
    values = torch.from_numpy(frame.values)
    return Image(values.nan_to_num(0.0), values.isfinite().all(0), torch.from_numpy(frame.valid))
