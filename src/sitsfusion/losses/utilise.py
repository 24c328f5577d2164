"""The losses of U-TILISE: mean absolute errors over sets of pixels, and structural dissimilarity.

Stucker, Sainte Fare Garnot and Schindler 2023, section III-C; the published models were trained with `l1_loss` alone.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.metrics.utilise import dssim


class UtiliseLossConfig(BaseModel):
    """Which terms are added, and their weights; names and defaults of the published configuration files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    l1_loss: bool = True
    l1_loss_w: float = 1.0
    l1_loss_occluded_input_pixels: bool = False
    l1_loss_occluded_input_pixels_w: float = 1.0
    l1_loss_observed_input_pixels: bool = False
    l1_loss_observed_input_pixels_w: float = 1.0
    ssim_loss: bool = False
    ssim_loss_w: float = 1.0
    masked_l1_loss: bool = False
    masked_l1_loss_w: float = 1.0

    def wanted(self) -> dict[str, float]:
        """Weights of the terms that are switched on."""
        names = [name for name in type(self).model_fields if not name.endswith("_w")]
        return {name: getattr(self, f"{name}_w") for name in names if getattr(self, name)}


def utilise_loss(
    config: UtiliseLossConfig,
    prediction: Tensor,
    target: Tensor,
    masks: Tensor,
    real: Tensor | None = None,
    cloud_mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """The unweighted terms by name, and `total_loss`, their weighted sum.

    A term whose set of pixels is empty is left out.

    Args:
        config: which terms.
        prediction: `[b, t, c, h, w]`, in [0, 1].
        target: same shape.
        masks: `[b, t, 1, h, w]`, 1 = hidden in the input ("occluded"), 0 = shown ("observed").
        real: `[b, t]`, 0 = the frame only fills up the batch and is left out; None: all are real.
        cloud_mask: `[b, t, 1, h, w]`, 1 = the target itself is cloudy; for `masked_l1_loss` only.

    Raises:
        InputError: `masked_l1_loss` without `cloud_mask`, no term at all.
    """
    wanted = config.wanted()
    if not wanted:
        raise InputError("no loss is switched on: set l1_loss or another one to true")
    keep = torch.ones_like(target[:, :, 0, 0, 0], dtype=torch.bool) if real is None else real.bool()
    p, t, hidden = prediction[keep], target[keep], masks[keep] > 0  # [n, c, h, w]
    sets: dict[str, Tensor | None] = {
        "l1_loss": None,
        "l1_loss_occluded_input_pixels": hidden,
        "l1_loss_observed_input_pixels": ~hidden,
    }
    if "masked_l1_loss" in wanted:
        if cloud_mask is None:
            raise InputError("masked_l1_loss needs the clouds of the target, but the samples have no cloud_mask")
        sets["masked_l1_loss"] = cloud_mask[keep] == 0
    terms: dict[str, Tensor] = {}
    for name in wanted:
        found = dssim(p, t).mean() if name == "ssim_loss" else _l1(p, t, sets[name])
        if found is not None:
            terms[name] = found
    zero = (prediction * 0).sum()  # keeps the graph where every set of pixels is empty
    return terms | {"total_loss": sum((wanted[name] * value for name, value in terms.items()), zero)}


def _l1(prediction: Tensor, target: Tensor, used: Tensor | None) -> Tensor | None:
    error = (prediction - target).abs()
    if used is None:
        return error.mean()
    chosen = used.expand_as(error)
    return error[chosen].mean() if bool(chosen.any()) else None
