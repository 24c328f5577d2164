"""DOUBLE_LOGISTIC: one season of rise and fall per calendar year.

Beck et al., "Improved monitoring of vegetation dynamics at very high latitudes: a new method using MODIS NDVI",
RSE 100, 2006, equation 3:

    y(t) = w + (m - w) (1 / (1 + exp(-a (t - s))) + 1 / (1 + exp(b (t - e))) - 1)

w winter level, m peak, s and e the days of steepest rise and fall, a and b their rates (per day).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.methods.base import Card, MethodPlan, Options, Refusal, Step
from sitsfusion.methods.temporal.base import Curve, Pixels, TemporalMethod
from sitsfusion.query import Query
from sitsfusion.scene import Scene

_TERMS = 6
# Rates per day between which a and b stay, and the spread of first guesses: days between rise and fall, first rate.
_RATES = (0.005, 1.0)
_FIRST_WIDTHS, _FIRST_RATE = (60.0, 120.0, 180.0), 0.05


def double_logistic(parameters: Tensor, days: Tensor) -> Tensor:
    """Y of parameters w, m, s, e, log a, log b [6 k] at days [t]: [t k]."""
    w, m, s, e, log_a, log_b = parameters
    t = days[:, None]
    season = torch.sigmoid(log_a.exp() * (t - s)) + torch.sigmoid(-log_b.exp() * (t - e)) - 1
    made: Tensor = w + (m - w) * season
    return made


def _derivatives(parameters: Tensor, days: Tensor) -> Tensor:
    """[t 6 k]."""
    w, m, s, e, log_a, log_b = parameters
    a, b, t = log_a.exp(), log_b.exp(), days[:, None]
    up, down = torch.sigmoid(a * (t - s)), torch.sigmoid(-b * (t - e))
    shape, height = up + down - 1, m - w
    d_up, d_down = height * up * (1 - up), height * down * (1 - down)
    return torch.stack([1 - shape, shape, -a * d_up, b * d_down, a * (t - s) * d_up, -b * (t - e) * d_down], 1)


def fit(values: Tensor, valid: Tensor, days: Tensor, steps: int = 40) -> Tensor:
    """Least squares by Levenberg-Marquardt from several first guesses, the best kept: [6 k] float64.

    Args:
        values: [t k], 0 where not valid.
        valid: bool [t k].
        days: [t].
        steps: of the iteration, the same for all.
    """
    guesses = [_guess(values, valid, days, width, sign) for width in _FIRST_WIDTHS for sign in (1.0, -1.0)]
    found = torch.stack([_refined(guess, values, valid, days, steps) for guess in guesses])  # [g 6 k]
    costs = torch.stack([_cost(one, values, valid, days) for one in found])  # [g k]
    best = costs.argmin(0)[None, None].expand(1, _TERMS, -1)
    return found.gather(0, best)[0]


def _guess(values: Tensor, valid: Tensor, days: Tensor, width: float, sign: float) -> Tensor:
    """A season around the highest (sign 1) or lowest (-1) observation."""
    low = torch.where(valid, sign * values, torch.inf).amin(0).nan_to_num(posinf=0.0)
    high = torch.where(valid, sign * values, -torch.inf).max(0)
    peak = days[high.indices]
    rate = torch.full_like(low, _FIRST_RATE).log()
    top = high.values.nan_to_num(neginf=0.0)
    return torch.stack([sign * low, sign * top, peak - width / 2, peak + width / 2, rate, rate])


def _refined(start: Tensor, values: Tensor, valid: Tensor, days: Tensor, steps: int) -> Tensor:
    found, damping = start, torch.full_like(start[0], 1e-2)
    cost = _cost(found, values, valid, days)
    limits = torch.tensor(_RATES, dtype=torch.float64, device=days.device).log()
    for _ in range(steps):
        slope = torch.where(valid[:, None], _derivatives(found, days), 0.0)  # [t 6 k]
        residual = torch.where(valid, values - double_logistic(found, days), 0.0)
        normal = torch.einsum("tik,tjk->kij", slope, slope)
        scale = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
        system = normal + torch.diag_embed(damping[:, None] * scale)
        move = torch.linalg.solve(system, torch.einsum("tik,tk->ki", slope, residual)).T
        moved = found + move
        moved = torch.cat([moved[:2], moved[2:4].clamp(days[0] - 366, days[-1] + 366), moved[4:].clamp(*limits)])
        new_cost = _cost(moved, values, valid, days)
        better = new_cost < cost
        found, cost = torch.where(better, moved, found), torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 3, damping * 4).clamp(1e-9, 1e9)
    return found


def _cost(parameters: Tensor, values: Tensor, valid: Tensor, days: Tensor) -> Tensor:
    return torch.where(valid, values - double_logistic(parameters, days), 0.0).square().sum(0)


class DoubleLogisticOptions(Options):
    """Options of `double-logistic`."""

    season_start: int = Field(1, ge=1, le=365, description="day of the year on which a season begins (south: 182)")
    steps: int = Field(40, ge=1, description="of the least squares iteration")


class DoubleLogistic(TemporalMethod):
    """Each year apart: a target day is predicted from the images of its season, which begins on `season_start`."""

    card: ClassVar[Card] = Card(
        name="double-logistic",
        title="Double logistic season",
        summary="One rise and one fall a year per pixel and band; meant for vegetation indices. Needs masks.",
        citation="Beck et al. (2006), RSE 100",
        uses=("fine", "coarse", "thermal"),
    )
    Options: ClassVar[type[Options]] = DoubleLogisticOptions
    options: DoubleLogisticOptions

    def fewest_dates(self) -> int:
        return _TERMS

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """One step per season and role; a season with too few images is refused."""
        steps, refused = list[Step](), list[Refusal]()
        for role, wanted in query.items():
            seasons = sorted({self._season(day) for day in wanted.dates})
            for season in seasons:
                days = [day for day in wanted.dates if self._season(day) == season]
                used = tuple(day for day in scene[role].dates if self._season(day) == season)
                if len(used) < _TERMS:
                    reason = f"double-logistic needs {_TERMS} or more {role} images in a season, there are {len(used)}"
                    refused += [Refusal(role, day, reason) for day in days]
                else:
                    outputs = {role: wanted.at(days)}
                    steps.append(Step(f"s{len(steps):03d}", {role: used}, outputs, {role: (role,)}))
        return MethodPlan(tuple(steps), tuple(refused))

    def numbers_per_pixel(self, dates: int, bands: int, targets: int, span: int) -> int:
        return bands * (30 * dates + 200 + 4 * targets)

    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        t, c, n = pixels.values.shape
        valid = pixels.valid[:, None].expand(t, c, n).reshape(t, c * n)
        parameters = fit(pixels.values.reshape(t, c * n), valid, pixels.days, self.options.steps)
        values = double_logistic(parameters, targets).reshape(-1, c, n)
        return Curve(torch.where(pixels.count() >= _TERMS, values, torch.nan))

    def _season(self, day: date) -> int:
        """The calendar year in which the season of a day began."""
        return (day - timedelta(self.options.season_start - 1)).year
