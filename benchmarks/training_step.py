"""Cost of one optimisation step with the published objective, against the textbook way of doing it; see README.md.

    python benchmarks/training_step.py --quick           patch of 66, 8 + 12 dates; about 3 minutes on a core
    python benchmarks/training_step.py                   the published patch of 165
    python benchmarks/training_step.py --device cuda     on a GPU

Either way runs in a process of its own, on the same weights and images: forward, backward, Adam. No dropout, so that
the losses can be compared.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_case import memory, network, seconds
from sitsfusion.losses.lpips import BLOCKS, WIDTHS, MaskedLpips
from sitsfusion.losses.tamrfsits import PRESETS, Objective, ObjectiveConfig
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.series import Series
from sitsfusion.strategies import Split, StrategyOptions, split
from sitsfusion.weights.config import standardised_inputs
from training_step_plain import PlainLpips, PlainStep

WANTED = 2.0
EQUAL = 1e-3  # relative, of losses


@dataclass(frozen=True)
class Case:
    """Images of one place, some of them under clouds, and the dates that are hidden."""

    patch: int  # side in fine pixels, a multiple of 3
    lr_dates: int
    hr_dates: int
    smallest: int = 36  # pixels a side that the margin, published as 27, must leave; VGG16 needs 32

    @property
    def config(self) -> ObjectiveConfig:
        """The published objective."""
        published = PRESETS["spatiotemporal_fusion"]
        return published.model_copy(update={"margin": min(published.margin, (self.patch - self.smallest) // 6 * 3)})

    def series(self, role: str) -> Series:
        """Standardised: smooth surfaces, noise, clouds that are bright."""
        t, c, side = (self.lr_dates, 8, self.patch // 3) if role == "lr" else (self.hr_dates, 10, self.patch)
        rng = torch.Generator().manual_seed(100 * t + c)
        clouds = _smooth(rng, t, 1, side)[:, 0]
        share = (torch.arange(t) % 4) * 0.2  # every fourth date is clear, then 20, 40 and 60 % are clouds
        limit = torch.stack([one.quantile(1 - q) for one, q in zip(clouds.flatten(1), share, strict=True)])
        cloudy = clouds > limit[:, None, None]
        values = _smooth(rng, t, c, side) + 0.1 * torch.randn(t, c, side, side, generator=rng)
        values = torch.where(cloudy[:, None], values + 3, values)
        days = (torch.linspace(0, 350, t) + (role == "lr")).round()  # no day in common
        return Series(values[None], days[None], ~cloudy[None])

    def split(self) -> Split:
        """Half of the dates hidden."""
        days = [self.series(role).days[0].tolist() for role in ("lr", "hr")]
        return split("RANDOM", *days, StrategyOptions(rate=0.5), random.Random(0))


def _smooth(rng: torch.Generator, t: int, c: int, side: int) -> Tensor:
    coarse = torch.randn(t, c, 6, 6, generator=rng)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)


def vgg_weights() -> dict[str, Tensor]:
    """VGG16's convolutions, seeded; activations keep their scale."""
    rng = torch.Generator().manual_seed(0)
    found, channels = {}, 3
    for block, width in zip(BLOCKS, WIDTHS, strict=True):
        for i in block:
            scale = math.sqrt(2 / (9 * channels))
            found[f"features.{i}.weight"] = torch.randn(width, channels, 3, 3, generator=rng) * scale
            found[f"features.{i}.bias"] = 0.1 * torch.randn(width, generator=rng)
            channels = width
    return found


def linear_weights() -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.rand(1, width, 1, 1, generator=rng) / width for width in WIDTHS]


def loss_of(path: str, net: TamrfsitsNet, case: Case, device: str = "cpu") -> tuple[Any, torch.nn.Module]:
    """A function without arguments that gives the loss, and the module whose parameters it depends on."""
    inputs = standardised_inputs("ls2s2_all")
    lr, hr = (case.series(role).to(device) for role in ("lr", "hr"))
    if path == "plain":
        lpips = PlainLpips(vgg_weights(), [w.to(device) for w in linear_weights()])
        step = PlainStep(net, case.config, *inputs, lpips).eval().to(device)
        step.kernels = {role: kernel.to(device) for role, kernel in step.kernels.items()}
        return lambda: step(lr, hr, case.split()), step
    objective = Objective(case.config, *inputs, MaskedLpips(vgg_weights(), linear_weights())).to(device)
    net = net.to(device)

    def loss() -> Tensor:
        terms = objective(net, lr, hr, [case.split()])
        assert terms is not None
        return terms["total_loss"]

    return loss, net


def work(options: argparse.Namespace) -> None:
    """One way, measured after a warm-up on a small case."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    one_step(*loss_of(options.path, network(), Case(42, 4, 4), options.device))
    loss, module = loss_of(options.path, network(), Case(options.patch, *options.dates), options.device)
    before = memory("VmRSS")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.process_time()
    took, value = seconds(lambda: one_step(loss, module), device)
    busy = time.process_time() - started
    used = memory("VmHWM") - before if device.type == "cpu" else torch.cuda.max_memory_allocated(device)
    print(json.dumps({"seconds": took, "processor": busy, "memory": used, "loss": value}))


def one_step(loss: Any, module: torch.nn.Module) -> float:
    """Forward, backward, Adam; the loss."""
    adam = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 1e-4)
    value = loss()
    value.backward()
    adam.step()
    return float(value.detach())


def measure(path: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--path", path, "--patch", str(options.patch), "--device", options.device]
    command += ["--dates", *map(str, options.dates), "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{path:6} {found['seconds']:8.2f} s {found['processor']:8.2f} s of CPU {found['memory'] / 2**20:8.0f} MiB  "
        f"loss {found['loss']:.6f}",
        flush=True,
    )
    return found


def report(options: argparse.Namespace) -> bool:
    """Measure and print; False if the losses differ or the step is not fast enough."""
    lr, hr = options.dates
    print(f"patch {options.patch}, {lr} LR + {hr} HR dates, {options.device}, {options.threads} threads,", end=" ")
    print(f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f} before")
    plain, fast = measure("plain", options), measure("fast", options)
    timed = "seconds" if options.device == "cuda" else "processor"
    times, saved = (plain[name] / fast[name] for name in (timed, "memory"))
    gap = abs(fast["loss"] - plain["loss"]) / abs(plain["loss"])
    print(f"{times:.2f} times less time ({timed}), wanted {WANTED}; 1/{saved:.2f} of the memory")
    print(f"relative difference of the losses {gap:.1e}, wanted {EQUAL:.0e}")
    return times >= WANTED and gap <= EQUAL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="patch 66, 8 + 12 dates")
    parser.add_argument("--patch", type=int, default=165, help="side in fine pixels, a multiple of 3, 48 or more")
    parser.add_argument("--dates", type=int, nargs=2, default=(20, 30), metavar=("LR", "HR"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--path", choices=("plain", "fast"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.patch, options.dates = 66, (8, 12)
    if options.path:
        work(options)
    elif not report(options):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
