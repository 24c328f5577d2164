"""SAVGOL: the filter of Savitzky and Golay on a regular time grid, after linear gap filling.

Savitzky, Golay, Analytical Chemistry 36, 1964; for vegetation series Chen et al., RSE 91, 2004 (whose iteration
towards the upper envelope is not done here). Same result as `scipy.signal.savgol_filter(..., mode="interp")`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.methods.base import Card, MethodPlan, Options
from sitsfusion.methods.roles import plan_each
from sitsfusion.methods.temporal.base import Curve, Pixels, TemporalMethod
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.query import Query
from sitsfusion.scene import Scene


def filter_weights(samples: Tensor, count: int, window: int, degree: int) -> tuple[Tensor, Tensor]:
    """The filter at some samples [q] of a series: (weights [q window] float64, the samples that they are of).

    A polynomial is fitted to the window around a sample and evaluated there. Near the ends the window stays inside,
    and the polynomial of the first or last window is evaluated (SciPy's `mode="interp"`).

    Raises:
        InputError: an even window, one larger than the series, or a degree that it cannot determine.
    """
    if window % 2 == 0 or window > count or degree >= window:
        raise InputError(
            f"Savitzky-Golay: window {window} of {count} samples, degree {degree}; "
            "the window must be odd, larger than the degree and not longer than the series"
        )
    half = window // 2
    offsets, powers = torch.arange(-half, half + 1, device=samples.device), torch.arange(degree + 1)
    powers = powers.to(samples.device)
    fit = torch.linalg.pinv((offsets.double() / max(half, 1))[:, None] ** powers)  # [degree+1 window]
    centres = samples.clamp(half, count - 1 - half)
    position = (samples - centres).double() / max(half, 1)
    return (position[:, None] ** powers) @ fit, centres[:, None] + offsets


class SavgolOptions(Options):
    """Options of `savgol`."""

    step: int = Field(5, ge=1, description="days between samples of the regular grid")
    window: int = Field(9, ge=1, description="samples in the window, odd")
    degree: int = Field(2, ge=0, description="of the polynomial")

    @model_validator(mode="after")
    def _window_fits(self) -> SavgolOptions:
        if self.window % 2 == 0 or self.degree >= self.window:
            raise ValueError(f"window {self.window} must be odd and larger than the degree {self.degree}")
        return self


class Savgol(TemporalMethod):
    """Linear gap filling onto a regular grid from the first image on, the filter, then linear to the target days;
    before the first and after the last image the curve's end is repeated.
    """

    card: ClassVar[Card] = Card(
        name="savgol",
        title="Savitzky-Golay filter",
        summary="Local polynomials on a regular time grid, per pixel and band. Each sensor apart; needs masks.",
        citation="Savitzky, Golay (1964), Analytical Chemistry 36",
        uses=("fine", "coarse", "thermal"),
    )
    Options: ClassVar[type[Options]] = SavgolOptions
    options: SavgolOptions

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        def too_short(role: str) -> str | None:
            dates, needed = scene[role].dates, self.options.step * (self.options.window - 1)
            span = (dates[-1] - dates[0]).days if dates else 0
            return f"savgol needs {role} images over {needed} or more days, found {span}" if span < needed else None

        return plan_each(scene, query, too_short)

    def numbers_per_pixel(self, dates: int, bands: int, targets: int, span: int) -> int:
        return bands * (dates + 2 * max(span // self.options.step, dates) + targets * (self.options.window + 2))

    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        o, first, last = self.options, pixels.days[0], pixels.days[-1]
        # the grid reaches the last image: its last sample may lie up to a step beyond, where filling repeats
        count = int(-((first - last) // o.step)) + 1
        grid = first + o.step * torch.arange(count, dtype=torch.float64, device=targets.device)
        filled = linear_gapfill(pixels.values[..., None], pixels.valid[..., None], pixels.days, grid)[..., 0]
        position = (targets.clamp(first, last) - first) / o.step  # [q]
        left = position.floor().long().clamp(max=count - 2)
        share = position - left
        made = torch.zeros(len(targets), *filled.shape[1:], dtype=torch.float64, device=targets.device)
        for samples, part in ((left, 1 - share), (left + 1, share)):
            weights, at = filter_weights(samples, count, o.window, o.degree)
            made += torch.einsum("qw,qwcn->qcn", part[:, None] * weights, filled.nan_to_num(nan=0.0)[at])
        return Curve(torch.where(pixels.count() > 0, made, torch.nan))
