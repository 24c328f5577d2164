"""DSen2: the 20 m and 60 m bands of Sentinel-2 on its 10 m grid, by residual learning.

After Lanaras et al. 2018, "Super-resolution of Sentinel-2 images: learning a globally applicable deep neural
network", ISPRS J. 146. Values are reflectance x 10000 / 2000; every band comes already interpolated to 10 m.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.errors import InputError

from .rrdb import conv3x3

RESIDUAL_SCALE = 0.1


class Dsen2Net(nn.Module):
    """Convolution, `blocks` residual blocks, convolution; what comes out is added to the last group of bands.

    `groups` counts the bands of each input, finest first: (4, 6) for the 20 m network, (4, 6, 2) for the 60 m one.
    The published sizes are 6 blocks of 128 features (DSen2) and 32 blocks of 256 (VDSen2). Names of the parameters
    are those of the PyTorch port: conv1, layers.0 .. layers.(2 blocks - 1), conv2.
    """

    def __init__(self, groups: Sequence[int] = (4, 6), blocks: int = 6, features: int = 128) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.conv1 = conv3x3(sum(groups), features)
        self.layers = nn.ModuleList(conv3x3(features, features) for _ in range(2 * blocks))
        self.conv2 = conv3x3(features, groups[-1])
        self.apply(_he_uniform)

    @property
    def reach(self) -> int:
        """Distance in pixels from which an input can influence an output: one per convolution."""
        return len(self.layers) + 2

    def residual(self, *images: Tensor) -> Tensor:
        """What the network adds to the last input; arguments as `forward`."""
        found = tuple(image.shape[1] for image in images)
        if found != self.groups:
            raise InputError(f"this DSen2 network takes images of {self.groups} bands, found {found}")
        x = F.relu(self.conv1(torch.cat(images, dim=1)))
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            x = torch.add(x, second(F.relu(first(x))), alpha=RESIDUAL_SCALE)
        return self.conv2(x)  # type: ignore[no-any-return]

    def forward(self, *images: Tensor) -> Tensor:
        """Groups of bands on one 10 m grid, finest first: `[n, c_i, h, w]` -> `[n, c_last, h, w]`, same unit.

        Raises:
            InputError: other numbers of bands than the network's.
        """
        return images[-1] + self.residual(*images)


def _he_uniform(module: nn.Module) -> None:
    """The initialisation of the original: weights uniform after He et al. 2015, biases zero."""
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
