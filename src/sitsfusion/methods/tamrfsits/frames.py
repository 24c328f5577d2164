"""What the inference of a network is given: images of one sensor, and how to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.grid import Window


@dataclass(frozen=True, eq=False)
class Frames:
    """The images of one sensor over a window, decoded one at a time.

    Attributes:
        days: `[t]` day numbers of any dtype and order; t may be 0.
        frame: image number t of the window, standardised: float32 `[bands, height, width]` without NaN. Called once
            for each image.
        size: (height, width) of the window in pixels of the sensor.
        core: the rectangle to predict, in pixels of the window. Around it the window has the sensor's margin
            (`halo`), except where it ends at the border of the image.
    """

    days: Tensor
    frame: Callable[[int], Tensor]
    size: tuple[int, int]
    core: Window

    def __post_init__(self) -> None:
        if self.days.ndim != 1:
            raise InputError(f"days of one window must be [t], found {tuple(self.days.shape)}")
        if self.core.empty or self.core.clipped(self.size) != self.core:
            raise InputError(f"the core {self.core} does not lie inside a window of {self.size[0]} x {self.size[1]}")

    def __len__(self) -> int:
        return len(self.days)

    def batches(self, settings: Settings) -> Iterator[tuple[slice, Tensor]]:
        """Images `[n, bands, height, width]` on the device, n = `settings.batch` of them at a time."""
        for first in range(0, len(self), settings.batch):
            some = range(first, min(first + settings.batch, len(self)))
            images = torch.stack([self._checked(t) for t in some])
            images = images.to(settings.device, settings.dtype, non_blocking=True)
            yield slice(some.start, some.stop), images.contiguous(memory_format=torch.channels_last)

    def _checked(self, t: int) -> Tensor:
        image = self.frame(t)
        if image.ndim != 3 or image.shape[-2:] != self.size:
            raise InputError(f"image {t} is {tuple(image.shape)}, expected [bands, {self.size[0]}, {self.size[1]}]")
        return image


@dataclass(frozen=True)
class Settings:
    """How to compute.

    Attributes:
        device: of the network and of what is kept between the steps.
        dtype: of convolutions, linear layers, stored features, keys and values; float32 or bfloat16. Day encodings,
            norms, softmax, the residual stream of the attention layers and the output are float32 in any case.
        batch: images encoded together; rows and tokens processed together grow with it. 1 suits a CPU and its
            caches; a GPU wants more (16 and up).
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    batch: int = 1

    def __post_init__(self) -> None:
        if self.dtype not in (torch.float32, torch.bfloat16):
            raise InputError(f"inference runs in float32 or bfloat16, not in {self.dtype}")
        if self.batch < 1:
            raise InputError(f"batch must be 1 or more, found {self.batch}")
