"""How near the truth: the bundled weights against interpolation and the nearest clear image.

    python benchmarks/skill.py simulated [--sites 20] [--weights REF]     unseen seeds, truth known everywhere
    python benchmarks/skill.py real CASES_DIR WORK_DIR [--weights REF]    clear dates hidden, predicted, compared

Simulated: strategies of the evaluation specification on random places (`World.draw`), seeds that training never saw.
GAPS and RANDOM score the hidden dates, NOHR the Landsat dates from Landsat alone, ALL the masked pixels of the input
dates. Everything is scored on the 10 m grid, in the reflectance bands (x 1000) and in kelvin; `mean` is the mean over
bands of (error / error of the best rival), so that kelvin and reflectance count alike.

Real: every clear date of a sensor is hidden once, together with a quarter of the others, and predicted from the rest;
scored at its clear pixels on its own grid (10 m predictions of Landsat are blurred and sampled as Landsat would).
Undetected clouds inflate root mean squares, so medians of absolute errors are printed too.

Figures are means over sites (or quarters of the hidden dates) of root mean squares.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import sitsfusion
from real_inputs import belgium, belgium_b, italy
from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.io import open_scene
from sitsfusion.ops.mtf import degrade, psf_taps
from sitsfusion.ops.resample import bicubic, nearest
from sitsfusion.scene import Scene
from sitsfusion.simulate import Simulated, World, simulate_scene
from sitsfusion.strategies import StrategyOptions, split

FIRST_SEED = 2_000_000  # training uses seeds from 0, its validation from 1,000,000
CLEAR, FEWEST = 0.25, 4  # images with less are not used by tamrfsits; sites with fewer usable images are left out
FOLDS, CLEAR_DATE = 4, 0.9
# case -> method -> mean squared errors [bands] of each site (simulated) or fold (real)
Errors = dict[str, dict[str, list[NDArray[np.float64]]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("simulated")
    one.add_argument("--sites", type=int, default=20)
    one.add_argument("--size", type=int, default=72)
    two = commands.add_parser("real")
    two.add_argument("cases", type=Path)
    two.add_argument("work", type=Path)
    for command in (one, two):
        command.add_argument("--weights", default="tamrfsits-sim")
        command.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.command == "simulated":
        simulated(args.sites, args.size, args.weights, args.workers)
    else:
        real(args.cases, args.work, args.weights, args.workers)


# -- simulated ----------------------------------------------------------------------------------------------------


def simulated(sites: int, size: int, weights: str, workers: int) -> None:
    """Run all strategies on some sites and print one table."""
    jobs = [(seed, size, weights) for seed in range(FIRST_SEED, FIRST_SEED + sites)]
    _print(_merged(_parallel(_site, jobs, workers)))


def _site(seed: int, size: int, weights: str) -> Errors:
    """All strategies on the place of a seed."""
    found: Errors = {}
    made = simulate_scene(size, year=2022, seed=seed, world=World.draw(seed))
    scene = with_clear_shares(made.scene)
    usable = {role: [d for d, i in _items(cube) if (i or 0) >= CLEAR] for role, cube in scene.cubes.items()}
    if min(map(len, usable.values())) < FEWEST:
        print(f"seed {seed}: left out, too few usable images { ({r: len(d) for r, d in usable.items()}) }", flush=True)
        return found
    for strategy in ("GAPS", "RANDOM"):
        _hidden(found, strategy, made, scene, usable, weights)
    _alone(found, made, scene, usable, weights)
    _cloudy(found, made, scene, usable, weights)
    return found


def _parallel(work: Callable[..., Errors], jobs: Sequence[tuple[Any, ...]], workers: int) -> list[Errors]:
    """The results in the order of the jobs, whatever the number of processes."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return [future.result() for future in [pool.submit(work, *job) for job in jobs]]


def _merged(parts: Sequence[Errors]) -> Errors:
    found: Errors = {}
    for part in parts:
        for case, by_method in part.items():
            for name, values in by_method.items():
                found.setdefault(case, {}).setdefault(name, []).extend(values)
    return found


def _hidden(
    found: Errors, strategy: str, made: Simulated, scene: Scene, usable: Mapping[str, list[date]], weights: str
) -> None:
    """Hidden dates, all pixels, all bands at 10 m."""
    start = date(2022, 1, 1)
    days = {role: [float(d) for d in days_since(dates, start)] for role, dates in usable.items()}
    options = StrategyOptions(rate=0.5, gap=30)
    chosen = split(strategy, days["coarse"], days["fine"], options, random.Random(made.place.seed))
    inputs = {"coarse": chosen.lr_input, "fine": chosen.hr_input}
    kept = {role: [usable[role][p] for p in one.positions if p is not None] for role, one in inputs.items() if one}
    hidden = {role: [d for d in dates if d not in set(kept[role])] for role, dates in usable.items()}
    given = scene.select(kept)
    results = predict(given, sorted({d for dates in hidden.values() for d in dates}), weights)
    for role, dates in hidden.items():
        if dates:
            truth = made.truth(role, dates)
            _score(found, f"{strategy} {role}", {n: _at(r[role], dates) for n, r in results.items()}, truth)


def _alone(found: Errors, made: Simulated, scene: Scene, usable: Mapping[str, list[date]], weights: str) -> None:
    """Landsat alone: its clear pixels to 10 m, against bicubic."""
    cube = scene["coarse"].select(dates=usable["coarse"])
    values, valid = cube.to_numpy()
    fine = bicubic(torch.nan_to_num(torch.from_numpy(values)), 1 / 3).numpy()
    seen = nearest(torch.from_numpy(_support(valid)), 1 / 3).numpy()
    given = scene.select({"coarse": usable["coarse"]})
    ours = sitsfusion.fuse(given, usable["coarse"], "tamrfsits", weights=weights, check=False)["coarse"]
    results = {"bicubic": fine, "tamrfsits": _at(ours, usable["coarse"])}
    _score(found, "NOHR coarse", results, made.truth("coarse", usable["coarse"]), seen)


def _cloudy(found: Errors, made: Simulated, scene: Scene, usable: Mapping[str, list[date]], weights: str) -> None:
    """All dates given: their masked pixels, against the truth below the clouds."""
    dates = usable["fine"][:: max(1, len(usable["fine"]) // 12)]
    given = scene.select(usable)
    results = predict(given, dates, weights, ("naive", "tamrfsits"))
    _, valid = scene["fine"].select(dates=dates).to_numpy()
    truth = made.truth("fine", dates)
    _score(found, "ALL fine, cloudy", {n: _at(r["fine"], dates) for n, r in results.items()}, truth, ~valid)


# -- real ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A real scene and the roles whose dates are hidden."""

    name: str
    place: Path
    roles: tuple[str, ...]


def real(cases: Path, work: Path, weights: str, workers: int) -> None:
    """Hide clear dates of real series and print one table for each."""
    for case in (
        Case("s2_l8_belgium_a", belgium(cases / "s2_l8_belgium_a", work / "belgium"), ("fine", "coarse", "thermal")),
        Case("s2_lst_belgium_b", belgium_b(cases / "s2_lst_belgium_b", work / "belgium_b"), ("fine", "thermal")),
        Case("sen12mscrts_italy_a", italy(cases / "sen12mscrts_italy_a", work / "italy"), ("fine",)),
    ):
        jobs = [(case.place, role, fold, weights) for role in case.roles for fold in range(FOLDS)]
        print(f"== {case.name}")
        _print(_merged(_parallel(_fold, jobs, workers)))


def _fold(place: Path, role: str, fold: int, weights: str) -> Errors:
    """One quarter of the clear dates of a role, predicted from everything else."""
    found: Errors = {}
    scene = with_clear_shares(open_scene(place))
    clear = [d for d, share in _items(scene[role]) if (share or 0) >= CLEAR_DATE]
    hidden = clear[fold::FOLDS]
    if not hidden:
        return found
    kept = {r: [d for d in cube.dates if r != role or d not in set(hidden)] for r, cube in scene.cubes.items()}
    results = predict(scene.select(kept), hidden, weights)
    # level 1C has bands that the weights do not predict
    shared = [key for key in scene[role].bands if key in _of(results["tamrfsits"], role).bands]
    target = scene[role].select(dates=hidden, bands=shared)
    values, valid = target.to_numpy()
    seen = {}
    for name, cubes in results.items():
        seen[name] = _at(_of(cubes, role).select(bands=shared), hidden)
        if seen[name].shape != values.shape:
            seen[name] = _as_observed(seen[name], target)
    border = 3 if role != "fine" else 0  # blur and resampling of the border of small scenes
    inner = np.zeros_like(valid)
    inner[:, border or None : -border or None, border or None : -border or None] = True
    _score(found, role, seen, values, valid & inner, median=True)
    return found


def _of(cubes: Mapping[str, Cube], role: str) -> Cube:
    """Temperature is a band of tamrfsits' coarse output, and a role of its own elsewhere."""
    return cubes[role] if role in cubes else cubes["coarse"]


def _as_observed(values: NDArray[np.float32], target: Cube) -> NDArray[np.float32]:
    """10 m predictions as the coarse sensor would see them."""
    info = target.band_info()
    taps = psf_taps(10.0, [band.resolution for band in info], [band.mtf for band in info])
    return degrade(torch.nan_to_num(torch.from_numpy(values)), taps, 3).numpy()


# -- both -----------------------------------------------------------------------------------------------------------


def predict(
    scene: Scene, dates: Sequence[date], weights: str, names: Sequence[str] = ("naive", "nearest", "last", "tamrfsits")
) -> dict[str, Mapping[str, Cube]]:
    """Cubes by role of each method; `nearest` and `last` clear observation of each pixel are made here."""
    found: dict[str, Mapping[str, Cube]] = {}
    for name in names:
        if name in ("nearest", "last"):
            found[name] = {role: _copied(scene[role], dates, name) for role in scene.cubes}
        else:
            options = {"weights": weights} if name == "tamrfsits" else {}
            done = sitsfusion.fuse(scene, dates, name, check=False, **options)
            found[name] = done.cubes
    return found


def _copied(cube: Cube, dates: Sequence[date], which: str) -> Cube:
    """The nearest or last clear observation of each pixel, on the fine grid."""
    values, valid = cube.to_numpy()
    lag = np.stack([days_since(cube.dates, day) for day in dates]).astype(np.float32)  # [q t]
    late = 1000.0 if which == "last" else 0.0
    cost = np.abs(lag)[:, :, None, None] + late * (lag > 0)[:, :, None, None] + 1e6 * ~valid[None]
    at = cost.argmin(1)
    out = np.take_along_axis(values, at[:, None], 0)
    ratio = round(cube.grid.affine.a / 10.0) if cube.grid.affine.a > 1 else 1
    grid = cube.grid.zoom_to((cube.shape[2] * ratio, cube.shape[3] * ratio)) if ratio > 1 else cube.grid
    fine = bicubic(torch.from_numpy(np.nan_to_num(out)), 1 / ratio).numpy()
    return Cube.from_array(fine, sensor=cube.sensor, bands=cube.bands, grid=grid, dates=list(dates))


def _at(cube: Cube, dates: Sequence[date]) -> NDArray[np.float32]:
    return cube.select(dates=dates).to_numpy()[0]


def _items(cube: Cube) -> list[tuple[date, float | None]]:
    return [(day, item.clear_share) for day, item in zip(cube.dates, cube.items, strict=True)]


def _support(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose neighbours are clear too."""
    padded = np.pad(valid, ((0, 0), (2, 2), (2, 2)), constant_values=True)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    return windows.all((-2, -1))


def _score(
    found: Errors,
    case: str,
    results: Mapping[str, NDArray[np.float32]],
    truth: NDArray[np.float32],
    where: NDArray[np.bool_] | None = None,
    median: bool = False,
) -> None:
    """Add mean squared errors [bands] over pixels where every method and the truth have numbers."""
    good = np.isfinite(truth).all(1) & np.logical_and.reduce([np.isfinite(v).all(1) for v in results.values()])
    if where is not None:
        good &= where
    if not good.any():
        return
    for name, values in results.items():
        error = np.moveaxis(values - truth, 1, 0)[:, good].astype(np.float64)
        found.setdefault(case, {}).setdefault(name, []).append((error**2).mean(1))
        if median:
            found.setdefault(f"{case} (median)", {}).setdefault(name, []).append(np.median(np.abs(error), 1) ** 2)


def _print(found: Errors) -> None:
    for case, methods in found.items():
        errors = {name: np.mean(np.sqrt(values), 0) for name, values in methods.items()}  # mean over sites
        rivals = [values for name, values in errors.items() if name != "tamrfsits"]
        best = min(rivals, key=lambda values: values.mean())
        for name, values in errors.items():
            units = [f"{v * 1000:6.1f}" if v < 0.5 else f"{v:5.2f}K" for v in values]
            print(f"{case:22} {name:10} {' '.join(units)}   mean {np.mean(values / best):.3f}")


if __name__ == "__main__":
    main()
