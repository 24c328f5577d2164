"""Decoding a tile in strips of rows.

A strip holds the decoder's keys and values of its tokens (272 numbers each in the published network), so any number
of days can be decoded from it in groups, without encoding anything twice. Neighbouring strips share the rows that
the spatial decoder reaches; their keys and values are kept, only the attention to them is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.features import Features
from sitsfusion.methods.tamrfsits.frames import Settings
from sitsfusion.methods.tamrfsits.reach import decoder_reach
from sitsfusion.methods.tamrfsits.spatial import Shrinking
from sitsfusion.methods.tamrfsits.temporal import Temporal

STRIP_ROWS = 12  # of the core, per unit of batch
DAYS = 16  # decoded at once


@dataclass(frozen=True, eq=False)
class Sensor:
    """What the tokens of one sensor are made of: features, and `constants [t, d]` float32, alike for all pixels."""

    features: Features
    constants: Tensor


def strips(core: Window, size: tuple[int, int], settings: Settings) -> Iterator[Shrinking]:
    """Strips of the core from top to bottom, in a region of tokens of `size`."""
    rows = STRIP_ROWS * settings.batch
    for first in range(0, core.height, rows):
        height = min(rows, core.height - first)
        yield Shrinking(Window(core.row + first, core.col, height, core.width), size)


class KeyValueRows:
    """Keys and values of some rows of the region of tokens; it moves down, and computes each row once."""

    def __init__(self, temporal: Temporal, sensors: list[Sensor], size: tuple[int, int], settings: Settings) -> None:
        self._temporal, self._sensors = temporal, sensors
        self._constants = torch.cat([sensor.constants for sensor in sensors])  # [t, d]
        config = temporal.low.config
        rows = min(STRIP_ROWS * settings.batch + 2 * decoder_reach(config), size[0])
        shape = rows, size[1], len(self._constants) + 1, 2 * config.width
        # the last key and value of every pixel stay zero: what the decoder attends to when it finds nothing
        self._buffer = torch.zeros(shape, dtype=settings.dtype, device=settings.device)
        self._first = self._last = 0

    def move_to(self, area: Window) -> Tensor:
        """Keys and values of all pixels of the rows of `area`, which lies below the last one: `[n, t + 1, 2d]`."""
        kept = max(self._last - area.row, 0)
        for row in range(kept):  # upwards, so rows that overlap their new place are moved before they are overwritten
            self._buffer[row] = self._buffer[row + area.row - self._first]
        self._first, self._last = area.row, area.row + area.height
        if len(self._constants):
            self._compute(self._first + kept, self._last)
        return self._buffer[: area.height].flatten(0, 1)

    def _compute(self, first: int, last: int) -> None:
        features = [sensor.features.rows(first, last) for sensor in self._sensors]
        target = self._buffer[first - self._first : last - self._first].flatten(0, 1)  # a view
        for chunk in self._temporal.chunks(len(target), len(self._constants)):
            target[chunk, :-1] = self._temporal.key_values(self._tokens([one[:, chunk] for one in features]))

    def _tokens(self, features: list[Tensor]) -> Tensor:
        """Tokens of some pixels: features of each sensor `[t, n, latent]` -> `[n, t, d]` float32."""
        tokens = self._constants.expand(features[0].shape[1], -1, -1).clone()
        if self._temporal.low.config.encoding_mode == "yield":
            return tokens
        first = 0
        for one in features:
            t, _, latent = one.shape
            tokens[:, first : first + t, :latent] += one.transpose(0, 1)
            first += t
        return tokens


def decode(
    temporal: Temporal, spatial: nn.Sequential, key_values: Tensor, days: Tensor, strip: Shrinking
) -> Iterator[tuple[int, Tensor]]:
    """Images of the strip at all days: index of the first of some days, and `[days, bands, h, w]` float32."""
    reach = decoder_reach(temporal.low.config)
    first = 0
    for some in days.to(key_values.device).chunk(max(math.ceil(len(days) / DAYS), 1)):
        yield first, _spatial(spatial, _attend(temporal, key_values, some, strip.area(reach)), strip, reach).float()
        first += len(some)


def _attend(temporal: Temporal, key_values: Tensor, days: Tensor, area: Window) -> Tensor:
    """What the queries of some days find at the pixels of an area: `[days, d, height, width]`."""
    queries = temporal.queries(days)
    pixels, dates = key_values.shape[:2]
    found = key_values.new_empty(len(days), pixels, temporal.low.config.width)
    for chunk in temporal.chunks(pixels, max(dates, len(days))):
        found[:, chunk] = temporal.attend(queries, key_values[chunk]).transpose(0, 1)
    return rearrange(found, "q (h w) d -> q d h w", h=area.height)


def _spatial(spatial: nn.Sequential, x: Tensor, strip: Shrinking, k: int) -> Tensor:
    """The spatial decoder: `[days, d, h, w]` of area k -> `[days, bands, h', w']` of what the strip wants."""
    for layer in spatial:
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            x = strip.conv(layer, x, k)
            k -= 1
        else:
            x = layer(x)
    return x
