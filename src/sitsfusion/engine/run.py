"""Running a job: one plain function per task, mapped by a back-end over the tasks that have no marker yet."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sitsfusion.engine import quality as qualities
from sitsfusion.engine.blend import predict_patches
from sitsfusion.engine.job import Job, Task, check_disk
from sitsfusion.engine.runtime import Runtime
from sitsfusion.engine.store import CogStore, Marker, Markers, Store, open_folder
from sitsfusion.engine.tiling import reach
from sitsfusion.engine.zarr_store import ZarrStore
from sitsfusion.errors import InputError, SitsFusionError
from sitsfusion.methods.base import Block, Patches, State, Step, Tile
from sitsfusion.scene import Scene

Progress = Callable[[Marker, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: tasks done before, done now, and failed ones."""

    resumed: int
    done: int
    failed: tuple[Marker, ...]

    @property
    def complete(self) -> bool:
        return not self.failed


def run_job(
    job: Job, *, overwrite: bool = False, shard: tuple[int, int] = (0, 1), progress: Progress | None = None
) -> Outcome:
    """Run the tasks of a job that are not done yet.

    Args:
        job: from `plan_job`.
        overwrite: replace the results of another plan in the same folder.
        shard: (i, n): only every n-th task from the i-th (array jobs).
        progress: called with each new marker, the number of tasks done and of all tasks of this run.

    Raises:
        PlanError: the folder belongs to another plan, or the disk is too small.
    """
    index, count = shard
    if not 0 <= index < count:
        raise InputError(f"shard {index}/{count} is not possible; the first of n shards is 0/n")
    check_disk(job)
    resuming = open_folder(job, overwrite)
    job = _calibrated(job)
    if not resuming or not (job.output.folder / "work").exists():
        _store(job).create()  # also when a run was killed before its first tile
    markers, store = Markers(job), _store(job)
    mine = [task for i, task in enumerate(job.tasks()) if i % count == index]
    todo = [task for task in mine if not _is_complete(markers, store, task)]
    failed, done = [], 0
    for marker in _map(job, todo):
        markers.write(marker)
        done += marker.complete
        failed += [] if marker.complete else [marker]
        if progress is not None:
            progress(marker, done + len(failed), len(todo))
    return Outcome(len(mine) - len(todo), done, tuple(failed))


def run_task(job: Job, task: Task, runtime: Runtime) -> Marker:
    """Read, predict, write one task. Whatever goes wrong with this tile is recorded in its marker, not raised."""
    started = time.perf_counter()
    marker = Marker(task.name, job.plan_id, "failed")
    try:
        tile = load_tile(job.scene, job, task)
        blocks = _predict(job, task, tile, runtime)
        layers = {role: qualities.measure(tile, task.step, role) for role in blocks}
        checksum = _store(job).write(task, blocks, layers)
        state = "done" if any(block.valid.any() for block in blocks.values()) else "empty"
        marker = replace(marker, state=state, checksum=checksum, statistics=_statistics(blocks))
    except Exception as error:  # the boundary of a task: one bad tile must not stop the others
        shown = str(error) if isinstance(error, SitsFusionError) else f"{type(error).__name__}: {error}"
        marker = replace(marker, error=shown, traceback=traceback.format_exc())
    return replace(marker, seconds=round(time.perf_counter() - started, 3), peak_bytes=_peak_bytes())


def load_tile(scene: Scene, job: Job, task: Task) -> Tile:
    """The pixels a task needs, in memory as stored: the core and, per role, its halo."""
    tiling, cubes, windows = job.tilings[task.step.name], {}, {}
    for role, days in task.step.inputs.items():
        window = reach(task.core, tiling, role, scene.size)
        pixels = window.scaled(scene.per_cell(role))
        windows[role] = window
        cubes[role] = scene[role].select(dates=days).window(pixels).load()
    per_cell = {role: scene.per_cell(role) for role in cubes}
    return Tile(task.core, cubes, windows, per_cell, scene.day_origin, scene.size)


def predict_tile(job: Job, task: Task, tile: Tile, runtime: Runtime) -> Mapping[str, Block]:
    """The blocks of a task, patch-wise methods blended."""
    tiling = job.tilings[task.step.name]
    if isinstance(tiling, Patches):
        return predict_patches(job.method, tile, task.step, tiling, job.state, runtime)
    with torch.inference_mode():
        return job.method.predict(tile, task.step, job.state, runtime)


def _predict(job: Job, task: Task, tile: Tile, runtime: Runtime) -> Mapping[str, Block]:
    while True:
        try:
            blocks = predict_tile(job, task, tile, runtime)
            break
        except torch.cuda.OutOfMemoryError:
            if not runtime.halve_batch():
                raise
    for role, block in blocks.items():
        _check_block(job, task.step, role, block, tile)
    return blocks


def _check_block(job: Job, step: Step, role: str, block: Block, tile: Tile) -> None:
    """A method that returns the wrong shape is a defect of the method; say so before anything is written."""
    wanted = step.query[role]
    expected = (len(wanted.dates), len(wanted.bands), *tile.output_size(wanted.per_cell))
    if block.values.shape != expected or block.valid.shape != (expected[0], *expected[2:]):
        raise InputError(
            f"{job.method.card.name} returned {role} values {block.values.shape} and valid {block.valid.shape}; "
            f"expected {expected}"
        )


def _calibrated(job: Job) -> Job:
    """The job with the method's scene-wide quantities, computed once and saved beside the plan."""
    path = job.output.folder / "calibration.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as saved:
            return replace(job, state={key: saved[key] for key in saved.files})
    state: State = job.method.calibrate(job.scene, job.plan, job_runtime(job))
    if state:
        part = path.with_suffix(f".{os.getpid()}.part.npz")
        np.savez(part, **state)  # type: ignore[arg-type]
        os.replace(part, path)
    return replace(job, state=state)


def _is_complete(markers: Markers, store: Store, task: Task) -> bool:
    marker = markers.read(task.name)
    return marker is not None and marker.complete and store.holds(task)


def _store(job: Job) -> Store:
    return ZarrStore(job) if job.output.format == "zarr" else CogStore(job)


def job_runtime(job: Job) -> Runtime:
    """A runtime for this process, as the job's resources say."""
    r = job.resources
    return Runtime.create(r.device, r.dtype, r.batch, r.seed, r.threads)


def _peak_bytes() -> int:
    """The largest resident size this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _statistics(blocks: Mapping[str, Block]) -> dict[str, Any]:
    """Per role: share of valid pixels, and per band the mean over them."""
    found = {}
    for role, block in blocks.items():
        inside = np.broadcast_to(block.valid[:, None], block.values.shape)
        sums = np.where(inside, block.values, 0).sum((0, 2, 3), dtype=np.float64)
        count = inside[:, 0].sum()
        means = [None if count == 0 else round(float(s / count), 6) for s in sums]
        found[role] = {"valid_share": round(float(block.valid.mean()), 6), "mean": means}
    return found


# -- back-ends: they only map run_task over tasks ------------------------------------------------------------------


def _map(job: Job, tasks: Iterable[Task]) -> Iterator[Marker]:
    if job.resources.workers <= 1:
        runtime = job_runtime(job)
        return (run_task(job, task, runtime) for task in tasks)
    return _map_processes(job, tasks)


_WORKER: tuple[Job, Runtime] | None = None


def _start_worker(job: Job) -> None:
    global _WORKER
    threads = job.resources.threads or max(1, (os.cpu_count() or 1) // job.resources.workers)
    job = replace(job, resources=replace(job.resources, threads=threads))
    _WORKER = job, job_runtime(job)


def _run_in_worker(task: Task) -> Marker:
    if _WORKER is None:
        raise RuntimeError("worker process was not initialised")
    return run_task(_WORKER[0], task, _WORKER[1])


def _map_processes(job: Job, tasks: Iterable[Task]) -> Iterator[Marker]:
    """Spawned processes with a bounded number of tasks in flight."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(job.resources.workers, context, _start_worker, (job,)) as pool:
        waiting, flying = iter(tasks), set[Future[Marker]]()
        while True:
            while len(flying) < 2 * job.resources.workers and (task := next(waiting, None)) is not None:
                flying.add(pool.submit(_run_in_worker, task))
            if not flying:
                return
            finished, flying = wait(flying, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
