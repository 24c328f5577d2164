"""HARMONIC: a mean, yearly waves and, if wanted, a trend, fitted to the clear observations of each pixel.

y(t) = c0 + c1 t + sum over j of a_j cos(2 pi j t / 365.25) + b_j sin(2 pi j t / 365.25): ordinary, ridge or Huber's
robust least squares (iteratively reweighted). As Zhu, Woodcock, RSE 144, 2014 (CCDC); Roerink et al. (2000, HANTS).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.methods.base import Card, Options
from sitsfusion.methods.temporal.base import Curve, Pixels, TemporalMethod

YEAR = 365.25
# Huber's constant: 95 % efficiency for normal errors; and the normal distribution's standard deviation / MAD.
_HUBER, _MAD = 1.345, 1.4826


@dataclass(frozen=True)
class Waves:
    """The terms of the curve: yearly waves of 1 to `number` periods a year, a trend or none, ridge penalty."""

    number: int
    trend: bool = False
    ridge: float = 0.0

    @property
    def terms(self) -> int:
        return 1 + 2 * self.number + int(self.trend)

    def design(self, days: Tensor) -> Tensor:
        """Columns 1, (years), cos, sin, cos, sin ... : days [t] -> [t p] float64."""
        t = days.double()
        angle = 2 * math.pi * t / YEAR
        columns = [torch.ones_like(t)] + ([t / YEAR] if self.trend else [])
        for j in range(1, self.number + 1):
            columns += [torch.cos(j * angle), torch.sin(j * angle)]
        return torch.stack(columns, 1)


def fit(pixels: Pixels, targets: Tensor, waves: Waves, rounds: int = 0) -> Curve:
    """The fitted curve at the target days and its standard error, NaN where observations are fewer than terms (with
    a ridge: where there is none).

    `rounds` of Huber weights: 0 is plain least squares. Sigma is that of a new observation:
    s sqrt(1 + x' (X'WX)^-1 x), s^2 the weighted residual variance over the observations beyond the number of terms;
    NaN where there are none.
    """
    x, x_new = waves.design(pixels.days), waves.design(targets)
    enough = pixels.count() >= (1 if waves.ridge else waves.terms)
    weights = pixels.valid[:, None].double().expand_as(pixels.values)  # [t c n]
    beta, inverse = _solve(x, weights, pixels.values, waves, enough)
    for _ in range(rounds):
        weights = pixels.valid[:, None] * _huber(pixels, _residuals(pixels, x, beta))
        beta, inverse = _solve(x, weights, pixels.values, waves, enough)
    values = _apply(x_new, beta)
    spread = _residual_spread(pixels, _residuals(pixels, x, beta), weights, waves)
    leverage = torch.einsum("qi,cnij,qj->qcn", x_new, inverse, x_new).clamp(min=0)
    return Curve(torch.where(enough, values, torch.nan), torch.where(enough, spread * (1 + leverage).sqrt(), torch.nan))


def _solve(x: Tensor, weights: Tensor, y: Tensor, waves: Waves, enough: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients [p c n] and (X'WX + ridge)^-1 [c n p p]; identity systems where there are too few observations."""
    p = x.shape[1]
    penalty = torch.full((p,), waves.ridge, dtype=torch.float64, device=x.device)
    penalty[0] = 0.0  # the mean is free
    normal = torch.einsum("tcn,ti,tj->cnij", weights, x, x) + penalty.diag()
    identity = torch.eye(p, dtype=torch.float64, device=x.device)
    normal = torch.where(enough[:, None, None], normal, identity)
    right = torch.einsum("tcn,ti->cni", weights * y, x)
    inverse = torch.linalg.pinv(normal, hermitian=True)
    return torch.einsum("cnij,cnj->icn", inverse, right), inverse


def _apply(x: Tensor, beta: Tensor) -> Tensor:
    return torch.einsum("ti,icn->tcn", x, beta)


def _residuals(pixels: Pixels, x: Tensor, beta: Tensor) -> Tensor:
    return torch.where(pixels.valid[:, None], pixels.values - _apply(x, beta), 0.0)


def _huber(pixels: Pixels, residuals: Tensor) -> Tensor:
    """Weights min(1, k / |r / scale|), scale from the median absolute residual of the pixel: [t c n]."""
    size = residuals.abs()
    ordered = torch.where(pixels.valid[:, None], size, torch.inf).sort(0).values
    middle = ((pixels.count() - 1).clamp(min=0) // 2).expand_as(ordered[:1])
    limit = _HUBER * _MAD * ordered.gather(0, middle).nan_to_num(posinf=0.0)  # [1 c n]
    return torch.where(size > limit, limit.clamp(min=1e-12) / size.clamp(min=1e-12), 1.0).clamp(max=1.0)


def _residual_spread(pixels: Pixels, residuals: Tensor, weights: Tensor, waves: Waves) -> Tensor:
    free = (pixels.count() - waves.terms)[None]  # [1 n]
    variance = (weights * residuals.square()).sum(0) / free.clamp(min=1)
    return torch.where(free > 0, variance.sqrt(), torch.nan)  # [c n]


class HarmonicOptions(Options):
    """Options of `harmonic`."""

    harmonics: int = Field(2, ge=1, le=6, description="waves of 1, 2, ... periods a year")
    trend: bool = Field(False, description="a linear trend besides")
    ridge: float = Field(0.0, ge=0, description="penalty on all terms but the mean, in observations")
    rounds: int = Field(5, ge=0, description="rounds of Huber weights; 0: plain least squares")


class Harmonic(TemporalMethod):
    """The curve goes on beyond the images; with few observations, or far beyond them, it means little: see sigma."""

    card: ClassVar[Card] = Card(
        name="harmonic",
        title="Harmonic regression, robust",
        summary="Yearly waves per pixel and band, with a standard error. Each sensor apart; needs masks, no weights.",
        citation="Roerink, Menenti, Verhoef (2000), IJRS 21; Zhu, Woodcock (2014), RSE 144",
        uses=("fine", "coarse", "thermal"),
    )
    Options: ClassVar[type[Options]] = HarmonicOptions
    options: HarmonicOptions

    @property
    def has_sigma(self) -> bool:
        return True

    @property
    def _waves(self) -> Waves:
        return Waves(self.options.harmonics, self.options.trend, self.options.ridge)

    def fewest_dates(self) -> int:
        return 1 if self.options.ridge else self._waves.terms

    def numbers_per_pixel(self, dates: int, bands: int, targets: int, span: int) -> int:
        terms = self._waves.terms
        return bands * (4 * dates + (4 + terms) * targets + 4 * terms**2)

    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        return fit(pixels, targets, self._waves, self.options.rounds)
