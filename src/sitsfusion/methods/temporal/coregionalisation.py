"""A Gaussian process of time for two series at once: linear model of coregionalisation, Matern-3/2 kernels.

Pipia et al., "Fusing optical and SAR time series for LAI gap filling with multioutput Gaussian processes", RSE 235,
2019. Series p and q at times t and u have covariance sum over r of (w_r w_r' + diag(kappa_r))[p, q] times
Matern-3/2((t - u) / length_r); each series has its own noise. All values are standardised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SERIES = 2
LATENT = 2
# Start values and centres of the weak prior: one slow process (days) that the series share, one fast one of their own.
_LENGTHS, _SHARED, _OWN, _NOISE = (90.0, 15.0), (0.8, 0.2), (0.1, 0.2), 0.1
# Width of the prior of each parameter, in its own (logarithmic, for w: linear) unit.
_PRIOR_WIDTH = 2.0
_MOST_ITERATIONS = 30
JITTER = 1e-6


def start() -> Tensor:
    """Parameters before fitting: log length [r], w [r p], log kappa [r p], log noise variance [p], flat: [12]."""
    lengths = torch.tensor(_LENGTHS).log()
    shared = torch.tensor(_SHARED)[:, None].expand(LATENT, SERIES)
    own = torch.tensor(_OWN)[:, None].expand(LATENT, SERIES).log()
    noise = torch.full((SERIES,), _NOISE).log()
    return torch.cat([lengths, shared.flatten(), own.flatten(), noise]).double()


@dataclass(frozen=True, eq=False)
class Kernel:
    """`length` [r], `mixing` [r p p] covariance of the series under each latent process, `noise` variance [p]."""

    length: Tensor
    mixing: Tensor
    noise: Tensor

    @classmethod
    def of(cls, parameters: Tensor) -> Kernel:
        """From the flat parameters of `start`."""
        length, w, kappa, noise = torch.split(parameters, [LATENT, LATENT * SERIES, LATENT * SERIES, SERIES])
        w, kappa = w.reshape(LATENT, SERIES), kappa.reshape(LATENT, SERIES).exp()
        return cls(length.exp(), w[:, :, None] * w[:, None, :] + torch.diag_embed(kappa), noise.exp())

    def covariance(self, times: tuple[Tensor, Tensor], series: tuple[Tensor, Tensor]) -> Tensor:
        """Covariance of points (time, series number) [a] and [b]: [a b]."""
        gap = (times[0][:, None] - times[1][None]).abs()
        total = torch.zeros_like(gap)
        for length, mixing in zip(self.length, self.mixing, strict=True):
            scaled = math.sqrt(3.0) * gap / length
            total = total + mixing[series[0][:, None], series[1][None]] * (1 + scaled) * torch.exp(-scaled)
        return total


@dataclass(frozen=True, eq=False)
class Observed:
    """Standardised observations of n pixels: `values` [n m] (0 where not valid), `valid` [n m], `times` and `series`
    number [m], shared.
    """

    values: Tensor
    valid: Tensor
    times: Tensor
    series: Tensor


def factor(kernel: Kernel, data: Observed) -> Tensor:
    """Cholesky factors [n m m] of each pixel's covariance; what is not observed is independent noise of variance 1."""
    shared = kernel.covariance((data.times, data.times), (data.series, data.series))
    both = data.valid[:, :, None] & data.valid[:, None, :]
    noise = torch.where(data.valid, kernel.noise[data.series] + JITTER, 1.0)
    covariance = torch.where(both, shared, 0.0) + torch.diag_embed(noise)
    root: Tensor = torch.linalg.cholesky(covariance)
    return root


def negative_log_posterior(parameters: Tensor, data: Observed) -> Tensor:
    """Of the observations of all pixels, which are independent given the parameters, and of the weak prior."""
    root = factor(Kernel.of(parameters), data)
    white = torch.linalg.solve_triangular(root, data.values[:, :, None], upper=False)
    likelihood: Tensor = white.square().sum() / 2 + root.diagonal(dim1=1, dim2=2).log().sum()
    prior: Tensor = ((parameters - start()) / _PRIOR_WIDTH).square().sum() / 2
    return likelihood + prior


def fitted(data: Observed) -> Tensor:
    """The most probable parameters [12] for the observations of some pixels (L-BFGS), on the CPU, float64."""
    with torch.enable_grad():
        parameters = start().requires_grad_()
        search = torch.optim.LBFGS([parameters], max_iter=_MOST_ITERATIONS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            search.zero_grad()
            loss = negative_log_posterior(parameters, data)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        search.step(closure)  # type: ignore[no-untyped-call]
    return parameters.detach()


def predicted(kernel: Kernel, data: Observed, targets: Tensor, series: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a new observation of one series at the target times [q]: [q n] each."""
    root = factor(kernel, data)
    which = torch.full((len(targets),), series, device=targets.device)
    cross = kernel.covariance((data.times, targets), (data.series, which))  # [m q]
    seen = torch.where(data.valid[:, :, None], cross, 0.0)  # [n m q]
    white = torch.linalg.solve_triangular(root, torch.cat([data.values[:, :, None], seen], 2), upper=False)
    values, gain = white[:, :, 0], white[:, :, 1:]
    mean = (gain * values[:, :, None]).sum(1)  # [n q]
    prior = kernel.mixing[:, series, series].sum() + kernel.noise[series]
    variance = (prior - gain.square().sum(1)).clamp(min=0)
    return mean.T, variance.sqrt().T
