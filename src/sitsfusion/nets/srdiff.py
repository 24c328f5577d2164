"""SRDiff: a diffusion model of the residual between a fine image and the bicubic enlargement of a coarse one.

Li et al. 2022, "SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models" (arXiv 2104.14951), in the
variant of MISR-S2 (arXiv 2404.16409): no norms, no attention, conditioned by the frozen features of a backbone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.diffusion import Diffusion, Noise, betas_of, sample_ancestral, sample_strided
from sitsfusion.nets.highresnet import closest_view, pick_view
from sitsfusion.nets.misr import Backbone, build_backbone, check_views
from sitsfusion.nets.misr_config import SCALE, DiffusionConfig, MisrConfig
from sitsfusion.ops.tiles import crop_to, pad_to_multiple

LONGEST_PERIOD = 10_000.0


def step_encoding(t: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of the step at `width / 2` frequencies: int64 [n] -> float32 [n width]."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t.device) * (-math.log(LONGEST_PERIOD) / (half - 1)))
    angles = t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ReflectConv(nn.Conv2d):
    """3x3 convolution with mirrored borders: `[n c h w]` -> `[n c' h / stride w / stride]`."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel_size=3, stride=stride, padding=1, padding_mode="reflect")


class StepBlock(nn.Module):
    """Two convolutions, the step's embedding added between, a residual: `[n inputs h w]` -> `[n outputs h w]`."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.step = nn.Linear(embedding, outputs)
        self.conv1 = ReflectConv(inputs, outputs)
        self.conv2 = ReflectConv(outputs, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = F.mish(self.conv1(x)) + self.step(F.mish(embedding))[:, :, None, None]
        return F.mish(self.conv2(h)) + self.skip(x)  # type: ignore[no-any-return]


class Down(nn.Module):
    """Two blocks, then half the sides (not at the last level)."""

    def __init__(self, inputs: int, outputs: int, embedding: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([StepBlock(inputs, outputs, embedding), StepBlock(outputs, outputs, embedding)])
        self.shrink = nn.Identity() if last else ReflectConv(outputs, outputs, stride=2)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        return x


class Up(nn.Module):
    """The remembered map beside x, two blocks, twice the sides."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([StepBlock(2 * inputs, outputs, embedding), StepBlock(outputs, outputs, embedding)])
        self.enlarge = nn.ConvTranspose2d(outputs, outputs, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor, remembered: Tensor, embedding: Tensor) -> Tensor:
        x = torch.cat([x, remembered], dim=1)
        for block in self.blocks:
            x = block(x, embedding)
        return self.enlarge(x)  # type: ignore[no-any-return]


class Denoiser(nn.Module):
    """U-Net that tells the noise in an image from the image, its step and a condition.

    Sides must be multiples of 2 ** (levels - 1) fine pixels. The map of the finest level is not used on the way up.
    """

    def __init__(self, bands: int, condition: int, width: int, multipliers: tuple[int, ...]) -> None:
        super().__init__()
        widths = [bands, *(width * m for m in multipliers)]
        levels = list(pairwise(widths))
        self.project = nn.ConvTranspose2d(condition, widths[1], kernel_size=2 * SCALE, stride=SCALE, padding=SCALE // 2)
        self.embed = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))
        self.downs = nn.ModuleList(Down(a, b, width, last=i == len(levels) - 1) for i, (a, b) in enumerate(levels))
        self.middle = nn.ModuleList(StepBlock(widths[-1], widths[-1], width) for _ in range(2))
        self.ups = nn.ModuleList(Up(b, a, width) for a, b in reversed(levels[1:]))
        self.head = ReflectConv(widths[1], width)
        self.last = nn.Conv2d(width, bands, kernel_size=1)
        self.width = width

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """`x [n bands H W]`, steps `t [n]`, `condition` = `projected` features `[n c H W]` -> noise, as x."""
        embedding = self.embed(step_encoding(t, self.width))
        remembered = []
        for level, down in enumerate(self.downs):
            x = down(x, embedding)
            if level == 0:
                x = x + condition
            remembered.append(x)
            x = down.shrink(x)  # type: ignore[operator]
        for block in self.middle:
            x = block(x, embedding)
        for up in self.ups:
            x = up(x, remembered.pop(), embedding)
        return self.last(F.mish(self.head(x)))  # type: ignore[no-any-return]

    def projected(self, features: Tensor) -> Tensor:
        """Conditioning features `[n C h w]` on the fine grid, `[n c 4h 4w]`: the same at all steps."""
        return self.project(features)  # type: ignore[no-any-return]


class SrDiff(nn.Module):
    """The diffusion of residuals, conditioned by a backbone or, without one, by the closest view.

    The backbone is frozen: its features are computed in evaluation mode and take no gradient.
    """

    def __init__(self, config: DiffusionConfig, backbone: Backbone | None, channels: int, bands: int = 3) -> None:
        super().__init__()
        self.rescale = config.rescale
        self.multiple = config.multiple
        self.backbone = backbone
        self.denoiser = Denoiser(bands, channels, config.width, config.multipliers)
        self.diffusion = Diffusion(betas_of(config.schedule, config.steps))
        if backbone is not None:
            backbone.requires_grad_(False)

    @torch.no_grad()
    def condition(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        """Features `[b C h w]` of views as a backbone takes them."""
        check_views(views, days, present)
        if self.backbone is None:
            return pick_view(views, closest_view(days))
        return self.backbone.eval().condition(views, days, present)

    def residual(self, image: Tensor, base: Tensor) -> Tensor:
        """What is diffused: the scaled difference of a fine image and its base, clipped to [-1, 1]."""
        return ((image - base) * self.rescale).clamp(-1, 1)

    def image(self, residual: Tensor, base: Tensor) -> Tensor:
        """The image of a residual; it may leave [-1, 1]."""
        return residual.clamp(-1, 1) / self.rescale + base

    def predicted_noise(self, features: Tensor, residual: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The denoiser's answer in training: what noise it finds in the noised residual."""
        noisy = self.diffusion.noisy(residual, t, noise)
        return self.denoiser(noisy, t, self.denoiser.projected(features))  # type: ignore[no-any-return]

    def sample(
        self, features: Tensor, base: Tensor, start: Tensor, noise: Noise | None = None, steps: int | None = None
    ) -> Tensor:
        """Fine images `[b c H W]`.

        Args:
            features: from `condition`.
            base: bicubic enlargement of the closest view, [-1, 1].
            start: standard normal, shaped as base.
            noise: standard normal numbers of each step; needed without `steps`.
            steps: None: all steps of the schedule, with noise; else so many deterministic ones (DDIM).

        Raises:
            InputError: neither noise nor steps, or more steps than the schedule has.
        """
        denoise = self._denoiser(features, base)
        if steps is not None:
            return self.image(sample_strided(self.diffusion, denoise, start, steps), base)
        if noise is None:
            raise InputError("sampling all steps needs noise; give it, or a number of steps")
        return self.image(sample_ancestral(self.diffusion, denoise, start, noise), base)

    def interpolate(
        self, features: Tensor, base: Tensor, first: Tensor, second: Tensor, weight: float, step: int, noise: Noise
    ) -> Tensor:
        """Images between two (DDPM, section 4.3): their residuals noised to a step, mixed, and denoised from there.

        Args:
            features: from `condition`.
            base: bicubic enlargement of the closest view `[b c H W]`, [-1, 1].
            first: fine image, shaped as base.
            second: the other one.
            weight: of the second, 0 .. 1.
            step: of the schedule; the later, the freer the result.
            noise: standard normal numbers; those of `step` noise both images.

        Raises:
            InputError: a weight or step out of range.
        """
        if not 0 <= weight <= 1 or not 0 <= step < self.diffusion.steps:
            raise InputError(
                f"weight {weight:g} and step {step} are not possible: give 0 to 1, and 0 to {self.diffusion.steps - 1}"
            )
        at, drawn = torch.full((len(base),), step, device=base.device), noise(step)
        one, other = (self.diffusion.noisy(self.residual(x, base), at, drawn) for x in (first, second))
        mixed, denoise = (1 - weight) * one + weight * other, self._denoiser(features, base)
        return self.image(sample_ancestral(self.diffusion, denoise, mixed, noise, step + 1), base)

    def _denoiser(self, features: Tensor, base: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The denoiser of images shaped as base, whatever their sides."""
        h, w = base.shape[-2:]
        # the mirror of the coarsest level needs two of its pixels
        multiple = self.multiple if min(h, w) > self.multiple else 2 * self.multiple
        condition = pad_to_multiple(self.denoiser.projected(features), multiple)

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            found: Tensor = self.denoiser(pad_to_multiple(x, multiple), t, condition)
            return crop_to(found, h, w)

        return denoise


def build_misr(config: MisrConfig) -> Backbone | SrDiff:
    """The network of a config, with random weights."""
    backbone = None if config.backbone is None else build_backbone(config.backbone, config.bands)
    if config.diffusion is None:
        if backbone is None:
            raise InputError("a network needs a backbone, a diffusion, or both")
        return backbone
    channels = config.bands if config.backbone is None else config.backbone.condition_channels
    return SrDiff(config.diffusion, backbone, channels, config.bands)
