"""From the images of a place to the frames that a U-TILISE network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import torch
from torch import Tensor

from sitsfusion.ops.series_ops import subset, union_days
from sitsfusion.series import Series


@dataclass(frozen=True, eq=False)
class Frames:
    """A series with gaps, at every date that has an image or is wanted.

    Attributes:
        x: `[b, t, c, h, w]`; `fill` where nothing is shown.
        masks: float32 `[b, t, 1, h, w]`, 1 where a pixel has no clear observation.
        days: `[b, t]`, increasing.
    """

    x: Tensor
    masks: Tensor
    days: Tensor


def frames_at(series: Series, wanted: Tensor, fill: float = 1.0, hide: bool = True) -> Frames:
    """The series at the union of its own days and the wanted ones, which get wholly masked frames.

    Args:
        series: images; pixels that are not valid are gaps.
        wanted: `[q]` days.
        fill: of wholly masked frames and, with `hide`, of all masked pixels.
        hide: show the network `fill` in masked pixels, as in its training; False: the clouds themselves, as the
            comparison in TAMRFSITS does (a NaN is `fill` in any case).
    """
    full = subset(series, union_days(series.days, wanted), fill)
    usable = full.usable()[:, :, None]  # [b, t, 1, h, w]
    x = full.values if not hide else torch.where(usable, full.values, fill)
    return Frames(torch.where(x.isnan(), fill, x), (~usable).to(x.dtype), full.days)


def pick(images: Tensor, days: Tensor, wanted: Tensor) -> Tensor:
    """The wanted days of a complete series: `images [b, t, c, h, w]`, `days [b, t]` -> `[b, q, c, h, w]`."""
    return images[:, torch.searchsorted(days[0].contiguous(), wanted.to(days))]


def nearest_dates(dates: Sequence[date], others: Sequence[date], most: int) -> dict[date, date]:
    """For each date the nearest of `others` (of equally near ones the earlier) if it is at most `most` days away."""
    found: dict[date, date] = {}
    for day in dates:
        near = min(others, key=lambda other: (abs((other - day).days), other), default=None)
        if near is not None and abs((near - day).days) <= most:
            found[day] = near
    return found
