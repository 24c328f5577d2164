"""WHITTAKER: the smoothest curve that stays close to the clear observations.

Eilers, "A perfect smoother", Analytical Chemistry 75, 2003: minimise sum w (y - z)^2 + lambda sum (D z)^2, D the
differences of some order, by a banded Cholesky factorisation of W + lambda D'D; asymmetric weights: Eilers, Boelens
(2005), Atzberger, Eilers (2011); choice of lambda: V-curve of Frasso, Eilers (2015).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.methods.base import Card, Options
from sitsfusion.methods.temporal.base import Curve, Pixels, TemporalMethod

# Candidates of the V-curve: powers of ten from 0 to 6 in steps of one half.
_V_CURVE = tuple(0.5 * k for k in range(13))


def differences(values: Tensor, nodes: Tensor, order: int) -> Tensor:
    """Divided differences of some order at increasing nodes [g], times order!: [g ...] -> [g - order ...] float64.

    At unit spacing these are the ordinary differences.
    """
    found = values.double()
    for k in range(1, order + 1):
        steps = (nodes[k:] - nodes[:-k]) / k
        found = found.diff(dim=0) / steps.reshape(-1, *[1] * (values.ndim - 1))
    return found


def roughness_bands(nodes: Tensor, order: int) -> list[Tensor]:
    """The diagonals of D'D, D the differences: `bands[k][i]` = (D'D)[i + k, i], [g] float64 each, 0 beyond the end."""
    g = len(nodes)
    rows = torch.ones(g, 1, dtype=torch.float64, device=nodes.device)  # row i of D holds columns i .. i + order
    for k in range(1, order + 1):
        ahead, here = nn.functional.pad(rows[1:], (1, 0)), nn.functional.pad(rows[:-1], (0, 1))
        rows = k * (ahead - here) / (nodes[k:] - nodes[:-k])[:, None]
    bands = [nodes.new_zeros(g).double() for _ in range(order + 1)]
    for k, band in enumerate(bands):
        for column in range(order + 1 - k):
            band[column : column + g - order] += rows[:, column] * rows[:, column + k]
    return bands


def smooth(values: Tensor, weights: Tensor, nodes: Tensor, penalty: float | Tensor, order: int = 2) -> Tensor:
    """The Whittaker curve at its nodes: [g c n] float64; NaN where a series has fewer than `order` observations.

    Args:
        values: [g c n] observations at the nodes, anything finite where the weight is 0.
        weights: [g 1 n] or [g c n], 0 where not observed.
        nodes: [g] increasing days.
        penalty: lambda > 0: a number, or one per series ([1 n] or [c n]).
        order: of the differences.

    Raises:
        InputError: not more nodes than `order`.
    """
    if len(nodes) <= order:
        raise InputError(f"a Whittaker curve of order {order} needs more than {order} days, found {len(nodes)}")
    solved = _solve_banded(
        roughness_bands(nodes, order), weights.double(), torch.as_tensor(penalty), weights * values.double()
    )
    return torch.where((weights > 0).sum(0) >= order, solved, torch.nan)


def _solve_banded(bands: list[Tensor], weights: Tensor, penalty: Tensor, right: Tensor) -> Tensor:
    """X of (diag(weights) + penalty * B) x = right by L D L', row by row, for all series at once.

    `bands[k][i]` = B[i + k, i]; weights [g s n] with s = 1 or c; right [g c n].
    """
    order, g = len(bands) - 1, len(right)
    pivots: list[Tensor] = []
    lower: list[list[Tensor]] = []  # lower[i][k - 1] = L[i, i - k]
    forward: list[Tensor] = []
    tiny = torch.finfo(torch.float64).tiny
    for i in range(g):
        row: list[Tensor] = []
        for k in range(min(order, i), 0, -1):  # from the farthest column to the nearest
            j = i - k
            entry = penalty * bands[k][j]
            for m in range(min(order, i) - k):  # columns farther away that both rows reach
                distance = j - (i - min(order, i) + m)
                entry = entry - row[m] * pivots[j - distance] * lower[j][distance - 1]
            row.append(entry / pivots[j])
        near = row[::-1]
        pivot = weights[i] + penalty * bands[0][i]
        for k, factor in enumerate(near, 1):
            pivot = pivot - factor.square() * pivots[i - k]
        pivots.append(pivot.clamp(min=tiny))
        lower.append(near)
        value = right[i]
        for k, factor in enumerate(near, 1):
            value = value - factor * forward[i - k]
        forward.append(value)
    out = [f / p for f, p in zip(forward, pivots, strict=True)]
    for i in range(g - 2, -1, -1):
        for k in range(1, min(order, g - 1 - i) + 1):
            out[i] = out[i] - lower[i + k][k - 1] * out[i + k]
    return torch.stack(out)


def v_curve_penalty(values: Tensor, weights: Tensor, nodes: Tensor, order: int = 2) -> Tensor:
    """The lambda of each series where the curve of (log misfit, log roughness) moves least: [c n].

    Arguments as `smooth`; candidates are the middles between powers of ten of 0, 0.5, ..., 6.
    """
    floor = torch.finfo(torch.float64).tiny
    points = []
    for power in _V_CURVE:
        curve = smooth(values, weights, nodes, 10.0**power, order)
        misfit = (weights * (values - curve).square()).sum(0)
        rough = differences(curve, nodes, order).square().sum(0)
        points.append(torch.stack([misfit, rough]).clamp(min=floor).log10())
    steps = torch.stack(points).diff(dim=0).square().sum(1).nan_to_num(nan=torch.inf)  # [k c n]
    middles = values.new_tensor([10 ** ((a + b) / 2) for a, b in pairwise(_V_CURVE)])
    return middles[steps.argmin(0)]


class WhittakerOptions(Options):
    """Options of `whittaker`."""

    penalty: float = Field(10_000.0, gt=0, description="lambda: larger is smoother (per day^(2 order - 1))")
    order: int = Field(2, ge=1, le=3, description="of the differences: 2 bends as little as possible")
    choose: Literal["fixed", "v-curve"] = Field("fixed", description="v-curve: lambda per pixel and band")
    asymmetry: float = Field(
        0.5, gt=0, lt=1, description="weight of observations above the curve, 1 - this below; 0.5: all alike"
    )
    rounds: int = Field(5, ge=1, description="rounds of asymmetric weights")
    nodes: Literal["daily", "dates"] = Field(
        "daily", description="days where the curve lives: every day, or the days of images and targets (faster)"
    )


class Whittaker(TemporalMethod):
    """Before a pixel's first clear observation, and after its last, the curve's value there is repeated."""

    card: ClassVar[Card] = Card(
        name="whittaker",
        title="Whittaker smoother",
        summary="Smooth curve per pixel and band. Each sensor apart; needs masks, no weights.",
        citation="Eilers (2003), Analytical Chemistry 75; default lambda of FuseTS",
        uses=("fine", "coarse", "thermal"),
    )
    Options: ClassVar[type[Options]] = WhittakerOptions
    options: WhittakerOptions

    def fewest_dates(self) -> int:
        return self.options.order + 1

    def numbers_per_pixel(self, dates: int, bands: int, targets: int, span: int) -> int:
        nodes = span if self.options.nodes == "daily" else dates + targets
        return 6 * bands * max(nodes, dates) + bands * targets

    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        within = targets.clamp(pixels.days[0], pixels.days[-1])
        nodes = self._nodes(pixels.days, within)
        at = torch.searchsorted(nodes, pixels.days)
        g, (_, c, n) = len(nodes), pixels.values.shape
        values = pixels.values.new_zeros(g, c, n).index_copy(0, at, pixels.values)
        weights = pixels.values.new_zeros(g, 1, n).index_copy(0, at, pixels.valid[:, None].double())
        curve = self._fit(values, weights, nodes)
        wanted = torch.searchsorted(nodes, pixels.clamped(targets).clamp(nodes[0], nodes[-1]))  # [q n]
        return Curve(curve.gather(0, wanted[:, None].expand(-1, c, -1)))

    def _nodes(self, days: Tensor, targets: Tensor) -> Tensor:
        if self.options.nodes == "dates":
            merged: Tensor = torch.unique(torch.cat([days, targets]))
            return merged
        return torch.arange(math.floor(days[0]), math.ceil(days[-1]) + 1, dtype=torch.float64, device=days.device)

    def _fit(self, values: Tensor, weights: Tensor, nodes: Tensor) -> Tensor:
        o = self.options
        penalty: float | Tensor = o.penalty
        if o.choose == "v-curve":
            penalty = v_curve_penalty(values, weights, nodes, o.order)
        curve = smooth(values, weights, nodes, penalty, o.order)
        if o.asymmetry == 0.5:
            return curve
        for _ in range(o.rounds):
            tilted = weights * torch.where(values > curve, o.asymmetry, 1 - o.asymmetry)
            curve = smooth(values, tilted, nodes, penalty, o.order)
        return curve
