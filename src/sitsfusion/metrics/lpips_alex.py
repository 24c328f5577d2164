"""LPIPS with AlexNet features: the perceptual distance that papers report (Zhang et al. 2018, arXiv 1801.03924, v0.1).

The weights come from files that the user names, nothing is downloaded: AlexNet as torchvision publishes it
(`alexnet-owt-7be5be79.pth`) and the linear weights of the `lpips` package (`alex.pth`), or one file with both.
For images of which parts are unknown there is `losses.lpips`, with VGG16.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.checkpoints.common import read_torch, require_same, shapes
from sitsfusion.errors import InputError

# (position in torchvision's list, outputs, inputs, kernel, stride, padding) of each convolution; pooling comes before
# the second and the third.
_CONVOLUTIONS = (
    (0, 64, 3, 11, 4, 2),
    (3, 192, 64, 5, 1, 2),
    (6, 384, 192, 3, 1, 1),
    (8, 256, 384, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
_POOLED_BEFORE = (3, 6)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10
MIN_SIDE = 31  # smaller images have no pixel left before the third convolution


class AlexLpips(nn.Module):
    """LPIPS of images in [-1, 1] with fixed weights, which take no gradient and are not part of the state dict.

    Args:
        state: `features.<i>.weight` and `.bias` of the five convolutions, and `lin<i>` `[1 c 1 1]`.

    Raises:
        CheckpointError: entries missing or of another shape.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        require_same(_expected(), shapes(state), "AlexNet with the linear weights of LPIPS", "the LPIPS files")
        for name, weight in state.items():
            self.register_buffer(name.replace(".", "_"), weight.detach().float().clone(), persistent=False)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance of each pair: `[n 3 h w]` twice, red, green, blue in [-1, 1] -> `[n]`, 0 for equal images."""
        return self.layers(first, second).sum(0)

    def layers(self, first: Tensor, second: Tensor) -> Tensor:
        """What each of the five layers adds to the distance: `[5 n]`.

        Raises:
            InputError: other shapes, or images too small.
        """
        if first.shape != second.shape or first.ndim != 4 or first.shape[1] != 3 or min(first.shape[-2:]) < MIN_SIDE:
            raise InputError(
                f"LPIPS compares images [n 3 h w] of {MIN_SIDE} pixels a side at least, found {tuple(first.shape)} and "
                f"{tuple(second.shape)}"
            )
        pairs = zip(self._features(first), self._features(second), strict=True)
        found = []
        for i, (a, b) in enumerate(pairs):
            squares = (_normalised(a) - _normalised(b)).square()
            found.append(F.conv2d(squares, self.get_buffer(f"lin{i}")).mean((1, 2, 3)))
        return torch.stack(found)

    def _features(self, x: Tensor) -> list[Tensor]:
        x = (x - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        for i, *_, stride, padding in _CONVOLUTIONS:
            x = F.max_pool2d(x, 3, 2) if i in _POOLED_BEFORE else x
            weight, bias = self.get_buffer(f"features_{i}_weight"), self.get_buffer(f"features_{i}_bias")
            x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))
            found.append(x)
        return found


def load_alex_lpips(files: Sequence[Path]) -> AlexLpips:
    """Read the weights of `AlexLpips` from one or several files of torch.save.

    Entries may be named as by torchvision (`features.0.weight`) or by the lpips package (`net.slice1.0.weight`,
    `lin0.model.1.weight`); others are ignored.

    Raises:
        ReadError: a file is missing or damaged.
        CheckpointError: unsafe content, or entries missing.
    """
    state: dict[str, Tensor] = {}
    for file in files:
        state |= own_names(read_torch(file))
    return AlexLpips(state)


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries that LPIPS takes, under the names of `AlexLpips`."""
    found = {}
    for name, tensor in state.items():
        if match := re.search(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)$", name):
            found[f"features.{match[1]}.{match[2]}"] = tensor
        elif match := re.search(r"(?:^|\.)lin(\d)(?:\.model\.1\.weight)?$", name):
            found[f"lin{match[1]}"] = tensor
    return found


def _expected() -> dict[str, tuple[int, ...]]:
    expected: dict[str, tuple[int, ...]] = {}
    for k, (i, outputs, inputs, side, _, _) in enumerate(_CONVOLUTIONS):
        expected |= {f"features.{i}.weight": (outputs, inputs, side, side), f"features.{i}.bias": (outputs,)}
        expected[f"lin{k}"] = (1, outputs, 1, 1)
    return expected


def _normalised(features: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (norm + _EPSILON)
