"""Sums over pixels, from which the pixel metrics are computed.

Sums of tiles, of dates or of sites are added with `+`; the metric of the whole is then that of the sums, which is not
the mean of the parts' metrics. Everything is summed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sitsfusion.errors import InputError


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean that can be added to: `total` float64 `[...]` over `count` int64 `[...]` samples."""

    total: Tensor
    count: Tensor

    def __add__(self, other: Mean) -> Mean:
        return Mean(self.total + other.total, self.count + other.count)

    def pooled(self, dim: int = 0) -> Mean:
        """One mean over a dimension of the sums: dates, bands."""
        return Mean(self.total.sum(dim), self.count.sum(dim))

    def value(self) -> Tensor:
        """float64 `[...]`, NaN where nothing was counted."""
        return self.total / self.count


def mean_over(values: Tensor, used: Tensor) -> Mean:
    """The mean of `values [... h w]` over the pixels where `used [... h w]` is True, for each `[...]`."""
    kept = torch.where(used, values.double(), 0.0)
    return Mean(kept.sum((-2, -1)), used.sum((-2, -1)))


@dataclass(frozen=True, eq=False)
class BandSums:
    """Sums over the valid pixels of a prediction p and a target t, per band: float64 (count: int64) `[... c]`.

    Attributes:
        count: number of samples.
        error, absolute, squared: of p - t, |p - t|, (p - t)^2.
        prediction, target: of p, of t.
        prediction_squared, target_squared, product: of p^2, t^2, p t.

    Every metric is `[... c]` in the unit named, NaN where it is not defined. `pooled(-1).rmse()` is the error of all
    bands together, `rmse().mean(-1)` the mean of the bands' errors.
    """

    count: Tensor
    error: Tensor
    absolute: Tensor
    squared: Tensor
    prediction: Tensor
    target: Tensor
    prediction_squared: Tensor
    target_squared: Tensor
    product: Tensor

    def __add__(self, other: BandSums) -> BandSums:
        return BandSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def pooled(self, dim: int = 0) -> BandSums:
        """Sums over a dimension of the sums: a batch, dates, or the bands (-1)."""
        return BandSums(*(getattr(self, f.name).sum(dim) for f in fields(self)))

    def of(self, bands: list[int]) -> BandSums:
        """The sums of some bands, by position."""
        return BandSums(*(getattr(self, f.name)[..., bands] for f in fields(self)))

    def bias(self) -> Tensor:
        """Mean of p - t, in the unit of the images."""
        return self.error / self.count

    def mae(self) -> Tensor:
        """Mean of |p - t|, in the unit of the images."""
        return self.absolute / self.count

    def mse(self) -> Tensor:
        """Mean of (p - t)^2, in the squared unit of the images."""
        return self.squared / self.count

    def rmse(self) -> Tensor:
        """Square root of `mse`, in the unit of the images."""
        return self.mse().sqrt()

    def nrmse(self) -> Tensor:
        """sqrt(sum (p - t)^2 / sum t^2), a ratio; NaN where the target is 0 everywhere."""
        return (self.squared / _or_nan(self.target_squared)).sqrt()

    def psnr(self, data_range: float) -> Tensor:
        """10 log10(data_range^2 / mse), decibels; infinite for equal images.

        Args:
            data_range: largest minus smallest possible value of the images, in their unit.

        Raises:
            InputError: a data range that is not positive.
        """
        check_data_range(data_range)
        return 10.0 * torch.log10(data_range**2 / self.mse())

    def r2(self) -> Tensor:
        """Coefficient of determination 1 - sum (t - p)^2 / sum (t - mean t)^2, at most 1; NaN for a constant target."""
        return 1.0 - self.squared / _or_nan(self._deviation(self.target, self.target_squared))

    def correlation(self) -> Tensor:
        """Pearson's correlation (CC) in [-1, 1]; NaN where either image is constant."""
        p = _or_nan(self._deviation(self.prediction, self.prediction_squared))
        t = _or_nan(self._deviation(self.target, self.target_squared))
        return (self._covariation() / (p.sqrt() * t.sqrt())).clamp(-1.0, 1.0)

    def uqi(self) -> Tensor:
        """Universal quality index (Wang and Bovik 2002) of the whole image, in [-1, 1].

        4 s_pt m_p m_t / ((s_p^2 + s_t^2) (m_p^2 + m_t^2)). NaN where both images are constant or of mean 0.
        `structure.uqi` is its mean over local windows.
        """
        spread = self._deviation(self.prediction, self.prediction_squared) + self._deviation(
            self.target, self.target_squared
        )
        level = self.prediction.square() + self.target.square()  # times count^2, as the numerator
        return 4.0 * self._covariation() * self.prediction * self.target / _or_nan(spread * level)

    def ergas(self, ratio: float) -> Tensor:
        """Relative dimensionless global error (ERGAS; Wald 2000) over the last dimension, the bands: `[...]`.

        100 ratio sqrt(mean over bands of (RMSE / mean of t)^2).

        Args:
            ratio: fine pixel size / coarse pixel size (Landsat from MODIS: 30 / 500). Some papers leave it out: 1.

        Raises:
            InputError: a ratio that is not positive.
        """
        if not ratio > 0:
            raise InputError(f"the ratio of ERGAS is fine pixel size / coarse pixel size, found {ratio}")
        relative = self.mse() / _or_nan((self.target / self.count).square())
        return 100.0 * ratio * relative.mean(-1).sqrt()

    def rase(self) -> Tensor:
        """Relative average spectral error, per cent: 100 / M sqrt(mean over bands of MSE), M = mean of t: `[...]`."""
        level = (self.target / self.count).mean(-1)
        return 100.0 * self.mse().mean(-1).sqrt() / _or_nan(level)

    def _deviation(self, total: Tensor, squares: Tensor) -> Tensor:
        """Sum of squared deviations from the mean; exactly 0 where it is below the rounding of the sums."""
        found = squares - total.square() / self.count
        return torch.where(found <= 1e-12 * squares, 0.0, found)

    def _covariation(self) -> Tensor:
        return self.product - self.prediction * self.target / self.count


def band_sums(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> BandSums:
    """The sums of two images over their valid pixels.

    Args:
        prediction: `[... c h w]`, any unit; NaN samples are left out.
        target: same shape and unit.
        valid: bool `[... h w]`: where the target is usable (and the tile's core, if tiles overlap); None: everywhere.

    Returns:
        Sums `[... c]`.

    Raises:
        InputError: shapes that do not match.
    """
    used = used_samples(prediction, target, valid)
    p, t = (torch.where(used, x, 0.0).double().flatten(-2) for x in (prediction, target))  # [... c n]
    e, dot = p - t, torch.linalg.vecdot
    sums = (e.sum(-1), e.abs().sum(-1), dot(e, e), p.sum(-1), t.sum(-1), dot(p, p), dot(t, t), dot(p, t))
    return BandSums(used.sum((-2, -1)), *sums)


def used_samples(prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """Bool `[... c h w]`: valid, and predicted (not NaN).

    Raises:
        InputError: images that are not `[... c h w]` of one shape, a validity that is not their bool `[... h w]`.
    """
    if prediction.shape != target.shape or prediction.ndim < 3:
        raise InputError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must be [... c h w] of one shape"
        )
    if valid is None:
        return ~prediction.isnan()
    if valid.dtype != torch.bool or valid.shape != (*target.shape[:-3], *target.shape[-2:]):
        raise InputError(
            f"validity must be bool [... h w] of images {tuple(target.shape)}, found {valid.dtype} {tuple(valid.shape)}"
        )
    return valid.unsqueeze(-3) & ~prediction.isnan()


def check_data_range(data_range: float) -> None:
    """InputError unless the data range is positive."""
    if not data_range > 0:
        raise InputError(f"data range {data_range}: give largest minus smallest possible value, in the images' unit")


def _or_nan(x: Tensor) -> Tensor:
    """NaN in place of 0: what is divided by it is not defined."""
    return torch.where(x == 0, torch.nan, x)
