"""Point spread functions from the modulation transfer function (MTF), and what is made with them.

The optics of a band with resolution R (m) are modelled as a Gaussian whose frequency response at the band's
Nyquist frequency f_c = 1 / (2 R) is the given MTF value m:

    sigma = sqrt(-ln(m) / 2) / (pi f_c)   (m)

sampled on pixels of size `pixel_size` at offsets -K..K, K = ceil(max R / pixel_size) common to all bands, and
normalised to sum 1 (Michel et al., TAMRFSITS). m = 1 is a Dirac: the band is left as it is. The Gaussian is a
product of one row and one column; `taps [c 2K+1]` is that row, and its outer product with itself is the kernel.

A result depends on K pixels around it; at the border of the image they are its mirror image (edge not repeated;
small images are mirrored back and forth).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.ops.resample import bicubic
from sitsfusion.ops.tiles import mirrored


def psf_taps(
    pixel_size: float, resolution: Sequence[float], mtf: Sequence[float], half_width: int | None = None
) -> Tensor:
    """The one-dimensional point spread function of each band: float32 `[c 2K+1]`, each row of sum 1.

    Args:
        pixel_size: of the grid that is filtered, in the unit of `resolution` (m).
        resolution: of each band.
        mtf: of each band at its own Nyquist frequency, in (0, 1].
        half_width: K; by default ceil(max(resolution) / pixel_size).

    Raises:
        InputError: an MTF outside (0, 1], a size that is not positive, lists of different lengths.
    """
    _check_psf(pixel_size, resolution, mtf, half_width)
    half = math.ceil(max(resolution) / pixel_size) if half_width is None else half_width
    offsets = torch.arange(-half, half + 1, dtype=torch.float64) * pixel_size  # [k], m
    rows = [_gaussian(offsets, r, m) for r, m in zip(resolution, mtf, strict=True)]
    return torch.stack(rows).float()


def psf_kernel(
    pixel_size: float, resolution: Sequence[float], mtf: Sequence[float], half_width: int | None = None
) -> Tensor:
    """The point spread function of each band: float32 `[c 2K+1 2K+1]` of sum 1. Arguments and errors of `psf_taps`."""
    taps = psf_taps(pixel_size, resolution, mtf, half_width)
    return taps[:, :, None] * taps[:, None, :]


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Each channel correlated with its kernel: `x [... c h w]`, `kernel [c k k]` -> `[... c h w]`.

    Any kernel of odd side. For a point spread function, `blur` gives the same with fewer products.
    Half precision is computed in float32; NaN spreads over the whole support of the kernel.

    Raises:
        InputError: another number of channels.
    """
    channels, side = kernel.shape[0], kernel.shape[-1]
    flat = _padded(x, channels, side // 2)
    out = F.conv2d(flat, kernel[:, None].to(flat), groups=channels)
    return out.reshape(x.shape).to(x.dtype)


def blur(x: Tensor, taps: Tensor) -> Tensor:
    """Each channel filtered with its point spread function: `x [... c h w]`, `taps [c k]` -> `[... c h w]`.

    Equals `convolve` with `psf_kernel`, as two passes of k products instead of k * k. Errors and NaN as `convolve`.
    """
    return _blur_every(x, taps, step=1)


def high_pass(x: Tensor, taps: Tensor) -> Tensor:
    """What `blur` takes away: `x - blur(x)`, same shape and unit."""
    return x - blur(x, taps)


def degrade(x: Tensor, taps: Tensor, factor: float) -> Tensor:
    """What a coarser sensor would see: `blur`, then `resample.bicubic` by `factor` without antialiasing.

    `x [... c h w]`, `taps [c k]` (of the coarse bands on the grid of x) -> `[... c floor(h/factor) floor(w/factor)]`.
    For an odd integer factor, bicubic resampling picks the centre of each block, so only those are computed.

    Raises:
        InputError: as `blur` and `resample.bicubic`.
    """
    if factor % 2 == 1 and min(x.shape[-2:]) >= factor:
        return _blur_every(x, taps, step=int(factor))
    return bicubic(blur(x, taps), factor)


def generic_downscale(x: Tensor, factor: float, mtf: float, half_width: int = 3) -> Tensor:
    """`degrade` for bands of unknown optics: one PSF for all, of resolution `factor` pixels and the given MTF.

    `x [... c h w]` -> `[... c floor(h/factor) floor(w/factor)]`. Errors as `psf_taps` and `degrade`.
    """
    taps = psf_taps(1.0, [factor], [mtf], half_width)
    return degrade(x, taps.expand(x.shape[-3], -1), factor)


def residual_compensation(prediction: Tensor, observed: Tensor, taps: Tensor, factor: int) -> Tensor:
    """Make a fine prediction agree with the coarse image of the same date.

    `prediction + (bicubic(observed) - blur(prediction))`: what the coarse sensor saw and the prediction, seen
    through the coarse sensor, does not show, is added to it.

    Args:
        prediction: `[... c h w]` of the coarse bands on the fine grid, reflectance (temperature: kelvin / 1000).
        observed: `[... c h/factor w/factor]` at the same dates, same unit. Where it is cloudy, so is the result:
            its mask is the result's mask (`resample.nearest` by 1 / factor).
        taps: `[c k]` of the coarse bands on the fine grid (`psf_taps`).
        factor: fine pixels per coarse pixel.

    Raises:
        InputError: sizes that do not match; as `blur`.
    """
    fine = bicubic(observed, 1.0 / factor)
    if fine.shape != prediction.shape:
        raise InputError(
            f"an observed image {tuple(observed.shape)} at factor {factor} gives {tuple(fine.shape)}, "
            f"but the prediction is {tuple(prediction.shape)}"
        )
    return prediction + (fine - blur(prediction, taps))


def gradient_magnitude_squared(x: Tensor) -> Tensor:
    """gx^2 + gy^2 of `x [... h w]`, same shape: central differences per pixel, one-sided at the borders.

    Raises:
        InputError: an image with a side of one pixel.
    """
    if min(x.shape[-2:]) < 2:
        raise InputError(f"a gradient needs at least 2 x 2 pixels, found {x.shape[-2]} x {x.shape[-1]}")
    gy, gx = torch.gradient(x, dim=(-2, -1))
    return gx.square() + gy.square()


def _gaussian(offsets: Tensor, resolution: float, mtf: float) -> Tensor:
    if mtf == 1.0:
        return (offsets == 0).double()
    nyquist = 0.5 / resolution
    sigma = math.sqrt(-math.log(mtf) / 2.0) / (math.pi * nyquist)
    row = torch.exp(-offsets.square() / (2.0 * sigma**2))
    return row / row.sum()


def _blur_every(x: Tensor, taps: Tensor, step: int) -> Tensor:
    """`blur` at the centre of each block of `step` x `step` pixels only (`step` odd)."""
    channels, side = taps.shape
    first = (step - 1) // 2
    flat = _padded(x, channels, side // 2)[..., first:, first:]  # [n c h' w']
    row = taps.to(flat)
    flat = F.conv2d(flat, row[:, None, None, :], stride=(1, step), groups=channels)
    flat = F.conv2d(flat, row[:, None, :, None], stride=(step, 1), groups=channels)
    h, w = x.shape[-2] // step, x.shape[-1] // step
    return flat[..., :h, :w].reshape(*x.shape[:-2], h, w).to(x.dtype)


def _padded(x: Tensor, channels: int, half: int) -> Tensor:
    """`[... c h w]` as `[n c h+2K w+2K]`, mirrored at the borders, in float32 or float64."""
    if x.ndim < 3 or x.shape[-3] != channels:
        raise InputError(f"kernels of {channels} channels do not fit an image {tuple(x.shape)}, expected [... c h w]")
    flat = x.reshape(-1, *x.shape[-3:])
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    if half < min(x.shape[-2:]):
        return F.pad(flat, (half, half, half, half), mode="reflect")
    rows, cols = (mirrored(side, -half, side + half).to(x.device) for side in x.shape[-2:])
    return flat[..., rows[:, None], cols]


def _check_psf(pixel_size: float, resolution: Sequence[float], mtf: Sequence[float], half_width: int | None) -> None:
    if len(resolution) != len(mtf) or not resolution:
        raise InputError(f"one MTF per band is needed: found {len(resolution)} resolutions and {len(mtf)} MTF values")
    if not pixel_size > 0 or not all(r > 0 for r in resolution):
        raise InputError(f"pixel size {pixel_size} and resolutions {list(resolution)} must be positive")
    if not all(0.0 < m <= 1.0 for m in mtf):
        raise InputError(f"an MTF value at Nyquist must be in (0, 1], found {list(mtf)}; 1 means no blur")
    if half_width is not None and half_width < 0:
        raise InputError(f"half width of a kernel must be 0 or more, found {half_width}")
