"""Running a job: one plain function per task, mapped by a back-end over the tasks that have no marker yet."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from sitsfusion.engine import quality as qualities
from sitsfusion.engine.blend import predict_patches
from sitsfusion.engine.check import check_blocks
from sitsfusion.engine.files import part_of
from sitsfusion.engine.job import Job, Task, check_disk
from sitsfusion.engine.lock import sole_runner
from sitsfusion.engine.runtime import Runtime
from sitsfusion.engine.store import CALIBRATION, CogStore, Marker, Markers, Store, open_folder
from sitsfusion.engine.tiling import reach
from sitsfusion.engine.zarr_store import ZarrStore
from sitsfusion.errors import InputError, RunError, SitsFusionError
from sitsfusion.io.cog import gdal_limits
from sitsfusion.methods.base import Block, Patches, State, Tile
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
        PlanError: the folder belongs to another plan, or is in use by another process; the disk is too small.
        RunError: a worker process was killed.
        WriteError: a marker cannot be written (the disk is full). What is done stays done.
    """
    index, count = shard
    if not 0 <= index < count:
        raise InputError(f"shard {index}/{count} is not possible; the first of n shards is 0/n")
    if overwrite and count > 1:
        raise InputError("one shard must not remove what the others write: remove the folder, then start the shards")
    check_disk(job)
    open_folder(job, overwrite)
    with sole_runner(job.output.folder, f"{index}-of-{count}"), gdal_limits():
        job, store, markers = _calibrated(job), _store(job), Markers(job)
        store.create()
        mine = [task for i, task in enumerate(job.tasks()) if i % count == index]
        todo = [task for task in mine if not _is_complete(markers, store, task)]
        failed: list[Marker] = []
        with closing(_map(job, todo)) as finished:
            for number, marker in enumerate(finished, 1):
                markers.write(marker)
                if not marker.complete:
                    failed.append(marker)
                if progress is not None:
                    progress(marker, number, len(todo))
    return Outcome(len(mine) - len(todo), len(todo) - len(failed), tuple(failed))


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
        sigma = tuple(role for role, block in blocks.items() if block.sigma is not None)
        marker = replace(marker, state=state, checksum=checksum, statistics=_statistics(blocks), sigma=sigma)
    except Exception as error:  # the boundary of a task: one bad tile must not stop the others
        shown = str(error) if isinstance(error, SitsFusionError) else f"{type(error).__name__}: {error}"
        marker = replace(marker, error=shown, traceback=traceback.format_exc(), inputs=_inputs(job, task))
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
    """The blocks of a task, patch-wise methods blended.

    Raises:
        InputError: the method returned something else than was asked for.
    """
    tiling = job.tilings[task.step.name]
    if isinstance(tiling, Patches):
        return predict_patches(job.method, tile, task.step, tiling, job.state, runtime)
    with torch.inference_mode():
        blocks = job.method.predict(tile, task.step, job.state, runtime)
    return check_blocks(job.method, tile, task.step, blocks)


def _predict(job: Job, task: Task, tile: Tile, runtime: Runtime) -> Mapping[str, Block]:
    while True:
        try:
            return predict_tile(job, task, tile, runtime)
        except torch.cuda.OutOfMemoryError:
            if not runtime.halve_batch():
                raise


def _calibrated(job: Job) -> Job:
    """The job with the method's scene-wide quantities, computed once and saved beside the plan."""
    path = job.output.folder / CALIBRATION
    if path.exists():
        with np.load(path, allow_pickle=False) as saved:
            return replace(job, state={key: saved[key] for key in saved.files})
    state: State = job.method.calibrate(job.scene, job.plan, job_runtime(job))
    if state:
        part = part_of(path)
        with part.open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]
        part.replace(path)
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


def _inputs(job: Job, task: Task) -> dict[str, list[str]]:
    """Names of the images that a task reads, by role."""
    return {
        role: [item.id for item in job.scene[role].select(dates=days).items] for role, days in task.step.inputs.items()
    }


def _peak_bytes() -> int:
    """The largest resident size this process has had; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _statistics(blocks: Mapping[str, Block]) -> dict[str, Any]:
    """Per role: share of valid pixels, and per band the mean over them."""
    found = {}
    for role, block in blocks.items():
        count = int(block.valid.sum())
        sums = [0.0] * block.values.shape[1]
        for image, valid in zip(block.values, block.valid, strict=True):  # one at a time: no copy of them all
            sums = [s + float(band[valid].sum(dtype=np.float64)) for s, band in zip(sums, image, strict=True)]
        means = [None if count == 0 else round(s / count, 6) for s in sums]
        found[role] = {"valid_share": round(float(block.valid.mean()), 6), "mean": means}
    return found


# -- back-ends: they only map run_task over tasks ------------------------------------------------------------------


def _map(job: Job, tasks: Sequence[Task]) -> Generator[Marker]:
    if min(job.resources.workers, len(tasks)) > 1:
        yield from _map_processes(job, tasks)
    elif tasks:
        runtime = job_runtime(job)
        yield from (run_task(job, task, runtime) for task in tasks)


_WORKER: tuple[Job, Runtime] | None = None


def _start_worker(job: Job) -> None:
    global _WORKER
    threads = job.resources.threads or max(1, _cores() // job.resources.workers)
    job = replace(job, resources=replace(job.resources, threads=threads))
    _WORKER = job, job_runtime(job)


def _run_in_worker(task: Task) -> Marker:
    if _WORKER is None:
        raise RuntimeError("worker process was not initialised")
    with gdal_limits():
        return run_task(_WORKER[0], task, _WORKER[1])


def _map_processes(job: Job, tasks: Sequence[Task]) -> Generator[Marker]:
    """Spawned processes with a bounded number of tasks in flight."""
    workers, context = min(job.resources.workers, len(tasks)), multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (job,))
    waiting, flying, known = iter(tasks), dict[Future[Marker], Task](), 0
    try:
        while True:
            for task in islice(waiting, 2 * workers - len(flying)):
                flying[pool.submit(_run_in_worker, task)] = task
            if not flying:
                return
            finished, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=lambda f: f.exception() is not None):  # results before a failure
                yield future.result()
                known += 1
                del flying[future]
    except BrokenProcessPool as error:
        raise RunError(_killed([task.name for task in flying.values()], known)) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _killed(names: Sequence[str], known: int) -> str:
    """Why a worker process may be gone; its task is not marked, so that it runs again."""
    if known == 0:
        return (
            "a worker process ended before its first tile. In a script, call `fuse` under "
            '`if __name__ == "__main__":`; else it was killed, most likely for want of memory: use fewer workers or a '
            "smaller memory budget"
        )
    return (
        f"a worker process was killed while it ran one of {', '.join(names)}, most likely for want of memory; finished "
        "tiles are kept: repeat with fewer workers or a smaller memory budget to run the others"
    )


def _cores() -> int:
    """CPU cores that this process may use (a cluster's job may have fewer than the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
