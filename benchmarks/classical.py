"""Speed of STARFM and ESTARFM against a pure-Python loop and a loop over NumPy windows; see README.md.

    python benchmarks/classical.py                             a small pair; about a minute
    python benchmarks/classical.py --size 600                  the case of the bounds; the slow loops on a sample of it
    python benchmarks/classical.py --size 600 --sample 0       every pixel in every loop: hours

The pair is made up: fields with texture, seen at 16 times coarser pixels. All paths compute the same pixels from the
same float32 images in one process with one thread, one after the other; what is reported are ratios of processor
seconds per pixel (other work on the machine counts little), and the largest difference of the results. The slow loops
compute `--sample` pixels spread over the image (their cost per pixel does not depend on how many there are), ours all.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import classical_loops as loops
from sitsfusion.methods.stf_classical.estarfm import EstarfmOptions, estarfm
from sitsfusion.methods.stf_classical.images import Pair
from sitsfusion.methods.stf_classical.starfm import StarfmOptions, starfm

RATIO = 16
# What issue D asks for.
BOUNDS = {"python": 40.0, "numpy": 4.0}

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """Fine and coarse images [b h w] of three dates, reflectance x 10000; the middle one is wanted."""

    fine: Sequence[Image]
    coarse: Sequence[Image]
    window: int

    @property
    def pairs(self) -> list[tuple[Image, Image]]:
        return [(self.fine[0], self.coarse[0]), (self.fine[2], self.coarse[2])]

    @property
    def std(self) -> NDArray[np.float64]:
        """Of both fine images [2 b]."""
        return np.stack([fine.std((1, 2), dtype=np.float64) for fine, _ in self.pairs])


def make_case(size: int, bands: int, window: int, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    side = -(-size // RATIO) * RATIO
    fields = side // 8
    level, trend = rng.uniform(300, 4000, (bands, fields, fields)), rng.uniform(-800, 800, (bands, fields, fields))
    fine, coarse = [], []
    for t in (0.0, 0.4, 1.0):
        image = np.kron(level + t * trend, np.ones((8, 8))) + rng.normal(0, 60, (bands, side, side))
        mean = image.reshape(bands, side // RATIO, RATIO, side // RATIO, RATIO).mean((2, 4))
        fine.append(image[:, :size, :size].astype(np.float32))
        coarse.append(np.kron(mean, np.ones((RATIO, RATIO)))[:, :size, :size].astype(np.float32))
    return Case(fine, coarse, window)


def ours(case: Case, method: str) -> NDArray[np.float32]:
    """The whole image by this library."""
    pairs = [Pair(torch.from_numpy(f), torch.from_numpy(c)) for f, c in case.pairs]
    coarse, std = torch.from_numpy(case.coarse[1]), torch.from_numpy(case.std)
    with torch.inference_mode():
        if method == "starfm":
            return starfm(pairs, coarse, std, StarfmOptions(window=case.window)).numpy()
        level = torch.stack([p.fine.mean((1, 2)) for p in pairs]).mean(0)
        return estarfm(pairs, coarse, std, level, EstarfmOptions(window=case.window)).numpy()


def pixels(case: Case, sample: int) -> list[tuple[int, int]]:
    """`sample` pixels spread evenly over the image; all of them for 0."""
    height, width = case.coarse[1].shape[1:]
    count = height * width
    chosen = np.arange(count) if sample == 0 else np.linspace(0, count - 1, min(sample, count)).astype(int)
    return [(int(i) // width, int(i) % width) for i in chosen]


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def measure(case: Case, method: str, samples: dict[str, int]) -> dict[str, float]:
    """Pixels per second of each path, ratios, and the largest difference from ours."""
    count = case.coarse[1][0].size
    ours(make_case(64, 2, 5), method)  # the tables that are made once
    took, made = seconds(lambda: ours(case, method))
    found = {"pixels_per_second": count / took}
    for kind, sample in samples.items():
        where = pixels(case, sample)
        loop = partial(loops.LOOPS[method, kind], case.pairs, case.coarse[1], case.std, case.window, where)
        loop_took, values = seconds(loop)
        mine = np.stack([made[:, row, column] for row, column in where])
        found[f"{kind}_pixels_per_second"] = len(where) / loop_took
        found[f"times_{kind}"] = (loop_took / len(where)) / (took / count)
        found[f"{kind}_largest_difference"] = float(np.abs(mine - values).max())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--bands", type=int, default=6)
    parser.add_argument("--window", type=int, default=51)
    parser.add_argument("--sample", type=int, default=600, help="pixels of the NumPy loop; a tenth in pure Python")
    parser.add_argument("--methods", nargs="+", default=["starfm", "estarfm"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    case = make_case(options.size, options.bands, options.window)
    samples = {"numpy": options.sample, "python": options.sample // 10}
    for method in options.methods:
        found = measure(case, method, samples)
        met = {kind: found[f"times_{kind}"] >= bound for kind, bound in BOUNDS.items()}
        shown = {key: round(value, 3) for key, value in found.items()}
        print(json.dumps({"method": method, **vars(options), **shown, "bounds": BOUNDS, "met": met}))


if __name__ == "__main__":
    main()
