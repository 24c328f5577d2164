"""Features of all dates of one sensor, computed once per tile and handed out in strips of fine rows.

They are kept on the grid on which they were computed: where a network enlarges coarse features at its end, that last
part is done for a strip when it is asked for, which needs a ninth of the memory (ratio 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.frames import Frames, Settings
from sitsfusion.methods.tamrfsits.reach import bicubic_margin, esr_convolutions
from sitsfusion.methods.tamrfsits.spatial import Shrinking, esr_features
from sitsfusion.nets.rrdb import SLOPE, EsrEncoder, UpsampleStage
from sitsfusion.nets.tamrfsits import SpatialEncoder


class Features(Protocol):
    """Features of t dates over a region of the fine grid."""

    def rows(self, first: int, last: int) -> Tensor:
        """Rows first..last-1 of the region: `[t, pixels, latent]`, row by row."""
        ...


@dataclass(frozen=True, eq=False)
class FineFeatures:
    """Features stored on the fine grid: `values [t, height, width, latent]`."""

    values: Tensor

    def rows(self, first: int, last: int) -> Tensor:
        return self.values[:, first:last].flatten(1, 2)


@dataclass(frozen=True, eq=False)
class CoarseFeatures:
    """Features stored on the coarse grid and enlarged (bicubic) strip by strip.

    Attributes:
        values: `[t, height, width, latent]` over `stored`.
        stored: in coarse pixels of the window that was read.
        region: what is wanted, in fine pixels of that window; `size`: of the window in fine pixels.
        factor: fine pixels per coarse pixel.
        conv: 3x3 convolution after the enlargement, followed by LeakyReLU; None for none.
    """

    values: Tensor
    stored: Window
    region: Window
    size: tuple[int, int]
    factor: int
    conv: nn.Conv2d | None

    def rows(self, first: int, last: int) -> Tensor:
        area = Shrinking(Window(self.region.row + first, self.region.col, last - first, self.region.width), self.size)
        to_rows, to_cols = self._weights(area.area(0 if self.conv is None else 1))
        t, *_, latent = self.values.shape
        out = self.values.new_empty(t, last - first, self.region.width, latent)
        for date in range(t):  # one by one: enlarged images are large
            x = torch.einsum("rh,hwc->rwc", to_rows, self.values[date].float())
            x = torch.einsum("sw,rwc->rsc", to_cols, x).to(out.dtype)
            out[date] = x if self.conv is None else self._convolved(self.conv, x, area)
        return out.flatten(1, 2)

    def _weights(self, area: Window) -> tuple[Tensor, Tensor]:
        """Bicubic weights of the stored rows and columns in those of an area of fine pixels, `[fine, coarse]` each."""
        rows, cols = area.relative_to(self.stored.scaled(self.factor)).slices
        height, width = (_bicubic_weights(n, self.factor, self.values.device) for n in self.values.shape[1:3])
        return height[rows], width[cols]

    def _convolved(self, conv: nn.Conv2d, x: Tensor, area: Shrinking) -> Tensor:
        """The convolution and activation after the enlargement: `[h + 2, w + 2, latent]` -> `[h, w, latent]`."""
        y = F.leaky_relu_(area.conv(conv, x.permute(2, 0, 1)[None], 1), SLOPE)
        return y[0].permute(1, 2, 0)


def _bicubic_weights(n: int, factor: int, device: torch.device) -> Tensor:
    """Bicubic enlargement of n pixels as a matrix `[n * factor, n]`; several times faster than PyTorch's kernel."""
    unit = torch.eye(n, device=device)[None, None]
    return F.interpolate(unit, size=(n * factor, n), mode="bicubic", align_corners=False)[0, 0]


def extract(encoder: SpatialEncoder, frames: Frames, margin: int, settings: Settings) -> Features:
    """Run an encoder over all dates.

    Args:
        encoder: in eval mode, on the device and in the dtype of `settings`.
        frames: images of the encoder's sensor.
        margin: fine pixels around the core to give features for, clipped to the image.
        settings: device, dtype, images per batch.
    """
    net, factor = encoder.network, encoder.factor
    region, size = fine_region(frames, factor, margin)
    if isinstance(net, EsrEncoder) and not net.upsampling:
        return FineFeatures(_encode(_esr_part(net, frames, region), frames, region, encoder.latent, settings))
    conv = _single_enlargement(net)
    if isinstance(net, EsrEncoder) and conv is not None:
        stored = _coarse_region(frames, factor, margin + 1)
        values = _encode(_esr_part(net, frames, stored), frames, stored, encoder.latent, settings)
        return CoarseFeatures(values, stored, region, size, factor, conv)
    if encoder.resample == "late" and factor > 1:
        stored = _coarse_region(frames, factor, margin)
        values = _encode(_part_of(net, stored), frames, stored, encoder.latent, settings)
        return CoarseFeatures(values, stored, region, size, factor, None)
    return FineFeatures(_encode(_part_of(encoder, region), frames, region, encoder.latent, settings))


def fine_region(frames: Frames, factor: int, margin: int) -> tuple[Window, tuple[int, int]]:
    """The core and `margin` fine pixels around it, clipped to the window; and the window's size. In fine pixels."""
    size = frames.size[0] * factor, frames.size[1] * factor
    return frames.core.scaled(factor).padded(margin, size), size


def _coarse_region(frames: Frames, factor: int, margin: int) -> Window:
    """The core and the coarse pixels around it that enlarging to the core and `margin` fine pixels needs."""
    return frames.core.padded(bicubic_margin(margin, 1, factor), frames.size)


def _single_enlargement(net: nn.Module) -> nn.Conv2d | None:
    """The convolution of an ESR encoder that ends in a single bicubic enlargement (the published one)."""
    if not isinstance(net, EsrEncoder) or len(net.upsampling) != 1:
        return None
    stage = cast(UpsampleStage, net.upsampling[0])
    return stage.conv if stage.how == "bicubic" else None


def _esr_part(net: EsrEncoder, frames: Frames, want: Window) -> Callable[[Tensor], Tensor]:
    """`EsrEncoder.native` over a part of a window, computed on no more than that needs."""
    area = Shrinking(want, frames.size)
    rows, cols = area.area(esr_convolutions(len(net.blocks))).slices
    return lambda x: esr_features(net, x[..., rows, cols], area)


def _part_of(net: nn.Module, want: Window) -> Callable[[Tensor], Tensor]:
    """Any network on a whole window, of whose output a part is wanted."""
    rows, cols = want.slices
    return lambda x: net(x)[..., rows, cols]


def _encode(run: Callable[[Tensor], Tensor], frames: Frames, want: Window, latent: int, settings: Settings) -> Tensor:
    """All dates through `run`, which maps images of a window to features over `want`: `[t, height, width, latent]`."""
    shape = len(frames), want.height, want.width, latent
    values = torch.empty(shape, dtype=settings.dtype, device=settings.device)
    for dates, images in frames.batches(settings):
        values[dates] = run(images).permute(0, 2, 3, 1)
    return values
