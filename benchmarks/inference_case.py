"""The case that `inference.py` measures, and what all its processes share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.grid import Window
from sitsfusion.nets.tamrfsits import TamrfsitsNet

# Fine pixels around the tile in the image: the farthest that any output pixel reaches (20 coarse pixels).
SURROUNDINGS = 60


@dataclass(frozen=True)
class Case:
    """A tile inside an image, its dates, and the days asked for."""

    tile: int  # side in fine pixels, a multiple of 3
    lr_dates: int
    hr_dates: int
    days: int
    corner: bool = False  # the tile lies in the upper left corner of the image instead of in its middle

    @property
    def side(self) -> int:
        """Of the image, in fine pixels."""
        return self.tile + (1 if self.corner else 2) * SURROUNDINGS

    @property
    def core(self) -> Window:
        """The tile, in fine pixels of the image."""
        first = 0 if self.corner else SURROUNDINGS
        return Window(first, first, self.tile, self.tile)

    def days_of(self, role: str) -> Tensor:
        """Two years of acquisitions, and query days in between."""
        count = {"lr": self.lr_dates, "hr": self.hr_dates, "query": self.days}[role]
        return torch.linspace(0, 700, count).round()

    def images(self, role: str) -> NDArray[np.int16]:
        """Digital numbers of the whole image `[t, c, h, w]`, seeded."""
        t, c, side = (self.lr_dates, 8, self.side // 3) if role == "lr" else (self.hr_dates, 10, self.side)
        rng = np.random.default_rng([role == "lr", self.side])
        return rng.integers(100, 4000, (t, c, side, side), np.int16)

    def macs_per_pixel(self) -> float:
        """Multiply-accumulates that the formulas of the published network need per useful pixel."""
        t, q = self.lr_dates + self.hr_dates, self.days
        encoders = 761_472 * self.hr_dates + 121_344 * self.lr_dates
        transformer = 430_848 * t + 816 * t**2
        decoder = 36_992 * t + q * (106_624 + 272 * (t + 1) + 188_496)
        return encoders + transformer + decoder


def network() -> TamrfsitsNet:
    """The published architecture with seeded weights of variance 1 / inputs, which keep the scale of activations.

    So distant pixels count, and a margin that is too small shows.
    """
    torch.manual_seed(0)
    net = TamrfsitsNet().eval()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    torch.nn.init.normal_(net.decoder.default_token)
    return net


def standardised(numbers: NDArray[np.int16]) -> Tensor:
    """Digital numbers to network units; one mean and standard deviation serve for all bands here."""
    return (torch.from_numpy(numbers).float() / 10000 - 0.2) / 0.11


def memory(key: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process in bytes. Linux; getrusage would start with the parent's peak."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def machine_peak(device: torch.device) -> float:
    """Multiply-accumulates per second: the larger of a matrix product and of a 3x3 convolution."""
    side, channels, n = (1024, 64, 128) if device.type == "cpu" else (8192, 256, 512)
    a = torch.randn(side, side, device=device)
    x = torch.randn(1, channels, n, n, device=device).to(memory_format=torch.channels_last)
    conv = torch.nn.Conv2d(channels, channels, 3, padding=1).to(device=device, memory_format=torch.channels_last)
    with torch.inference_mode():
        product = side**3 / best(lambda: a @ a, device)
        convolution = 9 * channels**2 * n**2 / best(lambda: conv(x), device)
    return max(product, convolution)


def best(run: Callable[[], object], device: torch.device, repeats: int = 20) -> float:
    """Seconds of the fastest of some runs."""
    run()
    return min(seconds(run, device)[0] for _ in range(repeats))


def seconds(run: Callable[[], object], device: torch.device) -> tuple[float, object]:
    """Wall time of one run, and its result."""
    synchronise(device)
    started = time.perf_counter()
    result = run()
    synchronise(device)
    return time.perf_counter() - started, result


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
