"""Where a job's results go: whole tiles first, then a marker per task that says they are complete.

Layout of a job's folder:

    plan.json                the identity of the plan; another plan's folder is refused
    calibration.npz          the method's scene-wide quantities
    work/<task>/             tile images of a task (format "cog")
    work/<task>.json         its marker, written last
    <role>/, <role>_quality/ images, one per date (made by `finalise`), or prediction.zarr
    prediction.json          provenance, dates, refused dates
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.outputs import Product, image_tags, product
from sitsfusion.errors import PlanError
from sitsfusion.io.cog import Layout, write_cog
from sitsfusion import grid as grids
from sitsfusion.methods.base import Block
from sitsfusion.engine.quality import Quality


@dataclass(frozen=True)
class Marker:
    """Proof that a task is done, or why it failed.

    `state` is "done", "empty" (nothing could be predicted anywhere) or "failed"; `checksum` covers the stored numbers.
    """

    task: str
    plan_id: str
    state: str
    checksum: str = ""
    statistics: Mapping[str, Any] | None = None
    seconds: float = 0.0
    peak_bytes: int = 0
    error: str = ""
    traceback: str = ""

    @property
    def complete(self) -> bool:
        return self.state in ("done", "empty")


class Store(Protocol):
    """Writes the tiles of one job."""

    def create(self) -> None:
        """Make what must exist before the first tile (called once, by the coordinator)."""
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
        self.folder, self.plan_id = job.output.folder / "work", job.plan_id

    def path(self, name: str) -> Path:
        """Where the marker of a task lies."""
        return self.folder / f"{name}.json"

    def write(self, marker: Marker) -> None:
        """Put a marker in place, whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.path(marker.task), json.dumps(marker.__dict__, indent=1, sort_keys=True))

    def read(self, name: str) -> Marker | None:
        """The marker of a task of this plan, or None."""
        path = self.path(name)
        if not path.exists():
            return None
        marker = Marker(**json.loads(path.read_text()))
        return marker if marker.plan_id == self.plan_id else None


def open_folder(job: Job, overwrite: bool = False) -> bool:
    """Claim the job's folder for its plan; True when the folder already held the same plan (a run to resume).

    Raises:
        PlanError: the folder holds another plan or other files.
    """
    folder, note = job.output.folder, job.output.folder / "plan.json"
    if note.exists():
        found = json.loads(note.read_text()).get("plan_id")
        if found == job.plan_id:
            return True
        if not overwrite:
            raise PlanError(
                f"{folder} holds the results of another plan ({found}, this one is {job.plan_id}): inputs, options or "
                "dates differ; choose another --out, or --overwrite to replace it"
            )
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise PlanError(f"{folder} is not empty and holds no plan of ours; choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlanError(f"{folder} cannot be made: {error.strerror}; choose another --out") from error
    write_text(note, json.dumps(plan_note(job), indent=1))
    return False


def plan_note(job: Job) -> dict[str, Any]:
    """What `plan.json` says."""
    return {
        **job.provenance(),
        "tiles": {"rows": job.tiles.shape[0], "columns": job.tiles.shape[1], "cells": [job.tiles.height, job.tiles.width]},
        "steps": [
            {"name": s.name, "dates": {r: [d.isoformat() for d in q.dates] for r, q in s.query.items()}}
            for s in job.plan.steps
        ],
        "refused": [{"role": r.role, "date": r.day.isoformat(), "reason": r.reason} for r in job.plan.refused],
        "notes": list(job.plan.notes),
    }


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is either absent or complete."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text)
    os.replace(part, path)


class CogStore:
    """Tiles as GeoTIFFs in a folder per task, put in place by one rename."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def create(self) -> None:
        (self.job.output.folder / "work").mkdir(exist_ok=True)

    def write(self, task: Task, blocks: Mapping[str, Block], quality: Mapping[str, Quality]) -> str:
        final = self.tile_folder(task)
        part = final.with_name(f"{final.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        digest = hashlib.sha256()
        try:
            for made, day, stored in images(self.job, task, blocks, quality):
                tags = image_tags(day, self.job.provenance())
                write_cog(part / made.file(day), stored, tile_layout(made, task), tags=tags, overviews=False)
                digest.update(np.ascontiguousarray(stored).tobytes())
            shutil.rmtree(final, ignore_errors=True)
            os.replace(part, final)
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
        return self.job.output.folder / "work" / task.name


def tile_layout(made: Product, task: Task) -> Layout:
    """A product's layout over the core of a task."""
    whole = made.layout
    window = task.core.scaled(task.step.query[made.role].per_cell)
    return Layout(grids.crop(whole.grid, window), whole.bands, whole.encodings, whole.units)


def images(
    job: Job, task: Task, blocks: Mapping[str, Block], quality: Mapping[str, Quality]
) -> list[tuple[Product, date, NDArray[np.generic]]]:
    """Every image of a task as stored numbers [c, h, w], in a fixed order."""
    found: list[tuple[Product, date, NDArray[np.generic]]] = []
    for role, block in blocks.items():
        wanted = task.step.query[role]
        values = product(job.scene, role, wanted, "values", job.output)
        marks = product(job.scene, role, wanted, "quality", job.output)
        sigma = product(job.scene, role, wanted, "sigma", job.output)
        for i, day in enumerate(wanted.dates):
            found.append((values, day, values.layout.encode(block.values[i], f"{role} of {day}")))
            layers = (~block.valid[i], quality[role].days_to_clear[i], quality[role].clear_count[i])
            found.append((marks, day, np.stack([layer.astype(np.int16) for layer in layers])))
            if block.sigma is not None:
                found.append((sigma, day, sigma.layout.encode(block.sigma[i], f"sigma of {role} of {day}")))
    return found
