"""TAMRFSITS: temporal attention over the pixels of two image series, decoded at any day.

The network of J. Michel and J. Inglada (published checkpoints and their ablations: `VARIANTS`).
Each image of both sensors becomes features on the fine grid; a transformer mixes the dates of
each pixel; one query vector per wanted day attends to them; a small convolutional decoder
gives all bands at that day.

Images are `[b, t, c, h, w]` in standardised units and hold no NaN (what was never observed is
filled beforehand), days `[b, t]` or `[t]` of any dtype. HR images are exactly `ratio` times
larger than LR images: H = ratio * h. Tokens are `[b, p, t, d]`, one row of H * W pixels p.

The pieces are public, so that streaming inference can call them one by one:
`Encoder.features` (one image), `Encoder.tokens`, `Encoder.temporal.layers[i]`,
`Decoder.queries`, `Decoder.cross` (`.attention.query`, `.key_value`, `.attend`, `.finish`), `Decoder.spatial`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from sitsfusion.errors import InputError

from .carn import Carn
from .pointwise import PixelMlp
from .positional import FixedTemporalEncoding, LearnableTemporalEncoding, combine
from .rrdb import SLOPE, EsrEncoder, EsrganGenerator, bicubic, conv3x3
from .tamrfsits_config import (
    VARIANTS,
    CarnConfig,
    DecoderConfig,
    EncoderConfig,
    EsrDecConfig,
    EsrEncConfig,
    EsrganConfig,
    MlpConfig,
    TamrfsitsConfig,
    UNetConfig,
)
from .temporal import CrossAttention, TemporalTransformer
from .unet import UNet

__all__ = ["VARIANTS", "Decoder", "Encoder", "SpatialEncoder", "TamrfsitsConfig", "TamrfsitsNet"]

Role = Literal["lr", "hr"]


def spatial_network(config: EncoderConfig, bands: int, latent: int, factor: int) -> nn.Module:
    """The network of an encoder group; `unet`, `mlp` and `linear` keep the image size."""
    match config:
        case EsrEncConfig(rrdb=n, growth=growth, base=base, upsampling=upsampling, residual_scale=scale):
            return EsrEncoder(bands, latent, n, growth, factor, base, upsampling, scale)
        case EsrganConfig(rrdb=n, growth=growth, base=base, residual_scale=scale):
            return EsrganGenerator(bands, latent, latent, n, growth, factor, base, scale)
        case CarnConfig(features=features, blocks=blocks, groups=groups, shared=shared):
            return Carn(bands, latent, features, blocks, groups, factor, shared)
        case UNetConfig(depth=depth, growth=growth):
            return UNet(bands, latent, depth, growth)
        case MlpConfig(hidden=hidden, batch_norm=batch_norm):
            return PixelMlp(bands, latent, hidden, batch_norm)
        case _:
            return PixelMlp(bands, latent)


class SpatialEncoder(nn.Module):
    """Images of one sensor to features on the fine grid, each image on its own."""

    def __init__(self, config: EncoderConfig, bands: int, latent: int, factor: int) -> None:
        super().__init__()
        self.latent, self.factor = latent, factor
        self.resample = getattr(config, "resample", None)  # None: the network enlarges by itself
        self.network = spatial_network(config, bands, latent, factor)

    def forward(self, images: Tensor) -> Tensor:
        """`[n, bands, h, w]` -> `[n, latent, factor * h, factor * w]`; n may be 0."""
        n, _, h, w = images.shape
        if n == 0:
            return images.new_zeros(0, self.latent, h * self.factor, w * self.factor)
        if self.resample == "early":
            images = bicubic(images, self.factor)
        out: Tensor = self.network(images)
        return bicubic(out, self.factor) if self.resample == "late" else out


def spatial_decoder(config: DecoderConfig, width: int, outputs: int) -> nn.Sequential:
    """The network of a decoder group: `[n, width, H, W]` -> `[n, outputs, H, W]`."""
    if isinstance(config, EsrDecConfig):
        hidden = config.hidden or width
        return nn.Sequential(conv3x3(width, hidden), nn.LeakyReLU(SLOPE), conv3x3(hidden, outputs))
    return PixelMlp(width, outputs, config.hidden, config.batch_norm).layers


def temporal_encoding(config: TamrfsitsConfig) -> FixedTemporalEncoding | LearnableTemporalEncoding:
    """The day encoding of a config; encoder and decoder have one each."""
    if config.encoding == "learnable":
        return LearnableTemporalEncoding(config.encoding_features)
    return FixedTemporalEncoding(config.encoding_features, config.encoding_div, config.encoding_offset)


class Encoder(nn.Module):
    """Both series to one sequence of tokens per pixel."""

    def __init__(self, config: TamrfsitsConfig) -> None:
        super().__init__()
        self.mode = config.encoding_mode
        self.hr = SpatialEncoder(config.hr_encoder, config.hr_bands, config.latent, 1)
        self.lr = SpatialEncoder(config.lr_encoder, config.lr_bands, config.latent, config.ratio)
        self.hr_token = nn.Parameter(torch.rand(config.sensor_token))
        self.lr_token = nn.Parameter(torch.rand(config.sensor_token))
        self.encoding = temporal_encoding(config)
        self.temporal = TemporalTransformer(
            config.width, config.heads, config.feedforward, config.layers, config.dropout
        )

    def features(self, images: Tensor, role: Role) -> Tensor:
        """Features of single images: `[n, bands, h, w]` -> `[n, latent, H, W]`, on the fine grid."""
        encoder = self.hr if role == "hr" else self.lr
        return encoder(images)  # type: ignore[no-any-return]

    def tokens(self, features: Tensor, days: Tensor, role: Role) -> Tensor:
        """Features, day encoding, sensor token: `[b, p, t, latent]` and days `[b, t]` -> `[b, p, t, d]`."""
        token = self.hr_token if role == "hr" else self.lr_token
        x = combine(features, self.encoding(days)[:, None], self.mode)  # [b, p, t, d - token]
        return combine(x, token, "concat")

    def sequence(self, images: Tensor, days: Tensor, role: Role) -> Tensor:
        """Tokens of one series, before the transformer: `[b, t, c, h, w]`, days `[b, t]` -> `[b, H * W, t, d]`."""
        b, t = images.shape[:2]
        features = self.features(images.flatten(0, 1), role)
        pixels = rearrange(features, "(b t) c h w -> b (h w) t c", b=b, t=t)
        return self.tokens(pixels, days, role)

    def forward(self, *series: tuple[Tensor, Tensor, Role]) -> Tensor:
        """Series of (images, days, role), LR first -> encoded tokens of all dates `[b, H * W, t, d]`."""
        tokens = torch.cat([self.sequence(*one) for one in series], dim=2)
        return self.temporal(tokens)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Tokens and days to images."""

    def __init__(self, config: TamrfsitsConfig) -> None:
        super().__init__()
        self.mode = config.encoding_mode
        self.default_token = nn.Parameter(torch.zeros(config.latent))
        self.sensor_token = nn.Parameter(torch.rand(config.sensor_token))
        self.encoding = temporal_encoding(config)
        self.cross = CrossAttention(config.width, config.decoder_heads, config.decoder_feedforward, config.dropout)
        self.spatial = spatial_decoder(config.decoder, config.width, config.out_bands)

    def queries(self, days: Tensor) -> Tensor:
        """The query vectors of days, alike for all pixels: `[..., tq]` -> `[..., tq, d]`."""
        x = combine(self.default_token, self.encoding(days), self.mode)
        return combine(x, self.sensor_token, "concat")

    def attend(self, tokens: Tensor, days: Tensor) -> Tensor:
        """What each query found: tokens `[b, p, t, d]` (t may be 0), days `[b, tq]` -> `[b, p, tq, d]`."""
        return self.cross(self.queries(days)[:, None], tokens)  # type: ignore[no-any-return]

    def forward(self, tokens: Tensor, days: Tensor, height: int) -> Tensor:
        """Tokens `[b, H * W, t, d]`, days `[b, tq]`, height H -> `[b, tq, out_bands, H, W]`."""
        attended = rearrange(self.attend(tokens, days), "b (h w) t d -> (b t) d h w", h=height)
        images: Tensor = self.spatial(attended)
        return rearrange(images, "(b t) c h w -> b t c h w", b=tokens.shape[0], t=days.shape[1])


class TamrfsitsNet(nn.Module):
    """Encoder and decoder; the output has the LR bands first, then the HR bands, all on the fine grid."""

    def __init__(self, config: TamrfsitsConfig | None = None) -> None:
        super().__init__()
        self.config = config or TamrfsitsConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TamrfsitsNet:
        """A network of freshly drawn weights from primitives; see `TamrfsitsConfig.from_dict`."""
        return cls(TamrfsitsConfig.from_dict(values))

    def forward(
        self,
        lr: Tensor | None,
        lr_days: Tensor | None,
        hr: Tensor | None,
        hr_days: Tensor | None,
        query_days: Tensor,
    ) -> Tensor:
        """Images of both sensors at the query days.

        Args:
            lr: `[b, t_lr, lr_bands, h, w]` or None; t_lr may be 0.
            lr_days: `[b, t_lr]` or `[t_lr]`; None with `lr`.
            hr: `[b, t_hr, hr_bands, ratio * h, ratio * w]` or None; t_hr may be 0.
            hr_days: `[b, t_hr]` or `[t_hr]`; None with `hr`.
            query_days: `[b, tq]`, or `[tq]` for all of the batch; any order, duplicates allowed.

        Returns:
            `[b, tq, out_bands, H, W]`. Without any date the result is the same at every pixel but the borders.

        Raises:
            InputError: both series are None, or shapes do not fit the config or each other.
        """
        series = self._series(lr, lr_days, "lr") + self._series(hr, hr_days, "hr")
        if not series:
            raise InputError("both series are None: give LR images, HR images or both (zero dates are legal)")
        b, height, _ = self._extent(series)
        query = _batched(query_days, b, "query_days")
        return self.decoder(self.encoder(*series), query, height)  # type: ignore[no-any-return]

    def _series(self, images: Tensor | None, days: Tensor | None, role: Role) -> list[tuple[Tensor, Tensor, Role]]:
        """One series with days `[b, t]`, or nothing; its shapes are checked."""
        if images is None:
            return []
        bands = self.config.lr_bands if role == "lr" else self.config.hr_bands
        if images.ndim != 5 or images.shape[2] != bands:
            raise InputError(f"{role} has shape {tuple(images.shape)}, expected [b, t, {bands}, h, w]")
        if days is None:
            raise InputError(f"{role} has images but {role}_days is None: give one day number per date")
        days = _batched(days, images.shape[0], f"{role}_days")
        if days.shape[1] != images.shape[1]:
            raise InputError(f"{role} has {images.shape[1]} dates but {role}_days has {days.shape[1]}")
        return [(images, days, role)]

    def _extent(self, series: list[tuple[Tensor, Tensor, Role]]) -> tuple[int, int, int]:
        """Batch size, height and width on the fine grid, the same for all series."""
        extents = {
            role: (images.shape[0], *(s * (self.config.ratio if role == "lr" else 1) for s in images.shape[-2:]))
            for images, _, role in series
        }
        first = next(iter(extents.values()))
        if any(extent != first for extent in extents.values()):
            raise InputError(
                f"the series differ in batch or area: (batch, height, width) on the fine grid is {extents}; "
                f"HR images must be exactly {self.config.ratio} times larger than LR images"
            )
        b, height, width = first
        return b, height, width


def _batched(days: Tensor, batch: int, name: str) -> Tensor:
    """`[t]` or `[b, t]` -> `[b, t]`."""
    days = repeat(days, "t -> b t", b=batch) if days.ndim == 1 else days
    if days.ndim != 2 or days.shape[0] != batch:
        raise InputError(f"{name} has shape {tuple(days.shape)}, expected [t] or [{batch}, t]")
    return days
