"""`Series`: the batched torch twin of a cube, the only container of training and networks.

Here are the container, its checks, and what changes its size or its place. Operations on dates and on
radiometry are in `sitsfusion.ops.series_ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError


@dataclass(frozen=True, eq=False)
class Series:
    """Image time series of one sensor: a batch of places, each with its own dates.

    Attributes:
        values: `[b t c h w]`, any real dtype and unit. What is stored where `valid` is False has no meaning
            (it may be NaN); an operation that combines values looks at `valid`, never at NaN.
        days: `[b t]`, integer or floating day numbers since an origin that the caller keeps. They need not be sorted.
        valid: bool `[b t h w]`, **True = usable**, or None: every pixel is usable. (Published formats often store
            the opposite, True = missing; invert it on reading.)

    `t` may be 0. Nothing here changes a series in place.

    Raises:
        InputError: sizes that disagree, a mask that is not bool, tensors on different devices.
    """

    values: Tensor
    days: Tensor
    valid: Tensor | None = None

    def __post_init__(self) -> None:
        _check_values_and_days(self.values, self.days)
        if self.valid is not None:
            _check_valid(self.valid, self.values)

    @property
    def device(self) -> torch.device:
        """Where all tensors of the series are."""
        return self.values.device

    def usable(self) -> Tensor:
        """`valid`, or all True where it is None: bool `[b t h w]`."""
        if self.valid is not None:
            return self.valid
        b, t, _, h, w = self.values.shape
        return torch.ones(b, t, h, w, dtype=torch.bool, device=self.device)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Series:
        """The series on another device, its values in another dtype. `valid` and `days` are never cast.

        Days stay as they are because reduced precision cannot hold them: in bfloat16, day 257 is day 256.
        """
        valid = None if self.valid is None else self.valid.to(device)
        return Series(self.values.to(device=device, dtype=dtype), self.days.to(device), valid)

    def crop(self, margin: int) -> Series:
        """Drop `margin` pixels on every side; 0 changes nothing.

        Raises:
            InputError: a negative margin, or one that leaves one pixel or less.
        """
        if margin == 0:
            return self
        h, w = self.values.shape[-2:]
        if margin < 0 or 2 * margin + 1 >= min(h, w):
            raise InputError(f"crop of {margin} pixels on each side of an image of {h} x {w}: at least 2 must remain")
        inner = (..., slice(margin, h - margin), slice(margin, w - margin))
        return Series(self.values[inner], self.days, None if self.valid is None else self.valid[inner])

    def pad_time(self, length: int, fill: float = 0.0, day: float = 0) -> Series:
        """Append unusable dates up to `length` dates: values `fill`, day `day`, valid False. Always has `valid`.

        Raises:
            InputError: the series has more than `length` dates.
        """
        extra = length - self.values.shape[1]
        if extra < 0:
            raise InputError(f"a series of {self.values.shape[1]} dates cannot be padded to {length}")
        return Series(
            F.pad(self.values, (0, 0, 0, 0, 0, 0, 0, extra), value=fill),
            F.pad(self.days, (0, extra), value=day),
            F.pad(self.usable(), (0, 0, 0, 0, 0, extra), value=False),
        )

    def split(self, channels: int) -> tuple[Series, Series]:
        """The first `channels` channels, and the others.

        Raises:
            InputError: `channels` is negative or more than there are.
        """
        if not 0 <= channels <= self.values.shape[2]:
            raise InputError(f"split after channel {channels} of a series of {self.values.shape[2]} channels")
        return (
            replace(self, values=self.values[:, :, :channels]),
            replace(self, values=self.values[:, :, channels:]),
        )


def cat_channels(series: Sequence[Series]) -> Series:
    """All channels of several series of the same dates; a pixel is valid where it is valid in all of them.

    Raises:
        InputError: no series, or series whose days differ.
    """
    if not series:
        raise InputError("cat_channels needs at least one series, found none")
    first = series[0]
    for other in series[1:]:
        if other.days.shape != first.days.shape or not bool((other.days == first.days).all()):
            raise InputError(
                f"channels of series with different days cannot be joined: {first.days.tolist()} and "
                f"{other.days.tolist()}; subset both to common days first"
            )
    masks = [s.valid for s in series if s.valid is not None]
    valid = torch.stack(masks).all(0) if masks else None
    return Series(torch.cat([s.values for s in series], 2), first.days, valid)


def collate(series: Sequence[Series], fill: float = 0.0, day: float = 0) -> Series:
    """One batch from series of different lengths: each is padded to the longest (`Series.pad_time`).

    The result has `valid` unless all lengths agree and no series has one.

    Raises:
        InputError: no series.
    """
    if not series:
        raise InputError("collate needs at least one series, found none")
    lengths = {s.values.shape[1] for s in series}
    if len(lengths) > 1 or any(s.valid is not None for s in series):
        series = [s.pad_time(max(lengths), fill, day) for s in series]
    masks = [s.valid for s in series if s.valid is not None]
    return Series(
        torch.cat([s.values for s in series]),
        torch.cat([s.days for s in series]),
        torch.cat(masks) if masks else None,
    )


def _check_values_and_days(values: Tensor, days: Tensor) -> None:
    if values.ndim != 5 or values.is_complex() or values.dtype == torch.bool:
        raise InputError(f"Series.values must be real numbers [b t c h w], found {values.dtype} {tuple(values.shape)}")
    if days.ndim != 2 or days.is_complex() or days.dtype == torch.bool:
        raise InputError(f"Series.days must be real numbers [b t], found {days.dtype} {tuple(days.shape)}")
    if days.shape != values.shape[:2]:
        raise InputError(f"Series.days {tuple(days.shape)} must be [b t] of Series.values {tuple(values.shape)}")
    if days.device != values.device:
        raise InputError(f"Series.days are on {days.device}, Series.values on {values.device}: move them together")


def _check_valid(valid: Tensor, values: Tensor) -> None:
    b, t, _, h, w = values.shape
    if valid.dtype != torch.bool:
        raise InputError(f"Series.valid must be bool (True = usable), found {valid.dtype}")
    if valid.shape != (b, t, h, w):
        raise InputError(f"Series.valid {tuple(valid.shape)} must be [b t h w] of Series.values {tuple(values.shape)}")
    if valid.device != values.device:
        raise InputError(f"Series.valid is on {valid.device}, Series.values on {values.device}: move them together")
