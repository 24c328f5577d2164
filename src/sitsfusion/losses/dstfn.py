"""The loss of DSTFN: agreement with the truth, and of the degraded prediction with the coarse image."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from sitsfusion.ops.mtf import degrade, psf_taps


def degradation(prediction: Tensor, coarse: Tensor, *, factor: int, mtf: Sequence[float]) -> Tensor:
    """Mean absolute difference between the prediction, seen by the coarse sensor, and the coarse image: a scalar.

    Args:
        prediction: `[n, c, h, w]`, reflectance.
        coarse: `[n, c, h / factor, w / factor]`, reflectance.
        factor: fine pixels along the side of a coarse one.
        mtf: of each band of the coarse sensor, at the Nyquist frequency of its pixel.
    """
    taps = psf_taps(1.0, [float(factor)] * len(mtf), list(mtf)).to(prediction.device)
    return F.l1_loss(degrade(prediction, taps, factor), coarse)


def constrained(
    prediction: Tensor, target: Tensor, coarse: Tensor, *, alpha: float, factor: int, mtf: Sequence[float]
) -> dict[str, Tensor]:
    """L1(prediction, target) + alpha L1(degraded prediction, coarse); both terms and `total_loss`.

    The weight of the publication is not known to us; 1 is our default.
    """
    terms = {
        "reconstruction": F.l1_loss(prediction, target),
        "degradation": degradation(prediction, coarse, factor=factor, mtf=mtf),
    }
    return {**terms, "total_loss": terms["reconstruction"] + alpha * terms["degradation"]}
