"""Residual compensation in time: what the observations say beyond a prediction is spread to other days.

A network predicts at the days of its input images too. What is left there, observation minus prediction, is a measured
error of the prediction; it changes slowly, so it also corrects the prediction on days near by. That error is taken for
an Ornstein-Uhlenbeck process of mean zero and correlation exp(-lag / decay), seen with independent noise (Uhlenbeck and
Ornstein 1930); the correction is its expected value given all clear observations of the pixel, that is, simple kriging
in time, computed by a Kalman filter from each end (the two-filter smoother, Fraser and Potter 1969):

    between observations   m <- a m,  p <- a^2 p + 1 - a^2,  a = exp(-lag / decay)
    at an observation r    g = p / (p + noise),  m <- m + g (r - m),  p <- (1 - g) p
    together               1/p = 1/p1 + 1/p2 - 1,  m = p (m1/p1 + m2/p2)

With a long decay and little noise and a constant prediction, this is linear interpolation between clear observations;
with more noise, a smoother; far from any observation the prediction stands alone.

A cloud that the mask missed brightens all visible bands and does not darken the short-wave infrared, as snow does. So
each observation is compared with what the others alone say of its day (`disagreement`), and the noise of one that is
brighter grows with the square of the difference (`noise_of_missed_clouds`): the weights of a Cauchy error law (Huber
1981), in all bands of an image alike.

The residual of a coarse or blurred band is taken through its optics, so that only what the sensor can see is corrected
(the principle of residual compensation in spatiotemporal fusion, e.g. Zhu et al. 2016, FSDAF).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sitsfusion.errors import InputError

_ROUNDS = 2  # a missed cloud also misleads the comparison of its neighbours in time, less so in the second round
_DARKER = 0.3  # of the scale: darkening in the short-wave infrared that noise explains
_FAR = 1e-6  # least variance; a correlation of exactly 1 between two days would make 1/p infinite


def spread_residuals(
    residuals: Tensor, valid: Tensor, days: Tensor, targets: Tensor, decay: float, noise: Tensor | float
) -> Tensor:
    """Corrections at the target days: `[q c h w]`, 0 where a pixel has no clear observation.

    Differentiable in `residuals`. What is stored where `valid` is False is never read.

    Args:
        residuals: `[t c h w]`, any unit; t may be 0.
        valid: bool `[t c h w]`, True = clear; 1 for c where it is the same for all bands.
        days: `[t]`, in any order.
        targets: `[q]`.
        decay: days after which the correlation of the prediction's error has fallen to 1/e.
        noise: variance of an observation's own error, in variances of the prediction's error: a number, or that of each
            observation, as `valid`.

    Raises:
        InputError: `decay` or `noise` is not positive, or shapes disagree.
    """
    _check(residuals, valid, days, decay, noise)
    order, at = days.argsort(stable=True), targets.argsort(stable=True)
    seen = _Seen(residuals[order].masked_fill(~valid[order], 0.0), valid[order], days[order], decay, _of(noise, order))
    forward = seen.filtered(targets[at])
    backward = reversed(list(seen.reversed().filtered(-targets[at].flip(0), after=True)))
    found = [_joined(one, other)[0] for one, other in zip(forward, backward, strict=True)]
    if not found:
        return residuals.new_zeros(0, *residuals.shape[1:])
    return torch.stack(found)[at.argsort()]


def disagreement(
    residuals: Tensor, valid: Tensor, days: Tensor, decay: float, noise: Tensor | float
) -> tuple[Tensor, Tensor]:
    """How far each observation is from what the others say of its day, and the variance that is to be expected.

    Both `[t c h w]`, in the order given; 0 and 1 + noise where there is no other observation. Arguments and errors as
    `spread_residuals`; the variance counts in variances of the prediction's error.
    """
    _check(residuals, valid, days, decay, noise)
    order = days.argsort(stable=True)
    values, own = residuals[order].masked_fill(~valid[order], 0.0), _of(noise, order)
    seen = _Seen(values, valid[order], days[order], decay, own)
    forward, backward = seen.before(), reversed(list(seen.reversed().before()))
    both = [_joined(one, other) for one, other in zip(forward, backward, strict=True)]
    if not both:
        return residuals, residuals + 1
    mean, variance = (torch.stack(part)[order.argsort()] for part in zip(*both, strict=True))
    own = own[order.argsort()] if isinstance(own, Tensor) else own
    return (residuals - mean).masked_fill(~valid, 0.0), (variance + own).expand_as(residuals)


def noise_of_missed_clouds(
    residuals: Tensor, valid: Tensor, days: Tensor, decay: float, noise: float, look: CloudLook
) -> Tensor:
    """Variance of each observation's own error: `[t 1 h w]`, `noise` or, where it looks like a cloud, more.

    Arguments and errors as `spread_residuals`.
    """
    found = residuals.new_full((len(days), 1, *residuals.shape[2:]), noise)
    bands, known = [*look.bright, *look.not_dark], valid.expand_as(residuals)
    part = residuals[:, bands], known[:, bands]
    for _ in range(_ROUNDS):
        apart, _ = disagreement(*part, days, decay, found)
        brighter = apart[:, : len(look.bright)].amin(1, keepdim=True)
        infrared = (apart[:, len(look.bright) :] + _DARKER * look.scale).masked_fill(
            ~known[:, look.not_dark], torch.inf
        )
        like_cloud = torch.cat([brighter, infrared], 1).amin(1, keepdim=True).clamp_min(0)
        found = noise * (1 + (like_cloud / look.scale).square())
    return found


@dataclass(frozen=True)
class CloudLook:
    """How a missed cloud looks.

    Attributes:
        bright: bands (numbers of channels) that it brightens, the visible ones.
        not_dark: bands that it does not darken and snow does, in the short-wave infrared; may be none.
        scale: difference, in the unit of the residuals, at which an observation's noise is doubled.
    """

    bright: tuple[int, ...]
    not_dark: tuple[int, ...]
    scale: float


class _Seen:
    """Observations in the order of time, as a filter meets them: `[t c h w]`, `[t 1|c h w]`, `[t]`."""

    def __init__(self, values: Tensor, valid: Tensor, days: Tensor, decay: float, noise: Tensor | float) -> None:
        self.values, self.valid, self.days, self.decay, self.noise = values, valid, days, decay, noise

    def reversed(self) -> _Seen:
        """The same seen from the other end of time."""
        noise = self.noise.flip(0) if isinstance(self.noise, Tensor) else self.noise
        return _Seen(self.values.flip(0), self.valid.flip(0), -self.days.flip(0), self.decay, noise)

    def filtered(self, targets: Tensor, after: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Mean and variance at each target (increasing), given the observations up to it; `after`: those before it."""
        state, now, next_one = self._start()
        stamps = self.days.tolist()
        for target in targets.tolist():
            while next_one < len(stamps) and (stamps[next_one] < target or (stamps[next_one] == target and not after)):
                state = self._met(self._later(state, stamps[next_one] - now), next_one)
                now, next_one = stamps[next_one], next_one + 1
            yield self._later(state, target - now)

    def before(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Mean and variance at each observation, given those before it."""
        state, now, _ = self._start()
        for i, day in enumerate(self.days.tolist()):
            state, now = self._later(state, day - now), day
            yield state
            state = self._met(state, i)

    def _start(self) -> tuple[tuple[Tensor, Tensor], float, int]:
        shape = self.values.shape[1:]
        return (self.values.new_zeros(shape), self.values.new_ones(1, *shape[1:])), 0.0, 0

    def _later(self, state: tuple[Tensor, Tensor], lag: float) -> tuple[Tensor, Tensor]:
        mean, variance = state
        kept = math.exp(-abs(lag) / self.decay)
        return kept * mean, kept**2 * variance + (1 - kept**2)

    def _met(self, state: tuple[Tensor, Tensor], i: int) -> tuple[Tensor, Tensor]:
        mean, variance = state
        noise = self.noise[i] if isinstance(self.noise, Tensor) else self.noise
        gain = (variance / (variance + noise)) * self.valid[i]
        return mean + gain * (self.values[i] - mean), ((1 - gain) * variance).clamp_min(_FAR)


def _joined(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two filters' knowledge of one moment, from observations of their own; the prior, which both hold, counts once."""
    (mean1, variance1), (mean2, variance2) = one, other
    total = 1 / variance1 + 1 / variance2 - 1
    return (mean1 / variance1 + mean2 / variance2) / total, 1 / total


def _of(noise: Tensor | float, order: Tensor) -> Tensor | float:
    return noise[order] if isinstance(noise, Tensor) else noise


def _check(residuals: Tensor, valid: Tensor, days: Tensor, decay: float, noise: Tensor | float) -> None:
    positive = bool((noise > 0).all()) if isinstance(noise, Tensor) else noise > 0
    if not (decay > 0 and positive):
        raise InputError(f"decay {decay} and noise must be positive, found noise {noise}")
    if residuals.shape[:1] != days.shape or valid.shape[::2] != residuals.shape[::2] or valid.ndim != 4:
        raise InputError(
            f"residuals {tuple(residuals.shape)}, valid {tuple(valid.shape)} and days {tuple(days.shape)} disagree: "
            "expected [t c h w], [t c or 1 h w], [t]"
        )
