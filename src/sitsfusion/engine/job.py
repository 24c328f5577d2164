"""Planning: everything that is decided before a pixel is written, and the identity of what was decided."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import sitsfusion
from sitsfusion.engine.outputs import OutputSpec, Product, product
from sitsfusion.engine.tiling import TileGrid, choose, reach
from sitsfusion.errors import GridError, PlanError
from sitsfusion.grid import Window
from sitsfusion.methods.base import Method, MethodPlan, State, Step, Tiling
from sitsfusion.query import Query
from sitsfusion.scene import Scene

# Python, torch, rasterio and GDAL's cache in a worker process, before any pixel.
PROCESS_BYTES = 450 * 2**20


@dataclass(frozen=True)
class Resources:
    """How much of the machine a job may use; none of this changes the result (but `dtype`, and `tile` within rounding).

    `memory` is a budget in bytes for all workers together (default: 80 % of what is available); `tile` the side of a
    core in output pixels; `threads` the CPU threads of each worker.
    """

    device: str = "auto"
    dtype: str = "float32"
    batch: int = 1
    workers: int = 1
    threads: int | None = None
    memory: int | None = None
    tile: int | None = None
    seed: int = 0

    def budget(self) -> int:
        """Bytes that one worker may use."""
        total = self.memory if self.memory is not None else int(0.8 * available_memory())
        return total // max(self.workers, 1)


@dataclass(frozen=True)
class Task:
    """One tile of one step: the unit that is run, marked and resumed."""

    step: Step
    tile: str
    core: Window

    @property
    def name(self) -> str:
        return f"{self.step.name}_{self.tile}"


@dataclass(frozen=True)
class Job:
    """A planned job. Picklable: worker processes receive it whole."""

    scene: Scene
    method: Method
    query: Query
    plan: MethodPlan
    tilings: Mapping[str, Tiling]
    tiles: TileGrid
    output: OutputSpec
    resources: Resources
    plan_id: str = ""
    state: State = field(default_factory=dict)

    def tasks(self) -> Iterator[Task]:
        """All tasks, step by step, row by row."""
        for step in self.plan.steps:
            for name, core in self.tiles:
                yield Task(step, name, core)

    def products(self, step: Step | None = None) -> list[Product]:
        """What the job (or one of its steps) writes, sigma excepted: whether a method has one is known when it runs."""
        roles = self.query if step is None else step.query
        kinds: Sequence[Any] = ("values", "quality")
        return [product(self.scene, role, self.query[role], kind, self.output) for role in roles for kind in kinds]

    def provenance(self) -> dict[str, Any]:
        """What made the result, for people and programs."""
        return {
            "version": sitsfusion.__version__,
            "method": self.method.card.name,
            "options": self.method.options.model_dump(mode="json"),
            **self.method.provenance(),
            "plan_id": self.plan_id,
            "scene": self.scene.name,
            "day_origin": self.scene.day_origin.isoformat(),
            "dtype": self.resources.dtype,
            "inputs": {role: [d.isoformat() for d in days] for role, days in _used_dates(self.plan).items()},
            "citation": self.method.card.citation,
        }

    def bill(self) -> Bill:
        """What the job will cost."""
        cell_bytes = _loaded_bytes_per_cell(self)
        read = sum(
            _area(reach(task.core, self.tilings[task.step.name], role, self.tiles.size)) * per_cell
            for task in self.tasks()
            for role, per_cell in cell_bytes[task.step.name].items()
        )
        written = sum(_product_bytes(self, p) for p in self.products())
        if self.output.format == "cog" and self.output.mosaic == "cog" and len(self.tiles) > 1:
            written *= 2  # tiles and mosaics exist side by side for a while
        core = (self.tiles.height, self.tiles.width)
        peak = max((_peak_bytes(self, step, core) for step in self.plan.steps), default=0)
        return Bill(len(list(self.tasks())), int(read), int(written), peak + PROCESS_BYTES)


@dataclass(frozen=True)
class Bill:
    """Predicted cost: tasks, bytes read (as stored, uncompressed) and written (before compression), peak bytes of one
    worker."""

    tasks: int
    bytes_read: int
    bytes_written: int
    peak_bytes: int


def plan_job(
    scene: Scene, query: Query, method: Method, output: OutputSpec, resources: Resources = Resources()
) -> Job:
    """Plan a job; reads no pixel but to measure a method that does not predict its memory.

    Raises:
        PlanError: no date can be predicted, the memory or disk budget is too small.
        InputError: the scene lacks what the method needs.
    """
    if scene.cells.crs is None and output.format == "cog":
        raise GridError(f"{scene.name} has no coordinate system: GeoTIFFs would lie nowhere; set one or write Zarr")
    decided = method.plan(scene, query)
    if not decided.steps:
        reasons = "; ".join(sorted({r.reason for r in decided.refused})) or "the method found no usable input"
        raise PlanError(f"{method.card.name} can predict none of the dates asked for: {reasons}")
    if scene.origin is None and decided.origin is not None:
        scene = replace(scene, origin=decided.origin)
    tilings = {step.name: method.tiling(scene, step) for step in decided.steps}
    draft = Job(scene, method, query, decided, tilings, TileGrid(scene.size, *scene.size), output, resources)
    tiles = choose(
        scene.size, list(tilings.values()), [q.per_cell for q in query.values()], _fits(draft), resources.tile
    )
    job = replace(draft, tiles=tiles)
    return replace(job, plan_id=_identity(job))


def check_disk(job: Job) -> None:
    """Refuse a job whose output does not fit the disk.

    Raises:
        PlanError: says how many bytes are missing.
    """
    folder = job.output.folder
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise PlanError(f"{folder} cannot be written to; choose another --out")
    free, needed = shutil.disk_usage(folder).free, job.bill().bytes_written
    if needed > free:
        raise PlanError(
            f"up to {needed / 1e9:.2f} GB will be written to {folder}, where {free / 1e9:.2f} GB are free; "
            "ask for fewer dates or bands, a part of the scene, or use another disk"
        )


def available_memory() -> int:
    """Bytes of memory that are free for use, as the operating system says (Linux; elsewhere all physical memory)."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _fits(job: Job) -> Any:
    budget = job.resources.budget() - PROCESS_BYTES

    def fits(core: tuple[int, int]) -> bool:
        return all(_peak_bytes(job, step, core) <= budget for step in job.plan.steps)

    return fits


def _peak_bytes(job: Job, step: Step, core: tuple[int, int]) -> int:
    """Peak bytes of one task: loaded inputs, what the method needs, its output."""
    tiling, middle = job.tilings[step.name], _middle(core, job.scene.size)
    per_cell = _loaded_bytes_per_cell(job)[step.name]
    loaded = sum(_area(reach(middle, tiling, role, job.scene.size)) * n for role, n in per_cell.items())
    out = sum(core[0] * core[1] * q.per_cell**2 * len(q.dates) * (4 * len(q.bands) + 5) for q in step.query.values())
    own = job.method.footprint(job.scene, step, core)
    if own is None:
        own = _generic_footprint(job, step, middle)
    return int(loaded + out + own)


def _generic_footprint(job: Job, step: Step, core: Window) -> int:
    """For methods that do not say: all inputs decoded to float32, twice, and the output twice over."""
    tiling, total = job.tilings[step.name], 0
    for role, days in step.inputs.items():
        cells = _area(reach(core, tiling, role, job.scene.size))
        total += 2 * cells * job.scene.per_cell(role) ** 2 * len(days) * 4 * (len(job.scene[role].bands) + 1)
    for wanted in step.query.values():
        total += 2 * _area(core) * wanted.per_cell**2 * len(wanted.dates) * 4 * len(wanted.bands)
    return total


def _loaded_bytes_per_cell(job: Job) -> dict[str, dict[str, int]]:
    """Bytes of one cell of each input role of each step, loaded as stored."""
    found: dict[str, dict[str, int]] = {}
    for step in job.plan.steps:
        found[step.name] = {
            role: job.scene.per_cell(role) ** 2 * len(days) * (2 * len(job.scene[role].bands) + 1)
            for role, days in step.inputs.items()
        }
    return found


def _middle(core: tuple[int, int], size: tuple[int, int]) -> Window:
    """A core of this size in the middle of the scene, where halos are not clipped."""
    return Window((size[0] - core[0]) // 2, (size[1] - core[1]) // 2, *core).clipped(size)


def _product_bytes(job: Job, made: Product) -> int:
    h, w = made.layout.grid.shape
    dates = len(job.query[made.role].dates)
    return int(h * w * dates * len(made.layout.bands) * np.dtype(made.layout.dtype).itemsize)


def _area(window: Window) -> int:
    return window.height * window.width


def _used_dates(plan: MethodPlan) -> dict[str, list[date]]:
    used: dict[str, set[date]] = {}
    for step in plan.steps:
        for role, days in step.inputs.items():
            used.setdefault(role, set()).update(days)
    return {role: sorted(days) for role, days in used.items()}


def _identity(job: Job) -> str:
    """Hash of all that determines the result; not of budget, device, workers, absolute paths or library version."""
    scene = job.scene
    inventory = [
        [role, cube.sensor.name, list(cube.bands), cube.dates[t].isoformat(), dict(cube.fingerprint(t))]
        for role, days in _used_dates(job.plan).items()
        for cube in [scene[role].select(dates=days)]
        for t in range(len(cube))
    ]
    content = {
        "inputs": inventory,
        "cells": [list(scene.cells.affine[:6]), list(scene.size), str(scene.cells.crs)],
        "method": [job.method.card.name, job.method.options.model_dump(mode="json"), job.method.provenance()],
        "steps": [
            [s.name, _listed(s.inputs), {r: [q.sensor.name, q.bands, _days(q.dates), q.per_cell] for r, q in s.query.items()}]
            for s in job.plan.steps
        ],
        "origin": scene.day_origin.isoformat(),
        "seed": job.resources.seed,
        "dtype": job.resources.dtype,
        "tiling": [job.tiles.height, job.tiles.width, [repr(t) for t in job.tilings.values()]],
        "output": [job.output.format, job.output.encoding, job.output.mosaic],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _listed(inputs: Mapping[str, Sequence[date]]) -> dict[str, list[str]]:
    return {role: _days(days) for role, days in inputs.items()}


def _days(days: Sequence[date]) -> list[str]:
    return [day.isoformat() for day in days]
