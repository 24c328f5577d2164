"""Operations on `Series`: dates, masks, radiometry, and the image operations of `ops` applied to a whole series.

All return new objects. Days are compared for equality as numbers: 12 and 12.0 are the same day. Where a series
holds one day more than once, the first one counts. Target days are `[q]`, shared by the batch, or `[b q]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.ops import mtf, resample
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.series import Series

# --- dates ---------------------------------------------------------------------------------------------------------


def union_days(*days: Tensor) -> Tensor:
    """Sorted union of all day numbers of all tensors, over the whole batch: `[u]`."""
    return _sorted_unique(torch.cat([d.flatten() for d in days]))


def unique_days(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted union of two day lists, apart for each batch element: `[b t1]`, `[b t2]` -> days and bool `[b u]`.

    u is the largest union of the batch; shorter ones are padded at the end with day 0, where the bool is False.
    """
    days = torch.cat([first, second], 1).sort(1).values  # [b t1+t2]
    new = torch.ones_like(days, dtype=torch.bool)
    new[:, 1:] = days[:, 1:] != days[:, :-1]
    order = _true_first(new)
    exists = new.gather(1, order)
    return days.gather(1, order) * exists, exists


def common_days(first: Tensor, second: Tensor) -> Tensor:
    """Sorted unique days of `second` that are also in `first` (any shapes): `[u]`."""
    candidates = _sorted_unique(second)
    return candidates[_contained(candidates, first)]


def uncommon_days(first: Tensor, second: Tensor) -> Tensor:
    """Sorted unique days of `second` that are not in `first` (any shapes): `[u]`."""
    candidates = _sorted_unique(second)
    return candidates[~_contained(candidates, first)]


def take_dates(series: Series, index: Tensor) -> Series:
    """The dates at positions `index [b q]` of each batch element, in that order, with their days and masks."""
    b, t = series.days.shape
    if index.ndim != 2 or len(index) != b or (index.numel() and not 0 <= int(index.min()) <= int(index.max()) < t):
        raise InputError(f"positions must be [b q] in 0..{t - 1} for a batch of {b}, found {tuple(index.shape)}")
    rows = torch.arange(b, device=index.device)[:, None]
    valid = None if series.valid is None else series.valid[rows, index]
    return Series(series.values[rows, index], series.days[rows, index], valid)


def subset(series: Series, target_days: Tensor | None = None, fill: float = 0.0) -> Series:
    """One output date per target day, in the order asked for, repetitions included.

    A day that the series has is copied, with its mask; an absent one has value `fill` and is not valid. Always has
    `valid`. `target_days` None: the sorted union of all days of the batch. The result's days are the target days.

    Raises:
        InputError: target days for another batch size.
    """
    targets = _per_element(union_days(series.days) if target_days is None else target_days, series)
    same = series.days[:, None, :] == targets[:, :, None]  # [b q t]
    if same.shape[2] == 0:  # no date at all: every target is absent
        series, same = series.pad_time(1), same.new_zeros(*same.shape[:2], 1)
    exists, index = same.any(2), same.to(torch.uint8).argmax(2)  # [b q], argmax: the first of equal days
    picked = take_dates(series, index)
    absent = ~exists[:, :, None, None, None]
    return Series(picked.values.masked_fill(absent, fill), targets, picked.usable() & exists[:, :, None, None])


def closest_dates(
    series: Series, target_days: Tensor, max_masked_rate: float = 0.5, allow_same_day: bool = True
) -> tuple[Tensor, Tensor]:
    """Position of the date nearest in time to each target day, among the usable ones, for each batch element.

    A date is usable when at most `max_masked_rate` of its pixels are not valid and, if the same day is not
    allowed, when it is not the target day. Of two equally near, the first in the series is taken.

    Returns:
        Positions `[b q]`, and bool `[b q]`: False where no date is usable; the position is then 0.

    Raises:
        InputError: a series without dates, target days of another batch size.
    """
    targets = _per_element(target_days, series)
    if series.days.shape[1] == 0:
        raise InputError("the closest date of a series without dates does not exist")
    distance = (series.days[:, None, :].double() - targets[:, :, None].double()).abs()  # [b q t]
    masked = (~series.usable()).float().mean((2, 3))  # [b t]
    unusable = (masked > max_masked_rate)[:, None, :].expand_as(distance)
    if not allow_same_day:
        unusable = unusable | (distance == 0)
    nearest = distance.masked_fill(unusable, torch.inf).min(2)
    return nearest.indices * nearest.values.isfinite(), nearest.values.isfinite()


def closest(series: Series, target_days: Tensor, max_masked_rate: float = 0.5, allow_same_day: bool = True) -> Series:
    """The image nearest in time to each target day (`closest_dates`), with its own day and mask.

    Where no date is usable, the result is not valid (its value and day are those of the first date). Always has
    `valid`. Errors as `closest_dates`.
    """
    index, exists = closest_dates(series, target_days, max_masked_rate, allow_same_day)
    picked = take_dates(series, index)
    return replace(picked, valid=picked.usable() & exists[:, :, None, None])


def trim(series: Series) -> Series:
    """Drop the dates without any valid pixel.

    Per batch element, other dates keep their order; elements with fewer of them than the fullest are filled up at
    the end with their own empty dates. A series without `valid` is returned as it is.
    """
    if series.valid is None:
        return series
    return take_dates(series, _true_first(series.valid.any(-1).any(-1)))


def mask_dates(series: Series, keep: Tensor) -> Series:
    """The dates where `keep` (bool `[b t]`) is False become not valid."""
    if keep.dtype != torch.bool or keep.shape != series.days.shape:
        raise InputError(f"keep must be bool {tuple(series.days.shape)}, found {keep.dtype} {tuple(keep.shape)}")
    return replace(series, valid=series.usable() & keep[:, :, None, None])


# --- two series of one place ---------------------------------------------------------------------------------------


def where(first: Series, second: Series) -> Series:
    """`first` where it is valid, elsewhere `second` where that is valid; not valid where neither is.

    Both have the same shape and days. A `first` without `valid` is returned as it is.

    Raises:
        InputError: series of different shapes or days.
    """
    if first.values.shape != second.values.shape:
        raise InputError(f"shapes differ: {tuple(first.values.shape)} and {tuple(second.values.shape)}")
    if not bool((first.days == second.days).all()):
        raise InputError(f"days differ: {first.days.tolist()} and {second.days.tolist()}; subset both to common days")
    if first.valid is None:
        return first
    second_valid = second.usable()
    use_second = ~first.valid & second_valid
    values = torch.where(use_second[:, :, None], second.values, first.values)
    return Series(values, first.days, first.valid | second_valid)


def combine(first: Series, second: Series) -> Series:
    """Both series on the union of their days: the average where both are valid, else the valid one, else 0.

    Per batch element, as `unique_days` (padded at the end with day 0, not valid). Always has `valid`.

    Raises:
        InputError: series of different batch, channels or image size.
    """
    if first.values.shape[0] != second.values.shape[0] or first.values.shape[2:] != second.values.shape[2:]:
        raise InputError(f"shapes differ: {tuple(first.values.shape)} and {tuple(second.values.shape)} (besides dates)")
    days, exists = unique_days(first.days, second.days)
    a, b = (mask_dates(subset(s, days), exists) for s in (first, second))
    use_a, use_b = a.usable()[:, :, None], b.usable()[:, :, None]
    single = torch.where(use_a, a.values, torch.where(use_b, b.values, 0))
    values = torch.where(use_a & use_b, (a.values + b.values) / 2, single)
    return Series(values, days, (use_a | use_b)[:, :, 0])


# --- radiometry ----------------------------------------------------------------------------------------------------


def standardise(
    series: Series, mean: Tensor, std: Tensor, scale: float, clip: tuple[float, float] | None = None
) -> Series:
    """Stored numbers to network units: (values / scale - mean) / std per channel.

    Args:
        series: stored numbers; integers become float32.
        mean: `[c]`, in physical units.
        std: `[c]`.
        scale: stored numbers per physical unit (10000 for reflectance stored as 0..10000; 1 if already physical).
        clip: lowest and highest physical value, applied before centring.

    Raises:
        InputError: statistics of another number of channels.
    """
    mean, std = _per_channel(mean, series), _per_channel(std, series)
    physical = _floating(series.values) / scale
    if clip is not None:
        physical = physical.clamp(*clip)
    return replace(series, values=(physical - mean) / std)


def unstandardise(series: Series, mean: Tensor, std: Tensor, scale: float) -> Series:
    """Inverse of `standardise` without clip: (values * std + mean) * scale. With scale 1: physical units."""
    mean, std = _per_channel(mean, series), _per_channel(std, series)
    return replace(series, values=(_floating(series.values) * std + mean) * scale)


def append_ndvi(series: Series, mean: Tensor, std: Tensor, red: int, nir: int) -> Series:
    """Append the vegetation index (n - r) / (n + r + 1e-6) of a standardised series as one more channel.

    `red` and `nir` are channel positions; `mean` and `std` `[c]` undo the standardisation of these two. The index
    itself is not standardised.

    Raises:
        InputError: statistics of another number of channels, a channel position that does not exist.
    """
    channels = series.values.shape[2]
    if not (0 <= red < channels and 0 <= nir < channels):
        raise InputError(f"red {red} and near infrared {nir} must be channel positions below {channels}")
    reflectance = unstandardise(series, mean, std, 1.0).values
    r, n = reflectance[:, :, red : red + 1], reflectance[:, :, nir : nir + 1]
    return replace(series, values=torch.cat([series.values, (n - r) / (n + r + 1e-6)], 2))


# --- images --------------------------------------------------------------------------------------------------------


def resampled(series: Series, factor: float, mode: str = "bicubic") -> Series:
    """Every date resampled by `factor` (3 = three times coarser, 1/3 = three times finer), the mask by nearest.

    `mode` is "bicubic" or "bilinear" (`sitsfusion.ops.resample`); masked values enter their neighbourhood.

    Raises:
        InputError: another mode; as `resample.bicubic`.
    """
    modes = {"bicubic": resample.bicubic, "bilinear": resample.bilinear}
    if mode not in modes:
        raise InputError(f"resampling mode {mode!r} is unknown, expected one of {sorted(modes)}")
    valid = None if series.valid is None else resample.nearest(series.valid, factor)
    return Series(modes[mode](series.values, factor), series.days, valid)


def degraded(series: Series, taps: Tensor, factor: float) -> Series:
    """Every date blurred and downsampled (`mtf.degrade`), the mask by nearest; errors as `mtf.degrade`."""
    valid = None if series.valid is None else resample.nearest(series.valid, factor)
    return Series(mtf.degrade(series.values, taps, factor), series.days, valid)


def gapfilled(series: Series, target_days: Tensor) -> Series:
    """Linear interpolation in time at the target days (`gapfill.linear_gapfill`): NaN where never clear, no `valid`.

    Raises:
        InputError: target days of another batch size; as `linear_gapfill`.
    """
    targets = _per_element(target_days, series)
    masks: Sequence[Tensor | None] = [None] * len(targets) if series.valid is None else list(series.valid)
    filled = [linear_gapfill(v, m, d, q) for v, m, d, q in zip(series.values, masks, series.days, targets, strict=True)]
    return Series(torch.stack(filled), targets)


def _per_element(target_days: Tensor, series: Series) -> Tensor:
    """`[q]` or `[b q]` -> `[b q]`, where the series is."""
    b, target_days = series.days.shape[0], target_days.to(series.device)
    if target_days.ndim == 1:
        return target_days.expand(b, -1)
    if target_days.ndim != 2 or len(target_days) != b:
        raise InputError(f"target days must be [q] or [{b} q] for a batch of {b}, found {tuple(target_days.shape)}")
    return target_days


def _per_channel(statistics: Tensor, series: Series) -> Tensor:
    """`[c]` -> `[c 1 1]`, where the values are."""
    channels = series.values.shape[2]
    if statistics.shape != (channels,):
        raise InputError(
            f"one statistic per channel is needed: found {tuple(statistics.shape)}, expected ({channels},)"
        )
    return statistics.to(device=series.device, dtype=_floating(series.values).dtype)[:, None, None]


def _floating(values: Tensor) -> Tensor:
    return values if values.is_floating_point() else values.float()


def _true_first(keep: Tensor) -> Tensor:
    """Positions of the True, then of the False of each row of `[b t]`, as many as the fullest row has True: `[b u]`."""
    order = torch.argsort((~keep).to(torch.uint8), dim=1, stable=True)
    return order[:, : int(keep.sum(1).max())]


def _sorted_unique(days: Tensor) -> Tensor:
    ordered = days.flatten().sort().values
    return ordered[torch.cat([torch.ones_like(ordered[:1], dtype=torch.bool), ordered[1:] != ordered[:-1]])]


def _contained(days: Tensor, others: Tensor) -> Tensor:
    return (days[:, None] == others.flatten()).any(1)
