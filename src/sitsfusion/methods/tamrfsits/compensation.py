"""Residual compensation: at dates with a coarse image, agree with it after blurring (specification 9.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.grid import Window
from sitsfusion.methods.base import Tile
from sitsfusion.ops.mtf import blur, psf_taps
from sitsfusion.ops.resample import bicubic, nearest
from sitsfusion.query import RoleQuery
from sitsfusion.weights.config import SensorInput

# Fine pixels around the core that the blur reads: the half width of the kernel of a 90 m band on 10 m pixels.
MARGIN = 9
_BICUBIC_TAPS = 5  # coarse pixels along a side of the square that a bicubic sample can read


def compensated(values: Tensor, wanted: RoleQuery, tile: Tile, given: SensorInput, area: Window) -> Tensor:
    """Predictions plus what they lack of the coarse image of their day: `bicubic(image) - blur(prediction)`.

    Only where every coarse pixel that the bicubic sample reads is clear; elsewhere the prediction stays as it is. (The
    published evaluation adds it everywhere and masks afterwards.)

    Args:
        values: [t, c, h, w] physical, over `area`.
        wanted: dates and bands of `values`.
        tile: has the coarse images.
        given: resolution and MTF of the coarse bands.
        area: fine pixels of the whole scene.
    """
    cube, out = tile.cubes["coarse"], values.clone()
    shared = [key for key in wanted.bands if key in cube.bands]
    at = [wanted.bands.index(key) for key in shared]
    ratio = wanted.per_cell // tile.per_cell["coarse"]
    rows, cols = area.relative_to(tile.reach["coarse"].scaled(wanted.per_cell)).slices
    taps = _taps(given, shared, ratio)
    for i, day in enumerate(wanted.dates):
        if day in cube.dates:
            frame = cube.select(bands=shared).frame(cube.dates.index(day))
            observed = bicubic(torch.from_numpy(frame.filled(0.0)), 1 / ratio)[:, rows, cols]
            clear = nearest(_support_clear(torch.from_numpy(frame.valid)), 1 / ratio)[rows, cols]
            better = values[i, at] + (observed - blur(values[i, at], taps))
            out[i, at] = torch.where(clear, better, values[i, at])
    return out


def _taps(given: SensorInput, keys: list[str], ratio: int) -> Tensor:
    bands = [given.bands[given.keys.index(key)] for key in keys]
    pixel = min(band.resolution for band in given.bands) / ratio
    return psf_taps(pixel, [b.resolution for b in bands], [b.mtf for b in bands], half_width=MARGIN)


def _support_clear(clear: Tensor) -> Tensor:
    """Pixels [h, w] whose whole bicubic support is clear; outside the image counts as clear."""
    cloudy = F.max_pool2d((~clear).float()[None], _BICUBIC_TAPS, stride=1, padding=_BICUBIC_TAPS // 2)[0]
    return cloudy == 0
