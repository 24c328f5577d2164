"""How long a job will take, from one small tile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.run import job_runtime, load_tile, predict_tile
from sitsfusion.engine.runtime import Runtime
from sitsfusion.engine.tiling import TileGrid, alignment, patches_over, reach
from sitsfusion.grid import Window
from sitsfusion.methods.base import Patches, Step, Tiling, Whole

# Side of the core that is timed, in output pixels.
_TIMED_PIXELS = 96


def estimate_seconds(job: Job) -> float:
    """Estimated seconds of a run, from one small tile in the middle of the scene (run once to warm up, then timed).

    Reading is included, writing is not. A pass over the whole scene (`Method.calibrate`) is timed on the surroundings
    of that tile. The other steps and tiles are taken to cost the same per date and amount of work: patches for a
    patch-wise method, else cells of the core.
    """
    task = _middle_task(job)
    runtime = job_runtime(job)
    job, seconds = _calibrated(job, task, runtime)
    spent = 0.0
    for _ in range(2):
        started = time.perf_counter()
        predict_tile(job, task, load_tile(job.scene, job, task), runtime)
        spent = time.perf_counter() - started
    tiling = job.tilings[task.step.name]
    timed = _dates(task.step) * _work([task.core], [task.core], tiling, job.tiles.size)
    down = [job.tiles.core(row, 0) for row in range(job.tiles.shape[0])]
    across = [job.tiles.core(0, column) for column in range(job.tiles.shape[1])]
    total = sum(_dates(s) * _work(down, across, job.tilings[s.name], job.tiles.size) for s in job.plan.steps)
    workers = min(job.resources.workers, len(job.plan.steps) * len(job.tiles))
    return seconds + spent * total / timed / workers


def _calibrated(job: Job, task: Task, runtime: Runtime) -> tuple[Job, float]:
    """The job with the quantities of a part of the scene, and what those of the whole scene will cost."""
    window = task.core
    for tiling in job.tilings.values():
        for role in job.scene.cubes:
            near = reach(task.core, tiling, role, job.scene.size)
            window = near if near.height * near.width > window.height * window.width else window
    started = time.perf_counter()
    state = job.method.calibrate(job.scene.window(window), job.plan, runtime)
    share = window.height * window.width / (job.scene.size[0] * job.scene.size[1])
    return replace(job, state=state), (time.perf_counter() - started) / share


def _work(down: Sequence[Window], across: Sequence[Window], tiling: Tiling, size: tuple[int, int]) -> int:
    """Patches, or cells, of the tiles that a column and a row of cores span."""
    if isinstance(tiling, Patches):
        rows = sum(len({patch.row for patch in patches_over(core, tiling, size)}) for core in down)
        return rows * sum(len({patch.col for patch in patches_over(core, tiling, size)}) for core in across)
    return sum(core.height for core in down) * sum(core.width for core in across)


def _dates(step: Step) -> int:
    return sum(len(wanted.dates) for wanted in step.query.values())


def _middle_task(job: Job) -> Task:
    step = job.plan.steps[len(job.plan.steps) // 2]
    tilings, per_cell = list(job.tilings.values()), [q.per_cell for q in job.query.values()]
    if any(isinstance(tiling, Whole) for tiling in tilings):
        return Task(step, "timed", Window(0, 0, *job.tiles.size))
    unit = alignment(tilings, per_cell)
    side = max(1, round(_TIMED_PIXELS / max(per_cell) / unit)) * unit
    grid = TileGrid(job.tiles.size, min(side, job.tiles.height), min(side, job.tiles.width))
    return Task(step, "timed", grid.core((grid.shape[0] - 1) // 2, (grid.shape[1] - 1) // 2))
