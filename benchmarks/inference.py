"""Speed and memory of TAMRFSITS inference, against the textbook way of doing it; see README.md.

    python benchmarks/inference.py                    the case of the bounds; about 10 minutes on 2 cores
    python benchmarks/inference.py --quick            a small one
    python benchmarks/inference.py --device cuda      on a GPU

Each path runs in a process of its own, on a tile in the middle of an image.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_case import Case, machine_peak, memory, network, seconds, standardised
from inference_plain import PlainTamrfsits
from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.inference import Frames, Settings, halo, predict_core
from sitsfusion.nets.tamrfsits import TamrfsitsNet

PLAIN_MARGIN = 18
SPEED, SPEED_BF16, MEMORY, EQUAL = 2.5, 5.0, 8.0, 1e-4
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


# -- the paths: images of a window -> [q, 18, tile, tile] --------------------------------------------------------------


def windows(case: Case, margins: dict[str, int]) -> dict[str, tuple[NDArray[np.int16], Window]]:
    """Stored numbers of a margin around the tile, clipped at the border of the image, and the tile inside them."""
    found = {}
    for role, factor in (("lr", 3), ("hr", 1)):
        whole = case.images(role)
        core = Window(*(n // factor for n in (case.core.row, case.core.col, case.core.height, case.core.width)))
        read = core.padded(margins[role], whole.shape[-2:])
        rows, cols = read.slices
        found[role] = whole[..., rows, cols].copy(), core.relative_to(read)
    return found


def fast(net: TamrfsitsNet, case: Case, options: argparse.Namespace) -> Any:
    settings = Settings(torch.device(options.device), getattr(torch, options.dtype), options.batch)
    margins = {"lr": halo(net.config)["lr"], "hr": -(-halo(net.config)["hr"] // 3) * 3}  # whole coarse pixels
    read = windows(case, margins)

    def frames(role: str) -> Frames:
        stored, core = read[role]
        return Frames(case.days_of(role), lambda t: standardised(stored[t]), stored.shape[-2:], core)

    return lambda: predict_core(net, frames("lr"), frames("hr"), case.days_of("query"), settings)


def plain(net: TamrfsitsNet, case: Case, options: argparse.Namespace) -> Any:
    device = torch.device(options.device)
    model = PlainTamrfsits(net).eval().to(device)
    read = windows(case, {"lr": PLAIN_MARGIN // 3, "hr": PLAIN_MARGIN})

    def padded(role: str, margin: int) -> Tensor:
        """Zero digital numbers outside the image, as the published tiling puts them."""
        stored, core = read[role]
        height, width = stored.shape[-2:]
        top, left = margin - core.row, margin - core.col
        bottom, right = margin - (height - core.row - core.height), margin - (width - core.col - core.width)
        return standardised(np.pad(stored, ((0, 0), (0, 0), (top, bottom), (left, right))))[None].to(device)

    @torch.inference_mode()
    def run() -> Tensor:
        lr, hr = padded("lr", PLAIN_MARGIN // 3), padded("hr", PLAIN_MARGIN)
        days = (case.days_of(role).to(device) for role in ("lr", "hr", "query"))
        lr_days, hr_days, query = days
        return model(lr, lr_days, hr, hr_days, query, PLAIN_MARGIN)[0].cpu()

    return run


def whole(net: TamrfsitsNet, case: Case, options: argparse.Namespace) -> Any:
    """The plain network on the whole image without any padding.

    Its encoders see whole images, one after the other; what follows is done for the tile and the 2 px around it that
    reach it, some pixels at a time.
    """
    area = case.core.padded(2, (case.side, case.side))
    rows, cols = area.slices
    inside_rows, inside_cols = case.core.relative_to(area).slices

    @torch.inference_mode()
    def run() -> Tensor:
        inputs = []
        for role in ("lr", "hr"):
            features = [
                net.encoder.features(standardised(one)[None], role)[..., rows, cols] for one in case.images(role)
            ]
            inputs.append((torch.cat(features).flatten(2).permute(2, 0, 1)[None], case.days_of(role)[None], role))
        attended = []
        for chunk in torch.arange(area.height * area.width).split(256):
            tokens = torch.cat([net.encoder.tokens(pixels[:, chunk], *other) for pixels, *other in inputs], dim=2)
            attended.append(net.decoder.attend(net.encoder.temporal(tokens), case.days_of("query")[None])[0])
        images = torch.cat(attended).permute(1, 2, 0).unflatten(2, (area.height, area.width))
        return torch.cat([net.decoder.spatial(one[None])[..., inside_rows, inside_cols] for one in images])

    return run


PATHS = {"fast": fast, "plain": plain, "whole": whole}


# -- one path in a process of its own ----------------------------------------------------------------------------------


def work(options: argparse.Namespace) -> None:
    """Run one path on one case; save what it gives, print how long it took and what it needed."""
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    case, device = Case(**json.loads(options.case)), torch.device(options.device)
    net = network() if options.path == "fast" else network().to(device)
    peak = machine_peak(device)
    # libraries and caches are warm, but neither path has seen the size that is measured
    PATHS[options.path](net, Case(12, 1, 1, 1), options)()
    before = memory("VmRSS")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    run = PATHS[options.path](net, case, options)
    started = time.process_time()
    took, out = seconds(run, device)
    busy = time.process_time() - started
    used = memory("VmHWM") - before if device.type == "cpu" else torch.cuda.max_memory_allocated(device)
    np.save(options.out, out.numpy())
    peak = max(peak, machine_peak(device))
    print(json.dumps({"seconds": took, "processor": busy, "memory": used, "peak": peak}))


@dataclass(frozen=True)
class Result:
    """What one run took: wall and processor seconds, bytes above imports, weights and warm-up.

    `peak`: multiply-accumulates per second of the machine, measured in the same process; `out`: file of the output.
    """

    seconds: float
    processor: float
    memory: int
    peak: float
    out: Path

    def line(self, name: str, case: Case) -> str:
        rate = case.macs_per_pixel() * case.tile**2 / self.seconds
        return (
            f"{name:16} {self.seconds:7.1f} s {self.processor:7.1f} s of CPU "
            f"{self.seconds / case.tile**2 * 1e6:7.0f} us/px {rate / 1e9:8.1f} GMAC/s {rate / self.peak:5.0%} of peak "
            f"{self.memory / 2**20:7.0f} MiB"
        )

    def difference(self, other: Result) -> str:
        """Largest and mean absolute difference of two outputs, in standard deviations of the bands."""
        gap = np.abs(np.load(self.out) - np.load(other.out))
        return f"largest {gap.max():.1e}, mean {gap.mean():.1e}"


def measure(path: str, case: Case, options: argparse.Namespace, folder: Path, dtype: str = "float32") -> Result:
    out = folder / f"{path}_{dtype}_{case.corner}.npy"
    command = [sys.executable, __file__, "--path", path, "--case", json.dumps(asdict(case)), "--out", str(out)]
    command += ["--device", options.device, "--threads", str(options.threads), "--batch", str(options.batch)]
    done = subprocess.run([*command, "--dtype", dtype], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path} failed:\n{done.stderr[-2000:]}")
    return Result(**json.loads(done.stdout.splitlines()[-1]), out=out)


# -- the report --------------------------------------------------------------------------------------------------------


def report(options: argparse.Namespace) -> bool:
    """Measure and print; False when a bound is missed."""
    case = Case(66, 8, 12, 12) if options.quick else Case(165, 25, 40, 24)
    load = f"load {os.getloadavg()[0]:.1f} before"
    print(f"{processor()}, {options.device}, {options.threads} threads, {load}, torch {torch.__version__}")
    print(f"tile of {case.tile} px, {case.lr_dates} LR + {case.hr_dates} HR dates, {case.days} query days:", end=" ")
    print(f"{case.macs_per_pixel() / 1e6:.1f} M MAC per useful pixel", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain_runs = _runs("plain", options.plain_repeats, case, options, folder)
        fast_runs = _runs("fast", options.repeats, case, options, folder)
        met = _compare("float32", plain_runs, fast_runs, SPEED)
        if options.device == "cuda" or BF16_FLAGS & cpu_flags():
            half = _runs("fast", options.repeats, case, options, folder, "bfloat16")
            met += _compare("bfloat16", plain_runs, half, SPEED_BF16)
            print(f"bfloat16 against float32: {half[0].difference(fast_runs[0])}")
        else:
            print("bfloat16: not measured, this processor has no bfloat16 units")
        equal = _equality(case, plain_runs[0], fast_runs[0], options, folder)
    # The bounds are those of the large case: the smaller the tile, the more of the work is margin.
    return equal and (options.quick or all(met))


def _runs(
    path: str, count: int, case: Case, options: argparse.Namespace, folder: Path, dtype: str = "float32"
) -> list[Result]:
    results = []
    for _ in range(count):
        results.append(measure(path, case, options, folder, dtype))
        print(results[-1].line(f"{path} {dtype}", case), flush=True)
    return results


def _compare(name: str, plain_runs: list[Result], fast_runs: list[Result], bound: float) -> list[bool]:
    """Ratios of all pairs of runs: the least favourable one counts."""
    speeds = sorted(p.seconds / f.seconds for p in plain_runs for f in fast_runs)
    processor = sorted(p.processor / f.processor for p in plain_runs for f in fast_runs)
    saved = min(p.memory for p in plain_runs) / max(f.memory for f in fast_runs)
    times = f"{speeds[0]:.1f} to {speeds[-1]:.1f} times faster than plain float32, wanted {bound}"
    print(f"{name}: {times} (processor time: {processor[0]:.1f} to {processor[-1]:.1f} times less)")
    print(f"{name}: 1/{saved:.1f} of the memory, wanted 1/{MEMORY:.0f}")
    return [speeds[0] >= bound, saved >= MEMORY]


def _equality(case: Case, plain_run: Result, fast_run: Result, options: argparse.Namespace, folder: Path) -> bool:
    """Differences, in standard deviations of the bands; True when the fast path equals the whole image."""
    on_cpu = argparse.Namespace(**vars(options) | {"device": "cpu"})
    truth = measure("whole", case, on_cpu, folder)
    print(f"fast against the whole image: {fast_run.difference(truth)}, wanted {EQUAL:.0e}")
    print(f"plain (margin 18) against fast, inside the image: {plain_run.difference(fast_run)}")
    corner = Case(66, 4, 4, 2, corner=True)
    runs = {path: measure(path, corner, on_cpu, folder) for path in PATHS}
    print(f"plain (zeros outside) against fast, in a corner of the image: {runs['plain'].difference(runs['fast'])}")
    print(f"fast against the whole image, in a corner of the image: {runs['fast'].difference(runs['whole'])}")
    pairs = ((fast_run, truth), (runs["fast"], runs["whole"]))
    return all(np.abs(np.load(a.out) - np.load(b.out)).max() <= EQUAL for a, b in pairs)


def cpu_flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="66 px, 8 + 12 dates, 12 days")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, help="default: 1 on a CPU, 16 on a GPU")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the fast path")
    parser.add_argument("--plain-repeats", type=int, default=1, help="runs of the plain path, which needs 13 GB")
    for name in ("path", "case", "out", "dtype"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.batch = options.batch or (1 if options.device == "cpu" else 16)
    if options.path:
        work(options)
    elif not report(options):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
