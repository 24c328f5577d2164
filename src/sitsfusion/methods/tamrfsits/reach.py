"""How far the outputs of a TAMRFSITS network depend on its inputs, counted exactly for every configuration group.

Each function goes backwards through a network: it takes the margin that is needed around the core at the output of
a stage and returns the margin needed at its input, in pixels of that input. Cores start on pixel borders of the
coarse sensor, so margins never cut one of its pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sitsfusion.nets.tamrfsits_config import (
    CarnConfig,
    EncoderConfig,
    EsrDecConfig,
    EsrEncConfig,
    EsrganConfig,
    LinearConfig,
    MlpConfig,
    TamrfsitsConfig,
    UNetConfig,
)

CONVS_PER_RRDB = 15


@dataclass(frozen=True)
class Reach:
    """The margins with which a part of an image gives the same result as the whole image.

    Attributes:
        hr: pixels of the fine sensor that are needed around the core (19 in the published network).
        lr: pixels of the coarse sensor (20 in the published network).
        multiple: windows must start at multiples of this many fine pixels from the image's first one, and the sides
            of the image must be multiples of it too, for parts to equal the whole; 1 means no such rule. (A U-Net
            pools 2 x 2 pixels; in an image of another size its upsampling stretches everything.)
    """

    hr: int
    lr: int
    multiple: int = 1

    def allows_tiles(self, height: int, width: int) -> bool:
        """Whether an image of this many fine pixels may be cut at all."""
        return height % self.multiple == 0 and width % self.multiple == 0


def reach(config: TamrfsitsConfig) -> Reach:
    """The reach of a network, from its configuration alone. Margins are rounded up to whole `multiple`s."""
    decoder = decoder_reach(config)
    hr, hr_multiple = _encoder_reach(config.hr_encoder, decoder, 1)
    lr, lr_multiple = _encoder_reach(config.lr_encoder, decoder, config.ratio)
    multiple = math.lcm(hr_multiple, lr_multiple)
    if multiple == 1:
        return Reach(hr, lr)
    multiple = math.lcm(multiple, config.ratio)
    return Reach(_round_up(hr, multiple), _round_up(lr, multiple // config.ratio), multiple)


def decoder_reach(config: TamrfsitsConfig) -> int:
    """Margin of tokens that the spatial decoder needs, in fine pixels: 2 for its two 3x3 convolutions, else 0."""
    return 2 if isinstance(config.decoder, EsrDecConfig) else 0


def esr_convolutions(rrdb: int) -> int:
    """3x3 convolutions in a row in an ESR encoder before upsampling (17 in the published network)."""
    return 2 + CONVS_PER_RRDB * rrdb


def bicubic_margin(margin: int, source: int, target: int) -> int:
    """Source pixels that bicubic resampling reads beyond the core.

    `source` pixels become `target` pixels along an axis. Fine pixel i lies at (i + 1/2) source / target - 1/2 and
    reads from one pixel before the one it lies in to two after it.
    """
    first = ((1 - 2 * margin) * source - target) // (2 * target)  # floor of the position of pixel -margin
    return max(1 - first, 0)


def _encoder_reach(config: EncoderConfig, margin: int, factor: int) -> tuple[int, int]:
    """Margin in the sensor's pixels, and the alignment of its windows in fine pixels."""
    match config:
        case EsrEncConfig():
            return _esr(config, margin, factor), 1
        case EsrganConfig():
            return _esrgan(config, margin, factor), 1
        case CarnConfig():
            return _carn(config, margin, factor), 1
        case UNetConfig():
            return _unet(config, margin, factor)
        case MlpConfig() | LinearConfig():
            return _enlarged(margin, factor), 1


def _enlarged(margin: int, factor: int) -> int:
    return margin if factor == 1 else bicubic_margin(margin, 1, factor)


def _esr(config: EsrEncConfig, margin: int, factor: int) -> int:
    for _ in range(factor // config.base):
        if config.upsampling == "pixel_shuffle":
            margin = math.ceil(margin / config.base) + 1  # the convolution comes before the shuffle
        else:
            margin = bicubic_margin(margin + 1, 1, config.base)
    return margin + esr_convolutions(config.rrdb)


def _esrgan(config: EsrganConfig, margin: int, factor: int) -> int:
    enlarged = config.base * math.ceil(factor / config.base)
    margin = (margin if enlarged == factor else bicubic_margin(margin, enlarged, factor)) + 2
    for _ in range(round(math.log(enlarged, config.base))):
        margin = math.ceil((margin + 1) / config.base)  # nearest, then the convolution
    return margin + esr_convolutions(config.rrdb)


def _carn(config: CarnConfig, margin: int, factor: int) -> int:
    enlarged = 2 * math.ceil(factor / 2)
    margin = (margin if enlarged == factor else bicubic_margin(margin, enlarged, factor)) + 1
    blocks = config.blocks * (1 if config.shared else 3)
    return math.ceil(margin / enlarged) + 2 + 2 * blocks


def _unet(config: UNetConfig, margin: int, factor: int) -> tuple[int, int]:
    if config.resample == "early":
        inside = _unet_inside(config.depth, margin)
        return _enlarged(inside, factor), 2 ** (config.depth - 1)
    return _unet_inside(config.depth, _enlarged(margin, factor)), factor * 2 ** (config.depth - 1)


def _unet_inside(levels: int, margin: int) -> int:
    """A level: two convolutions, pooling, the deeper level, upsampling, two convolutions."""
    if levels == 1:
        return margin + 2
    deeper = _unet_inside(levels - 1, math.ceil((margin + 2) / 2))
    return max(2 * deeper, margin + 2) + 2


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
