"""DSTFN as the TAMRFSITS comparison ran it: a whole tile at once, without mask."""

from __future__ import annotations

import torch
from torch import Tensor

from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.ops.mtf import psf_taps
from sitsfusion.ops.series_ops import closest, degraded
from sitsfusion.series import Series

_MS = 6


def coarse_of(series: Series, mtf: float = 0.4) -> Series:
    """The multispectral bands back on 30 m, from seven bands on the 15 m grid: `[b t 7 h w]` -> `[b t 6 h/2 w/2]`."""
    ms = Series(series.values[:, :, :_MS], series.days, series.valid)
    return degraded(ms, psf_taps(1.0, [1.0] * _MS, [mtf] * _MS), 2)


@torch.inference_mode()
def fuse_series(net: DstfnNet, lr: Series, hr: Series, mtf: float = 0.4, max_masked_rate: float = 0.5) -> Series:
    """A 10 m image at every Landsat date, reflectance, without mask.

    Args:
        net: `net2`.
        lr: `[b t 7 h w]` on the 15 m grid, six multispectral bands (interpolated from 30 m) and the panchromatic one.
        hr: `[b t 6 3h/2 3w/2]`; of each Landsat date, the image nearest in time of another day is used, clouds and all.
        mtf: of the filter between 15 m and 30 m.
        max_masked_rate: images with a larger masked share are not chosen.
    """
    if lr.days.shape[1] == 0:
        return Series(hr.values[:, :0], hr.days[:, :0])
    coarse = coarse_of(lr, mtf)
    fine = closest(hr, lr.days, max_masked_rate, allow_same_day=False)
    images: list[Tensor] = []
    for t in range(lr.days.shape[1]):
        images.append(net(fine.values[:, t], coarse.values[:, t], lr.values[:, t, _MS:]))
    return Series(torch.stack(images, dim=1), lr.days)
