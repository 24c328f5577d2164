"""How much memory the prediction of one tile takes, from the network's configuration alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch

from sitsfusion.methods.tamrfsits.reach import bicubic_margin, decoder_reach, reach
from sitsfusion.methods.tamrfsits.strips import DAYS, STRIP_ROWS
from sitsfusion.methods.tamrfsits.temporal import TOKENS
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.nets.tamrfsits_config import (
    CarnConfig,
    EncoderConfig,
    EsrDecConfig,
    EsrEncConfig,
    EsrganConfig,
    MlpConfig,
    TamrfsitsConfig,
    UNetConfig,
)

_FLOAT32 = 4
# What allocators and libraries hold beyond what is asked of them.
_SLACK, _FIXED = 1.1, 24 * 2**20


def footprint(
    config: TamrfsitsConfig,
    core_size: tuple[int, int],
    n_lr: int,
    n_hr: int,
    n_queries: int,
    dtype: torch.dtype = torch.float32,
    batch: int = 1,
) -> int:
    """Peak bytes of `predict_core`, its result included and its stored inputs not: a close upper estimate.

    Args:
        config: of the network.
        core_size: height and width of the core in fine pixels.
        n_lr: number of images of the coarse sensor.
        n_hr: number of images of the fine sensor.
        n_queries: number of query days.
        dtype: of `Settings`.
        batch: of `Settings`.
    """
    dates: dict[Literal["lr", "hr"], int] = {"lr": n_lr, "hr": n_hr}
    kept = sum(_kept_features(config, role, core_size) * n for role, n in dates.items()) * dtype.itemsize
    strip = _strip_pixels(config, core_size, batch)
    kept += strip * (n_lr + n_hr + 1) * 2 * config.width * dtype.itemsize  # keys and values
    output = n_queries * config.out_bands * math.prod(core_size) * _FLOAT32
    # What the encoders used is reused by the decoder rather than given back, so only the larger of both counts.
    encoding = max(_encoding(config, role, core_size, dtype) * min(n, batch) for role, n in dates.items())
    decoding = _decoding(config, strip, dates, min(n_queries, DAYS), dtype, batch)
    return round((output + kept + max(encoding, decoding)) * _SLACK) + _weights(config, dtype) + _FIXED


def _weights(config: TamrfsitsConfig, dtype: torch.dtype) -> int:
    """The copies of the network that are made."""
    with torch.device("meta"):
        count = sum(p.numel() for p in TamrfsitsNet(config).parameters())
    return count * (_FLOAT32 if dtype == torch.float32 else _FLOAT32 + dtype.itemsize)


def _kept_features(config: TamrfsitsConfig, role: Literal["lr", "hr"], core: tuple[int, int]) -> int:
    """Numbers kept per date."""
    if role == "lr" and (margin := _coarse_margin(config)) is not None:
        return config.latent * _area(core, bicubic_margin(margin, 1, config.ratio), config.ratio)
    return config.latent * _area(core, decoder_reach(config))


def _coarse_margin(config: TamrfsitsConfig) -> int | None:
    """Fine pixels around the core that are enlarged from coarse features, or None where fine ones are kept."""
    encoder = config.lr_encoder
    if isinstance(encoder, EsrEncConfig):
        once = encoder.base == config.ratio and encoder.upsampling == "bicubic"
        return decoder_reach(config) + 1 if once else None
    late = getattr(encoder, "resample", "early") == "late" and config.ratio > 1
    return decoder_reach(config) if late else None


def _encoding(config: TamrfsitsConfig, role: Literal["lr", "hr"], core: tuple[int, int], dtype: torch.dtype) -> int:
    """Bytes while one image is encoded."""
    if role == "lr":
        bands, encoder, factor, margin = config.lr_bands, config.lr_encoder, config.ratio, reach(config).lr
    else:
        bands, encoder, factor, margin = config.hr_bands, config.hr_encoder, 1, reach(config).hr
    # windows are whole coarse pixels
    pixels = _area(core, margin if role == "lr" else margin + config.ratio - 1, factor)
    held = _held(encoder, config.latent, factor) + bands
    return math.ceil(pixels * (held * dtype.itemsize + bands * _FLOAT32))


def _held(config: EncoderConfig, latent: int, factor: int) -> float:
    """Numbers alive at once in an encoder per pixel of the sensor, where it holds most."""
    fine = factor**2
    match config:
        case EsrEncConfig(growth=growth, upsampling=upsampling):
            inside = 5 * latent + 8 * growth
            return max(inside, 4 * latent * fine) if upsampling == "pixel_shuffle" or factor != config.base else inside
        case EsrganConfig(growth=growth):
            enlarged = (config.base * math.ceil(factor / config.base)) ** 2
            return max(5 * latent + 8 * growth, 3 * latent * enlarged)
        case CarnConfig(features=features):
            return 7.0 * features * (2 * math.ceil(factor / 2)) ** 2
        case UNetConfig(growth=growth, resample=resample):
            return (6.0 * (1 << growth) + latent) * (fine if resample == "early" else 1)
        case MlpConfig(hidden=hidden):
            return 2 * max(hidden, default=0) + latent
        case _:
            return latent


def _strip_pixels(config: TamrfsitsConfig, core: tuple[int, int], batch: int) -> int:
    """Pixels whose keys and values are kept at once."""
    margin = 2 * decoder_reach(config)
    return (min(STRIP_ROWS * batch, core[0]) + margin) * (core[1] + margin)


def _decoding(
    config: TamrfsitsConfig,
    pixels: int,
    dates: Mapping[Literal["lr", "hr"], int],
    days: int,
    dtype: torch.dtype,
    batch: int,
) -> int:
    """Bytes while a strip of some pixels is transformed and decoded, besides its keys and values."""
    strip = dates["lr"] * pixels * config.latent * dtype.itemsize if _coarse_margin(config) is not None else 0
    tokens = max(TOKENS * batch, sum(dates.values()), days)  # of one chunk of pixels
    floats = 4 if dtype == torch.float32 else 6  # the residual stream exists in both precisions
    chunk = tokens * (floats * config.width * _FLOAT32 + (4 * config.width + config.feedforward) * dtype.itemsize)
    decoder = config.decoder
    hidden = (decoder.hidden or config.width,) if isinstance(decoder, EsrDecConfig) else decoder.hidden
    images = days * pixels * (config.width + 2 * max(hidden, default=0) + config.out_bands) * dtype.itemsize
    return chunk + max(strip, images)


def _area(core: tuple[int, int], margin: int, factor: int = 1) -> int:
    """Pixels of the core and a margin on every side, on a grid `factor` times coarser than the core's."""
    return math.prod(math.ceil(side / factor) + 2 * margin for side in core)
