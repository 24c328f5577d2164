"""Where a job's results go: whole tiles first, then a marker per task that says they are complete.

Layout of a job's folder:

    plan.json                the identity of the plan; another plan's folder is refused
    calibration.npz          the method's scene-wide quantities
    work/<task>/             tile images of a task (format "cog")
    work/<task>.json         its marker, written last
    <role>/, <role>_quality/, <role>_sigma/   images, one per date (made by `finalise`), or prediction.zarr
    prediction.json          provenance, dates, refused dates
    run-report.txt, stac/    for people, for programs
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sitsfusion import grid as grids
from sitsfusion.engine.files import PLAN, WORK, claim_text, part_of, read_json, remove, write_text
from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.outputs import KINDS, Product, image_tags
from sitsfusion.engine.quality import Quality
from sitsfusion.errors import PlanError
from sitsfusion.io.cog import Layout, write_cog
from sitsfusion.methods.base import Block
from sitsfusion.prediction import NOTE
from sitsfusion.scene import ROLES

ZARR, CALIBRATION, REPORT, STAC = "prediction.zarr", "calibration.npz", "run-report.txt", "stac"
PAGE = "index.html"


@dataclass(frozen=True)
class Marker:
    """Proof that a task is done, or why it failed.

    `state` is "done", "empty" (nothing could be predicted anywhere) or "failed"; `checksum` covers the stored numbers;
    `sigma` names the roles that came with one; `inputs` the images that a failed task was to read, by role.
    """

    task: str
    plan_id: str
    state: str
    checksum: str = ""
    statistics: Mapping[str, Any] | None = None
    sigma: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_bytes: int = 0
    error: str = ""
    traceback: str = ""
    inputs: Mapping[str, Any] | None = None

    @property
    def complete(self) -> bool:
        return self.state in ("done", "empty")


class Store(Protocol):
    """Writes the tiles of one job."""

    def create(self) -> None:
        """Make what must exist before the first tile. Safe to repeat, and to call from several processes at once."""
        ...

    def write(self, task: Task, blocks: Mapping[str, Block], quality: Mapping[str, Quality]) -> str:
        """Write all of a task's results; returns their checksum."""
        ...

    def holds(self, task: Task) -> bool:
        """Whether a task's results are still there, as tiles or joined."""
        ...


class Markers:
    """The markers of a job, one small file per task, written by rename."""

    def __init__(self, job: Job) -> None:
        self.folder, self.plan_id = job.output.folder / WORK, job.plan_id

    def path(self, name: str) -> Path:
        """Where the marker of a task lies."""
        return self.folder / f"{name}.json"

    def write(self, marker: Marker) -> None:
        """Put a marker in place, whole."""
        write_text(self.path(marker.task), json.dumps(marker.__dict__, indent=1, sort_keys=True))

    def read(self, name: str) -> Marker | None:
        """The marker of a task of this plan; None when there is none, or only a damaged one."""
        found = read_json(self.path(name))
        if found is None or found.get("plan_id") != self.plan_id or set(found) != set(Marker.__dataclass_fields__):
            return None
        return Marker(**{**found, "sigma": tuple(found["sigma"])})


def open_folder(job: Job, overwrite: bool = False) -> bool:
    """Claim the job's folder for its plan; True when the folder already held the same plan (a run to resume).

    Several processes may claim it at once: one writes the plan, the others find it. `overwrite` removes the results of
    another plan, and nothing that this library did not write.

    Raises:
        PlanError: the folder holds another plan or other files, or cannot be made.
        WriteError: it cannot be written to.
    """
    folder, note = job.output.folder, job.output.folder / PLAN
    replaced = overwrite and note.exists() and _plan_in(folder) != job.plan_id
    if replaced:
        _remove_results(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in folder.iterdir() if not path.name.endswith(".part")]
    except OSError as error:
        raise PlanError(f"{folder} cannot be made: {error.strerror}; choose another --out") from error
    if not note.exists() and strangers and not replaced:
        raise PlanError(f"{folder} is not empty ({strangers[0]}, ...) and holds no plan of ours; choose another --out")
    created = not note.exists() and claim_text(note, json.dumps(plan_note(job), indent=1))
    if not created and (found := _plan_in(folder)) != job.plan_id:
        raise PlanError(
            f"{folder} holds the results of another plan ({found}, this one is {job.plan_id}): inputs, options, dates, "
            "output format or tiles differ; choose another --out, or --overwrite to replace it"
        )
    (folder / WORK).mkdir(exist_ok=True)
    return not created


def _plan_in(folder: Path) -> str:
    """The plan that a folder holds.

    Raises:
        PlanError: its plan.json is not one that this library wrote.
    """
    found = read_json(folder / PLAN)
    if found is None or not {"plan_id", "tiles", "steps"} <= set(found):
        raise PlanError(f"{folder / PLAN} is not a plan of ours, or damaged: nothing is touched; choose another --out")
    return str(found["plan_id"])


def _remove_results(folder: Path) -> None:
    """Remove what a job wrote; its plan goes last, so that a removal that is cut short can be repeated."""
    images = [role + suffix for role in ROLES for suffix in ("", "_quality", "_sigma")]
    for name in (NOTE, PAGE, REPORT, STAC, ZARR, CALIBRATION, *images, WORK, PLAN):
        remove(folder / name)


def plan_note(job: Job) -> dict[str, Any]:
    """What `plan.json` says."""
    tiles = job.tiles
    return {
        **job.provenance(),
        "tiles": {"rows": tiles.shape[0], "columns": tiles.shape[1], "cells": [tiles.height, tiles.width]},
        "steps": [
            {"name": s.name, "dates": {r: [d.isoformat() for d in q.dates] for r, q in s.query.items()}}
            for s in job.plan.steps
        ],
        "refused": [{"role": r.role, "date": r.day.isoformat(), "reason": r.reason} for r in job.plan.refused],
        "notes": list(job.plan.notes),
    }


class CogStore:
    """Tiles as GeoTIFFs in a folder per task, put in place by one rename."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def create(self) -> None:
        (self.job.output.folder / WORK).mkdir(exist_ok=True)

    def write(self, task: Task, blocks: Mapping[str, Block], quality: Mapping[str, Quality]) -> str:
        final, provenance, digest = self.tile_folder(task), self.job.provenance(), hashlib.sha256()
        for rest in final.parent.glob(f"{final.name}.*.part"):  # of a run that was killed
            remove(rest)
        part = part_of(final)
        part.mkdir()
        try:
            for series in results(self.job, task, blocks, quality):
                layout = tile_layout(series.made, task)
                for t, day in enumerate(series.dates):
                    stored, tags = series.image(t), image_tags(day, provenance)
                    write_cog(part / series.made.file(day), stored, layout, tags=tags, overviews=False)
                    digest.update(np.ascontiguousarray(stored).data)
            shutil.rmtree(final, ignore_errors=True)
            part.replace(final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return digest.hexdigest()

    def holds(self, task: Task) -> bool:
        if self.tile_folder(task).exists():
            return True
        made = self.job.products(task.step)
        return all(self.final_path(p, day).exists() for p in made for day in task.step.query[p.role].dates)

    def final_path(self, made: Product, day: date) -> Path:
        """Where the joined image of one date lies."""
        suffix = ".tif" if self.job.output.mosaic == "cog" else ".vrt"
        return self.job.output.folder / made.name / Path(made.file(day)).with_suffix(suffix)

    def tile_folder(self, task: Task) -> Path:
        """Where the images of a task lie."""
        return self.job.output.folder / WORK / task.name


def tile_layout(made: Product, task: Task) -> Layout:
    """A product's layout over the core of a task."""
    whole = made.layout
    window = task.core.scaled(task.step.query[made.role].per_cell)
    return Layout(grids.crop(whole.grid, window), whole.bands, whole.encodings, whole.units)


@dataclass(frozen=True, eq=False)
class Results:
    """What a task writes of one product; one image at a time is encoded."""

    made: Product
    dates: tuple[date, ...]
    block: Block
    quality: Quality

    def image(self, t: int) -> NDArray[np.generic]:
        """Stored numbers [c, h, w] of date number `t` of the task.

        A pixel that is not valid and does not fit (a saturated cloud) is stored as nodata.

        Raises:
            EncodingError: a valid value, or a sigma, does not fit the product's number type.
        """
        block, quality, made = self.block, self.quality, self.made
        if made.kind == "quality":
            layers = (~block.valid[t], quality.days_to_clear[t], quality.clear_count[t])
            return np.stack([layer.astype(np.int16) for layer in layers])
        what = f"{made.name} of {self.dates[t]}"
        if made.kind == "sigma" and block.sigma is not None:
            return made.layout.encode(block.sigma[t], what)
        return made.layout.encode(_storable(block.values[t], block.valid[t], made.layout), what)


def _storable(values: NDArray[np.float32], valid: NDArray[np.bool_], layout: Layout) -> NDArray[np.float32]:
    """Values [c, h, w] with NaN where a pixel is not valid [h, w] and its value is out of the layout's range."""
    limits = np.array([e.limits() for e in layout.encodings])  # [c 2]
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    return np.where(~valid & ~((values >= low) & (values <= high)), np.float32(np.nan), values)


def results(job: Job, task: Task, blocks: Mapping[str, Block], quality: Mapping[str, Quality]) -> Iterator[Results]:
    """The products of a task in a fixed order, sigma only where the method gave one."""
    for role, block in blocks.items():
        for kind in KINDS:
            if kind != "sigma" or block.sigma is not None:
                yield Results(job.product(role, kind), task.step.query[role].dates, block, quality[role])
