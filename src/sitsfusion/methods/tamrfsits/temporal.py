"""The temporal part of the network, for some pixels at a time.

Everything here is work on single pixels, so any chunk of pixels gives the same result. Queries are alike for all
pixels: they are built and projected once per day. Matrix products run in the dtype of the network copy `low`; norms,
softmax and the residual stream are float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.nets.temporal import MAX_BATCH, AttentionLayer, scaled_dot_product

# Tokens per chunk on a CPU: their activations (about 4 kB each) stay in its caches. From 2048 to 16384 the speed is
# the same within 5 %.
TOKENS = 4096


@dataclass(frozen=True, eq=False)
class Temporal:
    """The transformer of the encoder and the cross attention of the decoder.

    `exact` is the network in float32; `low` is its copy in the dtype of the products (the same when that is float32).
    `batch` multiplies the number of tokens that are processed together.
    """

    exact: TamrfsitsNet
    low: TamrfsitsNet
    batch: int

    @property
    def dtype(self) -> torch.dtype:
        return self.low.decoder.default_token.dtype

    def chunks(self, pixels: int, tokens: int) -> Iterator[slice]:
        """Runs of pixels of so many tokens each to process together, never more than an attention kernel takes."""
        size = max(1, min(self.batch * TOKENS // max(tokens, 1), MAX_BATCH))
        return (slice(i, min(i + size, pixels)) for i in range(0, pixels, size))

    def key_values(self, tokens: Tensor) -> Tensor:
        """The decoder's keys, then values, of tokens before the transformer: `[n, t, d]` -> `[n, t, 2d]`."""
        for low, exact in zip(self.low.encoder.temporal.layers, self.exact.encoder.temporal.layers, strict=True):
            tokens = self._layer(cast(AttentionLayer, low), cast(AttentionLayer, exact), tokens)
        attention = self.low.decoder.cross.attention
        weight, bias = attention.in_proj.weight[attention.width :], attention.in_proj.bias[attention.width :]
        return F.linear(tokens.to(self.dtype), weight, bias)

    def queries(self, days: Tensor) -> tuple[Tensor, Tensor]:
        """Query vectors `[q, d]` float32 of days `[q]`, and the same projected `[heads, q, e]` in the low dtype."""
        queries = self.exact.decoder.queries(days)
        attention = self.exact.decoder.cross.attention
        projected = rearrange(attention.query(queries), "q (heads e) -> heads q e", heads=attention.heads)
        return queries, projected.to(self.dtype)

    def attend(self, queries: tuple[Tensor, Tensor], key_values: Tensor) -> Tensor:
        """What the queries find: keys and values `[n, t + 1, 2d]`, the last ones zero -> `[n, q, d]` float32."""
        vectors, projected = queries
        cross = self.low.decoder.cross
        split = "n t (two heads e) -> two n heads t e"
        k, v = rearrange(key_values, split, two=2, heads=cross.attention.heads)
        q = projected.expand(len(k), -1, -1, -1)  # [n, heads, q, e], one copy for all pixels
        found = rearrange(scaled_dot_product(q, k, v, None, 0.0), "n heads q e -> n q (heads e)")
        return self._finish(cross, self.exact.decoder.cross, vectors, cross.attention.out_proj(found))

    def _layer(self, low: AttentionLayer, exact: AttentionLayer, x: Tensor) -> Tensor:
        projected = low.attention.in_proj(x.to(self.dtype))  # [n, t, 3d]
        split = "n t (three heads e) -> three n heads t e"
        q, k, v = rearrange(projected, split, three=3, heads=low.attention.heads)
        attended = rearrange(scaled_dot_product(q, k, v, None, 0.0), "n heads t e -> n t (heads e)")
        return self._finish(low, exact, x, low.attention.out_proj(attended))

    def _finish(self, low: AttentionLayer, exact: AttentionLayer, x: Tensor, attended: Tensor) -> Tensor:
        """`AttentionLayer.finish` without dropout, with float32 norms; `x` may lack the axis of pixels."""
        x = _norm(exact.norm1, attended + x)  # float32 as soon as one of them is
        y = low.linear2(F.relu_(low.linear1(x.to(self.dtype))))
        return _norm(exact.norm2, y + x)


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
