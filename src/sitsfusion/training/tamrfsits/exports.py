"""How trained TAMRFSITS networks are written."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import Dim

from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.training.families import OnnxForm
from sitsfusion.weights.config import TamrfsitsWeights

Weights = TamrfsitsWeights


def network(weights: TamrfsitsWeights) -> TamrfsitsNet:
    """The network of a weights config, untrained."""
    return TamrfsitsNet(weights.architecture)


def onnx_form(net: TamrfsitsNet) -> OnnxForm:
    """Inputs, float32: `lr [b, t, bands, h, w]`, `lr_days [b, t]`, `hr`, `hr_days`, `query_days [b, q]`; output:
    `images [b, q, bands, H, W]`, LR bands first. All sizes but the bands are free, H = ratio * h; every series has a
    date at least. Values are standardised: the config says how, and which day is day 0.
    """
    return OnnxForm(_example(net), ("images",), _free_sizes(net.config.ratio))


def _example(net: TamrfsitsNet) -> dict[str, torch.Tensor]:
    """Small inputs; sizes that are free must differ from 1 and from each other."""
    b, t_lr, t_hr, q, h, w = 2, 3, 4, 5, 6, 7
    config = net.config
    return {
        "lr": torch.zeros(b, t_lr, config.lr_bands, h, w),
        "lr_days": torch.zeros(b, t_lr),
        "hr": torch.zeros(b, t_hr, config.hr_bands, config.ratio * h, config.ratio * w),
        "hr_days": torch.zeros(b, t_hr),
        "query_days": torch.zeros(b, q),
    }


def _free_sizes(ratio: int) -> dict[str, dict[int, Any]]:
    b, t_lr, t_hr, q = (Dim(name, min=1, max=4096) for name in ("batch", "lr_dates", "hr_dates", "queries"))
    h, w = (Dim(name, min=2, max=1 << 16) for name in ("height", "width"))
    return {
        "lr": {0: b, 1: t_lr, 3: h, 4: w},
        "lr_days": {0: b, 1: t_lr},
        "hr": {0: b, 1: t_hr, 3: ratio * h, 4: ratio * w},
        "hr_days": {0: b, 1: t_hr},
        "query_days": {0: b, 1: q},
    }
