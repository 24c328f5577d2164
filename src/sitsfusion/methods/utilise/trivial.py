"""What U-TILISE is compared with: copies of the last, next or closest clear observation, and linear interpolation."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.ops.gapfill import linear_gapfill

CopyMode = Literal["last", "next", "closest"]
TrivialMode = Literal["last", "next", "closest", "linear_interpolation"]


def fill_trivially(images: Tensor, masks: Tensor, days: Tensor | None, mode: TrivialMode) -> Tensor:
    """A series whose masked pixels are taken from the clear dates of the same pixel; others are unchanged.

    `last`: the last clear date before; `next`: the first after; `closest`: the nearer of both, the earlier when
    equally near; `linear_interpolation` between both, and where there is one only, its copy.

    Args:
        images: `[b, t, c, h, w]`.
        masks: `[b, t, 1, h, w]`, 0 = clear, anything else = hidden.
        days: `[b, t]`, increasing; not needed by `last` and `next`.
        mode: the rule.

    Returns:
        float32 `[b, t, c, h, w]`, NaN where there is nothing to copy.

    Raises:
        InputError: days are needed and missing; masks and images of different size.
    """
    _check(images, masks, days, mode)
    if mode == "linear_interpolation" and days is not None:  # `_check` saw to the days
        filled = [linear_gapfill(x.float(), m[:, 0] == 0, d, d) for x, m, d in zip(images, masks, days, strict=True)]
        return torch.stack(filled)
    source = source_dates(masks, days, cast(CopyMode, mode))[:, :, None].expand(images.shape)  # [b, t, c, h, w]
    taken = images.float().gather(1, source.nan_to_num(0).long())
    return torch.where(source.isnan(), torch.nan, taken)


def source_dates(masks: Tensor, days: Tensor | None, mode: CopyMode) -> Tensor:
    """Index of the date that a pixel is copied from: float32 `[b, t, h, w]`, NaN where there is none.

    The pair (`last`, `next`) is what linear interpolation works on.
    """
    clear = masks[:, :, 0] == 0  # [b, t, h, w]
    index = torch.arange(clear.shape[1], device=clear.device)[:, None, None]
    last = torch.where(clear, index, -1).cummax(1).values
    following = torch.where(clear, index, clear.shape[1]).flip(1).cummin(1).values.flip(1)
    none_before, none_after = last < 0, following == clear.shape[1]
    if mode == "last":
        return last.float().masked_fill(none_before, torch.nan)
    if mode == "next":
        return following.float().masked_fill(none_after, torch.nan)
    if days is None:
        raise InputError("the closest observation needs the days of the frames")
    day = days.double()[:, :, None, None].expand(clear.shape)
    since = (day - day.gather(1, last.clamp(min=0))).masked_fill(none_before, torch.inf)
    until = (day.gather(1, following.clamp(max=days.shape[1] - 1)) - day).masked_fill(none_after, torch.inf)
    nearest = torch.where(since <= until, last, following)
    return nearest.float().masked_fill(none_before & none_after, torch.nan)


def _check(images: Tensor, masks: Tensor, days: Tensor | None, mode: str) -> None:
    b, t, _, h, w = images.shape
    if masks.shape != (b, t, 1, h, w):
        raise InputError(f"masks have shape {tuple(masks.shape)}, expected {(b, t, 1, h, w)} as the images")
    if mode in ("closest", "linear_interpolation") and days is None:
        raise InputError(f"{mode} needs the days of the frames")
