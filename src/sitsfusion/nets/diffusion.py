"""Gaussian diffusion: noise schedules, the forward process, reverse steps, and samplers.

Ho et al. 2020 (DDPM, arXiv 2006.11239), Nichol and Dhariwal 2021 (cosine schedule, arXiv 2102.09672),
Song et al. 2021 (DDIM, arXiv 2010.02502). Steps are counted 0 .. T-1 from the least to the most noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sitsfusion.errors import InputError

LARGEST_BETA = 0.999
# A denoiser that is told the noisy images [n ...] and their steps [n], and answers with the noise in them.
Denoiser = Callable[[Tensor, Tensor], Tensor]
# Standard normal numbers, shaped as the images, for one step of the sampler.
Noise = Callable[[int], Tensor]


def cosine_betas(steps: int, offset: float = 0.008) -> Tensor:
    """Betas whose cumulative alphas follow a squared cosine: float64 [steps].

    The abscissae are steps + 1 points from 0 to 1, both included, so that the last beta is clipped.
    """
    at = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    cumulative = torch.cos((at + offset) / (1 + offset) * math.pi / 2) ** 2
    cumulative = cumulative / cumulative[0]
    return (1 - cumulative[1:] / cumulative[:-1]).clamp(0, LARGEST_BETA)


def linear_betas(steps: int, start: float = 1e-4, end: float = 0.02, *, all_noise: bool = False) -> Tensor:
    """Betas from `start` to `end`: float64 [steps]. `all_noise`: the last is 0.999, so that step T-1 is pure noise."""
    betas = torch.linspace(start, end, steps, dtype=torch.float64)
    if all_noise:
        betas[-1] = LARGEST_BETA
    return betas


def quadratic_betas(steps: int, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """Linear in the square root: float64 [steps]."""
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2


def warm_up_betas(steps: int, share: float, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """Linear over the first `share` of the steps, then constant: float64 [steps]."""
    betas = torch.full((steps,), end, dtype=torch.float64)
    rising = int(steps * share)
    betas[:rising] = torch.linspace(start, end, rising, dtype=torch.float64)
    return betas


def constant_betas(steps: int, value: float = 0.02) -> Tensor:
    """The same everywhere: float64 [steps]."""
    return torch.full((steps,), value, dtype=torch.float64)


def harmonic_betas(steps: int) -> Tensor:
    """1/T, 1/(T-1), ..., 1: float64 [steps] (`jsd` in published configurations)."""
    return 1.0 / torch.arange(steps, 0, -1, dtype=torch.float64)


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "cosine": cosine_betas,
    "linear": lambda steps: linear_betas(steps, all_noise=True),
    "quad": quadratic_betas,
    "warmup10": lambda steps: warm_up_betas(steps, 0.1),
    "warmup50": lambda steps: warm_up_betas(steps, 0.5),
    "const": constant_betas,
    "jsd": harmonic_betas,
}


def betas_of(name: str, steps: int) -> Tensor:
    """The betas of a schedule by its name: float64 [steps].

    Raises:
        InputError: an unknown name, or less than 2 steps.
    """
    if name not in SCHEDULES:
        raise InputError(f"unknown noise schedule {name!r}; expected one of {', '.join(SCHEDULES)}")
    if steps < 2:
        raise InputError(f"a diffusion needs 2 or more steps, found {steps}")
    return SCHEDULES[name](steps)


def schedule_numbers(betas: Tensor) -> dict[str, Tensor]:
    """What the forward and reverse processes need at each step, under its published names: float64 [steps]."""
    alphas = 1 - betas
    kept = alphas.cumprod(0)
    kept_before = torch.cat([kept.new_ones(1), kept[:-1]])
    variance = betas * (1 - kept_before) / (1 - kept)
    return {
        "betas": betas,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": kept_before,
        "sqrt_alphas_cumprod": kept.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - kept).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - kept).log(),
        "sqrt_recip_alphas_cumprod": (1 / kept).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / kept - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * kept_before.sqrt() / (1 - kept),
        "posterior_mean_coef2": (1 - kept_before) * alphas.sqrt() / (1 - kept),
    }


class Diffusion(nn.Module):
    """A noise schedule and the steps that follow from it. Its buffers are float32 and not in the state dict.

    Images are [n ...]; `t` is int64 [n] with steps 0 .. T-1.
    """

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        for name, values in schedule_numbers(betas.double()).items():
            self.register_buffer(name, values.float(), persistent=False)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.get_buffer("betas"))

    def at(self, name: str, t: Tensor, like: Tensor) -> Tensor:
        """A quantity of the schedule at steps t, shaped to multiply `like`."""
        return self.get_buffer(name)[t].reshape(-1, *(1,) * (like.ndim - 1))

    def noisy(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The forward process: x_t of clean images (DDPM, equation 4)."""
        kept = self.at("sqrt_alphas_cumprod", t, x0) * x0
        return kept + self.at("sqrt_one_minus_alphas_cumprod", t, x0) * noise

    def clean(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The clean images, clipped to [-1, 1], if `noise` is what is in x_t."""
        told = self.at("sqrt_recip_alphas_cumprod", t, x) * x - self.at("sqrt_recipm1_alphas_cumprod", t, x) * noise
        return told.clamp(-1, 1)

    def ancestral(self, x: Tensor, t: Tensor, predicted: Tensor, noise: Tensor) -> Tensor:
        """x_(t-1) of x_t: the posterior mean and, but at step 0, its spread (DDPM, equations 6 and 7)."""
        x0 = self.clean(x, t, predicted)
        mean = self.at("posterior_mean_coef1", t, x) * x0 + self.at("posterior_mean_coef2", t, x) * x
        spread = (0.5 * self.at("posterior_log_variance_clipped", t, x)).exp()
        inside = (t > 0).to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        return mean + inside * spread * noise

    def implicit(self, x: Tensor, t: Tensor, before: Tensor | None, predicted: Tensor) -> Tensor:
        """X at step `before` of x_t without new noise (DDIM, equation 12, eta 0); None: the clean images.

        The noise is taken anew from the clipped clean images, so that both agree.
        """
        x0 = self.clean(x, t, predicted)
        if before is None:
            return x0
        told = self.at("sqrt_recip_alphas_cumprod", t, x) * x - x0
        return self.noisy(x0, before, told / self.at("sqrt_recipm1_alphas_cumprod", t, x))


def strided_steps(steps: int, wanted: int) -> list[int]:
    """`wanted` of the steps 0 .. steps-1, evenly spaced, both ends included, from the most noise to the least.

    Raises:
        InputError: not 1 .. steps.
    """
    if not 1 <= wanted <= steps:
        raise InputError(f"{wanted} sampling steps are not possible with a schedule of {steps}; give 1 to {steps}")
    if wanted == 1:
        return [steps - 1]
    return [round(k * (steps - 1) / (wanted - 1)) for k in range(wanted - 1, -1, -1)]


def sample_ancestral(
    diffusion: Diffusion, denoise: Denoiser, start: Tensor, noise: Noise, steps: int | None = None
) -> Tensor:
    """Clean images of `start [n ...]` by all T steps, or by the last `steps` of them, from images with as much noise;
    `noise(t)` is asked for at every step but 0.
    """
    x = start
    for t in range((diffusion.steps if steps is None else steps) - 1, -1, -1):
        at = torch.full((len(x),), t, device=x.device)
        drawn = noise(t) if t > 0 else torch.zeros_like(x)
        x = diffusion.ancestral(x, at, denoise(x, at), drawn)
    return x


def sample_strided(diffusion: Diffusion, denoise: Denoiser, start: Tensor, steps: int) -> Tensor:
    """Clean images of noise `start [n ...]` by `steps` deterministic steps (DDIM)."""
    x = start
    for t, before in _with_next(strided_steps(diffusion.steps, steps)):
        at = torch.full((len(x),), t, device=x.device)
        then = None if before is None else torch.full_like(at, before)
        x = diffusion.implicit(x, at, then, denoise(x, at))
    return x


def _with_next(steps: Sequence[int]) -> Iterator[tuple[int, int | None]]:
    yield from pairwise(steps)
    yield steps[-1], None
