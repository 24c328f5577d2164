"""Series of any length through a network that was trained on short ones: overlapping windows in time.

Stucker, Sainte Fare Garnot and Schindler 2023, section III-D. Windows begin where an image is little clouded, if there
is one near; where two overlap, the later takes over at the frame on which they agree best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.nets.utilise import UTILISE

CLOUDY = 0.1  # share of a frame that is masked above which a window rather begins elsewhere
Predict = Callable[[int, int], Tensor]


@dataclass(frozen=True, eq=False)
class Imputed:
    """A complete series.

    Attributes:
        images: `[b, t, c, h, w]`.
        windows: first and last + 1 frame that the network saw together.
        switches: for each window but the first, the first frame taken from it.
        attention: of each window, `[head, b, target, source, h', w']`; None where the network has none. Empty unless
            asked for.
    """

    images: Tensor
    windows: tuple[tuple[int, int], ...]
    switches: tuple[int, ...]
    attention: tuple[Tensor | None, ...] = field(default=())


def windows_in_time(coverage: Tensor, length: int | None) -> list[tuple[int, int]]:
    """Windows of `length` frames over a series, as (first, last + 1).

    Each begins half a window after the one before or, where that frame is cloudy, at the least cloudy frame near it
    (of equally cloudy ones the nearest, of equally near ones the earlier); the last one ends with the series.

    Args:
        coverage: float32 `[t]`, share of each frame that is masked, 0 to 1.
        length: of a window, 4 or more; None: one window holds all.

    Raises:
        InputError: a length below 4, which could go back to where it was.
    """
    total = len(coverage)
    if length is None or total <= length:
        return [(0, total)]
    if length < 4:
        raise InputError(f"windows of {length} frames: give 4 or more")
    cloudy = (coverage > CLOUDY).tolist()  # compared in float32, as published: a tenth is not more than a tenth
    found = [(0, length)]
    while found[-1][1] < total:
        start = _next_start(coverage.tolist(), cloudy, found[-1][0] + length // 2, length)
        found.append((start, start + length))
    return found


def _next_start(coverage: Sequence[float], cloudy: Sequence[bool], wanted: int, length: int) -> int:
    last = len(coverage) - length
    if wanted > last:
        return last
    if cloudy[wanted]:
        reach = ceil(length // 2 / 2)
        near = range(max(0, wanted - reach), min(wanted + reach + 1, len(coverage)))
        wanted = min(near, key=lambda t: (coverage[t], abs(t - wanted), t))
    return min(wanted, last)


def join_windows(
    predict: Predict, windows: Sequence[tuple[int, int]], published_order: bool = False
) -> tuple[Tensor, tuple[int, ...]]:
    """One series from the predictions of overlapping windows.

    Args:
        predict: frames first to last - 1 as seen together: `(first, last) -> [b, last - first, c, h, w]`.
        windows: as `windows_in_time` gives them.
        published_order: choose the switch as the published code does, which looks at the frames of an overlap in the
            order of a Python set, and takes that order for increasing. To reproduce published numbers.

    Returns:
        The series `[b, t, c, h, w]`, and the frame at which each window but the first takes over.
    """
    series = predict(*windows[0])
    switches: list[int] = []
    for (_, before), (first, last) in pairwise(windows):
        new = predict(first, last)
        shared = before - first
        error = (series[:, first:before] - new[:, :shared]).abs().float().mean((0, 2, 3, 4))  # [shared]
        if published_order:
            error = error[[t - first for t in set(range(first, before))]]
        at = int(error.argmin())
        switches.append(first + at)
        series = torch.cat([series[:, : first + at], new[:, at:]], dim=1)
    return series, tuple(switches)


@dataclass(frozen=True)
class SequenceOptions:
    """How a series is taken through the network.

    Attributes:
        length: frames that the network sees together (published: the 10 of its training); None: all.
        dtype: of convolutions; float32, or bfloat16 where the processor computes in it.
        frames: how many are encoded, and painted, at once; changes memory and speed, not results.
        attention: whether to return the attention.
        published_order: as in `join_windows`.
    """

    length: int | None = 10
    dtype: torch.dtype = torch.float32
    frames: int = 10
    attention: bool = False
    published_order: bool = False


@torch.inference_mode()
def impute(
    net: UTILISE, x: Tensor, days: Tensor | None, masks: Tensor, options: SequenceOptions | None = None
) -> Imputed:
    """The complete series of one place.

    The encoder sees each frame alone, so each frame is encoded once, whatever the number of windows that hold it;
    only the features of the frames of one window are kept.

    Args:
        net: in eval mode, on the device of the tensors.
        x: `[b, t, c, h, w]`, masked pixels filled as in training.
        days: `[b, t]` positions as in training (they are not counted anew in each window), or None.
        masks: `[b, t, 1, h, w]`, 1 = masked.
        options: windows, precision, memory.

    Raises:
        InputError: shapes that disagree, or that the network was not made for.
    """
    options = options or SequenceOptions()
    b, t, _, h, w = x.shape
    if masks.shape != (b, t, 1, h, w):
        raise InputError(f"masks have shape {tuple(masks.shape)}, expected {(b, t, 1, h, w)} as the images")
    net.check(x, days)
    windows = windows_in_time(masks.float().mean((0, 2, 3, 4)), options.length)
    padded = net.padded(x, days)
    features = _Features(net, x, padded, options.frames)
    attention: list[Tensor | None] = []

    def predict(first: int, last: int) -> Tensor:
        at = slice(first, last)
        with torch.autocast(x.device.type, options.dtype, enabled=options.dtype != torch.float32):
            seen = None if days is None else days[:, at]
            found = net.decode(features.of(first, last), seen, padded[:, at], chunk=options.frames)
        if options.attention:
            attention.append(found.attention)
        return found.images.float()

    images, switches = join_windows(predict, windows, options.published_order)
    return Imputed(images, tuple(windows), switches, tuple(attention))


class _Features:
    """Features of the frames of the current window, each encoded once (windows go forward in time)."""

    def __init__(self, net: UTILISE, x: Tensor, padded: Tensor, chunk: int) -> None:
        self.net, self.x, self.padded, self.chunk = net, x, padded, max(1, chunk)
        self.levels: list[Tensor] = []
        self.first = self.last = 0

    def of(self, first: int, last: int) -> list[Tensor]:
        """Features of frames first to last - 1, `[b, t, c, h, w]` of each level."""
        parts = [[level[:, first - self.first :] for level in self.levels]] if self.levels else []
        for start in range(self.last, last, self.chunk):
            at = slice(start, min(start + self.chunk, last))
            parts.append(self.net.encode(self.x[:, at], self.padded[:, at]))
        self.levels = [torch.cat(level, dim=1) for level in zip(*parts, strict=True)]
        self.first, self.last = first, last
        return self.levels
