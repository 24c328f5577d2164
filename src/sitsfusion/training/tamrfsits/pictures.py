"""Validation pictures of TAMRFSITS."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.methods.tamrfsits.radiometry import physical
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.samples import Sample
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights

PICTURE_DATES, BRIGHTEST = 4, 0.3  # dates per picture; reflectance shown as white
RGB = ("B04", "B03", "B02")


@torch.no_grad()
def picture(net: TamrfsitsNet, weights: TamrfsitsWeights, sample: Sample) -> NDArray[np.uint8]:
    """Observed images (above) and what the network makes of their dates (below): `[2 H, n W, 3]`, natural colours.

    Every second date of the first (standardised) sample is hidden; up to four hidden ones are shown.
    """
    lr, hr = sample.lr, sample.hr
    given, shown = slice(0, None, 2), slice(1, 2 * PICTURE_DATES, 2)
    if hr.days.shape[1] < 2:
        shown = slice(0, 1)
    days = hr.days[:1, shown]
    out = net(lr.values[:1], lr.days[:1], hr.values[:1, given], hr.days[:1, given], days)[0]
    bands = weights.hr
    observed, predicted = (_rgb(one, bands) for one in (hr.values[0, shown], out[:, net.config.lr_bands :]))
    return np.concatenate([observed, predicted])


def _rgb(images: Tensor, bands: SensorInput) -> NDArray[np.uint8]:
    """Network units `[t c H W]` to one row of natural colours `[H, t W, 3]`."""
    channels = [bands.keys.index(key) for key in RGB]
    shown = (physical(images[:, channels], bands, channels) / BRIGHTEST).clamp(0, 1) * 255
    row = torch.cat(list(shown.nan_to_num().byte()), dim=2)  # [3 H tW]
    return row.permute(1, 2, 0).cpu().numpy()
