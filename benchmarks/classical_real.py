"""The classical methods on real images: which wins where, beside copying, bicubic and linear interpolation.

    python benchmarks/classical_real.py CASES_DIR OUT_DIR                              all: about half an hour
    python benchmarks/classical_real.py CASES_DIR OUT_DIR --cases salton_viirs_hls_a   one data set

CASES_DIR holds the folders of the data sets (`data.npz` in each). An image is hidden, predicted from all others through
`sitsfusion.fuse`, and compared with itself where it is clear. Yardsticks: `copy`, the nearest other image; `linear`,
each pixel between its nearest clear values in time (a temperature that is sharpened: bilinear in space); `bicubic`, the
coarse image of the day, enlarged.

Root mean squares are over all pixels of all hidden dates, then over bands. As methods predict different dates (a coarse
image of the day is not always there), `ratio` divides by the error of `linear` (of `bicubic`, where a temperature is
sharpened) at the same pixels: below 1 is better. Each case leaves OUT_DIR/<case>.json and a picture of its first
hidden date, with errors below.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from numpy.typing import NDArray

import sitsfusion
from classical_cases import CASES, Case
from sitsfusion.api import Wanted
from sitsfusion.engine.job import Resources
from sitsfusion.errors import SitsFusionError
from sitsfusion.methods.stf_classical.blocks import block_means
from sitsfusion.ops.resample import bicubic, bilinear
from sitsfusion.scene import Scene

ONE = Resources(device="cpu", workers=1, threads=1)
YARDSTICKS = ("copy", "linear", "bicubic")

Array = NDArray[Any]


@dataclass
class Score:
    """Sums over pixels and dates; `squares` and `yardstick` [b] of the same pixels."""

    squares: Array | float = 0.0
    yardstick: Array | float = 0.0
    count: int = 0
    dates: int = 0
    seconds: float = 0.0
    medians: list[float] = field(default_factory=list)
    refused: str = ""

    def row(self, scale: float) -> dict[str, Any]:
        if not self.count:
            return {"dates": 0, "refused": self.refused}
        rmse, other = (np.sqrt(np.asarray(s) / self.count) for s in (self.squares, self.yardstick))
        return {
            "rmse": round(float(rmse.mean()) * scale, 3),
            "median_abs": round(float(np.mean(self.medians)) * scale, 3),
            "ratio": round(float(np.mean(rmse / other)), 3) if np.all(other > 0) else None,
            "dates": self.dates,
            "seconds": round(self.seconds, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--methods", nargs="+", help="labels, besides the yardsticks (default: all of the case)")
    parser.add_argument("--folds", type=int, help="only the first so many groups of hidden dates")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.cases:
        for case in CASES[name](args.cases_dir):
            report(replace(case, folds=case.folds[: args.folds]), args.out, args.methods)


def report(case: Case, out: Path, only: list[str] | None) -> None:
    """Run all methods on a case, print the table, write it and the picture."""
    labels = [label for label in case.methods if only is None or label in only]
    scores = {label: Score() for label in (*YARDSTICKS, *labels)}
    shown: dict[str, Array] = {}
    for fold in case.folds:
        rest = _without(case, fold)
        made = {label: _run(case, rest, fold, label, scores[label]) for label in scores}
        reference = made["bicubic" if case.role == "thermal" else "linear"]
        for day in fold:
            for label, images in made.items():
                if day in images:
                    _add(scores[label], images[day], reference[day], case, day)
        if not shown:
            shown = {label: images[fold[0]] for label, images in made.items() if fold[0] in images}
            _picture(case, fold[0], shown, out)
    rows = {label: score.row(case.unit[1]) for label, score in scores.items()}
    text = {"case": case.name, "unit": case.unit[0], "note": case.note, "methods": rows}
    (out / f"{_stem(case)}.json").write_text(json.dumps(text, indent=1))
    print(f"\n{case.name} ({case.unit[0]}; {case.note})")
    print(f"{'method':24} {'rmse':>9} {'median':>9} {'ratio':>7} {'dates':>6} {'cpu s':>7}")
    for label, row in rows.items():
        if "rmse" in row:
            ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
            print(
                f"{label:24} {row['rmse']:9.3f} {row['median_abs']:9.3f} {ratio:>7} {row['dates']:6} "
                f"{row['seconds']:7.1f}"
            )
        else:
            print(f"{label:24} none: {row['refused']}")


def _without(case: Case, fold: tuple[date, ...]) -> Scene:
    """The scene without the hidden images. (Where a temperature is sharpened, nothing of the scene is hidden.)"""
    if case.role == "thermal":
        return case.scene
    kept = {role: cube.dates for role, cube in case.scene.cubes.items()}
    return case.scene.select(dates={**kept, case.role: [d for d in kept[case.role] if d not in fold]})


def _run(case: Case, scene: Scene, fold: tuple[date, ...], label: str, score: Score) -> dict[date, Array]:
    """Predictions [b h w] of a fold's days, NaN where there is none."""
    started = time.process_time()
    try:
        if label == "bicubic":
            return {} if case.low is None else _enlarged(case, scene, fold, bicubic)
        if label == "copy" and case.role == "thermal":
            return {day: case.copies[day] for day in fold if day in case.copies}
        if label == "linear" and case.role == "thermal":
            return _enlarged(case, scene, fold, bilinear)
        named = {"copy": ("closest", {}), "linear": ("linear", {}), **case.methods}
        return _fused(case, scene, fold, *named[label], score)
    except SitsFusionError as error:
        score.refused = str(error)
        return {}
    finally:
        score.seconds += time.process_time() - started


def _fused(
    case: Case, scene: Scene, fold: tuple[date, ...], name: str, options: dict[str, Any], score: Score
) -> dict[date, Array]:
    wanted = Wanted(roles=(case.role,), bands={case.role: case.bands})
    if case.role == "thermal":
        wanted = Wanted(roles=wanted.roles, bands=wanted.bands, resolution=scene["fine"].grid.affine.a)
    found = sitsfusion.fuse(scene, fold, name, wanted=wanted, resources=ONE, **options)
    if found.missing:
        score.refused = found.missing[0].reason
    cube = found.cubes.get(case.role)
    frames = {day: cube.frame(t) for t, day in enumerate(cube.dates)} if cube is not None else {}
    return {day: np.where(frame.valid, frame.values, np.nan) for day, frame in frames.items()}


def _enlarged(
    case: Case, scene: Scene, fold: tuple[date, ...], resample: Callable[[torch.Tensor, float], torch.Tensor]
) -> dict[date, Array]:
    """The coarse image of each day, one value per real pixel, enlarged; bands of the same common name."""
    low, size = scene[case.low or ""], next(iter(case.truths.values())).values.shape[-2:]
    if case.role == "thermal":
        bands: tuple[str, ...] = case.bands
    else:
        fine = scene[case.role].select(bands=case.bands)
        named = {band.common_name: band.key for band in low.band_info()}
        bands = tuple(named[band.common_name] for band in fine.band_info())
    cube = low.select(bands=bands)
    found = {}
    for day in fold:
        if day in cube.dates:
            frame = cube.frame(cube.dates.index(day))
            image = torch.from_numpy(np.where(frame.valid, frame.values, np.float32(np.nan)))
            native = max(cube.native)
            blocks = block_means(image, native)
            scale = scene.per_cell("fine") * native // scene.per_cell(case.low or "")
            found[day] = resample(blocks, 1 / scale)[..., : size[0], : size[1]].numpy()
    return found


def _add(score: Score, made: Array, reference: Array, case: Case, day: date) -> None:
    truth, side = case.truths[day], case.average
    seen = np.where(truth.seen, truth.values, np.nan)
    made, reference, seen = (_averaged(image, side) for image in (made, reference, seen))
    both = np.isfinite(made).all(0) & np.isfinite(reference).all(0) & np.isfinite(seen).all(0)
    if not both.any():
        return
    error, other = ((image[:, both] - seen[:, both]).astype(np.float64) for image in (made, reference))
    score.squares = score.squares + (error**2).sum(1)
    score.yardstick = score.yardstick + (other**2).sum(1)
    score.medians.append(float(np.median(np.abs(error), axis=1).mean()))
    score.count += int(both.sum())
    score.dates += 1


def _averaged(image: Array, side: int) -> Array:
    """Means of squares; NaN where any pixel of them is."""
    b, height, width = image.shape
    whole = image[:, : height // side * side, : width // side * side]
    found: Array = whole.reshape(b, height // side, side, width // side, side).mean((2, 4))
    return found


def _picture(case: Case, day: date, made: dict[str, Array], out: Path) -> None:
    """The truth and every prediction of a day; below, how far each is off (black: right)."""
    matplotlib.use("Agg")
    truth = case.truths[day]
    true = np.where(truth.seen, truth.values, np.nan)
    low, high = np.nanpercentile(true, (2, 98), axis=(1, 2))
    images = {"truth": true, **made}
    figure, axes = pyplot.subplots(2, len(images), figsize=(2.2 * len(images), 4.8), squeeze=False)
    for column, (label, image) in enumerate(images.items()):
        axes[0, column].imshow(_shown(image, low, high), cmap="inferno", vmin=0, vmax=1, interpolation="nearest")
        axes[0, column].set_title(label, fontsize=8)
        error = np.abs(image - true).mean(0) / np.mean(high - low)
        axes[1, column].imshow(error, cmap="gray", vmin=0, vmax=0.5, interpolation="nearest")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(f"{case.name}, {day}", fontsize=9)
    figure.tight_layout()
    figure.savefig(out / f"{_stem(case)}.png", dpi=90)
    pyplot.close(figure)


def _shown(image: Array, low: Array, high: Array) -> Array:
    """False colours (near infrared, red, green) of six bands, grey of one: [h w 3] or [h w], 0 to 1."""
    scaled = ((image - low[:, None, None]) / (high - low)[:, None, None]).clip(0, 1)
    found: Array = scaled[0] if len(image) < 4 else np.nan_to_num(scaled[[3, 2, 1]].transpose(1, 2, 0))
    return found


def _stem(case: Case) -> str:
    return case.name.replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    main()
