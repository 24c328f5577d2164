"""The metrics of the TAMRFSITS test tool written down directly, as the yardstick of `metrics.py`.

Point spread functions are dense two-dimensional kernels, coarse grids are sampled after filtering everything, spectra
are complex transforms of the zero-padded image, rings are masks that are applied one after the other, and BRISQUE
filters with a dense 7 x 7 kernel. `sitsfusion.metrics` must give the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.metrics.brisque import GAMMA, OFFSET, SCALE, SHIFTS, BrisqueModel, scaled
from sitsfusion.metrics.imresize import imresize
from sitsfusion.metrics.scoring import SensorScoring


def metrics(prediction: Tensor, target: Tensor, valid: Tensor, how: SensorScoring) -> dict[str, Tensor]:
    """RMSE, NRMSE, SAM, FRR and BRISQUE of one date: `[c h w]` (predictions finer by `how.factor`), valid `[h w]`."""
    m, factor = how.margin, how.factor
    kernel = kernels(how)
    seen = filtered(prediction, kernel)
    if factor > 1:
        seen = F.interpolate(seen[None], scale_factor=1 / factor, mode="bicubic")[0]
    inner = torch.zeros_like(valid)
    inner[m:-m, m:-m] = valid[m:-m, m:-m]
    bands = [i for i in range(len(target)) if i != how.thermal]
    angles_to = target if factor > 1 else filtered(target, kernel)
    fine = F.interpolate(target[None], scale_factor=factor, mode="bicubic")[0] if factor > 1 else target
    cut = (slice(None), slice(m, -m), slice(m, -m))
    found = {
        "rmse": rmse(seen, target, inner),
        "nrmse": nrmse(seen, target, inner),
        "sam": angle(seen[bands], angles_to[bands], inner),
        "frr": restoration(prediction[cut], fine[cut]),
    }
    if how.brisque is not None:
        low, high = torch.zeros(len(target), 1, 1), torch.ones(len(target), 1, 1)
        if how.thermal is not None:
            low[how.thermal], high[how.thermal] = target[how.thermal].min(), target[how.thermal].max()
        found["brisque"] = brisque((prediction[cut] - low) / (high - low), how.brisque)
        found["target_brisque"] = brisque((target - low) / (high - low), how.brisque)
    return found


def kernels(how: SensorScoring) -> Tensor:
    """`[c k k]`."""
    half = math.ceil(max(how.resolution) / how.pixel_size)
    at = torch.arange(-half, half + 1, dtype=torch.float64) * how.pixel_size
    squares = at[:, None] ** 2 + at[None, :] ** 2
    found = []
    for resolution, f in zip(how.resolution, how.mtf, strict=True):
        if f == 1:
            found.append((squares == 0).double())
            continue
        sigma = math.sqrt(-math.log(f) / 2) / (math.pi * 0.5 / resolution)
        kernel = torch.exp(-squares / (2 * sigma**2))
        found.append(kernel / kernel.sum())
    return torch.stack(found).float()


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    half = kernel.shape[-1] // 2
    padded = F.pad(x[None], (half,) * 4, mode="reflect")
    return F.conv2d(padded, kernel[:, None], groups=len(kernel))[0]


def rmse(p: Tensor, t: Tensor, valid: Tensor) -> Tensor:
    return ((p - t).double().square() * valid).sum((1, 2)).div(valid.sum()).sqrt()


def nrmse(p: Tensor, t: Tensor, valid: Tensor) -> Tensor:
    return (((p - t).double().square() * valid).sum((1, 2)) / (t.double().square() * valid).sum((1, 2))).sqrt()


def angle(p: Tensor, t: Tensor, valid: Tensor) -> Tensor:
    p, t = p.double(), t.double()
    cosine = (p * t).sum(0) / (p.square().sum(0).sqrt() * t.square().sum(0).sqrt())
    return torch.arccos(cosine)[valid].nanmean()


def restoration(p: Tensor, t: Tensor) -> Tensor:
    """FRR of each band: `[c n n]`."""
    levels = []
    for images in (p, t):
        profile = torch.stack([rings(image) for image in images])[:, 1:]
        decibels = 10 * torch.log10(profile)
        levels.append(decibels - decibels[:, :1])
    return (levels[0] - levels[1])[:, 1:-1].mean(1)


def rings(image: Tensor) -> Tensor:
    n = max(image.shape)
    amplitude = torch.fft.fftshift(torch.fft.fft2(image, s=(2 * n, 2 * n)).abs())
    f = torch.fft.fftshift(torch.fft.fftfreq(2 * n, d=0.5))
    r = (f[:, None] ** 2 + f[None, :] ** 2).sqrt()
    edges = f[f >= 0]
    found = []
    for j in range(n // 2):
        inside = (r > edges[2 * j]) & (r < edges[2 * j + 1])
        found.append(amplitude[inside].mean())
    return torch.stack(found).double()


def brisque(images: Tensor, model: BrisqueModel) -> Tensor:
    """One image after the other."""
    x = images.double().nan_to_num().clamp(0, 1) * SCALE
    found = []
    for image in x:
        features = [*statistics(image), *statistics(imresize(image, (image.shape[0] // 2, image.shape[1] // 2)))]
        apart = (scaled(torch.stack(features)) - model.support_vectors).square().sum(1)
        found.append((model.coefficients * torch.exp(-GAMMA * apart)).sum() + OFFSET)
    return torch.stack(found)


def statistics(x: Tensor) -> list[Any]:
    at = torch.arange(-3, 4, dtype=torch.float64)
    window = torch.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * (7 / 6) ** 2))
    window = (window / window.sum())[None, None]

    def local(image: Tensor) -> Tensor:
        return F.conv2d(image[None, None], window, padding=3)[0, 0]

    mean = local(x)
    z = (x - mean) / ((local(x * x) - mean * mean).abs().sqrt() + 1)
    grid = torch.arange(200, 10001, dtype=torch.float64) / 1000
    g1, g2, g3 = (torch.lgamma(k / grid) for k in (1, 2, 3))
    ratios = torch.exp(g1 + g3 - 2 * g2)
    variance = (z * z).mean()
    features = [grid[(variance / z.abs().mean() ** 2 - ratios).abs().argmin()], variance]
    for shift in SHIFTS:
        y = z * torch.roll(z, shift, (0, 1))
        left, right = (y[side].square().mean().sqrt() for side in (y < 0, y > 0))
        q = left / right
        r = y.abs().mean() ** 2 / (y * y).mean() * (q**3 + 1) * (q + 1) / (q**2 + 1) ** 2
        a = grid[(r - 1 / ratios).abs().argmin()]
        scale = torch.exp(torch.lgamma(2 / a) - (torch.lgamma(1 / a) + torch.lgamma(3 / a)) / 2)
        features += [a, (right - left) * scale, left**2, right**2]
    return features
