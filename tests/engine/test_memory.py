"""Memory: what is predicted is enough, and it does not grow with the image."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sitsfusion import methods, sensors
from sitsfusion.cube import Cube, Stored
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.grid import Window
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from sitsfusion.sensors import Encoding
from tests.kill import forkserver
from tests.scenes import days, grid


@dataclass(frozen=True)
class Made:
    """Images that are made when they are read, so that no memory holds them."""

    encodings: tuple[Encoding, ...]

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        values = np.full((len(bands), window.height, window.width), 8000 + t, np.uint16)
        values += np.arange(window.width, dtype=np.uint16)
        return Stored(values, tuple(self.encodings[i] for i in bands), values[0] % 5 != t % 5)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        return {"t": t}


def made(name: str, keys: tuple[str, ...], cells: int, per_cell: int, dates: int) -> Cube:
    sensor, side = sensors.get(name), cells * per_cell
    every = days(*range(0, 5 * dates, 5))
    return Cube(sensor, keys, grid((side, side), 30 / per_cell), every, Made(sensor.stored(keys)))


def big_job(folder: Path, cells: int, dates_in: int, dates_out: int, **spec: Any) -> Job:
    place = Scene(
        {
            "fine": made("sentinel-2-l2a", ("B02", "B03", "B04", "B08"), cells, 3, dates_in),
            "coarse": made("landsat-8-9-c2-l2", ("B02", "B04", "LST"), cells, 1, dates_in // 2),
        }
    )
    naive = methods.make("naive")
    query = query_of(place, days(*range(2, 2 + dates_out)), naive.outputs(place))
    return plan_job(place, query, naive, OutputSpec(folder, **spec), Resources(device="cpu", tile=240, threads=1))


def measured(job: Job) -> int:
    """The largest resident size of a process of its own that runs a job."""
    context = forkserver()
    answers = context.Queue()
    child = context.Process(target=_measure, args=(job, answers))
    child.start()
    found = answers.get(timeout=300)
    child.join(60)
    assert isinstance(found, int), found
    return found


def _measure(job: Job, answers: Any) -> None:
    from sitsfusion.api import execute

    try:
        outcome = execute(job)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answers.put(peak if outcome.complete else outcome.failed[0].error)
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize(
    ("dates_in", "dates_out", "spec"),
    [(40, 1, {}), (4, 24, {"format": "zarr", "encoding": "float32"})],
    ids=["in", "out"],
)
def test_the_predicted_peak_is_enough_and_not_absurd(
    tmp_path: Path, dates_in: int, dates_out: int, spec: dict[str, Any]
) -> None:
    job = big_job(tmp_path, 80, dates_in, dates_out, **spec)
    peak = measured(job)
    assert peak <= job.bill().peak_bytes <= 2 * peak


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    small, large = (big_job(tmp_path / str(cells), cells, 6, 1) for cells in (160, 240))
    assert (len(small.tiles), len(large.tiles)) == (4, 9)
    assert small.bill().peak_bytes == large.bill().peak_bytes
    assert measured(large) < 1.08 * measured(small)
