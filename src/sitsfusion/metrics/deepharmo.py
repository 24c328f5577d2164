"""Scores of the Deep-Harmonization comparison, one patch `[c, h, w]` at a time, reflectance, not clipped.

They follow scikit-image, which the publication used: SSIM with a uniform 7 x 7 window and sample covariances. Scores of
single bands keep the publication's choice of a data range of 2 and a window of 5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.losses.deepharmo import gaussian_nll
from sitsfusion.metrics.structure import ssim, uniform_window
from sitsfusion.metrics.sums import band_sums

Scores = dict[str, float]
# Positions of the bands (blue, green, red, NIR, SWIR1, SWIR2) in (a - b) / (a + b).
INDICES: Mapping[str, tuple[int, int]] = {"NDVI": (3, 2), "NDWI1": (3, 4), "NDWI2": (3, 5)}


def image_scores(prediction: Tensor, target: Tensor) -> Scores:
    """NRMSE, PSNR (data range 1) and SSIM (data range 1, mean over bands) of two patches `[c, h, w]`."""
    sums = band_sums(prediction, target).pooled(-1)
    return {
        "NRMSE": float(sums.nrmse()),
        "PSNR": float(sums.psnr(1.0)),
        "SSIM": _ssim(prediction, target, data_range=1.0, window=7),
    }


def band_scores(prediction: Tensor, target: Tensor) -> Scores:
    """NRMSE_B2 .. SSIM_B7 of patches `[6, h, w]`: each band alone, data range 2, SSIM window 5."""
    found: Scores = {}
    for c in range(target.shape[0]):
        p, t = prediction[c : c + 1], target[c : c + 1]
        sums = band_sums(p, t).pooled(-1)
        found[f"NRMSE_B{c + 2}"] = float(sums.nrmse())
        found[f"PSNR_B{c + 2}"] = float(sums.psnr(2.0))
        found[f"SSIM_B{c + 2}"] = _ssim(p, t, data_range=2.0, window=5)
    return found


def index_scores(prediction: Tensor, target: Tensor, index: str) -> Scores:
    """Scores of an index (`INDICES`) of patches `[6, h, w]`, clipped to [-1, 1], undefined values 0.

    SSIM is that of both clipped to [0, 1]; data range 1.

    Raises:
        InputError: an unknown index.
    """
    if index not in INDICES:
        raise InputError(f"unknown index {index!r}; expected one of {', '.join(INDICES)}")
    p, t = (_index(x, *INDICES[index])[None] for x in (prediction, target))
    sums = band_sums(p, t).pooled(-1)
    return {
        "NRMSE": float(sums.nrmse()),
        "PSNR": float(sums.psnr(1.0)),
        "SSIM": _ssim(p.clamp(0, 1), t.clamp(0, 1), data_range=1.0, window=7),
        "MAE": float(sums.mae()),
        "Pearson C": float(sums.correlation()),
    }


def uncertainty_scores(prediction: Tensor, variance: Tensor, target: Tensor, *, full: bool = False) -> Scores:
    """How well a variance tells the error, all pixels and bands of a patch `[c, h, w]` together.

    SSIM and NRMSE of the prediction; SC and PC, the correlation (Spearman, Pearson) of variance and absolute error;
    GNLL, the Gaussian negative log likelihood (`full` for Monte-Carlo dropout in the publication).
    """
    errors = (target - prediction).abs().flatten()
    spread = variance.flatten()
    scores = image_scores(prediction, target)
    return {
        "SSIM": scores["SSIM"],
        "SC": _pearson(_ranks(spread), _ranks(errors)),
        "PC": _pearson(spread, errors),
        "NRMSE": scores["NRMSE"],
        "GNLL": float(gaussian_nll(prediction, variance, target, full=full)),
    }


def write_scores(folder: Path, weights: str, patches: Mapping[str, tuple[Tensor, Tensor]]) -> list[Path]:
    """Scores of {patch: (prediction, target)} in the published layout: one JSON of {patch: scores} per kind.

    Files: <weights>_metrics_bandpass.json, <weights>_band_metrics_bandpass.json and, of each index,
    <weights>_metrics_bandpass_<index>.json.
    """
    tables = {
        f"{weights}_metrics_bandpass.json": {name: image_scores(*pair) for name, pair in patches.items()},
        f"{weights}_band_metrics_bandpass.json": {name: band_scores(*pair) for name, pair in patches.items()},
    }
    for index in INDICES:
        scores = {name: index_scores(*pair, index) for name, pair in patches.items()}
        tables[f"{weights}_metrics_bandpass_{index}.json"] = scores
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        (folder / name).write_text(json.dumps(table, indent=1) + "\n")
    return [folder / name for name in tables]


def _ssim(p: Tensor, t: Tensor, *, data_range: float, window: int) -> float:
    found = ssim(p, t, data_range=data_range, window=uniform_window(window, unbiased=True))
    return float(found.value().mean())


def _index(x: Tensor, first: int, second: int) -> Tensor:
    a, b = x[first], x[second]
    return torch.nan_to_num((a - b) / (a + b), nan=0.0).clamp(-1, 1)


def _pearson(a: Tensor, b: Tensor) -> float:
    return float(band_sums(a[None, None], b[None, None]).pooled(-1).correlation())


def _ranks(x: Tensor) -> Tensor:
    """Ranks from 1; equal values share their mean rank."""
    _, place, count = torch.unique(x, return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    ranks: Tensor = last - (count.double() - 1) / 2
    return ranks[place]
