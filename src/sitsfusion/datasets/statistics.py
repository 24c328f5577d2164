"""Means and standard deviations of the bands of samples, as networks are standardised with, in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.samples import Sample
from sitsfusion.series import Series

Array = NDArray[np.float64]
# Which standard deviation: of all pixels (TAMRFSITS 1.0.0), or within a batch (2.0.0).
Deviation = Literal["overall", "within"]


@dataclass
class BandStatistics:
    """Running count, mean and sums of squares of each band `[c]`, over the valid pixels of batches.

    Two standard deviations, both with the batches that have a valid pixel only:

        overall = sqrt(sum (x - mean)^2 / (N - 1))
        within  = sqrt(sum over batches of (n_b - 1) var_b / (N - number of batches))

    The second, that of the published weights of TAMRFSITS 2.0.0, leaves out what differs between batches.
    """

    channels: int
    count: int = 0
    batches: int = 0
    mean: Array = field(init=False)
    _within: Array = field(init=False)  # sum of squared distances to the batch's mean
    _between: Array = field(init=False)  # what the batches' means add to the distances to the mean of all

    def __post_init__(self) -> None:
        self.mean, self._within, self._between = (np.zeros(self.channels) for _ in range(3))

    def add(self, pixels: Tensor) -> None:
        """Add the valid pixels of a batch: `[n c]`; none changes nothing.

        Raises:
            InputError: another number of bands, or values that are not finite.
        """
        if pixels.ndim != 2 or pixels.shape[1] != self.channels:
            raise InputError(f"pixels {tuple(pixels.shape)} are not [n c] of {self.channels} bands")
        n = pixels.shape[0]
        if n == 0:
            return
        values = pixels.double()
        if not bool(values.isfinite().all()):
            raise InputError("a pixel that is marked as valid has no finite value in one of its bands")
        mean = values.mean(0)
        self._within += ((values - mean) ** 2).sum(0).numpy()
        step = mean.numpy() - self.mean
        self._between += step**2 * (self.count * n / (self.count + n))
        self.mean = self.mean + step * (n / (self.count + n))
        self.count += n
        self.batches += 1

    def std(self, deviation: Deviation) -> Array:
        """Standard deviation of each band `[c]`.

        Raises:
            InputError: fewer pixels than it takes.
        """
        free = self.count - (1 if deviation == "overall" else self.batches)
        if free < 1:
            raise InputError(f"{self.count} valid pixel(s) of {self.batches} batch(es) have no standard deviation")
        squares = self._within + (self._between if deviation == "overall" else 0)
        return np.asarray(np.sqrt(squares / free))


@dataclass(frozen=True)
class SampleStatistics:
    """Statistics of both series, in scaled units (as `scale` of a weights' config says)."""

    lr: BandStatistics
    hr: BandStatistics

    def standardisation(self, deviation: Deviation) -> dict[str, list[float]]:
        """Lists per band under the names that weights use: lr_mean, lr_std, hr_mean, hr_std."""
        found = {}
        for name, side in (("lr", self.lr), ("hr", self.hr)):
            found[f"{name}_mean"] = [float(value) for value in side.mean]
            found[f"{name}_std"] = [float(value) for value in side.std(deviation)]
        return found


def collect(
    samples: Iterable[Sample], lr_scale: Tensor | None = None, hr_scale: Tensor | None = None
) -> SampleStatistics:
    """Statistics of samples; each sample is a batch.

    Args:
        samples: in physical units; pixels that are not valid are left out.
        lr_scale: factors from physical to scaled values `[c]`; None: 1.
        hr_scale: the same for the fine series.

    Raises:
        InputError: no sample, or series of different numbers of bands.
    """
    found: SampleStatistics | None = None
    for sample in samples:
        if found is None:
            found = SampleStatistics(*(BandStatistics(s.values.shape[2]) for s in (sample.lr, sample.hr)))
        found.lr.add(_pixels(sample.lr, lr_scale))
        found.hr.add(_pixels(sample.hr, hr_scale))
    if found is None:
        raise InputError("statistics need at least one sample, found none")
    return found


def to_yaml(name: str, statistics: SampleStatistics, deviation: Deviation) -> str:
    """The text of a `standardisation` entry, as in `weights/tamrfsits.yaml`."""
    lists = {
        key: [float(f"{value:.6g}") for value in values]
        for key, values in statistics.standardisation(deviation).items()
    }
    return yaml.safe_dump({"standardisation": {name: lists}}, default_flow_style=None, sort_keys=True, width=1000)


def _pixels(series: Series, scale: Tensor | None) -> Tensor:
    """Valid pixels, scaled: `[n c]`."""
    pixels = series.values.movedim(2, -1)[series.usable()]  # [n c]
    return pixels if scale is None else pixels * scale
