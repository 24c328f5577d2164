"""k-means on pixels: the classes of a fine image where no land cover map is given."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROUNDS = 50


def k_means(samples: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
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
    ordered: NDArray[np.float64] = centres[np.lexsort(centres.T[::-1])]
    return ordered


def classify(image: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each pixel: `image [b h w]`, `centres [k b]` -> int64 [h w]; -1 where a band is NaN."""
    nearest = torch.full_like(image[0], torch.inf)
    found = torch.full_like(image[0], -1, dtype=torch.int64)
    for k, centre in enumerate(centres.to(image)):
        square = (image - centre[:, None, None]).square().sum(0)
        closer = square < nearest
        nearest, found = torch.where(closer, square, nearest), found.masked_fill(closer, k)
    return found


def _starts(samples: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    centres: NDArray[np.float64] = samples[rng.integers(len(samples))][None]
    while len(centres) < count:
        away = _squares(samples, centres).min(1)
        if away.sum() == 0:
            break
        centres = np.concatenate([centres, samples[rng.choice(len(samples), p=away / away.sum())][None]])
    return centres


def _squares(samples: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.stack([((samples - c) ** 2).sum(1) for c in centres], 1)
    return found
