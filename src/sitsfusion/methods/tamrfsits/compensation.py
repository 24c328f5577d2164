"""Residual compensation: agreement with what was observed.

* `compensated`: at dates with a coarse image, agree with it after blurring (specification 9.3; any weights);
* `corrections`: spread what the observations of all days say beyond the prediction to the query days, as some weights
  were trained to be used (`ops.residuals`).

Both compare through the optics of the sensor: a band is corrected by no more than what its sensor can see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion import sensors
from sitsfusion.grid import Window
from sitsfusion.methods.base import Tile
from sitsfusion.ops.mtf import blur, degrade, psf_taps
from sitsfusion.ops.resample import bicubic, nearest
from sitsfusion.ops.residuals import CloudLook, noise_of_missed_clouds, spread_residuals
from sitsfusion.query import RoleQuery
from sitsfusion.weights.config import SensorInput, TemporalCompensation

# Fine pixels around the core that the blur reads: the half width of the kernel of a 90 m band on 10 m pixels.
MARGIN = 9
_BICUBIC_TAPS = 5  # coarse pixels along a side of the square that a bicubic sample can read
_VISIBLE, _INFRARED = ("blue", "green", "red"), "swir16"  # common names of bands
_ROWS = 32  # corrected at once: bounds the memory of the weighted sums


def optics(bands: SensorInput, pixel: float = 10.0) -> Tensor:
    """Point spread functions of a sensor's bands on a grid of `pixel` metres: `[c k]` (`ops.mtf.psf_taps`)."""
    return psf_taps(pixel, [band.resolution for band in bands.bands], [band.mtf for band in bands.bands])


def margin_in_time(ratio: int) -> int:
    """Fine pixels around the core that `corrections` reads: the bicubic support of coarse pixels, and their blur."""
    return MARGIN + (_BICUBIC_TAPS // 2 + 1) * ratio


def corrections(
    residuals: Tensor,
    usable: Tensor,
    days: Tensor,
    targets: Tensor,
    ratio: int,
    how: Sequence[TemporalCompensation],
    look: CloudLook | None = None,
) -> Tensor:
    """What to add to predictions at the target days: `[q c ratio*h ratio*w]`.

    Args:
        residuals: `[t c h w]` of one sensor, on its own grid (`left_over`).
        usable: bool `[t c h w]`.
        days: `[t]`.
        targets: `[q]`.
        ratio: fine pixels per pixel of the sensor.
        how: strength and reach in time, of each channel.
        look: of missed clouds, which are then distrusted; None trusts every usable pixel.
    """
    groups = {one: [c for c, other in enumerate(how) if other == one] for one in dict.fromkeys(how)}
    return bicubic(torch.cat([
        _in_rows(residuals[:, :, rows], usable[:, :, rows], days, targets, groups, look)
        for rows in _strips(residuals.shape[-2])
    ], 2), 1 / ratio)  # fmt: skip


def _in_rows(
    residuals: Tensor,
    usable: Tensor,
    days: Tensor,
    targets: Tensor,
    groups: Mapping[TemporalCompensation, list[int]],
    look: CloudLook | None,
) -> Tensor:
    more: Tensor | float = 1.0  # times the noise of a clear observation
    if look is not None:
        usual = next(one for one, at in groups.items() if look.bright[0] in at)
        found = noise_of_missed_clouds(residuals.detach(), usable, days, usual.decay_days, usual.noise, look)
        more = found / usual.noise
    out = residuals.new_zeros(len(targets), *residuals.shape[1:])
    for one, at in groups.items():
        part = residuals[:, at], usable[:, at]
        out[:, at] = spread_residuals(*part, days, targets, one.decay_days, one.noise * more)
    return out


def cloud_bands(bands: SensorInput) -> list[str]:
    """Keys of the bands that `cloud_look` looks at: blue, green, red, and the first short-wave infrared one."""
    names = {band.key: band.common_name for band in sensors.get(bands.sensor).bands}
    return [key for key in bands.keys if names.get(key) in (*_VISIBLE, _INFRARED)]


def cloud_look(bands: SensorInput, keys: Sequence[str], scale: float | None) -> CloudLook | None:
    """How a missed cloud looks in channels that hold these bands; None where no visible band is among them."""
    names = {band.key: band.common_name for band in sensors.get(bands.sensor).bands}
    bright = tuple(c for c, key in enumerate(keys) if names.get(key) in _VISIBLE)
    if scale is None or not bright:
        return None
    return CloudLook(bright, tuple(c for c, key in enumerate(keys) if names.get(key) == _INFRARED), scale)


def of_bands(bands: SensorInput, usual: TemporalCompensation) -> list[TemporalCompensation]:
    """The compensation of each band: its own, or the usual one."""
    return [band.compensation or usual for band in bands.bands]


def left_over(observed: Tensor, predicted: Tensor, taps: Tensor, ratio: int) -> Tensor:
    """What images say beyond predictions of their days: `[... c h w]`, units of both.

    Args:
        observed: `[... c h w]` of one sensor, on its grid.
        predicted: `[... c ratio*h ratio*w]`.
        taps: `[c k]`, optics of the bands on the fine grid.
        ratio: fine pixels per pixel of the sensor.
    """
    return observed - degrade(predicted, taps, ratio)


def _strips(height: int) -> Iterator[slice]:
    yield from (slice(first, min(first + _ROWS, height)) for first in range(0, height, _ROWS))


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
