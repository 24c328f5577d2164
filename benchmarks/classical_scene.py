"""A small made-up scene of two sensors, and every method of coarse and fine images on it, end to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion import methods, sensors
from sitsfusion.cube import Cube
from sitsfusion.engine.job import Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.run import job_runtime, load_tile, predict_tile
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.methods.base import Method
from sitsfusion.query import query_of
from sitsfusion.scene import Scene

FINE, FINE_BANDS = (0, 10, 20, 40, 60, 75, 90, 110), ("B02", "B03", "B04", "B08")
COARSE, COARSE_BANDS = (0, 5, 10, 20, 30, 40, 60, 75, 90, 110), ("B02", "B03", "B04", "B05", "LST")
WANTED = 30
SCENE: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, {})
        for name in ("naive", "closest", "linear", "spline", "whittaker", "savgol", "harmonic", "double-logistic")
    },
    "stair": ("stair", {}),
    "stair (full)": ("stair", {"mode": "full"}),
    "sen2like": ("sen2like", {}),
    "sen2like (full)": ("sen2like", {"mode": "full"}),
    "dms": ("dms", {"mode": "full"}),
    "starfm": ("starfm", {}),
    "estarfm": ("estarfm", {}),
    "fsdaf": ("fsdaf", {}),
    "fit-fc": ("fit-fc", {}),
    "spstfm": ("spstfm", {}),
    "efast": ("efast", {}),
    "joint-gp": ("joint-gp", {}),
}


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def in_own_process(name: str, size: int) -> dict[str, float]:
    """`measure_scene` in a fresh process of one thread; `peak_mib`: its peak memory above imports and scene."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_alone, name, size).result()


def _alone(name: str, size: int) -> dict[str, float]:
    torch.set_num_threads(1)
    scene = make_scene(size)
    method = methods.make(*SCENE[name])  # imported before memory is looked at
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports, which is higher than most methods'
    before = _peak()
    found = measure_scene(scene, method)
    return {**found, "peak_mib": _peak() - before}


def _peak() -> float:
    """Largest resident memory of this process so far, MiB (Linux)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def make_scene(size: int, seed: int = 0) -> Scene:
    """10 m and 30 m images of one truth, a ninth of each cloudy; `size` fine pixels a side, up to whole 30 m cells."""
    rng, cells = np.random.default_rng(seed), -(-size // 3)
    fields = -(-3 * cells // 12)
    level, slope = rng.uniform(0.05, 0.4, (4, fields, fields)), rng.uniform(-0.003, 0.003, (4, fields, fields))

    def land(day: int) -> NDArray[np.float64]:
        field = np.kron(level + slope * day, np.ones((12, 12)))[:, : 3 * cells, : 3 * cells]
        found: NDArray[np.float64] = field + rng.normal(0, 0.01, field.shape)
        return found

    fine = np.stack([land(day) for day in FINE])
    coarse = np.stack([land(day) for day in COARSE]).reshape(len(COARSE), 4, cells, 3, cells, 3).mean((3, 5))
    warm = 300 - 60 * (coarse[:, 3:] - coarse[:, 2:3])
    return with_clear_shares(
        Scene(
            {
                "fine": _cube("sentinel-2-l2a", FINE_BANDS, FINE, fine, 10.0, rng),
                "coarse": _cube(
                    "landsat-8-9-c2-l2", COARSE_BANDS, COARSE, np.concatenate([coarse, warm], 1), 30.0, rng
                ),
            },
            name="made-up",
        )
    )


def _cube(
    sensor: str,
    bands: Sequence[str],
    days: Sequence[int],
    values: NDArray[np.float64],
    step: float,
    rng: np.random.Generator,
) -> Cube:
    valid, (height, width) = np.ones((len(days), *values.shape[2:]), bool), values.shape[2:]
    for image in valid:
        row, column = rng.integers(0, 2 * height // 3), rng.integers(0, 2 * width // 3)
        image[row : row + height // 3, column : column + width // 3] = False
    grid = GeoBox((height, width), Affine(step, 0, 600_000, 0, -step, 5_000_000), "EPSG:32631")
    dates = [_day(day) for day in days]
    return Cube.from_array(
        values.astype(np.float32), sensor=sensors.get(sensor), bands=bands, grid=grid, dates=dates, valid=valid
    )


def _day(number: int) -> date:
    return date(2022, 5, 1) + timedelta(number)


def measure_scene(scene: Scene, method: Method) -> dict[str, float]:
    """Fine pixels of one predicted date per second, and seconds of the whole-scene step before."""
    query = query_of(scene, [_day(WANTED)], method.outputs(scene))
    spec = OutputSpec(Path("never-written"), encoding="float32")
    job = plan_job(scene, query, method, spec, Resources(device="cpu", tile=10_000))
    runtime = job_runtime(job)
    calibration, state = seconds(lambda: method.calibrate(scene, job.plan, runtime))
    job = replace(job, state=state)
    tiles = [(task, load_tile(job.scene, job, task)) for task in job.tasks()]
    took, made = seconds(lambda: [predict_tile(job, task, tile, runtime) for task, tile in tiles])
    side = scene.size[0] * scene.per_cell("fine"), scene.size[1] * scene.per_cell("fine")
    shares = [block.valid.mean() for blocks in made for block in blocks.values()]
    return {
        "pixels_per_second": side[0] * side[1] / took,
        "calibrate_seconds": calibration,
        "pixels": side[0] * side[1],
        "share_valid": float(np.mean(shares)),
    }
