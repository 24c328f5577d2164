"""Pictures of predictions beside what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.datasets.stf_batch import StfBatch
from sitsfusion.io.png import write_png

Picture = NDArray[np.uint8]
_LOW, _HIGH = 2, 98  # percentiles shown as black and white


def mosaic(batch: StfBatch, prediction: Tensor, rgb: Sequence[int]) -> Picture:
    """One row per sample: C1, C2, F1, F2, prediction, error (mean absolute, white for the largest): `[H W 3]`."""
    rows = []
    for i in range(len(batch)):
        images = [x[i] for x in (batch.coarse_ref, batch.coarse, batch.fine_ref, batch.target, prediction)]
        limits = _limits(batch.target[i], rgb)
        error = (prediction[i] - batch.target[i]).abs().mean(0)
        rows.append(np.concatenate([*(coloured(x, rgb, limits) for x in images), _grey(error)], axis=1))
    return np.concatenate(rows, axis=0)


def coloured(image: Tensor, rgb: Sequence[int], limits: NDArray[Any] | None = None) -> Picture:
    """Bands of `[c h w]` as colours `[h w 3]`, stretched between percentiles (its own, or these limits [3 2])."""
    shown = image[list(rgb)].float().cpu().numpy()
    bounds = _limits(image, rgb) if limits is None else limits
    low, high = bounds[:, 0, None, None], bounds[:, 1, None, None]
    scaled = np.clip((shown - low) / np.maximum(high - low, 1e-6), 0, 1) * 255
    return np.moveaxis(scaled.astype(np.uint8), 0, -1)


def write_test(folder: Path, number: int, batch: StfBatch, prediction: Tensor, rgb: Sequence[int]) -> None:
    """One tile of a test: `<folder>/{pred,gt,LR_t1,LR_t2,HR_t1,err}/<number>.png`, the first sample of the batch."""
    limits = _limits(batch.target[0], rgb)
    images = {"pred": prediction, "gt": batch.target, "LR_t1": batch.coarse_ref, "LR_t2": batch.coarse}
    images["HR_t1"] = batch.fine_ref
    pictures = {name: coloured(x[0], rgb, limits) for name, x in images.items()}
    pictures["err"] = _grey((prediction[0] - batch.target[0]).abs().mean(0))
    for name, picture in pictures.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_png(folder / name / f"{number:04d}.png", picture)


def _limits(image: Tensor, rgb: Sequence[int]) -> NDArray[Any]:
    shown = image[list(rgb)].float().cpu().numpy().reshape(3, -1)
    found: NDArray[Any] = np.percentile(shown, (_LOW, _HIGH), axis=1).T
    return found


def _grey(error: Tensor) -> Picture:
    values = error.float().cpu().numpy()
    scaled = (values / max(float(values.max()), 1e-6) * 255).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2)
