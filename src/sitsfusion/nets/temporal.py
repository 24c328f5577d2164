"""Attention over the dates of a pixel: a post-norm transformer, and the same layer as cross attention.

Tokens are `[b, p, t, d]`: batch, pixel, date, width; every pixel is on its own. A key mask
`[b, p, t]` is True where a date must not be looked at. The layer is the one of Vaswani et
al. 2017 (`x = norm(x + sublayer(x))`, ReLU); PyTorch's own layers are not used because the
query of the cross attention may be shared by all pixels, which they would copy and project
once per pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

# CUDA attention kernels refuse more than 65,535 items in a batch; a 256 x 256 tile has 65,536 pixels.
MAX_BATCH = 32768


def scaled_dot_product(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None, dropout: float) -> Tensor:
    """Attention of any number of items: `q [n, heads, tq, e]`, `k, v [n, heads, t, e]`, mask `[n, t]` or None."""
    size = MAX_BATCH if q.shape[0] > MAX_BATCH else max(q.shape[0], 1)
    parts = []
    for i in range(0, max(q.shape[0], 1), size):
        part = slice(i, i + size)
        allowed = None if key_mask is None else ~key_mask[part, None, None]  # [n, 1, 1, t]
        parts.append(F.scaled_dot_product_attention(q[part], k[part], v[part], attn_mask=allowed, dropout_p=dropout))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


class Attention(nn.Module):
    """Multi-head attention with one projection `in_proj` whose rows are queries, keys, values, in that order.

    With `zero_key` one all-zero key and value are appended after the projections, so the
    weights of the real keys sum to less than 1 and attention to no key at all is defined.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, zero_key: bool = False) -> None:
        super().__init__()
        self.width, self.heads, self.dropout, self.zero_key = width, heads, dropout, zero_key
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)
        nn.init.zeros_(self.out_proj.bias)

    def query(self, x: Tensor) -> Tensor:
        """Projected queries: `[..., d]` -> `[..., d]`, heads side by side."""
        return F.linear(x, self.in_proj.weight[: self.width], self.in_proj.bias[: self.width])

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Projected keys and values: `[..., d]` -> two of `[..., d]`, heads side by side."""
        k, v = F.linear(x, self.in_proj.weight[self.width :], self.in_proj.bias[self.width :]).chunk(2, dim=-1)
        return k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Weighted values, before the output projection.

        `q [b, p or 1, tq, d]`, `k, v [b, p, t, d]`, `key_mask [b, p, t]` (True = ignored) -> `[b, p, tq, d]`.
        """
        b, p = k.shape[:2]
        if self.zero_key:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
            key_mask = None if key_mask is None else F.pad(key_mask, (0, 1), value=False)
        split = "b p t (heads e) -> (b p) heads t e"
        q, k, v = (rearrange(x.expand(-1, p, -1, -1), split, heads=self.heads) for x in (q, k, v))
        mask = None if key_mask is None else key_mask.flatten(0, 1)
        out = scaled_dot_product(q, k, v, mask, self.dropout if self.training else 0.0)
        return rearrange(out, "(b p) heads t e -> b p t (heads e)", b=b)

    def forward(self, queries: Tensor, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """`queries [b, p or 1, tq, d]`, `tokens [b, p, t, d]`, `key_mask [b, p, t]` -> `[b, p, tq, d]`."""
        k, v = self.key_value(tokens)
        return self.out_proj(self.attend(self.query(queries), k, v, key_mask))  # type: ignore[no-any-return]


class AttentionLayer(nn.Module):
    """Post-norm layer: `x = norm1(x + attention(x, tokens)); x = norm2(x + W2 relu(W1 x))`.

    Dropout acts on the attention weights, after the attention, after the ReLU and after W2.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float = 0.1, zero_key: bool = False) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout, zero_key)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.norm2 = nn.LayerNorm(width, eps=1e-5)
        self.dropout = nn.Dropout(dropout)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Everything after the attention: both residuals, norms and the feed-forward part; `[..., d]`."""
        x = self.norm1(x + self.dropout(attended))
        y = self.linear2(self.dropout(F.relu(self.linear1(x))))
        return self.norm2(x + self.dropout(y))  # type: ignore[no-any-return]

    def forward(self, queries: Tensor, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """`queries [b, p or 1, tq, d]`, `tokens [b, p, t, d]`, `key_mask [b, p, t]` -> `[b, p, tq, d]`."""
        return self.finish(queries, self.attention(queries, tokens, key_mask))


class TemporalTransformer(nn.Module):
    """Self-attention layers over the dates of each pixel; no final norm."""

    def __init__(self, width: int, heads: int, feedforward: int, layers: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(AttentionLayer(width, heads, feedforward, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """`[b, p, t, d]`, `key_mask [b, p, t]` -> `[b, p, t, d]`; masked dates are not looked at but still output."""
        if tokens.shape[-2] == 0:
            return tokens
        for layer in self.layers:
            tokens = layer(tokens, tokens, key_mask)
        return tokens


def without_key(key_mask: Tensor) -> Tensor:
    """Pixels all of whose keys are masked: `[b, p, t]` -> bool `[b, p]`."""
    return key_mask.all(dim=-1)


class CrossAttention(AttentionLayer):
    """Queries look at the dates of a pixel, with a zero key; pixels without any valid key give 0."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float = 0.1) -> None:
        super().__init__(width, heads, feedforward, dropout, zero_key=True)

    def forward(self, queries: Tensor, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """`queries [b, p or 1, tq, d]`, `tokens [b, p, t, d]`, `key_mask [b, p, t]` -> `[b, p, tq, d]`."""
        out = super().forward(queries, tokens, key_mask)
        return out if key_mask is None else out.masked_fill(without_key(key_mask)[..., None, None], 0.0)
