"""The cost benchmark of TAMRFSITS: seconds and memory of one tile by the number of images and of days asked for."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import Any

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.frames import Frames, Settings
from sitsfusion.methods.tamrfsits.inference import predict_core
from sitsfusion.nets.tamrfsits import TamrfsitsNet

_FINE_SHARE = 1 / 1.625  # of all input images, as published
_FACTOR = 3  # fine pixels along a coarse one
_LAST_DAY = 365
_MIB = 2**20


@dataclass(frozen=True)
class CostOptions:
    """What is measured; the defaults are the published ones.

    Attributes:
        lr_tile_size: side of the tile in coarse pixels.
        nb_input_dates: images of both sensors together; 1 / 1.625 of them are fine.
        nb_target_dates: days asked for, the first of `linspace(0, 365, most)`.
        nb_runs: repetitions that are timed, after one that is not.
        device: cpu or cuda.
    """

    lr_tile_size: int = 55
    nb_input_dates: tuple[int, ...] = (8, 16, 32, 64, 128)
    nb_target_dates: tuple[int, ...] = (12, 24)
    nb_runs: int = 5
    device: str = "cpu"

    def __post_init__(self) -> None:
        numbers = (self.lr_tile_size, self.nb_runs, *self.nb_input_dates, *self.nb_target_dates)
        if min(numbers) < 1 or not (self.nb_input_dates and self.nb_target_dates):
            raise InputError(f"{self}: sizes, runs and numbers of dates must be 1 or more")


def cost_table(options: CostOptions, net: TamrfsitsNet | None = None) -> list[dict[str, Any]]:
    """Measure every combination, sorted by the number of days asked for.

    Args:
        options: what.
        net: the network; None: the published architecture with random weights.

    Returns:
        Rows with nb_input_dates, nb_target_dates, time (seconds per run), cuda_memory and cpu_memory (MiB: peak of the
        device, 0 on a CPU; growth of the peak resident size, which never shrinks, so that a smaller case after a larger
        one shows 0), and the three per million fine pixels.
    """
    torch.manual_seed(0)
    model = (net or TamrfsitsNet()).eval().to(options.device)
    return [
        {"nb_input_dates": given, "nb_target_dates": asked} | _measured(model, options, given, asked)
        for asked in sorted(options.nb_target_dates)
        for given in options.nb_input_dates
    ]


def _measured(net: TamrfsitsNet, options: CostOptions, given: int, asked: int) -> dict[str, float]:
    before, call = _peak(), _call(net, options, given, asked)
    call()
    cuda = options.device.startswith("cuda")
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(options.device)
    started = time.perf_counter()
    for _ in range(options.nb_runs):
        call()  # gives its result on the CPU: the device has finished
    seconds = (time.perf_counter() - started) / options.nb_runs
    found = {
        "time": seconds,
        "cuda_memory": torch.cuda.max_memory_allocated(options.device) / _MIB if cuda else 0.0,
        "cpu_memory": _peak() - before,
    }
    pixels = (_FACTOR * options.lr_tile_size) ** 2 / 1e6
    return found | {f"{name}_per_mp": value / pixels for name, value in found.items()}


def _peak() -> float:
    """Peak resident size of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _call(net: TamrfsitsNet, options: CostOptions, given: int, asked: int) -> Callable[[], Tensor]:
    fine = floor(given * _FINE_SHARE)
    draw = torch.Generator().manual_seed(given)
    days = torch.linspace(0, _LAST_DAY, max(options.nb_target_dates))[:asked]
    inputs = {
        "lr": _frames(given - fine, net.config.lr_bands, options.lr_tile_size, draw),
        "hr": _frames(fine, net.config.hr_bands, _FACTOR * options.lr_tile_size, draw),
    }
    settings = Settings(torch.device(options.device))

    @torch.inference_mode()
    def call() -> Tensor:
        return predict_core(net, inputs["lr"], inputs["hr"], days, settings)

    return call


def _frames(count: int, bands: int, side: int, draw: torch.Generator) -> Frames:
    """Random images of the tile alone, without clouds."""
    days = torch.randint(0, _LAST_DAY, (count,), generator=draw).sort().values.float()
    image = torch.randn(bands, side, side, generator=draw)
    return Frames(days, lambda t: image, (side, side), Window(0, 0, side, side))
