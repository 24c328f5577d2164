"""Per-pixel networks: a multi-layer perceptron over bands, as 1x1 convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def hidden_layer(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    """1x1 convolution, optional batch normalisation, ReLU."""
    norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=1), *norm, nn.ReLU())


class PixelMlp(nn.Module):
    """Hidden layers of the given widths and a last 1x1 convolution; no hidden layer gives a linear map."""

    def __init__(self, bands: int, outputs: int, hidden: Sequence[int] = (), batch_norm: bool = False) -> None:
        super().__init__()
        widths = [bands, *hidden]
        layers = [hidden_layer(a, b, batch_norm) for a, b in pairwise(widths)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, bands, h, w]` -> `[n, outputs, h, w]`."""
        return self.layers(x)  # type: ignore[no-any-return]
