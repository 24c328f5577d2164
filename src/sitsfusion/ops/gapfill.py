"""Linear gap filling in time, pixel by pixel, and how well each pixel was observed.

For a pixel and a target day q, R is the clear observation with the smallest day >= q and L the one with the
largest day < q. Both exist: linear interpolation between them. One exists: its value. None: NaN. On one day
exactly: the value of that day, unchanged. This is `numpy.interp` over the clear observations of each pixel.

All work is per pixel, in chunks of pixels, so results do not depend on the chunk or on the window of the image,
and memory beyond input and output is about `work_bytes`, however many dates and target days there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sitsfusion.errors import InputError

WORK_BYTES = 2**25
"""Default memory for the tables of one chunk: 32 MiB, which keeps most of it in the processor's cache."""


def linear_gapfill(
    values: Tensor, valid: Tensor | None, days: Tensor, targets: Tensor, work_bytes: int = WORK_BYTES
) -> Tensor:
    """Values at the target days: `[q c h w]`, NaN where a pixel has no clear observation.

    Differentiable in `values`. What is stored where `valid` is False is never read, so a NaN there cannot leak;
    a NaN stored as clear gives NaN. Half precision is interpolated in float32 and cast back; integers give float32.
    To hold one band of a long series in memory at a time, call it band by band: results are the same.

    Args:
        values: `[t c h w]`, any unit.
        valid: bool `[t h w]`, True = clear, or None: all clear.
        days: `[t]`, whole or fractional, in any order. Of two clear observations of one day, the first wins.
        targets: `[q]`, in any order, repeated or not.
        work_bytes: memory for intermediate tables; it changes speed, not results.

    Raises:
        InputError: shapes that disagree, days that are not finite.
    """
    _check_shapes(values, valid, days, targets)
    order, offsets, split = _timeline(days, targets, values.device)
    out_dtype = values.dtype if values.is_floating_point() else torch.float32
    (t, c, h, w), q = values.shape, len(targets)
    flat = values.reshape(t, c, h * w)
    clear = None if valid is None else valid.reshape(t, h * w)
    out = torch.empty(q, c, h * w, dtype=out_dtype, device=values.device)
    for chunk in _chunks(h * w, 32 * t + q * (72 + 6 * c * max(4, out_dtype.itemsize)), work_bytes):
        seen = _usable(clear, flat, chunk)[order]
        found = _neighbours(seen, offsets, split)
        out[..., chunk] = _interpolate(flat[..., chunk], order, found, out_dtype)
    return out.reshape(q, c, h, w)


@dataclass(frozen=True, eq=False)
class ObservationQuality:
    """How well each pixel was observed.

    Attributes:
        nearest_days: float32 `[q h w]`: absolute days from each target day to the nearest clear observation of
            the pixel; infinite where it has none.
        clear_count: int32 `[h w]`: number of clear observations of the pixel.
    """

    nearest_days: Tensor
    clear_count: Tensor


def observation_quality(
    valid: Tensor, days: Tensor, targets: Tensor, work_bytes: int = WORK_BYTES
) -> ObservationQuality:
    """Days to the nearest clear observation, and the number of clear observations, per pixel.

    Arguments as `linear_gapfill`; `valid [t h w]` is required. For an image that several series made, the
    nearest is the minimum over them and the counts add up.

    Raises:
        InputError: as `linear_gapfill`.
    """
    _check_shapes(valid[:, None], valid, days, targets)
    order, offsets, split = _timeline(days, targets, valid.device)
    t, h, w = valid.shape
    clear = valid.reshape(t, h * w)
    nearest = torch.empty(len(targets), h * w, device=valid.device)
    count = torch.empty(h * w, dtype=torch.int32, device=valid.device)
    for chunk in _chunks(h * w, 32 * t + 72 * len(targets), work_bytes):
        found = _neighbours(clear[:, chunk][order], offsets, split)
        distance = torch.minimum(found.before, found.after).float()
        nearest[:, chunk] = distance.masked_fill(~found.exists, torch.inf)
        count[chunk] = clear[:, chunk].sum(0, dtype=torch.int32)
    return ObservationQuality(nearest.reshape(-1, h, w), count.reshape(h, w))


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """The two clear observations around each target day, `[q n]` each.

    `left` and `right` are positions in sorted time, `before` and `after` the days from the target to them (>= 0).
    Where one side has none, or the target is hit exactly, both are the same observation, so that the other,
    absent one is never read. Where `exists` is False there is no clear observation, and positions are arbitrary.
    """

    left: Tensor
    right: Tensor
    before: Tensor
    after: Tensor
    exists: Tensor


def _timeline(days: Tensor, targets: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Order of the dates `[t]`, days from each target to each sorted date `[q t]`, dates before each target `[q]`."""
    exact_days, exact_targets = days.detach().cpu().double(), targets.detach().cpu().double()
    if not (exact_days.isfinite().all() and exact_targets.isfinite().all()):
        raise InputError(f"days must be finite: found days {days.tolist()}, target days {targets.tolist()}")
    ordered, order = exact_days.sort(stable=True)
    # Differences are taken in float64 and only then shortened, so large day numbers lose nothing.
    offsets = (ordered[None, :] - exact_targets[:, None]).float()
    split = torch.searchsorted(ordered, exact_targets, right=False)
    return order.to(device), offsets.to(device), split.to(device)


def _neighbours(clear: Tensor, offsets: Tensor, split: Tensor) -> _Neighbours:
    """Neighbours in sorted time: `clear [t n]`, `offsets [q t]`, `split [q]` (number of dates before the target)."""
    t, n = clear.shape
    if t == 0:
        nothing = torch.zeros(len(split), n, dtype=torch.long, device=clear.device)
        return _Neighbours(nothing, nothing, nothing, nothing, nothing.bool())
    position = torch.arange(t, device=clear.device)[:, None]  # [t 1]
    last = torch.where(clear, position, -1).cummax(0).values  # [t n] last clear date at or before this one
    after = torch.where(clear, position, t).flip(0).cummin(0).values.flip(0)  # [t n] first clear date from this one on
    left = torch.where(split[:, None] > 0, last[(split - 1).clamp(min=0)], -1)  # [q n]
    right = torch.where(split[:, None] < t, after[split.clamp(max=t - 1)], t)  # [q n]
    has_left, has_right = left >= 0, right < t
    hit = has_right & (offsets.gather(1, right.clamp(max=t - 1)) == 0)
    between = has_left & has_right & ~hit
    nearest = torch.where(has_right, right, left).clamp(min=0)
    left, right = torch.where(between, left, nearest), nearest
    return _Neighbours(left, right, offsets.gather(1, left).abs(), offsets.gather(1, right).abs(), has_left | has_right)


def _interpolate(values: Tensor, order: Tensor, found: _Neighbours, dtype: torch.dtype) -> Tensor:
    """`values [t c n]` in their stored order -> `[q c n]`."""
    if values.shape[0] == 0:
        return torch.full((*found.left.shape[:1], *values.shape[1:]), torch.nan, dtype=dtype, device=values.device)
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    before, after = found.before.to(precise), found.after.to(precise)
    single = found.left == found.right
    span = torch.where(single, 1.0, before + after)
    on_left, on_right = torch.where(single, 0.0, after / span), torch.where(single, 1.0, before / span)
    left = _take(values, order[found.left])
    right = _take(values, order[found.right])
    mixed = on_left[:, None] * left + on_right[:, None] * right
    # A single observation is taken as it is: 0 * value is not 0 where the value is infinite.
    mixed = torch.where(single[:, None], right.to(precise), mixed)
    return torch.where(found.exists[:, None], mixed, torch.nan).to(dtype)


def _take(values: Tensor, dates: Tensor) -> Tensor:
    """The values `[t c n]` at one date per target and pixel: `dates [q n]` -> `[q c n]`."""
    q, n = dates.shape
    return values.gather(0, dates[:, None].expand(q, values.shape[1], n))


def _usable(clear: Tensor | None, values: Tensor, chunk: slice) -> Tensor:
    if clear is not None:
        return clear[:, chunk]
    t, _, n = values[..., chunk].shape
    return torch.ones(t, n, dtype=torch.bool, device=values.device)


def _chunks(pixels: int, bytes_per_pixel: int, work_bytes: int) -> Iterator[slice]:
    size = max(1, work_bytes // bytes_per_pixel)
    return (slice(start, min(start + size, pixels)) for start in range(0, pixels, size))


def _check_shapes(values: Tensor, valid: Tensor | None, days: Tensor, targets: Tensor) -> None:
    if values.ndim != 4 or days.ndim != 1 or targets.ndim != 1 or len(days) != len(values):
        raise InputError(
            f"expected values [t c h w], days [t] and target days [q], found {tuple(values.shape)}, "
            f"{tuple(days.shape)} and {tuple(targets.shape)}"
        )
    if valid is not None and (valid.dtype != torch.bool or valid.shape != (len(values), *values.shape[-2:])):
        raise InputError(
            f"valid must be bool [t h w] of values {tuple(values.shape)}, found {valid.dtype} {tuple(valid.shape)}"
        )
