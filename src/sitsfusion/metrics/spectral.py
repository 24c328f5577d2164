"""Errors of the spectrum: the angle between spectra, and the error of the vegetation index."""

from __future__ import annotations

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.metrics.sums import BandSums, Mean, band_sums, mean_over, used_samples


def sam(prediction: Tensor, target: Tensor, valid: Tensor | None = None, published: bool = False) -> Mean:
    """Spectral angle (Kruse et al. 1993), radians in [0, pi], ideal 0; mean over pixels.

    A pixel counts where it is valid, all bands are predicted, and neither spectrum is 0 everywhere (it has no angle).

    Args:
        prediction: `[... c h w]`, any unit common to all bands (reflectance).
        target: same shape and unit.
        valid: bool `[... h w]`, None: all.
        published: the angle as arccos of the unclipped cosine, in the images' precision, as TAMRFSITS computes it:
            pixels whose cosine is rounded above 1 are then left out. The default formula has no such pixels.

    Returns:
        Sums `[...]`.

    Raises:
        InputError: shapes that do not match.
    """
    used = used_samples(prediction, target, valid).all(-3)
    angle = _arc_cosine(prediction, target) if published else _angle(prediction.double(), target.double())
    # A spectrum of 0, or a cosine above 1, has no angle; a NaN of the target is an error that must stay visible.
    defined = ~angle.isnan() | target.isnan().any(-3)
    return mean_over(angle, used & defined)


def _angle(prediction: Tensor, target: Tensor) -> Tensor:
    """2 atan(|p/|p| - t/|t|| / |p/|p| + t/|t||), Kahan's formula: exact near 0, where arccos loses half the digits."""
    p, t = (x / torch.linalg.vector_norm(x, dim=-3, keepdim=True) for x in (prediction, target))
    apart, along = (torch.linalg.vector_norm(x, dim=-3) for x in (p - t, p + t))
    return 2.0 * torch.atan2(apart, along)


def _arc_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(prediction, dim=-3) * torch.linalg.vector_norm(target, dim=-3)
    return torch.arccos((prediction * target).sum(-3) / norms)


def ndvi_sums(prediction: Tensor, target: Tensor, red: int, nir: int, valid: Tensor | None = None) -> BandSums:
    """Sums of the normalised difference vegetation index (nir - red) / (nir + red) of both images, as one band.

    `.rmse()`, `.bias()`, `.mae()` are then NDVI errors. A pixel counts where it is valid, predicted, and the
    denominator of neither image is 0. Values are not clipped: negative reflectances give indices beyond [-1, 1].

    Args:
        prediction: reflectance `[... c h w]`.
        target: same shape.
        red: position of the red band, 0-based.
        nir: position of the near infrared band.
        valid: bool `[... h w]`, None: all.

    Returns:
        Sums `[... 1]`.

    Raises:
        InputError: shapes that do not match, a position outside the bands.
    """
    bands = target.shape[-3] if target.ndim >= 3 else 0
    if not (0 <= red < bands and 0 <= nir < bands):
        raise InputError(f"red band {red} and near infrared band {nir} must be positions among {bands} bands")
    used = used_samples(prediction, target, valid)[..., [red, nir], :, :].all(-3)
    indices, totals = zip(*(_normalised_difference(x.double(), nir, red) for x in (prediction, target)), strict=True)
    defined = used & (totals[0] != 0) & (totals[1] != 0)
    return band_sums(indices[0].unsqueeze(-3), indices[1].unsqueeze(-3), defined)


def _normalised_difference(x: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    """(a - b) / (a + b) and a + b: `[... h w]` each."""
    a, b = x[..., first, :, :], x[..., second, :, :]
    return (a - b) / (a + b), a + b
