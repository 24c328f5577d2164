"""Metrics of one date beyond those of the TAMRFSITS test tool: of reflectances, on what the sensor would see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sitsfusion.metrics.spectral import ndvi_sums
from sitsfusion.metrics.structure import GAUSSIAN, scc_sums, ssim, uqi
from sitsfusion.metrics.sums import BandSums

UQI_SIDE, SCC_SIDE = 8, 3  # pixels of their windows


@dataclass(frozen=True)
class Further:
    """Which bands the further metrics look at.

    Attributes:
        optical: positions of the bands that are reflectances; temperatures have no natural range and get NaN.
        data_range: of PSNR and SSIM, largest minus smallest possible value.
        ratio: of ERGAS, fine pixel size / coarse pixel size.
        red, nir: positions of the bands of the vegetation index; None: the image lacks one.
    """

    optical: tuple[int, ...]
    data_range: float = 1.0
    ratio: float = 1.0
    red: int | None = None
    nir: int | None = None


@dataclass(frozen=True, eq=False)
class FurtherMetrics:
    """float64; `[c]`, NaN for bands that are not optical and where an image is smaller than the metric's window."""

    psnr: Tensor
    ssim: Tensor
    uqi: Tensor
    scc: Tensor
    ergas: Tensor
    ndvi: BandSums | None

    def columns(self) -> dict[str, Tensor]:
        """By name: psnr, ssim, uqi, scc `[c]`; ergas, ndvi_rmse, ndvi_bias scalars."""
        index = {} if self.ndvi is None else {"ndvi_rmse": self.ndvi.rmse()[0], "ndvi_bias": self.ndvi.bias()[0]}
        return {name: getattr(self, name) for name in ("psnr", "ssim", "uqi", "scc", "ergas")} | index


def further_metrics(
    seen: Tensor, target: Tensor, valid: Tensor, errors: BandSums, wanted: Further
) -> FurtherMetrics | None:
    """Of a prediction as the sensor would see it; None without any reflectance.

    Args:
        seen: `[c h w]`.
        target: `[c h w]`.
        valid: bool `[h w]`, the pixels that count.
        errors: `band_sums` of these.
        wanted: which bands.
    """
    if not wanted.optical:
        return None
    at = list(wanted.optical)
    p, t, large = seen[at], target[at], min(target.shape[-2:])

    def spread(values: Tensor | None) -> Tensor:
        out = torch.full((len(seen),), torch.nan, dtype=torch.float64, device=seen.device)
        return out if values is None else out.index_put((torch.tensor(at, device=seen.device),), values)

    index = None
    if wanted.red is not None and wanted.nir is not None:
        index = ndvi_sums(seen, target, wanted.red, wanted.nir, valid)
    optical = errors.of(at)
    return FurtherMetrics(
        psnr=spread(optical.psnr(wanted.data_range)),
        ssim=spread(ssim(p, t, valid, data_range=wanted.data_range).value() if large >= GAUSSIAN.size else None),
        uqi=spread(uqi(p, t, valid).value() if large >= UQI_SIDE else None),
        scc=spread(scc_sums(p, t, valid).correlation() if large >= SCC_SIDE else None),
        ergas=optical.ergas(wanted.ratio),
        ndvi=index,
    )
