"""Cross-sensor super-resolution of irregular series: the backbones of MISR-S2 (arXiv 2404.16409).

Every backbone takes views `[b l c h w]` with values in [-1, 1], their days `[b l]` relative to the day wanted, and
`present [b l]` (1: a view, 0: a repetition that fills up a short series), and gives one image `[b c 4h 4w]`, values in
about [-1, 1]. Heights and widths may differ. Asking for another day is shifting `days`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.highresnet import (
    HighResEncoder,
    RecursiveFusion,
    TransposedDecoder,
    beside_reference,
    closest_view,
    each_view,
    median_image,
    pick_view,
)
from sitsfusion.nets.ltae import LTAE2d
from sitsfusion.nets.misr_config import (
    SCALE,
    BackboneConfig,
    HighResConfig,
    HighResLtaeConfig,
    Reference,
    RrdbConfig,
    RrdbHighResConfig,
    RrdbLtaeConfig,
)
from sitsfusion.nets.rrdb import SLOPE, Rrdb, UpsampleStage, conv3x3


def temporal_attention(features: int, heads: int, width: int) -> LTAE2d:
    """L-TAE that keeps the number of features; padded views take part in it, as published."""
    return LTAE2d(features, n_head=heads, mlp=(width, features), d_model=width)


class Backbone(nn.Module, ABC):
    """Views in, one finer image out. `encode` gives the fused features, `decode` the image before `bounded`."""

    @abstractmethod
    def encode(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        """Fused features `[b f h w]`."""

    @abstractmethod
    def decode(self, features: Tensor) -> Tensor:
        """`[b f h w]` -> `[b c 4h 4w]`."""

    def bounded(self, image: Tensor) -> Tensor:
        """The decoded image in the range of the targets. Default: as it is."""
        return image

    def condition(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        """What conditions a denoiser, `[b condition_channels h w]`. Default: the fused features."""
        return self.encode(views, days, present)

    def forward(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        check_views(views, days, present)
        return self.bounded(self.decode(self.encode(views, days, present)))


def check_views(views: Tensor, days: Tensor, present: Tensor) -> None:
    """Raises InputError unless views are [b l c h w] with l of at least 1, days and present [b l]."""
    if views.ndim != 5 or views.shape[1] < 1 or not views.shape[:2] == days.shape == present.shape:
        raise InputError(
            f"views must be [b l c h w] with days and presence [b l], l of 1 or more; found {tuple(views.shape)}, "
            f"{tuple(days.shape)} and {tuple(present.shape)}"
        )


def zero_to_one(x: Tensor) -> Tensor:
    """[-1, 1] to [0, 1]."""
    return (x + 1) / 2


def clamped(x: Tensor) -> Tensor:
    """Clamped to [0, 1], then [-1, 1]: in training too, as published."""
    return 2 * x.clamp(0, 1) - 1


class RrdbTrunk(nn.Module):
    """Convolution, RRDBs, convolution, long skip: `[n c h w]` -> `[n features h w]`."""

    def __init__(self, bands: int, features: int, growth: int, blocks: int) -> None:
        super().__init__()
        self.first = conv3x3(bands, features)
        self.blocks = nn.ModuleList(Rrdb(features, growth, plain=True) for _ in range(blocks))
        self.last = conv3x3(features, features)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The output of every block, and of the trunk."""
        first = z = self.first(x)
        found = []
        for block in self.blocks:
            z = block(z)
            found.append(z)
        return [*found, self.last(z) + first]

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[-1]


class RrdbDecoder(nn.Module):
    """Two stages of nearest x2 and convolution, two convolutions: `[n features h w]` -> `[n bands 4h 4w]`."""

    def __init__(self, features: int, bands: int) -> None:
        super().__init__()
        self.enlarge = nn.Sequential(*(UpsampleStage(features, 2, "nearest") for _ in range(SCALE.bit_length() - 1)))
        self.conv = conv3x3(features, features)
        self.last = conv3x3(features, bands)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.leaky_relu(self.conv(self.enlarge(x)), SLOPE))  # type: ignore[no-any-return]


class RrdbNet(Backbone):
    """RRDB network on the view closest in time."""

    def __init__(self, config: RrdbConfig, bands: int = 3) -> None:
        super().__init__()
        self.encoder = RrdbTrunk(bands, config.features, config.growth, config.blocks)
        self.decoder = RrdbDecoder(config.features, bands)

    def maps(self, views: Tensor, days: Tensor) -> list[Tensor]:
        """Feature maps of the closest view, each `[b features h w]`."""
        return self.encoder.maps(zero_to_one(pick_view(views, closest_view(days))))

    def encode(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        return self.maps(views, days)[-1]

    def decode(self, features: Tensor) -> Tensor:
        return self.decoder(features)  # type: ignore[no-any-return]

    def bounded(self, image: Tensor) -> Tensor:
        return clamped(image)

    def condition(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        return torch.cat(self.maps(views, days)[2::3], dim=1)


class HighResNet(Backbone):
    """HighRes-net: encoder with a median reference image, recursive fusion, transposed decoder."""

    def __init__(self, config: HighResConfig, bands: int = 3) -> None:
        super().__init__()
        self.median_of = config.median_of
        self.encoder = HighResEncoder(2 * bands, config.features, config.blocks)
        self.fusion = RecursiveFusion(config.features)
        self.decoder = TransposedDecoder(config.features, bands)

    def encode(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        states = each_view(self.encoder, beside_reference(views, median_image(views, self.median_of)))
        return self.fusion(states, present)  # type: ignore[no-any-return]

    def decode(self, features: Tensor) -> Tensor:
        return self.decoder(features)  # type: ignore[no-any-return]


class HighResLtae(Backbone):
    """HighRes-net's encoder and decoder with temporal attention between."""

    def __init__(self, config: HighResLtaeConfig, bands: int = 3) -> None:
        super().__init__()
        self.reference: Reference = config.reference
        self.median_of = config.median_of
        self.encoder = HighResEncoder(2 * bands, config.features, config.blocks)
        self.temporal = temporal_attention(config.features, config.heads, config.width)
        self.decoder = TransposedDecoder(config.features, bands)

    def encode(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        if self.reference == "closest":
            reference = pick_view(views, closest_view(days))
        else:
            reference = median_image(views, self.median_of)
        return self.temporal(each_view(self.encoder, beside_reference(views, reference)), days)[0]  # type: ignore[no-any-return]

    def decode(self, features: Tensor) -> Tensor:
        return self.decoder(features)  # type: ignore[no-any-return]


class RrdbLtae(Backbone):
    """RRDB trunk on every view, temporal attention, RRDB's decoder."""

    def __init__(self, config: RrdbLtaeConfig, bands: int = 3) -> None:
        super().__init__()
        self.encoder = RrdbTrunk(bands, config.features, config.growth, config.blocks)
        self.temporal = temporal_attention(config.features, config.heads, config.width)
        self.decoder = RrdbDecoder(config.features, bands)

    def encode(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        return self.temporal(each_view(self.encoder, zero_to_one(views)), days)[0]  # type: ignore[no-any-return]

    def decode(self, features: Tensor) -> Tensor:
        return self.decoder(features)  # type: ignore[no-any-return]

    def bounded(self, image: Tensor) -> Tensor:
        return clamped(image)


class RrdbHighRes(Backbone):
    """RRDB trunk on every view, recursive fusion, RRDB's decoder."""

    def __init__(self, config: RrdbHighResConfig, bands: int = 3) -> None:
        super().__init__()
        self.published_range = config.published_range
        self.encoder = RrdbTrunk(bands, config.features, config.growth, config.blocks)
        self.fusion = RecursiveFusion(config.features)
        self.decoder = RrdbDecoder(config.features, bands)

    def encode(self, views: Tensor, days: Tensor, present: Tensor) -> Tensor:
        shown = views if self.published_range else zero_to_one(views)
        return self.fusion(each_view(self.encoder, shown), present)  # type: ignore[no-any-return]

    def decode(self, features: Tensor) -> Tensor:
        return self.decoder(features)  # type: ignore[no-any-return]

    def bounded(self, image: Tensor) -> Tensor:
        return image.clamp(0, 1) if self.published_range else clamped(image)


def build_backbone(config: BackboneConfig, bands: int = 3) -> Backbone:
    """The backbone of a config, with random weights."""
    match config:
        case RrdbConfig():
            return RrdbNet(config, bands)
        case HighResConfig():
            return HighResNet(config, bands)
        case HighResLtaeConfig():
            return HighResLtae(config, bands)
        case RrdbLtaeConfig():
            return RrdbLtae(config, bands)
        case RrdbHighResConfig():
            return RrdbHighRes(config, bands)
