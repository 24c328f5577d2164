"""Deep-Harmonization networks: time against the plain formulation, and memory of the largest.

    python benchmarks/deepharmo.py time [--dtype bfloat16] [--size 512] [--repeat 3] [--growth 6] [--only NAME]
    python benchmarks/deepharmo.py memory [--size 1024]

`time` runs each of the four published architectures (weights drawn) on one tile, in the plain formulation (below: the
published order of operations, contiguous tensors) and as the methods run it, alternating, and prints the median of both
and their geometric mean ratio. The plain one runs in float32 always. `memory` runs the 226 M network on one scene
through the method and prints the peak resident size of the process.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.checkpoints.deepharmo import save_deepharmo
from sitsfusion.methods.deepharmo.member import Desk
from sitsfusion.nets.deepharmo import DeepHarmoNet, Upsample
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.weights.deepharmo import DeepHarmoWeights, published


def plain(net: DeepHarmoNet, x: Tensor) -> Tensor:
    """The published forward pass: bilinear before the 1x1 convolution, every map resized, nothing reordered."""
    maps: list[Tensor] = []
    for level, block in enumerate(net.down):
        x = block(x if level == 0 else F.avg_pool2d(x, 2))
        maps.append(x)
    x = maps.pop()
    for up, merge in zip(net.up, net.merge, strict=True):
        skip = maps.pop()
        if isinstance(up, Upsample):
            x = up.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        else:
            x = up(x)
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        x = merge(torch.cat([x, skip], dim=1))
    return net.final(x)


def drawn(config: DeepHarmoConfig, folder: Path) -> Path:
    """A folder of weights drawn from a seed."""
    torch.manual_seed(0)
    net = DeepHarmoNet(config)
    save_deepharmo(folder, net, DeepHarmoWeights(name="drawn", architecture=config, licence="none", source="drawn"))
    return folder


def timed(run: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.inference_mode()
def compare(name: str, config: DeepHarmoConfig, size: int, dtype: torch.dtype, repeat: int) -> float:
    """Median times of both forms, alternating; prints and returns the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        path = drawn(config, Path(folder))
        x = torch.rand(1, config.in_channels, size, size)
        first, second = Desk(), Desk()
        reference = first.take(path, torch.device("cpu"), torch.float32).to(memory_format=torch.contiguous_format)
        ours = second.take(path, torch.device("cpu"), dtype)
        images = x.to(dtype=dtype, memory_format=torch.channels_last)
        difference = float((plain(reference, x) - ours(images).float()).abs().max())
        pairs = [(timed(lambda: plain(reference, x)), timed(lambda: ours(images))) for _ in range(repeat)]
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"| {name} | {a:.2f} | {b:.2f} | {a / b:.2f} | {difference:.1e} |", flush=True)
    return a / b


def run_time(size: int, dtype: torch.dtype, repeat: int, growth: int, only: str | None) -> None:
    print(f"tile of {size} pixels, {torch.get_num_threads()} thread(s), {dtype}, growth {growth}\n")
    print("| network | plain float32, s | ours, s | ratio | largest difference |\n|---|---|---|---|---|")
    ratios = [
        compare(name, entry.architecture.model_copy(update={"growth_factor": growth}), size, dtype, repeat)
        for name, entry in published().items()
        if only in (None, name)
    ]
    print(f"\ngeometric mean ratio {math.prod(ratios) ** (1 / len(ratios)):.2f}")


@torch.inference_mode()
def run_memory(size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = drawn(published()["6depth-shuffle"].architecture, Path(folder))
        torch.set_grad_enabled(False)
        net = Desk().take(path, torch.device("cpu"), torch.float32)
        x = torch.rand(1, 7, size, size).to(memory_format=torch.channels_last)
        seconds = timed(lambda: net(x))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{sum(p.numel() for p in net.parameters()) / 1e6:.1f} M parameters, {size} x {size} pixels: "
          f"{seconds:.1f} s, peak resident {peak / 1e9:.2f} GB")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "memory"])
    parser.add_argument("--size", type=int)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--growth", type=int, default=6, help="6 is the published width")
    parser.add_argument("--only", choices=list(published()), help="one network")
    given = parser.parse_args()
    if given.what == "memory":
        run_memory(given.size or 1024)
    else:
        run_time(given.size or 512, getattr(torch, given.dtype), given.repeat, given.growth, given.only)


if __name__ == "__main__":
    main()
