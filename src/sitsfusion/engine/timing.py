"""How long a job will take, from one small tile."""

from __future__ import annotations

import time

from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.run import job_runtime, load_tile, predict_tile
from sitsfusion.engine.tiling import TileGrid, alignment

# Side of the core that is timed, in output pixels.
_TIMED_PIXELS = 96


def estimate_seconds(job: Job) -> float:
    """Estimated seconds of a run, from one small tile in the middle of the scene (run once to warm up, then timed).

    Reading is included, writing is not. The other steps and tiles are taken to cost the same per pixel and date.
    """
    task, cells = _middle_task(job)
    runtime = job_runtime(job)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        predict_tile(job, task, load_tile(job.scene, job, task), runtime)
        seconds = time.perf_counter() - started
    timed = sum(len(q.dates) for q in task.step.query.values()) * cells
    total = sum(len(q.dates) for s in job.plan.steps for q in s.query.values()) * job.tiles.size[0] * job.tiles.size[1]
    return seconds * total / timed / job.resources.workers


def _middle_task(job: Job) -> tuple[Task, int]:
    per_cell = [q.per_cell for q in job.query.values()]
    unit = alignment(list(job.tilings.values()), per_cell)
    side = max(1, round(_TIMED_PIXELS / max(per_cell) / unit)) * unit
    height, width = min(side, job.tiles.height), min(side, job.tiles.width)
    grid = TileGrid(job.tiles.size, height, width)
    core = grid.core(grid.shape[0] // 2, grid.shape[1] // 2)
    return Task(job.plan.steps[len(job.plan.steps) // 2], "timed", core), core.height * core.width
