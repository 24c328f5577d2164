"""U-TILISE as published, formula by formula: what `methods/utilise/sequence.py` is measured against.

Every window in time is a forward pass of its own, which encodes its frames anew; the attention is enlarged for every
pair of frames and multiplied with the features of every frame before the sum over the sources is taken. (The published
code, in addition, runs each block a second time on zeros to learn its output size; that is left out here.)
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from sitsfusion.methods.utilise.sequence import join_windows, windows_in_time
from sitsfusion.nets.utae_blocks import FrameBlock, resize_attention
from sitsfusion.nets.utilise import UTILISE, UpBlock


def aggregated(features: Tensor, attention: Tensor) -> Tensor:
    """`[b, s, c, y, x]`, `[head, b, t, s, h, w]` -> `[b, t, c, y, x]`, all products in memory."""
    weights = resize_attention(attention, (features.shape[-2], features.shape[-1]))
    grouped = rearrange(features, "b s (h c) y x -> h b s c y x", h=len(attention))
    products = weights[:, :, :, :, None] * grouped[:, :, None]  # [head, b, t, s, c, y, x]
    return rearrange(products.sum(3), "h b t c y x -> b t (h c) y x")


def each(block: FrameBlock, x: Tensor) -> Tensor:
    """A block on every frame, images as they come in memory."""
    y = block.images(x.flatten(0, 1))
    return y.view(*x.shape[:2], *y.shape[1:])


def enlarged(block: UpBlock, deep: Tensor, skip: Tensor) -> Tensor:
    """One level up."""
    a = each(block.conv1, torch.cat([each(block.up, deep), each(block.skip_conv, skip)], dim=2))
    return a + each(block.conv2, a)


def forward(net: UTILISE, x: Tensor, days: Tensor) -> Tensor:
    """One pass over all frames: `[b, t, c, h, w]`, `[b, t]` -> `[b, t, c', h, w]`."""
    features = [each(net.in_conv, x)]
    for down in net.down_blocks:
        features.append(each(down, features[-1]))
    *skips, out = features
    attention = torch.empty(0)
    for layer in net.temporal_encoder:
        out, attention = layer(out, days)
    for block, skip in zip(net.up_blocks, reversed(skips), strict=True):
        out = enlarged(block, out, aggregated(skip, attention))
    return each(net.out_conv, out)


@torch.inference_mode()
def impute(net: UTILISE, x: Tensor, days: Tensor, masks: Tensor, length: int | None) -> Tensor:
    """The complete series of one place."""
    windows = windows_in_time(masks.float().mean((0, 2, 3, 4)), length)
    return join_windows(lambda first, last: forward(net, x[:, first:last], days[:, first:last]), windows)[0]
