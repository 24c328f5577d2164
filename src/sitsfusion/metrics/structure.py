"""Metrics of local structure: SSIM, UQI, spatial correlation, and errors up to a shift.

They look at windows. A window counts where every pixel in it lies in the image, is valid, and is predicted, so what is
stored under a mask never matters. Windows that cross the edge of a tile belong to no tile: cut tiles that overlap by
`size - 1` pixels (each window then lies in exactly one of them), and sums over tiles equal the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.metrics.sums import BandSums, Mean, band_sums, check_data_range, mean_over, used_samples

K1, K2 = 0.01, 0.03  # Wang et al. 2004, section III-B


@dataclass(frozen=True)
class Window:
    """A separable window of weights that sum to 1.

    Attributes:
        weights: of one row (and one column).
        unbiased: n / (n - 1) on variances and covariances, n = number of pixels in the window.
    """

    weights: tuple[float, ...]
    unbiased: bool = False

    @property
    def size(self) -> int:
        """Pixels a side."""
        return len(self.weights)

    @property
    def correction(self) -> float:
        """Factor of variances and covariances."""
        pixels = self.size**2
        return pixels / (pixels - 1) if self.unbiased else 1.0


def _check_size(size: int) -> None:
    if size < 2:
        raise InputError(f"a window has at least 2 pixels a side, found {size}")


def gaussian_window(size: int = 11, sigma: float = 1.5) -> Window:
    """The window of Wang et al. 2004 by default. `size` and `sigma` in pixels.

    Raises:
        InputError: a size below 2, a sigma that is not positive.
    """
    _check_size(size)
    if not sigma > 0:
        raise InputError(f"the sigma of a window must be positive (pixels), found {sigma}")
    row = [math.exp(-((i - (size - 1) / 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    return Window(tuple(w / sum(row) for w in row))


def uniform_window(size: int, unbiased: bool = False) -> Window:
    """Equal weights. `uniform_window(7, unbiased=True)` is what scikit-image uses for SSIM.

    Raises:
        InputError: a size below 2.
    """
    _check_size(size)
    return Window((1.0 / size,) * size, unbiased)


GAUSSIAN = gaussian_window()


@dataclass(frozen=True, eq=False)
class LocalMoments:
    """Of each window, float64 `[... c h-size+1 w-size+1]`: means, variances (at least 0), covariance; if it counts."""

    mean_p: Tensor
    mean_t: Tensor
    var_p: Tensor
    var_t: Tensor
    covariance: Tensor
    used: Tensor


def ssim(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    data_range: float,
    window: Window = GAUSSIAN,
) -> Mean:
    """Structural similarity (Wang et al. 2004), in [-1, 1], ideal 1: mean over windows, per band.

    Args:
        prediction: `[... c h w]`, any unit, not clipped here.
        target: same shape and unit.
        valid: bool `[... h w]`, None: all.
        data_range: largest minus smallest possible value, in the images' unit.
        window: weights of the local statistics.

    Returns:
        Sums `[... c]`.

    Raises:
        InputError: shapes that do not match, a data range that is not positive, an image smaller than the window.
    """
    check_data_range(data_range)
    m = local_moments(prediction, target, valid, window)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * m.mean_p * m.mean_t + c1) / (m.mean_p.square() + m.mean_t.square() + c1)
    structure = (2 * m.covariance + c2) / (m.var_p + m.var_t + c2)
    return mean_over(luminance * structure, m.used)


def uqi(prediction: Tensor, target: Tensor, valid: Tensor | None = None, window: Window | None = None) -> Mean:
    """Universal quality index (Wang and Bovik 2002), in [-1, 1], ideal 1: mean over windows, per band.

    4 s_pt m_p m_t / ((s_p^2 + s_t^2) (m_p^2 + m_t^2)); where both images are constant in the window, its luminance
    factor 2 m_p m_t / (m_p^2 + m_t^2) alone; where both means are 0, its other factor alone; 1 where all is 0.

    Args:
        prediction: `[... c h w]`, any unit.
        target: same shape and unit.
        valid: bool `[... h w]`, None: all.
        window: None: uniform 8 x 8, as in the paper.

    Returns:
        Sums `[... c]`.

    Raises:
        InputError: shapes that do not match, an image smaller than the window.
    """
    m = local_moments(prediction, target, valid, window or uniform_window(8))
    level, spread = m.mean_p.square() + m.mean_t.square(), m.var_p + m.var_t
    luminance = torch.where(level == 0, 1.0, 2 * m.mean_p * m.mean_t / level)
    flat = spread <= 1e-12 * level  # below the rounding of the means
    structure = torch.where(flat, 1.0, 2 * m.covariance / spread)
    return mean_over(luminance * structure, m.used)


def scc_sums(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> BandSums:
    """Sums of both images after a Laplacian (8 at the centre, -1 around): `.correlation()` is the SCC of Zhou 1998.

    A pixel counts where its 3 x 3 neighbourhood does (tiles overlap by 2 pixels).

    Args:
        prediction: `[... c h w]`, any unit.
        target: same shape and unit.
        valid: bool `[... h w]`, None: all.

    Returns:
        Sums `[... c]`.

    Raises:
        InputError: shapes that do not match, an image smaller than 3 x 3.
    """
    used = used_samples(prediction, target, valid)
    if min(target.shape[-2:]) < 3:
        raise InputError(f"a spatial correlation needs at least 3 x 3 pixels, found {tuple(target.shape[-2:])}")
    counted = _whole_windows(used, 3)
    p, t = (_laplacian(torch.where(used, x, 0.0).double()) for x in (prediction, target))
    # Bands may be masked differently (NaN predictions): each is summed as an image of one band.
    sums = band_sums(p.unsqueeze(-3), t.unsqueeze(-3), counted)
    return sums.pooled(-1)


def shifted_mae(prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, border: int = 3) -> Mean:
    """Mean absolute error at every shift of the target up to `border` pixels, all bands together.

    `.value().amin(-1)` is the error up to a shift (the MISR-S2 paper's shift_mae). The prediction is cut by
    `border`; the target is moved under it.

    Args:
        prediction: `[... c h w]`, any unit.
        target: same shape and unit.
        valid: bool `[... h w]` of the target, moved with it; None: all.
        border: largest shift in pixels.

    Returns:
        Sums `[... shifts]`, shifts row by row: (2 border + 1)^2.

    Raises:
        InputError: shapes that do not match, a border that leaves no pixel.
    """
    used_samples(prediction, target, valid)  # checks the shapes
    h, w = (side - 2 * border for side in target.shape[-2:])
    if border < 0 or min(h, w) < 1:
        raise InputError(f"a border of {border} pixels leaves nothing of an image of {tuple(target.shape[-2:])}")
    inner = prediction[..., border : border + h, border : border + w]
    offsets = [(y, x) for y in range(2 * border + 1) for x in range(2 * border + 1)]
    found = [_mae_at(inner, target, valid, y, x) for y, x in offsets]
    return Mean(torch.stack([m.total for m in found], -1), torch.stack([m.count for m in found], -1))


def _mae_at(inner: Tensor, target: Tensor, valid: Tensor | None, y: int, x: int) -> Mean:
    h, w = inner.shape[-2:]
    cut = (..., slice(y, y + h), slice(x, x + w))
    used = used_samples(inner, target[cut], None if valid is None else valid[cut])
    return mean_over((inner.double() - target[cut].double()).abs(), used).pooled(-1)


def local_moments(prediction: Tensor, target: Tensor, valid: Tensor | None, window: Window) -> LocalMoments:
    """The statistics of every window that lies in the image. Arguments and errors as `ssim`."""
    used = used_samples(prediction, target, valid)
    if min(target.shape[-2:]) < window.size:
        raise InputError(f"images of {tuple(target.shape[-2:])} pixels are smaller than a window of {window.size}")
    p, t = (torch.where(used, x, 0.0).double() for x in (prediction, target))
    mean_p, mean_t, pp, tt, pt = (filtered(x, window) for x in (p, t, p * p, t * t, p * t))
    k = window.correction
    return LocalMoments(
        mean_p,
        mean_t,
        # Rounding can bring the variance of a constant window below 0.
        ((pp - mean_p.square()) * k).clamp(min=0),
        ((tt - mean_t.square()) * k).clamp(min=0),
        (pt - mean_p * mean_t) * k,
        _whole_windows(used, window.size),
    )


def filtered(x: Tensor, window: Window) -> Tensor:
    """Weighted mean in every window inside the image: float64 `[... h w]` -> `[... h-size+1 w-size+1]`."""
    return _along(_along(x, window, -1), window, -2)


def _along(x: Tensor, window: Window, dim: int) -> Tensor:
    """A few shifted sums: several times faster than a convolution in float64."""
    count = x.shape[dim] - window.size + 1
    out = x.narrow(dim, 0, count) * window.weights[0]
    for k, weight in enumerate(window.weights[1:], start=1):
        out.add_(x.narrow(dim, k, count), alpha=weight)
    return out


def _whole_windows(used: Tensor, size: int) -> Tensor:
    """Bool `[... h-size+1 w-size+1]`: every pixel of the window is used."""
    unused = (~used).float().reshape(-1, 1, *used.shape[-2:])
    holes = F.max_pool2d(unused, size, stride=1)
    return (holes == 0).reshape(*used.shape[:-2], *holes.shape[-2:])


def _laplacian(x: Tensor) -> Tensor:
    kernel = -torch.ones(1, 1, 3, 3, dtype=x.dtype, device=x.device)
    kernel[..., 1, 1] = 8.0
    flat = F.conv2d(x.reshape(-1, 1, *x.shape[-2:]), kernel)
    return flat.reshape(*x.shape[:-2], *flat.shape[-2:])
