"""Radiometry of BreizhSR targets: into that of the images that go in.

Matching changes *targets* only: it belongs to data sets and evaluation, never to a prediction. All images are
float32 `[... c h w]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matching = Literal["histogram", "moments", "min_max", "none"]


def match_histogram(source: Tensor, reference: Tensor) -> Tensor:
    """Each band of `source [c h w]` with the distribution of values of `reference [c h' w']`.

    A value is replaced by the reference's value at its own quantile, linear between the reference's values (the
    algorithm of scikit-image).
    """
    pairs = zip(source.numpy(), reference.numpy(), strict=True)
    return torch.from_numpy(np.stack([_matched(s, r) for s, r in pairs]))


def _matched(source: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    _, inverse, counts = np.unique(source.ravel(), return_inverse=True, return_counts=True)
    values, reference_counts = np.unique(reference.ravel(), return_counts=True)
    at, among = np.cumsum(counts) / source.size, np.cumsum(reference_counts) / reference.size
    return np.interp(at, among, values)[inverse].reshape(source.shape).astype(np.float32)


def match_moments(source: Tensor, reference: Tensor) -> Tensor:
    """Each band of `source [c h w]` with the mean and standard deviation of `reference [c h' w']`."""
    mean, deviation = _moments(source)
    wanted_mean, wanted_deviation = _moments(reference)
    return (source - mean) / deviation * wanted_deviation + wanted_mean


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((-2, -1), keepdim=True), x.std((-2, -1), correction=0, keepdim=True)


def min_max(x: Tensor) -> Tensor:
    """The least value of all bands becomes -1, the largest 1."""
    return 2 * (x - x.min()) / (x.max() - x.min()) - 1


MATCHINGS: dict[Matching, Callable[[Tensor, Tensor], Tensor]] = {
    "histogram": match_histogram,
    "moments": match_moments,
    "min_max": lambda source, reference: min_max(source),
    "none": lambda source, reference: source,
}
