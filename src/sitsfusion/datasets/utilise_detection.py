"""Which frames of a sequence are cloudy or missing, and how long the good runs are (U-TILISE's rules).

The thresholds are those of the published sample lists. Shares are rounded to the number type of the cloud mask, as the
published converter did: on float16 masks of 128 x 128 pixels, 819 cloudy pixels count as 5 %, in float32 they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import InputError

Array = NDArray[Any]
_SEVERE, _ANY, _LIGHT = 40, 5, 10  # percent of a frame that is cloudy
_PROBABLE = 1  # percent of cloud probability that counts


@dataclass(frozen=True)
class Run:
    """A run of good frames: indices of its first and last frame, and how many good frames it has.

    0, 0, 0 where no two good frames are neighbours.
    """

    length: int = 0
    start: int = 0
    end: int = 0


def impaired_frames(
    optical: Array, cloud_mask: Array, cloud_probability: Array | None = None, *, strict: bool = False
) -> NDArray[np.bool_]:
    """Frames too cloudy to be a target, or missing: bool [t].

    With a cloud probability: cloudy share >= 40 %, or > 10 % with more than 1 % of the pixels probably cloudy, or > 8 %
    (`strict`: 3.5 %) with more than 4 % of the pixels probably cloudy. Without: cloudy share >= 5 %.

    Args:
        optical: [t, c, h, w]; a frame all of whose values are NaN is missing.
        cloud_mask: [t, 1, h, w], 1 where cloudy. Its floating type is that of the shares (integers: float32).
        cloud_probability: [t, 1, h, w] in percent.
        strict: the stricter limit, as for SEN12MS-CR-TS.

    Raises:
        InputError: the arrays differ in their number of frames or in size.
    """
    _check_sizes(optical, cloud_mask, cloud_probability)
    cloudy = _share(cloud_mask)
    impaired: Array = missing_frames(optical)
    if cloud_probability is None:
        return np.asarray(impaired | (cloudy >= _ANY))
    count = (cloud_probability > _PROBABLE).sum(axis=(1, 2, 3), dtype=np.int64).astype(np.float32)
    probable = np.float32(100) * (count / np.float32(_pixels(cloud_mask)))
    limit = 3.5 if strict else 8.0
    light = ((probable > 1) & (cloudy > _LIGHT)) | ((probable > 4) & (cloudy > limit))
    return np.asarray(impaired | (cloudy >= _SEVERE) | light)


def missing_frames(optical: Array) -> NDArray[np.bool_]:
    """Frames [t] of `optical` [t, c, h, w] that have no value at all; integers are never missing."""
    if not np.issubdtype(optical.dtype, np.floating):
        return np.zeros(len(optical), bool)
    return np.asarray(np.isnan(optical).all(axis=(1, 2, 3)))


def longest_consecutive(good: Sequence[int]) -> Run:
    """The longest run of frames that follow each other, the first of several; `good` holds increasing indices."""
    return _longest(good, lambda before, after: after == before + 1)


def longest_within(good: Sequence[int], dates: Sequence[date], days: int) -> Run:
    """The longest run of good frames of which neighbours are at most `days` apart; `dates` are those of all frames."""
    return _longest(good, lambda before, after: (dates[after] - dates[before]).days <= days)


def longest_invalid(valid: Array) -> int:
    """Number of frames of the longest stretch without a valid one; `valid` [t] is 1 where valid."""
    longest = here = 0
    for is_valid in valid:
        here = 0 if is_valid else here + 1
        longest = max(longest, here)
    return longest


def _longest(good: Sequence[int], joined: Callable[[int, int], bool]) -> Run:
    best, begin = Run(), 0
    for at in range(1, len(good)):
        if not joined(good[at - 1], good[at]):
            begin = at
        elif at - begin + 1 > best.length:  # isolated frames are no run
            best = Run(at - begin + 1, int(good[begin]), int(good[at]))
    return best


def _share(mask: Array) -> Array:
    """Percent of each frame that is masked [t], every step rounded to the floating type of the mask."""
    dtype = mask.dtype if np.issubdtype(mask.dtype, np.floating) else np.dtype(np.float32)
    with np.errstate(over="ignore"):  # float16 of more than 65504 cloudy pixels: infinite, hence cloudy
        total = mask.sum(axis=(1, 2, 3), dtype=np.float64).astype(dtype)
    share: Array = (total.astype(np.float64) / _pixels(mask)).astype(dtype)
    return (share.astype(np.float64) * 100).astype(dtype)


def _pixels(mask: Array) -> int:
    return int(mask.shape[-2] * mask.shape[-1])


def _check_sizes(optical: Array, *others: Array | None) -> None:
    for other in others:
        if other is not None and (len(other), *other.shape[-2:]) != (len(optical), *optical.shape[-2:]):
            raise InputError(
                f"images of shape {optical.shape} and a mask or probability of shape {other.shape} do not belong "
                "together: frames, height and width must be equal; convert the data again"
            )
