"""The textbook way to run a tile through TAMRFSITS: everything at once, with PyTorch's own layers.

As the published code tiles an image: a 165 px tile and 18 px around it (zeros outside the image), float32 copies of
both series, all dates encoded in one batch, `nn.TransformerEncoder` over all pixels, queries materialised for each
pixel, and one decoding for the days of each sensor. PyTorch may use its fast paths (inference mode, fused layers).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.nets.temporal import AttentionLayer


class CrossAttention(nn.Module):
    """The decoder's attention with `nn.MultiheadAttention`, which has the zero key as an option."""

    def __init__(self, layer: AttentionLayer) -> None:
        super().__init__()
        attention = layer.attention
        width, heads = attention.width, attention.heads
        self.attention = nn.MultiheadAttention(width, heads, add_zero_attn=True, batch_first=True)
        self.attention.load_state_dict(attention_weights(layer))
        self.layer = layer

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """`[pixels, days, d]`, `[pixels, dates, d]` -> `[pixels, days, d]`."""
        attended, _ = self.attention(queries, tokens, tokens, need_weights=False)
        x = self.layer.norm1(queries + attended)
        return self.layer.norm2(x + self.layer.linear2(torch.relu(self.layer.linear1(x))))


def attention_weights(layer: AttentionLayer) -> dict[str, Tensor]:
    inside, outside = layer.attention.in_proj, layer.attention.out_proj
    return {
        "in_proj_weight": inside.weight,
        "in_proj_bias": inside.bias,
        "out_proj.weight": outside.weight,
        "out_proj.bias": outside.bias,
    }


def transformer(net: TamrfsitsNet) -> nn.TransformerEncoder:
    """PyTorch's transformer with the network's weights."""
    c = net.config
    layer = nn.TransformerEncoderLayer(c.width, c.heads, c.feedforward, c.dropout, batch_first=True)
    stack = nn.TransformerEncoder(layer, c.layers)
    for ours, theirs in zip(net.encoder.temporal.layers, stack.layers, strict=True):
        state = {f"self_attn.{name}": value for name, value in attention_weights(ours).items()}
        for part in ("linear1", "linear2", "norm1", "norm2"):
            state |= {f"{part}.{name}": value for name, value in getattr(ours, part).state_dict().items()}
        theirs.load_state_dict(state)
    return stack


class PlainTamrfsits(nn.Module):
    """Series of one tile with its margin -> the tile's pixels."""

    def __init__(self, net: TamrfsitsNet) -> None:
        super().__init__()
        self.net, self.transformer, self.cross = net, transformer(net), CrossAttention(net.decoder.cross)

    def forward(self, lr: Tensor, lr_days: Tensor, hr: Tensor, hr_days: Tensor, query: Tensor, margin: int) -> Tensor:
        """`[b, t, c, h, w]`, `[t]`, `[q]` -> `[b, q, 18, H - 2 margin, W - 2 margin]`, standardised."""
        tokens = torch.cat([self.tokens(lr, lr_days, "lr"), self.tokens(hr, hr_days, "hr")], dim=1)
        b, t, d, h, w = tokens.shape
        pixels = tokens.permute(0, 3, 4, 1, 2).reshape(b * h * w, t, d)
        del tokens
        encoded = self.transformer(pixels)
        del pixels
        coarse = self.decode(encoded, query, (b, h, w))[:, :, : self.net.config.lr_bands]
        fine = self.decode(encoded, query, (b, h, w))[:, :, self.net.config.lr_bands :]
        return torch.cat([coarse, fine], dim=2)[..., margin : h - margin, margin : w - margin]

    def tokens(self, images: Tensor, days: Tensor, role: str) -> Tensor:
        """Features, day encoding and sensor token: `[b, t, d, H, W]`."""
        encoder = self.net.encoder
        b, t = images.shape[:2]
        features = encoder.features(images.flatten(0, 1), role).unflatten(0, (b, t))
        size = features.shape[-2:]
        encoding = encoder.encoding(days)[None, :, :, None, None].expand(b, t, -1, *size)
        token = encoder.lr_token if role == "lr" else encoder.hr_token
        return torch.cat([features, encoding, token[None, None, :, None, None].expand(b, t, -1, *size)], dim=2)

    def decode(self, encoded: Tensor, query: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """All bands at all days, with one query per pixel and day: `[b, q, 18, H, W]`."""
        b, h, w = shape
        queries = self.net.decoder.queries(query).expand(b * h * w, -1, -1).contiguous()
        attended = self.cross(queries, encoded)  # [b * h * w, q, d]
        images = attended.reshape(b, h, w, len(query), -1).permute(0, 3, 4, 1, 2).flatten(0, 1)
        return self.net.decoder.spatial(images).unflatten(0, (b, len(query)))
