"""Time and memory of the metrics of one site against the same formulas written down directly; see README.md.

    python benchmarks/metrics.py                       990 pixels, 40 dates: 1 of them measured, the others counted
    python benchmarks/metrics.py --size 330 --dates 2  a small one
    python benchmarks/metrics.py --measure 40          measure every date

Both sensors are scored at every date: 10 fine bands, 8 coarse bands with the temperature. Every date costs the same:
`--measure` dates are timed (ours after one that warms up), and the time of all dates is extrapolated from these.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

import metrics_direct
from sitsfusion import sensors
from sitsfusion.metrics.brisque import FEATURES, BrisqueModel
from sitsfusion.metrics.scoring import Pair, SensorScoring, score_date, score_dates

LIMITS = {False: 1 / 4, True: 1 / 2}  # share of the direct time, without and with BRISQUE
KINDS = {"fine": ("sentinel-2-l2a", 1), "coarse": ("landsat-8-9-c2-l2", 3)}


def scoring(kind: str, brisque: BrisqueModel | None) -> SensorScoring:
    name, factor = KINDS[kind]
    bands = [b for b in sensors.get(name).bands if kind == "coarse" or b.key not in ("B01", "B09", "B10")]
    bands = [b for b in bands if b.unit in ("reflectance", "kelvin")]
    mtf = tuple(1.0 if b.resolution <= 10 else b.mtf for b in bands)
    thermal = next((i for i, b in enumerate(bands) if b.unit == "kelvin"), None)
    return SensorScoring(10.0, tuple(b.resolution for b in bands), mtf, factor, thermal, brisque=brisque)


def images(kind: str, how: SensorScoring, size: int, day: int) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target, validity: smooth landscapes with noise."""
    draw = torch.Generator().manual_seed(1000 * day + len(kind))
    bands, side = len(how.mtf), size // how.factor
    base = torch.rand(1, bands, size // 30, size // 30, generator=draw)
    fine = torch.nn.functional.interpolate(base, (size, size), mode="bicubic")[0].clamp(0.02, 1) * 0.4
    fine = fine + 0.02 * torch.rand(fine.shape, generator=draw)
    target = fine[:, how.factor // 2 :: how.factor, how.factor // 2 :: how.factor].clone()
    target = target + 0.01 * torch.rand(target.shape, generator=draw)
    if how.thermal is not None:
        fine[how.thermal], target[how.thermal] = 280 + 60 * fine[how.thermal], 280 + 60 * target[how.thermal]
    return fine, target, torch.rand(side, side, generator=draw) < 0.8


def ours(p: Tensor, t: Tensor, valid: Tensor, how: SensorScoring) -> dict[str, Tensor]:
    found = score_date(p, t, how, valid)
    values = {"rmse": found.errors.rmse(), "nrmse": found.nrmse, "sam": found.sam.value(), "frr": found.restoration.frr}
    return values | {"brisque": found.brisque, "target_brisque": found.target_brisque}


@dataclass
class Spent:
    """Seconds of some dates."""

    wall: float = 0.0
    processor: float = 0.0

    def timed(self, call: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        started, spent = time.perf_counter(), time.process_time()
        found = call()
        self.wall += time.perf_counter() - started
        self.processor += time.process_time() - spent
        return found


def compare(arguments: argparse.Namespace, with_brisque: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    model = BrisqueModel(torch.rand(100, generator=draw).double(), torch.rand(100, FEATURES, generator=draw).double())
    direct, fast = Spent(), Spent()
    for kind in KINDS:
        how = scoring(kind, model if with_brisque else None)
        ours(*images(kind, how, arguments.size, 0), how)  # warms up: what is computed once for all dates
        differences = []
        for day in range(arguments.measure):
            case = images(kind, how, arguments.size, day)
            found = fast.timed(lambda case=case, how=how: ours(*case, how))
            expected = direct.timed(lambda case=case, how=how: metrics_direct.metrics(*case, how))
            differences += [float((found[name] - expected[name]).abs().max()) for name in expected]
        print(f"  {kind}: largest difference {max(differences):.1e}", flush=True)
    for name, spent in (("direct", direct), ("sitsfusion", fast)):
        whole = arguments.dates / arguments.measure
        print(f"  {name}: {spent.wall * whole:.0f} s, processor {spent.processor * whole:.0f} s")
    share = fast.processor / direct.processor
    print(f"  processor time: {share:.3f} of the direct one (wanted: at most {LIMITS[with_brisque]:g})", flush=True)


def memory(size: int, dates: int) -> float:
    """Growth of the peak memory in MiB while a series of fine images is scored."""
    how = scoring("fine", None)

    def pairs() -> Iterator[Pair]:
        for day in range(dates):
            yield Pair(day, *images("fine", how, size, day))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    score_dates(pairs(), how, None)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=990, help="pixels of 10 m, a multiple of 30")
    parser.add_argument("--dates", type=int, default=40)
    parser.add_argument("--measure", type=int, default=1, help="dates that are timed")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    few = memory(arguments.size, 2)
    print(f"{arguments.size} px; peak memory grows by {few:.0f} MiB for 2 dates, then by")
    print(f"  {memory(arguments.size, 6):.0f} MiB more for 6 dates (images of a date and what is made of them)")
    for with_brisque in (False, True):
        print(f"{arguments.dates} dates, {'with' if with_brisque else 'without'} BRISQUE:", flush=True)
        compare(arguments, with_brisque)


if __name__ == "__main__":
    main()
