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


def filter_matrix(count: int, window: int, degree: int) -> Tensor:
    """Weights [count, count] float64: row i fits a polynomial to the window around sample i and evaluates it at i.

    Near the ends the window stays inside, and the polynomial of the first or last window is evaluated (SciPy's
    `mode="interp"`).

    Raises:
        InputError: an even window, one larger than the series, or a degree that it cannot determine.
    """
    if window % 2 == 0 or window > count or degree >= window:
        raise InputError(
            f"Savitzky-Golay: window {window} of {count} samples, degree {degree}; "
            "the window must be odd, larger than the degree and not longer than the series"
        )
    half = window // 2
    offsets = torch.arange(-half, half + 1, dtype=torch.float64) / max(half, 1)
    fit = torch.linalg.pinv(offsets[:, None] ** torch.arange(degree + 1))  # [degree+1 window]
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for i in range(count):
        centre = min(max(i, half), count - 1 - half)
        position = (i - centre) / max(half, 1)
        row = (position ** torch.arange(degree + 1, dtype=torch.float64)) @ fit
        matrix[i, centre - half : centre + half + 1] = row
    return matrix


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

    def numbers_per_pixel(self, dates: int, bands: int, targets: int) -> int:
        return bands * (dates + 2 * max(366 // self.options.step, dates) + targets)

    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        o, first, last = self.options, pixels.days[0], pixels.days[-1]
        # the grid reaches the last image: its last sample may lie up to a step beyond, where filling repeats
        count = int(-((first - last) // o.step)) + 1
        grid = first + o.step * torch.arange(count, dtype=torch.float64, device=targets.device)
        filled = linear_gapfill(pixels.values[..., None], pixels.valid[..., None], pixels.days, grid)[..., 0]
        position = (targets.clamp(first, last) - first) / o.step  # [q]
        left = position.floor().long().clamp(max=count - 2)
        share = position - left
        weights = filter_matrix(count, o.window, o.degree).to(targets.device)
        rows = (1 - share)[:, None] * weights[left] + share[:, None] * weights[left + 1]  # [q g]
        made = torch.einsum("qg,gcn->qcn", rows, filled.nan_to_num(nan=0.0))
        return Curve(torch.where(pixels.count() > 0, made, torch.nan))
