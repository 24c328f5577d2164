"""k-means on pixels: classes of an image or a series where no land cover map is given."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROUNDS = 50
# The gap statistic: pixels looked at, and made-up sets they are compared with.
_GAP_SAMPLES, _GAP_SETS = 1000, 5

Array = NDArray[np.float64]


def k_means(samples: Array, count: int, seed: int) -> Array:
    """Centres [k b] of at most `count` clusters of `samples [n b]`, ordered by their first band.

    Lloyd's iterations from seeded k-means++ starts (Arthur and Vassilvitskii 2007). Fewer clusters than asked for where
    there are fewer different samples.
    """
    centres = _starts(samples, count, np.random.default_rng(seed))
    for _ in range(_ROUNDS):
        nearest = _squares(samples, centres).argmin(1)
        moved = np.stack([samples[nearest == k].mean(0) if (nearest == k).any() else c for k, c in enumerate(centres)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    ordered: Array = centres[np.lexsort(centres.T[::-1])]
    return ordered


def gap_count(samples: Array, most: int, seed: int) -> int:
    """How many clusters `samples [n b]` have, at most `most`, by the gap statistic.

    Tibshirani, Walther, Hastie (2001): the smallest k whose gap reaches the next one's, less its standard error; the
    gap is by how much the logarithm of the squares within the clusters is below that of evenly spread samples. Looks
    at no more than 1000 of the samples, and compares with 5 made-up sets.
    """
    chosen = samples[:: max(1, -(-len(samples) // _GAP_SAMPLES))]
    rng = np.random.default_rng(seed)
    made_up = [rng.uniform(chosen.min(0), chosen.max(0), chosen.shape) for _ in range(_GAP_SETS)]
    before = -np.inf
    for k in range(1, most + 1):
        within, expected = _within(chosen, k, seed), np.log([_within(even, k, seed) + 1e-300 for even in made_up])
        if within == 0:  # as many clusters as different samples: more cannot be found
            return k
        gap = expected.mean() - np.log(within)
        if k > 1 and before >= gap - expected.std() * np.sqrt(1 + 1 / _GAP_SETS):
            return k - 1
        before = gap
    return most


def classify(image: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each pixel: `image [b h w]`, `centres [k b]` -> int64 [h w]; -1 where a band is NaN."""
    nearest = torch.full_like(image[0], torch.inf)
    found = torch.full_like(image[0], -1, dtype=torch.int64)
    for k, centre in enumerate(centres.to(image)):
        square = (image - centre[:, None, None]).square().sum(0)
        closer = square < nearest
        nearest, found = torch.where(closer, square, nearest), found.masked_fill(closer, k)
    return found


def _within(samples: Array, count: int, seed: int) -> float:
    """Sum of squared distances to the nearest of `count` centres."""
    return float(_squares(samples, k_means(samples, count, seed)).min(1).sum())


def _starts(samples: Array, count: int, rng: np.random.Generator) -> Array:
    centres: Array = samples[rng.integers(len(samples))][None]
    while len(centres) < count:
        away = _squares(samples, centres).min(1)
        if away.sum() == 0:
            break
        centres = np.concatenate([centres, samples[rng.choice(len(samples), p=away / away.sum())][None]])
    return centres


def _squares(samples: Array, centres: Array) -> Array:
    found: Array = np.stack([((samples - c) ** 2).sum(1) for c in centres], 1)
    return found
