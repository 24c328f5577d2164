"""The published inference, outside the engine: to reproduce published numbers, and to check the fast path against.

Values of series here are the scaled ones that means and standard deviations are in: reflectance, and kelvin / 1000
for temperatures (digital numbers / 10000 in the published data). Masks are ignored, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.ops.mtf import psf_taps
from sitsfusion.ops.series_ops import degraded, standardise, unstandardise
from sitsfusion.ops.tiles import reference_tiling
from sitsfusion.series import Series
from sitsfusion.weights.config import SensorInput

FINE_PIXEL = 10.0  # metres, in the published data
# Published tiles and their margin, in fine pixels.
TILE, MARGIN = 165, 18

Pair = tuple[Series | None, Series | None]
"""Series of the coarse and of the fine sensor."""


@torch.inference_mode()
def predict_series(
    net: TamrfsitsNet,
    stats: tuple[SensorInput, SensorInput],
    inputs: Pair,
    days: tuple[Tensor | None, Tensor | None],
    downscale: bool = False,
) -> Pair:
    """Predict both sensors in one go, everything in memory.

    Args:
        net: in eval mode.
        stats: bands of the coarse and of the fine sensor: standardisation and optics.
        inputs: coarse images, fine images `[b t c h w]` of the same place; one may be None.
        days: `[b q]` query days at which coarse bands and fine bands are wanted, or None for none.
        downscale: give coarse bands as the coarse sensor would see them (blurred by its optics, on its grid), and
            fine bands blurred by theirs; published evaluation compares these with observed images.

    Returns:
        Coarse bands and fine bands `[b q c H W]` in scaled units, on the fine grid unless downscaled, without `valid`;
        None where no days were asked for.

    Raises:
        InputError: no days at all; as `TamrfsitsNet.forward`.
    """
    wanted = [one for one in days if one is not None]
    if not wanted:
        raise InputError("no query days: give days for coarse bands, for fine bands, or both")
    lr, hr = (_network_units(series, bands) for series, bands in zip(inputs, stats, strict=True))
    out = net(*_arguments(lr), *_arguments(hr), torch.cat(wanted, dim=1))  # one decoding for both
    counts = [0 if one is None else one.shape[1] for one in days]
    coarse, fine = out.split(counts, dim=1)
    coarse, fine = coarse[:, :, : net.config.lr_bands], fine[:, :, net.config.lr_bands :]
    results: list[Series | None] = []
    for values, at, bands, factor in zip((coarse, fine), days, stats, (net.config.ratio, 1), strict=True):
        if at is None:
            results.append(None)
            continue
        series = Series(values, at)
        if downscale:
            series = degraded(series, optics(bands), factor)
        results.append(unstandardise(series, *_moments(bands), 1.0))
    return results[0], results[1]


def predict_tiled(
    net: TamrfsitsNet,
    stats: tuple[SensorInput, SensorInput],
    inputs: Pair,
    days: tuple[Tensor | None, Tensor | None],
    tile: int = TILE,
    margin: int = MARGIN,
) -> Pair:
    """`predict_series` tile by tile in the published layout.

    Zeros are put around the image, and `margin` fine pixels of each tile are thrown away. The margin is smaller than
    what the network reaches (19 fine and 60 fine pixels' worth of coarse ones), so tiles have faint seams, and pixels
    near the border of the image differ from those of `predict_series`. Sides are rounded up to multiples of `tile`.
    """

    def predict(parts: Sequence[Series | None]) -> Sequence[Series | None]:
        return predict_series(net, stats, (parts[0], parts[1]), days)

    lr, hr = reference_tiling(predict, inputs, (net.config.ratio, 1), tile, margin)
    return lr, hr


def optics(bands: SensorInput, pixel: float = FINE_PIXEL) -> Tensor:
    """Point spread functions of a sensor's bands on a grid of `pixel` metres (`ops.mtf.psf_taps`)."""
    return psf_taps(pixel, [band.resolution for band in bands.bands], [band.mtf for band in bands.bands])


def _moments(bands: SensorInput) -> tuple[Tensor, Tensor]:
    return torch.tensor([band.mean for band in bands.bands]), torch.tensor([band.std for band in bands.bands])


def _network_units(series: Series | None, bands: SensorInput) -> Series | None:
    return None if series is None else standardise(series, *_moments(bands), 1.0, bands.clip)


def _arguments(series: Series | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if series is None else (series.values, series.days)
