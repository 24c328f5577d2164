"""Parts of whole images, read as the engine reads them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.inference import Frames, Settings, predict_core, reach
from sitsfusion.nets.tamrfsits import TamrfsitsNet


def frames(images: Tensor, days: Tensor, core: Window, margin: int) -> Frames:
    """Frames of a core and its margin, clipped at the border of standardised `images [t, bands, h, w]`."""
    window = core.padded(margin, (images.shape[-2], images.shape[-1]))
    rows, cols = window.slices
    return Frames(days, lambda t: images[t, :, rows, cols], (window.height, window.width), core.relative_to(window))


def cores(height: int, width: int, side: tuple[int, int]) -> Iterator[Window]:
    """Cores of `side` cells over an image, the last ones smaller."""
    for row in range(0, height, side[0]):
        for col in range(0, width, side[1]):
            yield Window(row, col, *side).clipped((height, width))


def predict_in_cores(
    net: TamrfsitsNet,
    lr: tuple[Tensor, Tensor] | None,
    hr: tuple[Tensor, Tensor] | None,
    query: Tensor,
    side: tuple[int, int],
    settings: Settings | None = None,
) -> Tensor:
    """The fast path on a whole image, core by core with the exact margin.

    `lr`, `hr`: standardised images `[t, bands, h, w]` and days `[t]`. `side` of a core in coarse pixels.
    Returns `[q, bands, H, W]`.
    """
    ratio, needed = net.config.ratio, reach(net.config)
    if lr is not None:
        height, width = lr[0].shape[-2:]
    else:
        assert hr is not None
        height, width = (n // ratio for n in hr[0].shape[-2:])
    out = torch.full((len(query), net.config.out_bands, height * ratio, width * ratio), torch.nan)
    # the engine's windows are whole cells
    fine_margin = -(-needed.hr // ratio) * ratio
    for core in cores(height, width, side):
        coarse = None if lr is None else frames(*lr, core, needed.lr)
        fine = None if hr is None else frames(*hr, core.scaled(ratio), fine_margin)
        rows, cols = core.scaled(ratio).slices
        out[..., rows, cols] = predict_core(net, coarse, fine, query, settings)
    return out
