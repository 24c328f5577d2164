"""LINEAR: between the clear observations of each pixel: linear, or the previous, next or nearest one."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.methods.base import Card, Options
from sitsfusion.methods.temporal.base import Curve, Pixels, TemporalMethod
from sitsfusion.ops.gapfill import linear_gapfill

Kind = Literal["linear", "previous", "next", "nearest"]


def step_or_line(pixels: Pixels, targets: Tensor, kind: Kind) -> Tensor:
    """[q c n]: `linear` as `ops.gapfill.linear_gapfill`; `previous`: the last clear observation at or before the day;
    `next`: the first at or after it; `nearest`: the nearest, of two equally near the earlier. NaN where there is none
    (on that side, for `previous` and `next`).
    """
    if kind == "linear":
        filled = linear_gapfill(pixels.values[..., None], pixels.valid[..., None], pixels.days, targets)
        return filled[..., 0]
    away = targets[:, None] - pixels.days  # [q t]
    cost = {"previous": away, "next": -away, "nearest": away.abs()}[kind]
    allowed = (cost >= 0)[:, :, None] & pixels.valid  # [q t n]
    found = torch.where(allowed, cost[:, :, None], torch.inf).min(1)
    at = found.indices[:, None].expand(-1, pixels.values.shape[1], -1)  # [q c n]
    return torch.where(found.values.isfinite()[:, None], pixels.values.gather(0, at), torch.nan)


class LinearOptions(Options):
    """Options of `linear`."""

    kind: Kind = Field("linear", description="linear, or the previous, next or nearest clear observation of the pixel")


class Linear(TemporalMethod):
    """Per pixel, unlike `closest`, which copies whole images. With `kind=linear` this is `naive`, which refuses a
    role with a single image, where this one repeats it.
    """

    card: ClassVar[Card] = Card(
        name="linear",
        title="Linear, previous, next or nearest clear observation",
        summary="Per pixel, between clear observations. Each sensor apart; needs masks, no weights.",
        citation="Common practice; linear rule of Michel and Inglada (2025), TAMRFSITS",
        uses=("fine", "coarse", "thermal"),
    )
    Options: ClassVar[type[Options]] = LinearOptions
    options: LinearOptions

    def numbers_per_pixel(self, dates: int, bands: int, targets: int, span: int) -> int:
        return 2 * bands * (dates + 2 * targets) + 2 * dates * targets

    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        return Curve(step_or_line(pixels, targets, self.options.kind))
