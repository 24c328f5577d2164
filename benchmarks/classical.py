"""Speed of the classical methods against direct loops and public peers; see README.md.

    python benchmarks/classical.py                             all, small; a few minutes
    python benchmarks/classical.py --parts pairs --size 600    the case of the bounds; the slow loops on a sample of it
    python benchmarks/classical.py --parts pairs --size 600 --sample 0       every pixel in every loop: hours

Five parts. `pairs`: STARFM and ESTARFM on a made-up pair (fields with texture, seen at 16 times coarser pixels), all
paths on the same float32 images. `filters`: the searches for similar pixels of Fit-FC, FSDAF and STAIR against NumPy
windows. `series`: curves through the series of single pixels against a loop over pixels and against a peer.
`fusions`: the arithmetic of the methods on two series, of SPSTFM and of DMS, likewise. `scene`: every method on a small
scene, through plan, calibrate and one tile, each in a process of its own, with its peak memory.
One thread, one after the other; what is reported are ratios of processor seconds per pixel (other work on
the machine counts little), and the largest difference of the results. The slow loops compute `--sample` pixels spread
over the image (their cost per pixel does not depend on how many there are), ours all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import classical_loops as loops
import classical_series as one_by_one
from classical_fusions import measure_fusions
from classical_scene import SCENE, in_own_process, seconds
from sitsfusion import methods
from sitsfusion.methods.stair.gaps import Search, fill
from sitsfusion.methods.stf_classical.estarfm import EstarfmOptions, estarfm
from sitsfusion.methods.stf_classical.fitfc import spatial_filter
from sitsfusion.methods.stf_classical.fsdaf import FsdafOptions, Scales, smoothed
from sitsfusion.methods.stf_classical.images import Pair
from sitsfusion.methods.stf_classical.starfm import StarfmOptions, starfm
from sitsfusion.methods.temporal.base import TemporalMethod, chunks, pixels_of

RATIO = 16
PARTS = ["pairs", "filters", "series", "fusions", "scene"]
_SLOW_PIXELS = 64
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


# --- filters -------------------------------------------------------------------------------------------------------


def measure_filters(case: Case, sample: int) -> dict[str, dict[str, float]]:
    """The search for similar pixels of Fit-FC, FSDAF and STAIR (full) against a loop over NumPy windows."""
    fine, other = case.fine[0].astype(np.float64), case.fine[2].astype(np.float64)
    change, limit = case.fine[1] - fine, 2 * fine.std((1, 2)) / 4
    where, radius = pixels(case, sample), 20
    a, b, c = (torch.from_numpy(image) for image in (fine, change, other))
    found = {
        "fit-fc": _compared(
            lambda: spatial_filter(a, torch.stack([b]), 31, 30)[0],
            lambda: loops.fit_fc_numpy(fine, change, 31, 30, where),
            where,
        )
    }
    bands = len(fine)
    scales = Scales(torch.zeros(4, bands), a.std((1, 2), correction=0), torch.zeros(bands), torch.zeros(bands))
    wide = FsdafOptions(half_window=radius, data_range=(-1e9, 1e9))
    found["fsdaf"] = _compared(
        lambda: smoothed(a, b, b, scales, wide),
        lambda: loops.fsdaf_numpy(fine, change, limit, radius, wide.similar, where),
        where,
    )
    holed, search = fine.copy(), Search(20, 31, 10, 61)
    height, width = fine.shape[1:]
    holed[:, height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = np.nan
    classes = np.digitize(other[0], np.quantile(other[0], (0.25, 0.5, 0.75)))
    lines = np.tile(np.array([0.9, 50.0]), (4, bands, 1))
    gaps = np.argwhere(np.isnan(holed[0]))
    chosen = [
        tuple(gap) for gap in gaps[np.linspace(0, len(gaps) - 1, min(sample or len(gaps), len(gaps))).astype(int)]
    ]
    found["stair (full), gap filling"] = _compared(
        lambda: fill(
            torch.from_numpy(holed), c[None], torch.from_numpy(classes), torch.from_numpy(lines)[None], search
        ),
        lambda: loops.stair_numpy(holed, other, classes, lines, search, chosen),
        chosen,
        len(gaps),
    )
    return found


def _compared(
    mine: Callable[[], torch.Tensor],
    loop: Callable[[], NDArray[Any]],
    where: Sequence[tuple[int, int]],
    count: int | None = None,
) -> dict[str, float]:
    """Pixels per second of ours (`count` pixels; default: the image), the ratio, and the largest difference."""
    took, made = seconds(mine)
    loop_took, values = seconds(loop)
    count = count or made[0].numel()
    ours_there = np.stack([made[:, row, column].numpy() for row, column in where])
    return {
        "pixels_per_second": count / took,
        "numpy_pixels_per_second": len(where) / loop_took,
        "times_numpy": (loop_took / len(where)) / (took / count),
        "numpy_largest_difference": float(np.abs(ours_there - values).max()),
    }


# --- series --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """One sensor's series: values [t c n] (NaN under clouds), days [t], target days [q]."""

    values: NDArray[np.float64]
    days: NDArray[np.float64]
    targets: NDArray[np.float64]


def make_curves(pixels: int, bands: int, seed: int = 0) -> Curves:
    """A season of 60 images, two fifths of the pixels cloudy."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(np.arange(0.0, 365.0), 60, replace=False))
    start, length = rng.uniform(90, 140, (bands, pixels)), rng.uniform(60, 150, (bands, pixels))
    t = days[:, None, None]
    season = 1 / (1 + np.exp(-(t - start) / 12)) - 1 / (1 + np.exp(-(t - start - length) / 12))
    values = 0.2 + 0.5 * season + rng.normal(0, 0.02, (60, bands, pixels))
    values[np.broadcast_to(rng.random((60, 1, pixels)) < 0.4, values.shape)] = np.nan
    return Curves(values, days, np.arange(0.0, 365.0, 5.0))


def our_curves(case: Curves, name: str, options: Mapping[str, Any]) -> NDArray[np.float64]:
    method = methods.make(name, options)
    assert isinstance(method, TemporalMethod)
    values, days, targets = (torch.from_numpy(a) for a in (case.values, case.days, case.targets))
    (t, c, n), q = values.shape, len(targets)
    made = torch.empty(q, c, n, dtype=torch.float64)
    with torch.inference_mode():
        for at in chunks(n, method.numbers_per_pixel(t, c, q, int(np.ptp(case.days)) + 1)):
            part = values[..., at]
            seen = pixels_of(part, part[:, 0].isfinite(), days, torch.device("cpu"))
            made[..., at] = method.curve(seen, targets).values
    return made.numpy()


# Method, its options, and the loops: (kind, function of the first and last day -> one pixel).
SERIES: dict[str, tuple[str, dict[str, Any], dict[str, Callable[[float, float], one_by_one.OnePixel]]]] = {
    "linear": ("linear", {}, {"numpy": lambda *_: one_by_one.linear}),
    "spline (akima)": ("spline", {"kind": "akima"}, {"scipy": lambda *_: one_by_one.spline("akima")}),
    "spline (pchip)": ("spline", {"kind": "pchip"}, {"scipy": lambda *_: one_by_one.spline("pchip")}),
    "spline (cubic)": ("spline", {"kind": "cubic"}, {"scipy": lambda *_: one_by_one.spline("cubic")}),
    "whittaker": ("whittaker", {}, {"scipy": one_by_one.whittaker, "whittaker-eilers": one_by_one.whittaker_eilers}),
    "savgol": ("savgol", {}, {"scipy": one_by_one.savgol}),
    "harmonic": ("harmonic", {"rounds": 0}, {"numpy": lambda *_: one_by_one.harmonic}),
    "double-logistic": ("double-logistic", {}, {"scipy": lambda *_: one_by_one.double_logistic}),
}


def measure_series(case: Curves, name: str, sample: int) -> dict[str, float | str]:
    """Pixels per second (all bands of one), ratios, and the median and largest difference from ours."""
    method, options, paths = SERIES[name]
    if method == "double-logistic":  # an iterative fit: a hundred times slower than the others
        case = replace(case, values=case.values[..., :_SLOW_PIXELS])
    count = case.values.shape[2]
    our_curves(replace(case, values=case.values[..., :2]), method, options)
    took, made = seconds(lambda: our_curves(case, method, options))
    found: dict[str, float | str] = {"pixels_per_second": count / took}
    some = case.values[..., : sample or count]
    for kind, make in paths.items():
        try:
            one = make(case.days[0], case.days[-1])
        except ImportError:
            found[kind] = f"not installed: pip install {kind}"
            continue
        loop_took, values = seconds(partial(one_by_one.each_pixel, some, case.days, case.targets, one))
        found[f"{kind}_pixels_per_second"] = some.shape[2] / loop_took
        found[f"times_{kind}"] = (loop_took / some.shape[2]) / (took / count)
        difference = np.abs(made[..., : some.shape[2]] - values)
        found[f"{kind}_median_difference"] = float(np.median(difference))
        found[f"{kind}_largest_difference"] = float(difference.max())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--bands", type=int, default=6)
    parser.add_argument("--window", type=int, default=51)
    parser.add_argument("--sample", type=int, default=600, help="pixels of the NumPy loop; a tenth in pure Python")
    parser.add_argument("--methods", nargs="+", default=["starfm", "estarfm"], help="of the part pairs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "pairs" in options.parts:
        report_pairs(options)
    if "filters" in options.parts:
        for name, found in measure_filters(make_case(options.size, options.bands, 31), options.sample).items():
            show("filters", name, options, found)
    if "series" in options.parts:
        curves = make_curves(options.size**2, options.bands)
        for name in SERIES:
            show("series", name, options, measure_series(curves, name, options.sample))
    if "fusions" in options.parts:
        for name, found in measure_fusions(options.size, options.sample):
            show("fusions", name, options, found)
    if "scene" in options.parts:
        for name in SCENE:
            show("scene", name, options, in_own_process(name, options.size))


def report_pairs(options: argparse.Namespace) -> None:
    case = make_case(options.size, options.bands, options.window)
    samples = {"numpy": options.sample, "python": options.sample // 10}
    for method in options.methods:
        found = measure(case, method, samples)
        met = {kind: found[f"times_{kind}"] >= bound for kind, bound in BOUNDS.items()}
        show("pairs", method, options, {**found, "bounds": BOUNDS, "met": met})


def show(part: str, name: str, options: argparse.Namespace, found: Mapping[str, Any]) -> None:
    shown = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}
    print(json.dumps({"part": part, "method": name, "size": options.size, "bands": options.bands, **shown}), flush=True)


if __name__ == "__main__":
    main()
