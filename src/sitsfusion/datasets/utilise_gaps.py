"""Simulated gaps: which frames get one, which cloud mask it is, and what the hidden pixels hold (U-TILISE's rules).

Drawn from Python's and NumPy's legacy generators in the published order, so that the published files of simulated gaps
can be made again from the original data.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.datasets.utilise_options import FillType, MaskSettings
from sitsfusion.errors import InputError

Array = NDArray[Any]
MIN_COVERAGE = 0.1  # share of a frame that a cloud mask must cover to be drawn


class Draws:
    """The two legacy generators, seeded alike; the numbers that `random` and `numpy.random` give after seeding them."""

    def __init__(self, *seed: int) -> None:
        """One number seeds both as the published code did; more (seed, epoch, index) are mixed into one.

        Raises:
            InputError: a seed that is negative or 2^32 and more.
        """
        if any(not 0 <= each < 2**32 for each in seed):
            raise InputError(f"seed {seed} is not between 0 and {2**32 - 1}")
        number = seed[0] if len(seed) == 1 else int(np.random.SeedSequence(seed).generate_state(1)[0])
        self.python = random.Random(number)  # noqa: S311
        self.numpy = np.random.RandomState(number)

    def choose(self, candidates: Array, number: int) -> NDArray[np.int64]:
        """`number` different ones of `candidates`, in the order drawn."""
        return self.numpy.choice(candidates, number, replace=False).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Chosen:
    """Indices of frames: with a gap, in the order of their masks, and those of them that are hidden whole."""

    masked: NDArray[np.int64]
    fully: NDArray[np.int64]


def sample_indices(valid: Sequence[int], settings: MaskSettings, draws: Draws) -> Chosen:
    """Draw the frames that get a gap among the indices `valid`."""
    count = len(valid) if settings.fixed_masking_ratio or not len(valid) else draws.python.randint(1, len(valid))
    unprotected = sorted(set(map(int, valid)) - _protected(list(map(int, valid)), settings.non_masked_frames))
    candidates = np.array(unprotected, np.int64)
    number = min(math.ceil(settings.ratio_masked_frames * count), len(candidates))
    masked = draws.choose(candidates, number)
    return Chosen(masked, sample_fully(masked, count, settings, draws))


def sample_fully(masked: Array, count: int, settings: MaskSettings, draws: Draws) -> NDArray[np.int64]:
    """Draw the frames that are hidden whole, a share of `count`, among those with a gap."""
    return draws.choose(masked, min(math.ceil(settings.ratio_fully_masked_frames * count), len(masked)))


def _protected(valid: list[int], positions: Sequence[int]) -> set[int]:
    """Frames that never get a gap. Mixed signs: positive numbers are frames, negative ones count valid frames."""
    if any(position < 0 for position in positions):
        from_end = {valid[position] for position in positions if -len(valid) <= position < 0}
        return from_end | {position for position in positions if position >= 0}
    return {valid[position] for position in positions if position < len(valid)}


def draw_masks(
    number: int, names: Sequence[str], read: Callable[[str], Array], draws: Draws, coverage: float = MIN_COVERAGE
) -> Array:
    """`number` cloud masks [number, 1, h, w] of any date of any of the named sequences, each covering >= `coverage`.

    Args:
        number: how many; the same mask may come twice.
        names: sequences of one tile.
        read: gives the cloud masks [t, 1, h, w] of a sequence.
        draws: where chance comes from.
        coverage: least mean of a mask.

    Raises:
        InputError: no mask of these sequences covers enough.
    """
    found: list[Array] = []
    failures, bound = 0, 100 + 10 * len(names)
    while len(found) < number:
        masks = read(draws.python.choice(names))
        eligible = np.flatnonzero(masks.mean(axis=(1, 2, 3), dtype=np.float64) >= coverage)
        failures = 0 if len(eligible) else failures + 1
        if len(eligible):
            found.append(masks[draws.numpy.choice(eligible)])
        if failures > bound:
            raise InputError(
                f"no cloud mask of {len(names)} sequence(s) such as {names[0]} covers {coverage:.0%} of a frame "
                f"({failures} draws): gaps cannot be simulated there; leave this tile out"
            )
    return np.stack(found) if found else np.zeros((0, *read(names[0]).shape[1:]), np.float32)


def place_masks(frames: int, chosen: Chosen, drawn: Array) -> NDArray[np.float32]:
    """Masks [t, 1, h, w] of a sequence: `drawn` at the chosen frames, 1 everywhere where hidden whole, 0 elsewhere."""
    masks = np.zeros((frames, *drawn.shape[1:]), np.float32)
    masks[chosen.masked] = drawn
    masks[chosen.fully] = 1
    return masks


def occlude_above(masks: Array, share: float | None) -> Array:
    """Masks [t, 1, h, w] of which those that cover more than `share` are 1 everywhere; 0 or None: as they are."""
    if not share:
        return masks
    whole = masks.mean(axis=(1, 2, 3), dtype=np.float64) > share
    return np.where(whole[:, None, None, None], np.ones((), masks.dtype), masks)


def dilate(masks: Array) -> Array:
    """Masks [t, 1, h, w] grown by one pixel in four directions; what is outside the image does not count."""
    grown = masks.copy()
    np.maximum(grown[..., 1:, :], masks[..., :-1, :], out=grown[..., 1:, :])
    np.maximum(grown[..., :-1, :], masks[..., 1:, :], out=grown[..., :-1, :])
    np.maximum(grown[..., :, 1:], masks[..., :, :-1], out=grown[..., :, 1:])
    np.maximum(grown[..., :, :-1], masks[..., :, 1:], out=grown[..., :, :-1])
    return grown


def final_masks(masks: Array, own: Array, settings: MaskSettings, above: float | None = None) -> Array:
    """Masks [t, 1, h, w] as they are applied: with the frames' own clouds, and grown, where the settings say so."""
    if settings.intersect_real_cloud_masks and settings.mask_type == "random_clouds":
        masks = occlude_above(np.maximum(masks > 0, own == 1).astype(np.float32), above)
    return dilate(masks) if settings.dilate_cloud_masks else masks


def fill(
    images: Array, masks: Array, kind: FillType, value: float, draws: Draws, valid: Array | None = None
) -> NDArray[np.float32]:
    """Images [t, c, h, w] whose masked pixels hold no trace of what was there; values in [0, 1].

    Args:
        images: what to hide; not changed.
        masks: [t, 1, h, w], 1 where hidden.
        kind: `fill_value`; `mean` of the pixels of a band that are not masked, over all `valid` frames (0 if there are
            none); `white_noise`: normal with deviation 0.5, clipped to [0, 1], in place of the value.
        value: for `fill_value`.
        draws: for noise.
        valid: [t], 1 for frames that count in a mean; None: all.
    """
    hidden = np.broadcast_to(masks > 0, images.shape)
    filling: Any = np.float32(value)
    if kind == "mean":
        counts = ~hidden if valid is None else ~hidden & (valid > 0)[:, None, None, None]
        total = np.where(counts, images, 0).sum(axis=(0, 2, 3), dtype=np.float64)
        filling = (total / np.maximum(counts.sum(axis=(0, 2, 3)), 1)).astype(np.float32)[:, None, None]
    elif kind == "white_noise":
        filling = np.clip(draws.numpy.normal(0, 0.5, images.shape), 0, 1).astype(np.float32)
    return np.where(hidden, filling, images).astype(np.float32)
