"""DSen2 on arrays of native pixels, as its authors ran it: tiles with a border, coarser bands interpolated per tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.ops.resample import bicubic, bilinear

# Side of a tile and its border, 10 m pixels, by the factor of the last group.
_TILES = {2: (128, 8), 6: (192, 12)}


def interpolated(images: Sequence[Tensor], method: str = "bilinear") -> list[Tensor]:
    """Groups of bands `[c_i, h_i, w_i]` of one extent on the grid of the first: half-pixel centres, edges repeated.

    Raises:
        InputError: sizes that are no whole multiples, or another method than bilinear and cubic.
    """
    kernels = {"bilinear": bilinear, "cubic": bicubic}
    if method not in kernels:
        raise InputError(f"unknown interpolation {method!r}; expected one of {', '.join(kernels)}")
    return [kernels[method](x, 1 / _ratio(images[0], x)) for x in images]


@torch.inference_mode()
def sharpen(
    net: Dsen2Net,
    images: Sequence[Tensor],
    *,
    unit: float = 0.2,
    method: str = "bilinear",
    tile: int | None = None,
    border: int | None = None,
) -> Tensor:
    """The last group of an image at 10 m: reflectance `[c, h, w]`.

    Args:
        net: of as many groups.
        images: reflectance of native pixels, finest group first: `[4, h, w]`, `[6, h/2, w/2]`, `[2, h/6, w/6]`.
        unit: reflectance that is 1 for the network.
        method: how coarser bands are brought to 10 m.
        tile: side of a tile in 10 m pixels with its border (the authors': 128, or 192 for 60 m); 0: the whole image.
        border: what is thrown away of each side (the authors': 8, or 12). The network reaches farther (`net.reach`).

    Raises:
        InputError: sizes that are no whole multiples, tiles not a multiple of the coarsest pixel or without a core.
    """
    factor = _ratio(images[0], images[-1])
    size, edge = _TILES.get(factor, (0, 0))
    size, edge = size if tile is None else tile, edge if border is None else border
    if size == 0:
        return _run(net, images, unit, method)
    if size % factor or edge % factor or size <= 2 * edge:
        raise InputError(f"tiles of {size} with a border of {edge} must be multiples of {factor} with a core left")
    h, w = images[0].shape[-2:]
    padded = [_mirrored(x, edge // _ratio(images[0], x)) for x in images]
    out = torch.empty(images[-1].shape[0], h, w)
    for row, col in _origins(h + 2 * edge, w + 2 * edge, size, edge):
        part = [_part(x, row, col, size, _ratio(padded[0], x)) for x in padded]
        found = _run(net, part, unit, method)
        core = found[:, edge : found.shape[-2] - edge, edge : found.shape[-1] - edge]
        out[:, row : row + core.shape[-2], col : col + core.shape[-1]] = core
    return out


def _run(net: Dsen2Net, images: Sequence[Tensor], unit: float, method: str) -> Tensor:
    groups = [x[None] / unit for x in interpolated(images, method)]
    return net(*groups)[0] * unit  # type: ignore[no-any-return]


def _ratio(fine: Tensor, coarse: Tensor) -> int:
    ratios = {f / c for f, c in zip(fine.shape[-2:], coarse.shape[-2:], strict=True)}
    (ratio, *others) = ratios
    if others or ratio != int(ratio):
        raise InputError(
            f"images of {tuple(fine.shape[-2:])} and {tuple(coarse.shape[-2:])} pixels do not nest; crop them to a "
            "common extent in whole coarse pixels"
        )
    return int(ratio)


def _mirrored(x: Tensor, margin: int) -> Tensor:
    """Symmetric padding (the edge pixel is repeated) by less than the image."""
    if margin == 0:
        return x
    for dim in (-2, -1):
        side = x.shape[dim]
        if margin > side:
            raise InputError(f"an image of {side} pixels cannot be mirrored by {margin}; use tile=0")
        head, tail = x.narrow(dim, 0, margin).flip(dim), x.narrow(dim, side - margin, margin).flip(dim)
        x = torch.cat([head, x, tail], dim=dim)
    return x


def _origins(height: int, width: int, size: int, edge: int) -> Iterator[tuple[int, int]]:
    """Upper left corners of tiles in the padded image; the last ones end where it ends."""
    step = size - 2 * edge
    rows, cols = (
        [*range(0, max(side - size, 0), step), max(side - size, 0)] if side > size else [0] for side in (height, width)
    )
    yield from ((row, col) for row in rows for col in cols)


def _part(x: Tensor, row: int, col: int, size: int, ratio: int) -> Tensor:
    return x[..., row // ratio : (row + size) // ratio, col // ratio : (col + size) // ratio]


def degraded(images: Sequence[Tensor], factor: int) -> list[Tensor]:
    """Every group as if its pixels were `factor` times larger (Wald's protocol): `[c, h, w]` -> `[c, h/f, w/f]`.

    A Gaussian of sigma 1 / factor pixel (of the given image), then block means, as the authors did. Sides are cut to
    whole blocks.
    """
    return [_block_mean(_blurred(x, 1.0 / factor), factor) for x in images]


def _blurred(x: Tensor, sigma: float) -> Tensor:
    half = max(1, round(4 * sigma))
    offsets = torch.arange(-half, half + 1, dtype=torch.float64)
    taps = torch.exp(-(offsets**2) / (2 * sigma**2))
    taps = (taps / taps.sum()).to(x)
    y = F.pad(x[:, None], (half,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(y, taps[None, None, :, None]), taps[None, None, None, :])[:, 0]


def _block_mean(x: Tensor, factor: int) -> Tensor:
    return F.avg_pool2d(x[None], factor)[0]
