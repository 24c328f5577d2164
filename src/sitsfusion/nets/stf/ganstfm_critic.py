"""The discriminator of GAN-STFM: three stacks on the image, its half and its quarter, spectrally normalised."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-12
_WIDTHS = (
    (32, 32, 64, 64, 128, 128, 256, 256),
    (32, 64, 64, 128, 128, 256, 256),
    (32, 64, 128, 128, 256, 256),
)


class _Bias(nn.Module):
    """Holds the bias, under the published name."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)


class SpectralConv2d(nn.Module):
    """Convolution whose weight is divided by its largest singular value (Miyato et al. 2018).

    One power iteration in *every* forward, in evaluation too, as published: two calls differ slightly.
    """

    u: Tensor
    v: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        plain = nn.Conv2d(inputs, outputs, kernel)
        assert plain.bias is not None  # noqa: S101 - for the type checker
        self.stride, self.padding = stride, kernel // 2
        self.w_bar = nn.Parameter(plain.weight.detach())
        self.module = _Bias(plain.bias.detach())
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0, eps=_EPSILON))
        self.register_buffer("v", F.normalize(torch.randn(inputs * kernel**2), dim=0, eps=_EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        """`[n inputs h w]` -> `[n outputs h' w']`."""
        return F.conv2d(x, self.w_bar / self._sigma(), self.module.bias, self.stride, self.padding)

    def _sigma(self) -> Tensor:
        matrix = self.w_bar.flatten(1)
        with torch.no_grad():
            v = matrix.T @ self.u
            self.v = v / (torch.linalg.vector_norm(v) + _EPSILON)
            u = matrix @ self.v
            self.u = u / (torch.linalg.vector_norm(u) + _EPSILON)
        # Clones: the next call replaces u and v, and the graph of this one still needs them.
        return self.u.clone() @ (matrix @ self.v.clone())


class CriticBlock(nn.Module):
    """Normalise, activate, convolve, twice; to half the size, with a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.LeakyReLU(),
            SpectralConv2d(inputs, inputs, 3, 2),
            nn.BatchNorm2d(inputs),
            nn.LeakyReLU(),
            SpectralConv2d(inputs, outputs, 1),
        )
        self.transform = SpectralConv2d(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """`[n inputs h w]` -> `[n outputs h/2 w/2]`, sides rounded up."""
        return self.residual(x) + self.transform(x)  # type: ignore[no-any-return]


class GanStfmCritic(nn.Module):
    """Sees an image and its condition `[n b h w]` each; gives one number for the whole batch."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.d1, self.d2, self.d3 = (_stack(2 * bands, widths) for widths in _WIDTHS)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """A scalar: the mean of the logits over batch, positions and scales."""
        return torch.stack([logits.mean() for logits in self.logits(image, condition)]).mean()

    def logits(self, image: Tensor, condition: Tensor) -> list[Tensor]:
        """Flat logits of the three scales."""
        x = torch.cat([image, condition], 1)
        scales = (x, *(F.interpolate(x, scale_factor=s, mode="nearest") for s in (0.5, 0.25)))
        return [stack(s).flatten() for stack, s in zip((self.d1, self.d2, self.d3), scales, strict=True)]


def _stack(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    blocks = [CriticBlock(i, o) for i, o in pairwise((inputs, *widths))]
    return nn.Sequential(*blocks, SpectralConv2d(widths[-1], 1, 1))
