"""STFDiff: the fine image drawn by a diffusion that is conditioned on the pair and the coarse image.

Huang et al. 2024, "STFDiff: remote sensing image spatiotemporal fusion with diffusion models", Information Fusion 111.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.diffusion import Diffusion, cosine_betas, linear_betas

_EPSILON = 1e-5
_GROUPS = 8

Objective = Literal["clean", "noise"]
# Standard normal numbers shaped as the images: of the start (0), then of each step (1, 2, ...).
Draw = Callable[[int], Tensor]


class StepEncoding(nn.Module):
    """Sines and cosines of the step number; `features` is even."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.count = features // 2

    def forward(self, t: Tensor) -> Tensor:
        """Steps `[n]` -> `[n features]`."""
        k = torch.arange(self.count, device=t.device, dtype=torch.float32)
        angles = t.float()[:, None] * torch.exp(k * (-math.log(10_000) / (self.count - 1)))  # [n count]
        return torch.cat([angles.sin(), angles.cos()], 1)


class StandardisedConv2d(nn.Conv2d):
    """3x3 convolution whose kernels have mean 0 and variance 1 (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n i h w]` -> `[n o h w]`."""
        var, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        return F.conv2d(x, (self.weight - mean) * (var + _EPSILON).rsqrt(), self.bias, self.stride, self.padding)


class ResidualBlock(nn.Module):
    """Two convolutions with group normalisation; the step shifts and scales the first (`step_features` > 0)."""

    def __init__(self, inputs: int, outputs: int, step_features: int = 0) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(step_features, 2 * outputs)) if step_features else None
        self.conv_1 = StandardisedConv2d(inputs, outputs, 3, padding=1)
        self.norm_1 = nn.GroupNorm(_GROUPS, outputs)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm_2 = nn.GroupNorm(_GROUPS, outputs)
        self.res_conv = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, step: Tensor | None = None) -> Tensor:
        """`[n inputs h w]`, features of the step `[n k]` -> `[n outputs h w]`."""
        h = self.norm_1(self.conv_1(x))
        if self.mlp is not None:
            scale, shift = self.mlp(step)[..., None, None].chunk(2, 1)
            h = h * (scale + 1) + shift
        h = self.norm_2(self.conv_2(F.silu(h)))
        return F.silu(h) + self.res_conv(x)  # type: ignore[no-any-return]


class StfdiffNet(nn.Module):
    """The denoiser: a clean and a noisy stream, whose difference is decoded.

    `dim` channels at full size, `dim * m` at the levels of `multipliers`; sides are multiples of
    2 ** (levels - 1); global (group normalisation).
    """

    def __init__(self, bands: int, dim: int = 64, multipliers: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        features = 4 * dim
        pairs = list(pairwise((dim, *(dim * m for m in multipliers))))
        deepest, last = pairs[-1][1], len(pairs) - 1
        encoding = StepEncoding(dim)
        self.time_mlp = nn.Sequential(encoding, nn.Linear(dim, features), nn.GELU(), nn.Linear(features, features))
        self.init_conv = nn.Conv2d(bands, dim, 3, padding=1)  # never used; published checkpoints hold it
        self.fine_init_conv = nn.Conv2d(bands, dim, 3, padding=1)
        self.coarse_init_conv = nn.Conv2d(2 * bands, dim, 3, padding=1)
        self.noisy_init_conv = nn.Conv2d(bands, dim, 3, padding=1)
        self.clean_init_conv = nn.Conv2d(2 * dim, dim, 1)
        self.clean_downs, self.noisy_downs, self.noise_ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for k, (i, o) in enumerate(pairs):
            self.clean_downs.append(nn.ModuleList([ResidualBlock(i, i), _smaller(i, o, k == last)]))
            self.noisy_downs.append(nn.ModuleList([ResidualBlock(i, i, features), _smaller(i, o, k == last)]))
        for k, (i, o) in enumerate(reversed(pairs)):
            self.noise_ups.append(nn.ModuleList([ResidualBlock(o + i, o, features), _larger(o, i, k == last)]))
        self.clean_mid_block = ResidualBlock(deepest, deepest)
        self.noisy_mid_block = ResidualBlock(deepest, deepest, features)
        self.final_res_block = ResidualBlock(2 * dim, dim, features)
        self.final_conv = nn.Conv2d(dim, bands, 1)

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """Images `[n b h w]`, the noisy fine image and its steps `[n]` -> `[n b h w]`."""
        return self.denoise(self.condition(coarse_ref, fine_ref, coarse), noisy, t)

    def condition(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> list[Tensor]:
        """Features of the clean stream: stem, each level, middle. They depend on no step: compute them once."""
        fine, pair = self.fine_init_conv(fine_ref), self.coarse_init_conv(torch.cat([coarse_ref, coarse], 1))
        x = self.clean_init_conv(torch.cat([fine, pair], 1))
        found = [x]
        for block, smaller in self.clean_downs:  # type: ignore[misc]
            x = block(x)  # type: ignore[has-type]
            found.append(x)
            x = smaller(x)  # type: ignore[has-type]
        return [*found, self.clean_mid_block(x)]

    def denoise(self, clean: Sequence[Tensor], noisy: Tensor, t: Tensor) -> Tensor:
        """The network's answer for noisy images `[n b h w]` at steps `[n]`, given `condition`."""
        stem, *levels, middle = clean
        step = self.time_mlp(t).to(noisy.dtype)
        x = self.noisy_init_conv(noisy)
        first, skips = x - stem, []
        for (block, smaller), level in zip(self.noisy_downs, levels, strict=True):  # type: ignore[misc]
            x = block(x, step)  # type: ignore[has-type]
            skips.append(x - level)
            x = smaller(x)  # type: ignore[has-type]
        n = self.noisy_mid_block(x, step) - middle
        for block, larger in self.noise_ups:  # type: ignore[misc]
            n = larger(block(torch.cat([n, skips.pop()], 1), step))  # type: ignore[has-type]
        return self.final_conv(self.final_res_block(torch.cat([n, first], 1), step))  # type: ignore[no-any-return]


def _smaller(inputs: int, outputs: int, last: bool) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1) if last else nn.Conv2d(inputs, outputs, 4, 2, 1)


def _larger(inputs: int, outputs: int, last: bool) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    return convolution if last else nn.Sequential(nn.Upsample(scale_factor=2), convolution)


class Stfdiff(nn.Module):
    """The denoiser with its noise schedule.

    Args:
        bands: of the images.
        dim: see `StfdiffNet`.
        multipliers: see `StfdiffNet`.
        steps: of the schedule, T.
        schedule: "cosine", or "linear" (scaled to T; more than 20 steps).
        objective: what the network's answer is: the clean image, or the noise.

    Raises:
        InputError: a linear schedule of 20 steps or less, whose last beta would be 1.
    """

    def __init__(
        self,
        bands: int,
        dim: int = 64,
        multipliers: Sequence[int] = (1, 2, 4),
        steps: int = 100,
        schedule: Literal["cosine", "linear"] = "cosine",
        objective: Objective = "clean",
    ) -> None:
        super().__init__()
        if schedule == "linear" and steps <= 20:
            raise InputError(f"a linear schedule needs more than 20 steps, found {steps}: its last beta would be 1")
        scale = 1000 / steps
        self.diffusion = Diffusion(
            cosine_betas(steps) if schedule == "cosine" else linear_betas(steps, 1e-4 * scale, 0.02 * scale)
        )
        self.objective = objective
        self.model = StfdiffNet(bands, dim, multipliers)

    @property
    def steps(self) -> int:
        """T."""
        return self.diffusion.steps

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """As every network of this folder: 50 steps from noise of torch's global generator."""
        return self.sample((coarse_ref, fine_ref, coarse), min(50, self.steps), lambda _: torch.randn_like(fine_ref))

    def errors(
        self, images: tuple[Tensor, Tensor, Tensor], target: Tensor, t: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the network answers for the target made noisy, and what it should: `[n b h w]` each.

        `images` are coarse reference, fine reference and coarse wanted; `t [n]`; `noise [n b h w]` standard normal.
        """
        answer = self.model(*images, self.diffusion.noisy(target, t, noise), t)
        return answer, target if self.objective == "clean" else noise

    def sample(self, images: tuple[Tensor, Tensor, Tensor], steps: int, draw: Draw, eta: float = 0.0) -> Tensor:
        """A fine image `[n b h w]` from noise (DDIM; with steps = T the ancestral loop).

        Args:
            images: coarse reference, fine reference, coarse wanted.
            steps: evaluations of the network, at most T.
            draw: standard normal numbers of the start, and of each step that adds noise.
            eta: 0 adds no noise after the start.

        Raises:
            InputError: more steps than the schedule has.
        """
        if not 1 <= steps <= self.steps:
            raise InputError(f"{steps} sampling steps are not possible with a schedule of {self.steps}")
        clean, x = self.model.condition(*images), draw(0)
        if steps == self.steps:
            return self._ancestral(clean, x, draw)
        for k, (t, after) in enumerate(pairwise(ddim_times(self.steps, steps)), 1):
            told, noise = self._told(clean, x, t)
            if after < 0:
                return told
            x = self._towards(told, noise, (t, after), eta, lambda k=k: draw(k))  # type: ignore[misc]
        return x

    def _told(self, clean: Sequence[Tensor], x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """The clean image, clipped to [-1, 1], and the noise that x_t is made of, as the network sees them."""
        at = torch.full((len(x),), t, device=x.device)
        answer = self.model.denoise(clean, x, at)
        d = self.diffusion
        if self.objective == "noise":
            return d.clean(x, at, answer), answer
        told = answer.clamp(-1, 1)
        noise = d.at("sqrt_recip_alphas_cumprod", at, x) * x - told
        return told, noise / d.at("sqrt_recipm1_alphas_cumprod", at, x)

    def _towards(
        self, told: Tensor, noise: Tensor, times: tuple[int, int], eta: float, draw: Callable[[], Tensor]
    ) -> Tensor:
        """The image at the second of two times (Song et al. 2021, equation 12)."""
        kept, kept_after = (self.diffusion.get_buffer("alphas_cumprod")[t] for t in times)
        if eta == 0:
            return kept_after.sqrt() * told + (1 - kept_after).sqrt() * noise
        sigma = eta * ((1 - kept / kept_after) * (1 - kept_after) / (1 - kept)).sqrt()
        return kept_after.sqrt() * told + (1 - kept_after - sigma**2).sqrt() * noise + sigma * draw()

    def _ancestral(self, clean: Sequence[Tensor], x: Tensor, draw: Draw) -> Tensor:
        d = self.diffusion
        for k, t in enumerate(range(self.steps - 1, -1, -1), 1):
            told, _ = self._told(clean, x, t)
            at = torch.full((len(x),), t, device=x.device)
            x = d.at("posterior_mean_coef1", at, x) * told + d.at("posterior_mean_coef2", at, x) * x
            if t > 0:
                x = x + (0.5 * d.at("posterior_log_variance_clipped", at, x)).exp() * draw(k)
        return x


def ddim_times(total: int, steps: int) -> list[int]:
    """The published times: `steps` + 1 points from -1 to total - 1, truncated towards 0, in descending order."""
    return [int(t) for t in reversed(torch.linspace(-1, total - 1, steps + 1).tolist())]
