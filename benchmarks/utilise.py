"""U-TILISE inference: the library's way against the published formulation. See README.md.

.venv/bin/python benchmarks/utilise.py                 # 30 and 100 dates of 128 x 128 pixels
.venv/bin/python benchmarks/utilise.py --quick         # 32 x 32
.venv/bin/python benchmarks/utilise.py --device cuda
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from sitsfusion.methods.utilise.sequence import SequenceOptions, impute
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.nets.utilise_config import PUBLISHED
from utilise_plain import impute as plain

BOUND = 1e-5  # largest difference in float32


def series(frames: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images in [0, 1] of which a third is masked (by 1), positions and masks."""
    rng = torch.Generator().manual_seed(seed)
    hidden = torch.rand(1, frames, 1, side // 8, side // 8, generator=rng).lt(0.3)
    masks = hidden.float().repeat_interleave(8, -1).repeat_interleave(8, -2)
    x = (0.5 * torch.rand(1, frames, 4, side, side, generator=rng)).masked_fill(masks.bool(), 1.0)
    return x, torch.arange(frames)[None] * 5.0 % 365, masks


def measured(run: Callable[[], Tensor], repeats: int, device: torch.device) -> tuple[float, float, Tensor]:
    """Median seconds, median processor seconds of this process, and the result."""
    clocks = []
    out = run()  # the first time is not counted
    for _ in range(repeats):
        wall, busy = time.perf_counter(), time.process_time()
        out = run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        clocks.append((time.perf_counter() - wall, time.process_time() - busy))
    return statistics.median(c[0] for c in clocks), statistics.median(c[1] for c in clocks), out


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 rather than emulating it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def compare(net: UTILISE, frames: int, length: int | None, side: int, repeats: int, device: torch.device) -> None:
    """Measure one case and print it."""
    x, days, masks = (a.to(device) for a in series(frames, side))
    what = f"{frames} dates, {'one window' if length is None else f'windows of {length}'}"
    wall, busy, expected = measured(lambda: plain(net, x, days, masks, length), repeats, device)
    print(f"{what}: plain float32 {wall:.2f} s, processor {busy:.2f} s")
    for dtype in (torch.float32, torch.bfloat16) if has_bf16(device) else (torch.float32,):
        run = partial(impute, net, x, days, masks, SequenceOptions(length, dtype))
        fast, fast_busy, found = measured(lambda run=run: run().images, repeats, device)  # type: ignore[misc]
        apart = float((found - expected).abs().max())
        ok = "" if dtype != torch.float32 else f" (bound {BOUND:g}: {'kept' if apart <= BOUND else 'BROKEN'})"
        gain = f"{wall / fast:.2f} x faster (processor {busy / fast_busy:.2f} x)"
        name = str(dtype).removeprefix("torch.")
        print(f"{what}: ours {name} {fast:.2f} s, processor {fast_busy:.2f} s, {gain}, differs by {apart:.1e}{ok}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    device, side = torch.device(chosen.device), 32 if chosen.quick else 128
    net = UTILISE(PUBLISHED["utilise_earthnet2021"]).eval().to(device)
    print(f"torch {torch.__version__}, {chosen.threads} threads, {device}, {side} x {side} pixels, 4 bands")
    for frames, length in ((30, 10), (30, None), (100, 10)):
        compare(net, frames, length, side, chosen.repeats, device)
    if not has_bf16(device):
        print("bfloat16 was not measured: this processor has no units for it")


if __name__ == "__main__":
    main()
