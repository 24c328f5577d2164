"""BRISQUE, an image quality index without reference (Mittal, Moorthy and Bovik 2012), with the constants of piq 0.8.0.

36 features, 18 per scale, describe how far locally normalised brightness is from that of natural photographs; a support
vector regression makes a score of them (0 best, about 100 worst; it can go beyond). The regression's support vectors
are not part of this library: `load_brisque` reads them from a file that you give.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.metrics.imresize import imresize

FEATURES = 36
GAMMA = 0.05  # of the radial basis functions
OFFSET = 153.591
SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # rows, columns of the neighbours
SCALE = 255.0
CHUNK = 16  # images held in memory at once

# Smallest and largest value of each feature in the training set: they are scaled to [-1, 1].
_RANGES = """
.338 10 .017204 .806612
.236 1.642 -.123884 .20293 .000155 .712298 .001122 .470257
.244 1.641 -.123586 .179083 .000152 .710456 .000975 .470984
.249 1.555 -.135687 .100858 .000174 .684173 .000913 .534174
.258 1.561 -.143408 .100486 .000179 .685696 .000888 .536508
.471 3.264 .012809 .703171
.218 1.046 -.094876 .187459 .000015 .442057 .001272 .40803
.222 1.042 -.115772 .162604 .000016 .444362 .001374 .40243
.227 .996 -.117188 .098323 .00003 .531903 .001122 .369589
.228 .99 -.12243 .098658 .000028 .530092 .001118 .370399
"""

EXPECTED = (
    "expected piq's brisque_svm_weights.pt (release v0.4.0): a torch file holding the pair (coefficients [n], support "
    f"vectors [n {FEATURES}], one per row)"
)


@dataclass(frozen=True, eq=False)
class BrisqueModel:
    """The support vector regression: `coefficients [n]`, `support_vectors [n 36]`, both finite.

    Raises:
        InputError: other shapes, or values that are not finite.
    """

    coefficients: Tensor
    support_vectors: Tensor

    def __post_init__(self) -> None:
        c, v = self.coefficients, self.support_vectors
        if c.ndim != 1 or v.shape != (len(c), FEATURES):
            raise InputError(f"coefficients {tuple(c.shape)} and support vectors {tuple(v.shape)}: {EXPECTED}")
        if not bool(c.isfinite().all() and v.isfinite().all()):
            raise InputError("coefficients and support vectors of BRISQUE must be finite numbers")


def load_brisque(file: Path) -> BrisqueModel:
    """Read the support vectors from piq's `brisque_svm_weights.pt`. Nothing is downloaded.

    Raises:
        ReadError: the file is missing or damaged.
        CheckpointError: a file with other content, or one whose reading could run code.
    """
    if not file.is_file():
        raise ReadError(f"no support vectors of BRISQUE at {file}: {EXPECTED}. Nothing is downloaded.")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{file} holds more than tensors, or is damaged: {EXPECTED}") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ReadError(f"{file} cannot be read ({error}): {EXPECTED}") from error
    if not isinstance(content, tuple | list) or [type(x) for x in content] != [Tensor, Tensor]:
        raise CheckpointError(f"{file} holds a {type(content).__name__}, not a pair of tensors: {EXPECTED}")
    coefficients, vectors = content
    try:
        return BrisqueModel(coefficients.flatten().double(), vectors.double())
    except InputError as error:
        raise CheckpointError(f"{file}: {error}") from error


def brisque(images: Tensor, model: BrisqueModel | None) -> Tensor:
    """The score of each image.

    Args:
        images: `[... h w]`, each a grey image in [0, 1] (reflectance as it is, temperature scaled to its range);
            NaN is taken as 0, values are clipped. Masks play no role.
        model: from `load_brisque`; None: all scores are NaN.

    Returns:
        float64 `[...]`; NaN for an image that has no score (constant, or whose neighbours' products have one sign).

    Raises:
        InputError: images of less than 2 pixels a side.
    """
    if model is None:
        return torch.full(images.shape[:-2], torch.nan, dtype=torch.float64, device=images.device)
    return svm_score(scaled(features(images)), model)


def svm_score(scaled_features: Tensor, model: BrisqueModel) -> Tensor:
    """sum_j coef_j exp(-0.05 |features - sv_j|^2) + 153.591: `[... 36]` of `scaled` -> `[...]`."""
    vectors = model.support_vectors.to(scaled_features)
    apart = (scaled_features[..., None, :] - vectors).square().sum(-1)  # [... n]
    kernels: Tensor = torch.exp(-GAMMA * apart)
    return torch.matmul(kernels, model.coefficients.to(scaled_features)) + OFFSET


def scaled(found: Tensor) -> Tensor:
    """Features `[... 36]` on the scale of the training set, mostly in [-1, 1]."""
    ranges = torch.tensor([float(n) for n in _RANGES.split()], dtype=found.dtype, device=found.device).view(-1, 2)
    low, high = ranges[:, 0], ranges[:, 1]
    return 2.0 * (found - low) / (high - low) - 1.0


def features(images: Tensor) -> Tensor:
    """The 36 features of each image: `[... h w]` as `brisque` -> float64 `[... 36]`, all NaN where one is not defined.

    Raises:
        InputError: images of less than 2 pixels a side.
    """
    if images.ndim < 2 or min(images.shape[-2:]) < 2:
        raise InputError(f"BRISQUE needs images [... h w] of at least 2 x 2 pixels, found {tuple(images.shape)}")
    flat = images.reshape(-1, *images.shape[-2:])
    found = [_both_scales(chunk) for chunk in torch.split(flat, CHUNK)]
    out = torch.cat(found) if found else flat.new_zeros(0, FEATURES, dtype=torch.float64)
    out = torch.where(out.isfinite().all(1, keepdim=True), out, torch.nan)
    return out.reshape(*images.shape[:-2], FEATURES)


def _both_scales(images: Tensor) -> Tensor:
    x = images.double().nan_to_num(nan=0.0).clamp(0.0, 1.0) * SCALE
    return torch.cat([_natural_statistics(x), _natural_statistics(halved(x))], 1)


def halved(images: Tensor) -> Tensor:
    """The second scale: `[... h w]` -> `[... h//2 w//2]`, antialiased bicubic."""
    return imresize(images, (images.shape[-2] // 2, images.shape[-1] // 2))


def _natural_statistics(x: Tensor) -> Tensor:
    """18 features of `[n h w]` in 0 .. 255: `[n 18]`."""
    z = _normalised(x)
    products = [z * torch.roll(z, shift, (1, 2)) for shift in SHIFTS]  # circular, as published
    return torch.stack([*_symmetric_fit(z), *(f for y in products for f in _asymmetric_fit(y))], 1)


def _normalised(x: Tensor) -> Tensor:
    """(x - local mean) / (local deviation + 1), of a 7 x 7 Gaussian window, zeros beyond the border."""
    mean = _local_mean(x)
    deviation = (_local_mean(x * x) - mean * mean).abs().sqrt()
    return (x - mean) / (deviation + 1.0)


def _local_mean(x: Tensor) -> Tensor:
    offsets = torch.arange(-3, 4, dtype=x.dtype, device=x.device)
    row = torch.exp(-offsets.square() / (2.0 * (7.0 / 6.0) ** 2))
    row = row / row.sum()
    out = F.conv2d(x[:, None], row[None, None, None, :], padding=(0, 3))
    return F.conv2d(out, row[None, None, :, None], padding=(3, 0))[:, 0]


def _symmetric_fit(z: Tensor) -> Iterator[Tensor]:
    """Shape and variance of a generalised Gaussian, by moments: `[n]` each."""
    variance = _mean(z.square())
    yield _shape(variance / _mean(z.abs()).square(), symmetric=True)
    yield variance


def _asymmetric_fit(y: Tensor) -> Iterator[Tensor]:
    """Shape, mean, left and right variance of an asymmetric generalised Gaussian, by moments: `[n]` each."""
    left, right = (_mean_where(y.square(), side).sqrt() for side in (y < 0, y > 0))
    q = left / right
    ratio = _mean(y.abs()).square() / _mean(y.square())
    shape = _shape(ratio * (q**3 + 1) * (q + 1) / (q**2 + 1) ** 2, symmetric=False)
    g1, g2, g3 = (torch.lgamma(k / shape) for k in (1, 2, 3))
    yield shape
    yield (right - left) * torch.exp(g2 - (g1 + g3) / 2)
    yield left.square()
    yield right.square()


def _shape(ratio: Tensor, symmetric: bool) -> Tensor:
    """The shape on the grid 0.2, 0.201 .. 10 whose ratio of moments is nearest; NaN for NaN."""
    grid, ratios = _ratios(ratio.device)
    found = grid[(ratio[:, None] - (ratios if symmetric else 1 / ratios)).abs().argmin(1)]
    return torch.where(ratio.isnan(), torch.nan, found)


@lru_cache(maxsize=2)
def _ratios(device: torch.device) -> tuple[Tensor, Tensor]:
    """The grid of shapes g, and G(1/g) G(3/g) / G(2/g)^2."""
    grid = torch.arange(200, 10001, dtype=torch.float64, device=device) / 1000
    g1, g2, g3 = (torch.lgamma(k / grid) for k in (1, 2, 3))
    return grid, torch.exp(g1 + g3 - 2 * g2)


def _mean(x: Tensor) -> Tensor:
    return x.mean((1, 2))


def _mean_where(x: Tensor, used: Tensor) -> Tensor:
    return torch.where(used, x, 0.0).sum((1, 2)) / used.sum((1, 2))
