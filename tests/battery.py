"""What every method must stand: one table of methods, one list of checks.

To add a method, add a `Case` to `CASES`: how it is made, scenes it can take (of any size), and what makes it cut
several tiles. `tests/test_battery.py` runs the checks.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sitsfusion import methods
from sitsfusion.api import execute
from sitsfusion.dates import distance
from sitsfusion.engine import quality
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.run import job_runtime, load_tile, predict_tile
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.methods.base import Method
from sitsfusion.nets.stf.registry import BUILT_IN as STF_MODELS
from sitsfusion.prediction import Prediction, open_prediction
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests import scenes, stubs
from tests.fake.misr import seeded_misr, small_config
from tests.fake.stf_weights import stf_weights
from tests.fake.utilise import BANDS as UTILISE_BANDS
from tests.fake.utilise import seeded_utilise
from tests.fake.weights import seeded_weights
from tests.methods.single_date import places
from tests.methods.stf_classical.places import pair_scene


@dataclass(frozen=True)
class Case:
    """A method under test.

    `place` makes a scene of (rows, columns) cells from a seed; `cells` a size at which `tile` output pixels cut it
    into several tiles, some of them smaller than the others; `most` the largest side in cells of the random sizes;
    `noise` how far tilings may differ, as a share of the largest value (rounding of resampling weights).
    """

    make: Callable[[], Method]
    place: Callable[[tuple[int, int], int], Scene] = scenes.scene
    resolution: float | None = None
    cells: tuple[int, int] = (20, 24)
    tile: int = 48
    most: int = 40
    noise: float = 2e-6
    format: Literal["cog", "zarr"] = "cog"
    encoding: Literal["sensor", "float32"] = "sensor"


@cache
def _drawn_weights() -> str:
    """A folder of small untrained weights, made when first asked for."""
    folder = Path(tempfile.mkdtemp(prefix="sitsfusion-weights-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(seeded_weights(folder))


def _all_bands(cells: tuple[int, int], seed: int) -> Scene:
    """A scene with the bands that the published weights take."""
    fine = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    coarse = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "LST")
    return Scene(
        {
            "fine": scenes.cube("fine", (0, 5, 17), cells, bands=fine, seed=seed),
            "coarse": scenes.cube("coarse", (3, 5, 30), cells, bands=coarse, seed=seed),
        },
        name="made-up",
    )


@cache
def _utilise_weights() -> str:
    folder = Path(tempfile.mkdtemp(prefix="sitsfusion-utilise-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(seeded_utilise(folder))


def _ten_metres(cells: tuple[int, int], seed: int) -> Scene:
    """Fine images alone, more than a window of the small U-TILISE weights holds."""
    dates = (-9, 0, 5, 9, 17, 30)
    return Scene({"fine": scenes.cube("fine", dates, cells, bands=UTILISE_BANDS, seed=seed)}, name="made-up")


def _two_sensors(cells: tuple[int, int], seed: int) -> Scene:
    """Fine and coarse images with bands in common, some of one day, and two fine images before each coarse one."""
    return Scene(
        {
            "fine": scenes.cube("fine", (-9, 0, 9, 14, 21, 30), cells, seed=seed),
            "coarse": scenes.cube("coarse", (4, 5, 12, 21, 30), cells, bands=("B02", "B04", "B05"), seed=seed),
        },
        name="made-up",
    )


def _thermal(cells: tuple[int, int], seed: int) -> Scene:
    """The four bands that the sharpener learns from, and temperatures, of at least one temperature pixel."""
    cells = (max(cells[0], 3), max(cells[1], 3))
    drivers = ("B02", "B03", "B04", "B08")
    return Scene(
        {
            "fine": scenes.cube("fine", (0, 5), cells, bands=drivers, seed=seed),
            "coarse": scenes.cube("coarse", (4, 5, 12, 21), cells, seed=seed),
        },
        name="made-up",
    )


def _long_series(cells: tuple[int, int], seed: int) -> Scene:
    """Enough images for curves of several terms, within one year, of two sensors."""
    often = (0, 4, 9, 14, 19, 21, 25, 30, 44, 60, 75, 90)
    return Scene(
        {
            "fine": scenes.cube("fine", often, cells, seed=seed),
            "coarse": scenes.cube("coarse", tuple(d + 1 for d in often), cells, seed=seed),
        },
        name="made-up",
    )


@cache
def _misr_weights(backbone: str | None, diffusion: bool = False) -> str:
    """A folder of small untrained super-resolution weights for two bands, made when first asked for."""
    folder = Path(tempfile.mkdtemp(prefix="sitsfusion-weights-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(seeded_misr(folder, small_config(backbone, diffusion=diffusion, bands=2), keys=("B02", "B08")))


def _misr_case(backbone: str, stored: Literal["cog", "zarr"], noise: float = 1e-5) -> Case:
    """A network that enlarges 10 m images four times; L-TAE's norms of few values magnify rounding."""
    exact = backbone.startswith("highresnet")
    options = {"min_clear_share": 0} | ({} if exact else {"patch": 8, "overlap": 4})
    name = "misr-" + backbone.replace("_", "-")
    return Case(
        lambda: methods.make(name, {"weights": _misr_weights(backbone), **options}),
        scenes.fine_scene,
        cells=(6, 10),
        tile=16,
        most=12,
        noise=noise,
        format=stored,
        encoding="float32",
    )


CASES = {
    "naive": Case(lambda: methods.make("naive")),
    "closest": Case(lambda: methods.make("closest", {"max_masked_share": 0.6}), format="zarr"),
    "tamrfsits": Case(
        lambda: methods.make("tamrfsits", {"weights": _drawn_weights(), "min_clear_share": 0}), _all_bands, most=24
    ),
    "tamrfsits-shipped": Case(  # with residual compensation in time
        lambda: methods.make("tamrfsits", {"min_clear_share": 0}), _all_bands, most=16, noise=1e-5, format="zarr"
    ),
    "linear": Case(lambda: methods.make("linear", {"kind": "nearest"}), most=24),
    "spline": Case(lambda: methods.make("spline"), _long_series, most=16, encoding="float32"),
    "whittaker": Case(lambda: methods.make("whittaker"), most=16, format="zarr", encoding="float32"),
    "savgol": Case(lambda: methods.make("savgol", {"step": 3}), _long_series, most=16, encoding="float32"),
    "harmonic": Case(
        lambda: methods.make("harmonic", {"harmonics": 1}), _long_series, most=16, noise=1e-5, encoding="float32"
    ),
    "double-logistic": Case(
        lambda: methods.make("double-logistic", {"steps": 5}),
        _long_series,
        cells=(8, 9),
        tile=16,
        most=9,
        format="zarr",
        encoding="float32",
    ),
    "joint-gp": Case(
        lambda: methods.make("joint-gp", {"samples": 9}),
        _two_sensors,
        cells=(8, 9),
        tile=16,
        most=9,
        encoding="float32",
    ),
    "stair": Case(lambda: methods.make("stair"), _two_sensors, most=24, encoding="float32"),
    "stair-full": Case(
        lambda: methods.make("stair", {"mode": "full", "clusters": 3, "window": 5, "growth": 4, "largest": 13}),
        _two_sensors,
        most=12,
        format="zarr",
        encoding="float32",
    ),
    "sen2like": Case(
        lambda: methods.make("sen2like", {"max_masked_share": 1}), _two_sensors, most=24, encoding="float32"
    ),
    "misr-bicubic": Case(
        lambda: methods.make("misr-bicubic", {"min_clear_share": 0}), scenes.fine_scene, cells=(6, 10), tile=16, most=24
    ),
    "misr-rrdb": _misr_case("rrdb", "cog"),
    "misr-highresnet": _misr_case("highresnet", "zarr"),
    "misr-highresnet-ltae": _misr_case("highresnet_ltae", "cog", noise=1e-3),
    "misr-rrdb-ltae": _misr_case("rrdb_ltae", "zarr", noise=1e-3),
    "misr-rrdb-highresnet": _misr_case("rrdb_highresnet", "cog"),
    "misr-srdiff": Case(
        lambda: methods.make(
            "misr-srdiff",
            {
                "weights": _misr_weights("rrdb", diffusion=True),
                "min_clear_share": 0,
                "patch": 8,
                "overlap": 4,
                "samples": 2,
                "steps": 2,
            },
        ),
        scenes.fine_scene,
        cells=(6, 10),
        tile=16,
        most=9,
        noise=1e-4,
        format="zarr",
        encoding="float32",
    ),
    "starfm": Case(lambda: methods.make("starfm", {"window": 5, "classes": 4}), pair_scene, most=18),
    "estarfm": Case(lambda: methods.make("estarfm", {"window": 5}), pair_scene, most=18, format="zarr"),
    "fsdaf": Case(lambda: methods.make("fsdaf", {"half_window": 2}), pair_scene, most=18, encoding="float32"),
    "fit-fc": Case(lambda: methods.make("fit-fc", {"window": 5}), pair_scene, most=18, format="zarr"),
    "spstfm": Case(
        lambda: methods.make("spstfm", {"atoms": 8, "rounds": 2, "resampling": "bilinear"}),
        lambda cells, seed: pair_scene(cells, seed, clouds=False),
        most=18,
        encoding="float32",
    ),
    "efast": Case(lambda: methods.make("efast", {"cloud_ramp": 3}), pair_scene, most=18, encoding="float32"),
    "sen2like-full": Case(
        lambda: methods.make("sen2like", {"mode": "full", "max_masked_share": 1}),
        _two_sensors,
        most=12,
        format="zarr",
        encoding="float32",
    ),
    "dms": Case(
        lambda: methods.make("dms", {"mode": "full", "max_masked_share": 1, "window": 4, "trees": 2}),
        _thermal,
        cells=(33, 40),
        tile=90,
        most=36,
        format="zarr",
        encoding="float32",
    ),
    "utilise": Case(
        lambda: methods.make("utilise", {"weights": _utilise_weights(), "min_clear_share": 0, "patch": 60}),
        _ten_metres,
        most=24,
        noise=1e-5,
        format="zarr",
        encoding="float32",
    ),
    "dsen2": Case(
        lambda: methods.make(
            "dsen2", {"weights": places.dsen2_weights(), "weights_60m": places.dsen2_weights(sixty=True)}
        ),
        places.sentinel_scene,
        most=24,
        noise=1e-5,
        encoding="float32",
    ),
    "dstfn": Case(
        lambda: methods.make(
            "dstfn", {"weights": places.dstfn_weights(), "max_masked_share": 1, "patch": 8, "stride": 4}
        ),
        places.three_roles,
        most=16,
        noise=1e-5,
        encoding="float32",
    ),
    "deepharmo-unet": Case(
        lambda: methods.make(
            "deepharmo-unet",
            {"weights": places.deepharmo_weights(up_mode="shuffle"), "uncertainty": "dropout", "passes": 2},
        ),
        places.landsat_scene,
        cells=(36, 40),
        tile=72,
        most=36,
        noise=1e-5,
        encoding="float32",
    ),
    "deepharmo-ensemble": Case(
        lambda: methods.make(
            "deepharmo-ensemble", {"members": [places.deepharmo_weights(), places.deepharmo_weights(1, depth=2)]}
        ),
        places.landsat_scene,
        cells=(36, 40),
        tile=72,
        most=36,
        noise=1e-5,
        encoding="float32",
    ),
    "pooling": Case(stubs.Pooling, noise=1e-5, encoding="float32"),
    "pooling-whole": Case(lambda: stubs.Pooling(lattice="whole"), format="zarr", encoding="float32"),
    "calibrated": Case(stubs.Calibrated, scenes.coarse_scene, cells=(50, 60), most=110, encoding="float32"),
    "finer": Case(stubs.Finer, scenes.coarse_scene, resolution=7.5, cells=(6, 7), tile=16, most=14),
    "noisy": Case(stubs.Noisy, format="zarr"),
}
CASES |= {
    name: Case(
        # strides that 16 pixels divide or nearly so: tiles hold whole strides
        lambda name=name: methods.make(  # type: ignore[misc]
            name, {"weights": stf_weights(name), "overlap": 0.2 if name == "swinstfm" else 0.1}
        ),
        pair_scene,
        cells=(17, 18),
        most=12,
        noise=1e-5,
        encoding="float32",
    )
    for name in STF_MODELS
}
CASES |= {
    "copy-fine": Case(lambda: methods.make("copy-fine"), pair_scene, most=18, format="zarr"),
    "coarse-change": Case(lambda: methods.make("coarse-change"), pair_scene, most=18),
}
WANTED = scenes.days(-3, 5, 21)


def job_of(
    case: Case,
    folder: Path,
    *,
    cells: tuple[int, int] | None = None,
    tile: int | None = None,
    seed: int = 0,
    dates: Sequence[date] = WANTED,
) -> Job:
    """The job of a case in a folder."""
    place, method = case.place(cells or case.cells, seed), case.make()
    if method.card.needs_clear_share:
        place = with_clear_shares(place)
    query = query_of(place, dates, method.outputs(place), resolution=case.resolution)
    spec = OutputSpec(folder, format=case.format, encoding=case.encoding)
    return plan_job(place, query, method, spec, Resources(device="cpu", tile=tile or case.tile, seed=7))


@dataclass(frozen=True, eq=False)
class Picture:
    """A role's prediction of the whole scene, as arrays."""

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    sigma: NDArray[np.float32]
    days_to_clear: NDArray[np.int16]
    clear_count: NDArray[np.int16]


def assemble(job: Job) -> dict[str, Picture]:
    """The job's results without writing them: all tiles put together in memory."""
    runtime = job_runtime(job)
    job = _with_state(job)
    made: dict[str, Picture] = {}
    for task in job.tasks():
        tile = load_tile(job.scene, job, task)
        for role, block in predict_tile(job, task, tile, runtime).items():
            wanted, marks = task.step.query[role], quality.measure(tile, task.step, role)
            picture = made.setdefault(role, _empty(job, role))
            at = [job.query[role].dates.index(day) for day in wanted.dates]
            rows, cols = task.core.scaled(wanted.per_cell).slices
            for i, t in enumerate(at):
                picture.values[t, :, rows, cols] = block.values[i]
                picture.valid[t, rows, cols] = block.valid[i]
                if block.sigma is not None:
                    picture.sigma[t, :, rows, cols] = block.sigma[i]
                picture.days_to_clear[t, rows, cols] = marks.days_to_clear[i]
                picture.clear_count[t, rows, cols] = marks.clear_count[i]
    return made


def assert_same(a: dict[str, Picture], b: dict[str, Picture], noise: float) -> None:
    """Two pictures are the same, values up to `noise` (a share of the largest value)."""
    assert a.keys() == b.keys()
    for role, first in a.items():
        second = b[role]
        np.testing.assert_array_equal(first.valid, second.valid)
        np.testing.assert_array_equal(first.days_to_clear, second.days_to_clear)
        np.testing.assert_array_equal(first.clear_count, second.clear_count)
        for one, other in ((first.values, second.values), (first.sigma, second.sigma)):
            atol = noise * max(1.0, float(np.nanmax(np.abs(one), initial=0.0)))
            np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def run(job: Job, shard: tuple[int, int] = (0, 1)) -> Prediction | None:
    """Run a job as the command line does; its prediction, if this was not one shard of several."""
    execute(job, shard=shard)
    return open_prediction(job.output.folder) if shard[1] == 1 else None


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a job's folder but for what tells how long things took."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        timed = name == "run-report.txt" or (
            name.startswith("work/") and name.count("/") == 1 and name.endswith(".json")
        )
        if path.is_file() and not timed and ".lock/" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def brute_quality(job: Job, role: str, day: date) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Days to the nearest clear observation and number of clear observations, pixel by pixel, as the issue says it."""
    wanted = job.query[role]
    step = next(s for s in job.plan.steps if role in s.query and day in s.query[role].dates)
    height, width = (side * wanted.per_cell for side in job.scene.size)
    nearest = np.full((height, width), 32767, np.int16)
    count = np.zeros((height, width), np.int16)
    for source in step.informing(role):
        cube = job.scene[source].select(dates=step.inputs[source])
        n = job.scene.per_cell(source)
        for t, away in enumerate(distance(cube.dates, day)):
            clear = cube.frame(t).valid
            for row in range(height):
                for col in range(width):
                    if clear[row * n // wanted.per_cell, col * n // wanted.per_cell]:
                        nearest[row, col] = min(nearest[row, col], away)
                        count[row, col] += 1
    return nearest, count


def _with_state(job: Job) -> Job:
    return replace(job, state=job.method.calibrate(job.scene, job.plan, job_runtime(job)))


def _empty(job: Job, role: str) -> Picture:
    wanted = job.query[role]
    size = tuple(side * wanted.per_cell for side in job.scene.size)
    shape = (len(wanted.dates), *size)
    values = np.full((shape[0], len(wanted.bands), *size), np.nan, np.float32)
    marks = np.full(shape, -1, np.int16)
    return Picture(values, np.zeros(shape, bool), values.copy(), marks, marks.copy())
