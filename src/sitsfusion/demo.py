"""The demonstration: a made-up scene of which the truth is known, fused as a user would fuse their own images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from sitsfusion.api import fuse
from sitsfusion.cube import Cube
from sitsfusion.dates import every
from sitsfusion.errors import PlanError
from sitsfusion.io import open_scene
from sitsfusion.prediction import Prediction
from sitsfusion.report.job_page import input_layers, prediction_layers, provenance_rows, refused_dates
from sitsfusion.report.page import Layer, write_page
from sitsfusion.simulate import Simulated, simulate_scene, write_geotiffs

Say = Callable[[str], None]
_STEP_DAYS = 15
# The default, the yardstick, and what a person does without software.
_METHODS = ("tamrfsits", "naive", "closest")
_YEAR = 2022


@dataclass(frozen=True)
class DemoResult:
    """Tables (title, headings, rows), the folder of the images of the first method, and the page."""

    tables: list[tuple[str, list[str], list[list[str]]]]
    images: Path
    page: Path


def run_demo(folder: Path, *, seed: int = 0, size: int = 120, say: Say = print) -> DemoResult:
    """Simulate a year of Sentinel-2 and Landsat, write it as GeoTIFFs, fuse it, compare with the truth.

    Args:
        folder: gets `inputs/`, one folder of results per method, and `index.html`. Must not hold an earlier demo of
            another seed or size.
        seed: of the landscape and the weather.
        size: side in pixels of 10 m, a multiple of 3.
        say: is told what happens.
    """
    _claim(folder, seed, size)
    say(f"making up a landscape of {size} x {size} pixels of 10 m, and a year of images (seed {seed}) ...")
    made = simulate_scene(size, year=_YEAR, seed=seed)
    write_geotiffs(made, folder / "inputs")
    scene = open_scene({"fine": folder / "inputs" / "sentinel2", "coarse": folder / "inputs" / "landsat"})
    days = every(date(_YEAR, 1, 8), date(_YEAR, 12, 26), _STEP_DAYS)
    results: dict[str, Prediction] = {}
    for name in _METHODS:
        say(f"fusing {len(days)} dates with {name} ...")
        results[name] = fuse(scene, days, name, out=folder / name)
    layers = input_layers(scene, ("fine", "coarse"))
    for name, found in results.items():
        layers += prediction_layers(found, name)
    layers += [Layer(f"{role}, truth", "truth", _truth(made, found.cubes[role])) for role in found.cubes]
    page = write_page(
        folder / "index.html",
        layers,
        title="A simulated year, fused",
        provenance=provenance_rows(next(iter(results.values()))),
        refused=refused_dates(next(iter(results.values()))),
    )
    return DemoResult(_tables(made, results), folder / next(iter(results)), page)


def _claim(folder: Path, seed: int, size: int) -> None:
    """A demo of the same seed and size is completed; anything else in the folder is left alone."""
    note, content = folder / "demo.txt", f"seed {seed}, size {size}\n"
    if folder.exists() and any(folder.iterdir()) and (not note.exists() or note.read_text() != content):
        raise PlanError(f"{folder} holds something else than the demo of {content.strip()}; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(content)


def _truth(made: Simulated, cube: Cube) -> Cube:
    """The truth at the dates, in the bands and on the grid of a predicted cube."""
    role = "fine" if cube.sensor.name == made.scene["fine"].sensor.name else "coarse"
    at = [made.scene[role].bands.index(key) for key in cube.bands]
    values = made.truth(role, cube.dates)[:, at]
    return Cube.from_array(values, sensor=cube.sensor, bands=cube.bands, grid=cube.grid, dates=cube.dates)


def _tables(made: Simulated, results: dict[str, Prediction]) -> list[tuple[str, list[str], list[list[str]]]]:
    tables = []
    for role, cube in next(iter(results.values())).cubes.items():
        bands = [f"{b.key}, K" if b.unit == "kelvin" else b.key for b in cube.band_info()]
        rows = [[name, *_errors(made, found[role])] for name, found in results.items()]
        title = f"{role}: root mean square error against the truth at 10 m, all dates (reflectance x 1000, or kelvin)"
        tables.append((title, ["method", *bands], rows))
    return tables


def _errors(made: Simulated, cube: Cube) -> Sequence[str]:
    """Root mean square error per band over valid pixels of all dates."""
    truth = _truth(made, cube)
    squares, count = np.zeros(len(cube.bands)), 0
    for t in range(len(cube)):
        seen, true = cube.frame(t), truth.frame(t)
        difference = (seen.values - true.values)[:, seen.valid].astype(np.float64)
        squares += (difference**2).sum(1)
        count += difference.shape[1]
    errors = np.sqrt(squares / max(count, 1))
    scales = [1000.0 if band.unit == "reflectance" else 1.0 for band in cube.band_info()]
    return [f"{error * scale:.1f}" for error, scale in zip(errors, scales, strict=True)]
