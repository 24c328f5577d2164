"""What a job costs, before it runs: bytes read and written, peak memory of a worker, and whether that is there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sitsfusion.engine.files import PLAN, WORK, read_json
from sitsfusion.engine.outputs import Product
from sitsfusion.engine.tiling import TileGrid, reach
from sitsfusion.errors import PlanError
from sitsfusion.grid import Window
from sitsfusion.methods.base import Patches, Step, Tiling
from sitsfusion.ops.gapfill import WORK_BYTES

if TYPE_CHECKING:
    from sitsfusion.engine.job import Job

# Python, torch, rasterio, zarr (measured: 320 MiB on Linux, CPU torch) and GDAL's cache, before any pixel.
PROCESS_BYTES = 384 * 2**20


@dataclass(frozen=True)
class Bill:
    """Predicted cost: tasks, bytes read (as the products store them, uncompressed) and written (before compression),
    peak bytes of one worker.
    """

    tasks: int
    bytes_read: int
    bytes_written: int
    peak_bytes: int


def bill_of(job: Job) -> Bill:
    """The bill of a job; its cost grows with rows plus columns of tiles, not with their product."""
    read = sum(_bytes_read(job, step) for step in job.plan.steps)
    tasks = len(job.plan.steps) * len(job.tiles)
    return Bill(tasks, read, sum(_bytes_written(job)), peak_bytes(job, job.tiles.largest))


def peak_bytes(job: Job, core: tuple[int, int]) -> int:
    """Peak bytes of one worker for a core of (rows, columns) cells: the process and the largest step."""
    return PROCESS_BYTES + max(_step_bytes(job, step, core) for step in job.plan.steps)


def _step_bytes(job: Job, step: Step, core: tuple[int, int]) -> int:
    """Loaded inputs, results, and the larger of what the method and what quality layers and writing need meanwhile."""
    middle, tiling = _middle(core, job.scene.size), job.tilings[step.name]
    loaded = sum(
        _decoded_bytes(job, role, len(days), reach(middle, tiling, role, job.scene.size))
        for role, days in step.inputs.items()
    )  # products store two bytes a value, but arrays and resampled images four
    results = _result_bytes(step, middle)
    method = _method_bytes(job, step, middle)
    return loaded + results + max(method, _quality_bytes(job, step, middle) + _writing_bytes(job, step, middle))


def check_disk(job: Job) -> None:
    """Refuse a job whose output does not fit the disk, or whose folder cannot be written to.

    What an interrupted run of the job has already written is not counted again.

    Raises:
        PlanError: says how many bytes are missing.
    """
    folder = job.output.folder
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PlanError(f"{folder} is not a folder that can be written to; choose another --out")
    tiles, joined = _bytes_written(job)
    free, needed = shutil.disk_usage(folder).free, tiles * (1 - _share_done(job)) + joined
    if needed > free:
        raise PlanError(
            f"up to {needed / 1e9:.3g} GB will be written to {folder}, where {free / 1e9:.3g} GB are free; "
            "ask for fewer dates or bands, a part of the scene, or use another disk"
        )


def _share_done(job: Job) -> float:
    """Share of the tasks that an earlier run of the same plan has marked."""
    note = read_json(job.output.folder / PLAN)
    if note is None or note.get("plan_id") != job.plan_id:
        return 0.0
    marked = sum(1 for _ in (job.output.folder / WORK).glob("*.json"))
    return min(1.0, marked / (len(job.plan.steps) * len(job.tiles)))


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that are free for use (Linux: also within the limits of a container or a cluster's job;
    elsewhere all physical memory).
    """
    meminfo = proc / "meminfo"
    if not meminfo.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return min([int(fields["MemAvailable"].split()[0]) * 1024, *_group_limits(proc, groups)])


def _group_limits(proc: Path, groups: Path) -> list[int]:
    """Bytes left in the control groups (version 2) that this process belongs to."""
    own = proc / "self" / "cgroup"
    lines = own.read_text().splitlines() if own.exists() else []
    names = [line[3:].strip("/") for line in lines if line.startswith("0::")]
    found = []
    for folder in (level for name in names for level in (groups / name, *(groups / name).parents)):
        limit, used = folder / "memory.max", folder / "memory.current"
        if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
            found.append(max(int(text) - int(used.read_text()), 0))
    return found


def _bytes_read(job: Job, step: Step) -> int:
    tiling = job.tilings[step.name]
    return sum(
        _cells_read(job.tiles, tiling, role) * job.scene.per_cell(role) ** 2 * len(days) * job.scene[role].pixel_bytes()
        for role, days in step.inputs.items()
    )


def _cells_read(tiles: TileGrid, tiling: Tiling, role: str) -> int:
    """Cells of a role that all tiles read, halos counted as often as they are read: rows times columns."""
    rows = sum(reach(tiles.core(r, 0), tiling, role, tiles.size).height for r in range(tiles.shape[0]))
    columns = sum(reach(tiles.core(0, c), tiling, role, tiles.size).width for c in range(tiles.shape[1]))
    return rows * columns


def _bytes_written(job: Job) -> tuple[int, int]:
    """Bytes of tiles, and of the mosaics that are made of them while they still exist."""
    tiles = sum(_product_bytes(job, made) for made in job.products())
    return tiles, tiles if job.output.format == "cog" and job.output.mosaic == "cog" else 0


def _product_bytes(job: Job, made: Product) -> int:
    h, w = made.layout.grid.shape
    dates = len(job.query[made.role].dates)
    return int(h * w * dates * len(made.layout.bands) * np.dtype(made.layout.dtype).itemsize)


def _result_bytes(step: Step, core: Window) -> int:
    return sum(_area(core) * q.per_cell**2 * len(q.dates) * (4 * len(q.bands) + 1) for q in step.query.values())


def _method_bytes(job: Job, step: Step, core: Window) -> int:
    """What `predict` needs besides inputs as loaded and results; patch-wise methods see one patch at a time."""
    tiling, blending = job.tilings[step.name], 0
    if isinstance(tiling, Patches):
        blending = 2 * _result_bytes(step, core)  # sums in double precision
        core = _middle((min(tiling.size, job.scene.size[0]), min(tiling.size, job.scene.size[1])), job.scene.size)
    own = job.method.footprint(job.scene, step, (core.height, core.width))
    return blending + (own if own is not None else _generic_footprint(job, step, core))


def _generic_footprint(job: Job, step: Step, core: Window) -> int:
    """For methods that do not say: all inputs decoded to float32, twice, and the output twice over."""
    tiling = job.tilings[step.name]
    decoded = 0
    for role, days in step.inputs.items():
        seen = core if isinstance(tiling, Patches) else reach(core, tiling, role, job.scene.size)
        decoded += _decoded_bytes(job, role, len(days), seen)
    return 2 * decoded + 2 * _result_bytes(step, core) + WORK_BYTES


def _quality_bytes(job: Job, step: Step, core: Window) -> int:
    """Days and counts of all roles as kept, and the maps that they are made of, one role at a time."""
    kept, most = 0, 0
    for role, wanted in step.query.items():
        pixels = _area(core) * wanted.per_cell**2
        kept += 4 * pixels * len(wanted.dates)
        dates = sum(len(step.inputs[source]) for source in step.informing(role))
        most = max(most, pixels * (16 * len(wanted.dates) + 2 * dates))
    return kept + most + WORK_BYTES


def _writing_bytes(job: Job, step: Step, core: Window) -> int:
    """The image (GeoTIFF) or series of images (Zarr) that is being encoded and compressed."""
    zarr = job.output.format == "zarr"
    return max(
        _area(core) * q.per_cell**2 * (3 * 4 * len(q.bands) * (len(q.dates) if zarr else 1) + 32)
        for q in step.query.values()
    )


def _decoded_bytes(job: Job, role: str, dates: int, window: Window) -> int:
    return _area(window) * job.scene.per_cell(role) ** 2 * dates * (4 * len(job.scene[role].bands) + 1)


def _middle(core: tuple[int, int], size: tuple[int, int]) -> Window:
    """A core of this size in the middle of the scene, where halos are not clipped."""
    return Window((size[0] - core[0]) // 2, (size[1] - core[1]) // 2, *core).clipped(size)


def _area(window: Window) -> int:
    return window.height * window.width
