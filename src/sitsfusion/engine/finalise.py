"""Joining the tiles of a job, and describing the result for people and programs. Safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sitsfusion.engine.files import WORK, remove, write_text
from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.lock import sole_runner
from sitsfusion.engine.outputs import Product, image_tags
from sitsfusion.engine.stac import write_catalogue
from sitsfusion.engine.store import REPORT, STAC, ZARR, CogStore, Marker, Markers
from sitsfusion.grid import Window
from sitsfusion.io.cog import gdal_limits, mosaic_cog, vrt_xml
from sitsfusion.methods.base import Step
from sitsfusion.prediction import NOTE

Image = tuple[str, date]
_STATE_LETTERS = {"done": "#", "empty": ".", "failed": "X"}


def finalise(job: Job) -> Path:
    """Join what is complete, write `prediction.json`, the STAC catalogue and the run report.

    A date with a failed tile is not joined; it is listed under `missing` with the reason, and a later run of the same
    plan completes it.

    Returns:
        The path of `prediction.json`.

    Raises:
        PlanError: another process is finalising the job.
        WriteError: the disk is full, or a tile's image is missing or damaged.
    """
    folder = job.output.folder
    with sole_runner(folder, "finalise"), gdal_limits():
        markers = _read_markers(job)
        failed = _failures(job, markers)
        products = {made.name: _described(job, made, failed) for made in _products(job, markers)}
        if job.output.format == "cog":
            write_catalogue(folder / STAC, job, {name: p["images"] for name, p in products.items()})
        write_text(folder / REPORT, _run_report(job, markers))
        write_text(folder / NOTE, json.dumps(_note(job, products, failed), indent=1))
        _clean(job, markers, failed)
    return folder / NOTE


def _read_markers(job: Job) -> dict[str, Marker | None]:
    reader = Markers(job)
    return {task.name: reader.read(task.name) for task in job.tasks()}


def _note(job: Job, products: Mapping[str, Any], failed: Mapping[Image, str]) -> dict[str, Any]:
    return {
        "provenance": job.provenance(),
        "format": job.output.format,
        "products": products,
        "missing": [
            *({"role": r.role, "date": r.day.isoformat(), "reason": r.reason} for r in job.plan.refused),
            *({"role": role, "date": day.isoformat(), "reason": why} for (role, day), why in failed.items()),
        ],
    }


def _described(job: Job, made: Product, failed: Mapping[Image, str]) -> dict[str, Any]:
    """Join the images of a product, and say what they are."""
    wanted, grid = job.query[made.role], made.layout.grid
    steps = _steps_of(job, made.role)
    complete = [day for day in wanted.dates if day in steps and (made.role, day) not in failed]
    return {
        "role": made.role,
        "kind": made.kind,
        "sensor": wanted.sensor.model_dump(mode="json"),
        "bands": list(made.layout.bands),
        "encodings": [e.model_dump(mode="json") for e in made.layout.encodings],
        "grid": {"shape": list(grid.shape), "transform": list(grid.affine[:6]), "crs": grid.crs and grid.crs.to_wkt()},
        "dates": [day.isoformat() for day in wanted.dates],
        "images": {day.isoformat(): _image(job, made, day, steps[day]) for day in complete},
    }


def _products(job: Job, markers: Mapping[str, Marker | None]) -> list[Product]:
    """Products that were written: the planned ones, and sigma where the method gave one."""
    with_sigma = {role for marker in markers.values() if marker is not None for role in marker.sigma}
    return [*job.products(), *(job.product(role, "sigma") for role in job.query if role in with_sigma)]


def _steps_of(job: Job, role: str) -> dict[date, Step]:
    """The step that makes each date of a role."""
    return {day: step for step in job.plan.steps if role in step.query for day in step.query[role].dates}


def _image(job: Job, made: Product, day: date, step: Step) -> str:
    """Make the image of one date if it is not there yet; its path relative to the job's folder."""
    if job.output.format == "zarr":
        return f"{ZARR}/{made.name}"
    path = CogStore(job).final_path(made, day)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        parts, tags = _parts(job, made, day, step), image_tags(day, job.provenance())
        if job.output.mosaic == "vrt":
            write_text(path, vrt_xml(made.layout, parts, tags, path.parent))
        else:
            mosaic_cog(path, vrt_xml(made.layout, parts, tags, None))
    return path.relative_to(job.output.folder).as_posix()


def _parts(job: Job, made: Product, day: date, step: Step) -> list[tuple[Path, Window]]:
    """The tile images of one date and the pixels each covers. Not every tile needs to have a sigma."""
    store, n = CogStore(job), job.query[made.role].per_cell
    tasks = [Task(step, name, core) for name, core in job.tiles]
    parts = [(store.tile_folder(task) / made.file(day), task.core.scaled(n)) for task in tasks]
    return [part for part in parts if made.kind != "sigma" or part[0].exists()]


def _failures(job: Job, markers: Mapping[str, Marker | None]) -> dict[Image, str]:
    """Every image with a missing or failed tile, and the first reason."""
    found: dict[Image, str] = {}
    for task in job.tasks():
        marker = markers[task.name]
        if marker is None or not marker.complete:
            reason = f"tile {task.tile}: " + ("not run yet" if marker is None else marker.error)
            for image in _images(task.step):
                found.setdefault(image, reason)
    return found


def _images(step: Step) -> list[Image]:
    return [(role, day) for role, wanted in step.query.items() for day in wanted.dates]


def _clean(job: Job, markers: Mapping[str, Marker | None], failed: Mapping[Image, str]) -> None:
    """Remove the tile images whose dates have all been joined (their markers stay) and, when the job is complete,
    what killed runs left half-written.
    """
    if job.output.format == "cog" and job.output.mosaic == "cog":
        for step in job.plan.steps:
            if not any(image in failed for image in _images(step)):
                for name, core in job.tiles:
                    remove(CogStore(job).tile_folder(Task(step, name, core)))
    if not failed:
        for place in (job.output.folder, job.output.folder / WORK):
            for rest in place.glob("*.part"):
                remove(rest)


def _run_report(job: Job, markers: Mapping[str, Marker | None]) -> str:
    """Plain text: what ran, how long it took, and a map of tile states per step."""
    known = [marker for marker in markers.values() if marker is not None]
    lines = [
        f"{job.method.card.name}: {len(known)} of {len(markers)} tasks ran, {sum(m.complete for m in known)} complete",
        f"seconds of work: {sum(m.seconds for m in known):.1f}",
        f"largest process: {max((m.peak_bytes for m in known), default=0) / 2**20:.0f} MiB",
        "map of tiles: # done, . nothing to predict, X failed, ? not run",
    ]
    for step in job.plan.steps:
        states = [markers[f"{step.name}_{tile}"] for tile, _ in job.tiles]
        lines += [f"step {step.name}:", *_map_of(states, job.tiles.shape[1])]
    lines += [f"{m.task} failed: {m.error}" for m in known if not m.complete]
    return "\n".join(lines) + "\n"


def _map_of(states: Sequence[Marker | None], across: int) -> list[str]:
    letters = ["?" if m is None else _STATE_LETTERS[m.state] for m in states]
    return ["".join(letters[i : i + across]) for i in range(0, len(letters), across)]
