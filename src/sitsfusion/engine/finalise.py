"""Joining the tiles of a job, and describing the result for people and programs. Safe to repeat."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.outputs import Product, image_tags, product
from sitsfusion.engine.stac import write_catalogue
from sitsfusion.engine.store import CogStore, Marker, Markers, write_text
from sitsfusion.grid import Window
from sitsfusion.io.cog import mosaic_cog, vrt_xml
from sitsfusion.prediction import NOTE

_STATE_LETTERS = {"done": "#", "empty": ".", "failed": "X"}


def finalise(job: Job) -> Path:
    """Join what is complete, write `prediction.json`, the STAC catalogue and the run report.

    A date with a failed tile is not joined; it is listed under `incomplete` with the reason, and a later run of the
    same plan completes it.

    Returns:
        The path of `prediction.json`.
    """
    markers = {task.name: Markers(job).read(task.name) for task in job.tasks()}
    failed = _failures(job, markers)
    products = {made.name: _described(job, made, failed) for made in _products(job)}
    if job.output.format == "cog" and job.output.mosaic == "cog":
        _drop_joined_tiles(job, markers, failed)
    folder = job.output.folder
    note = {
        "provenance": job.provenance(),
        "format": job.output.format,
        "products": products,
        "missing": [
            *({"role": r.role, "date": r.day.isoformat(), "reason": r.reason} for r in job.plan.refused),
            *({"role": role, "date": day.isoformat(), "reason": why} for (role, day), why in failed.items()),
        ],
    }
    write_text(folder / NOTE, json.dumps(note, indent=1))
    write_text(folder / "run-report.txt", _run_report(job, markers))
    if job.output.format == "cog":
        write_catalogue(folder, job, {name: p["images"] for name, p in products.items()})
    return folder / NOTE


def _described(job: Job, made: Product, failed: Mapping[tuple[str, date], str]) -> dict[str, Any]:
    """Join the images of a product, and say what they are."""
    wanted, grid = job.query[made.role], made.layout.grid
    complete = [d for d in wanted.dates if (made.role, d) not in failed and _tasks_of(job, made.role, d)]
    return {
        "role": made.role,
        "kind": made.kind,
        "sensor": wanted.sensor.model_dump(mode="json"),
        "bands": list(made.layout.bands),
        "encodings": [e.model_dump(mode="json") for e in made.layout.encodings],
        "grid": {"shape": list(grid.shape), "transform": list(grid.affine[:6]), "crs": grid.crs and grid.crs.to_wkt()},
        "dates": [day.isoformat() for day in wanted.dates],
        "images": {day.isoformat(): _image(job, made, day) for day in complete},
    }


def _products(job: Job) -> list[Product]:
    """Products that were written: the planned ones, and sigma where the method gave one."""
    found = job.products()
    for role, wanted in job.query.items():
        sigma = product(job.scene, role, wanted, "sigma", job.output)
        written = (job.output.folder / "work").glob(f"*/{sigma.name}_*.tif")
        if (job.output.folder / sigma.name).exists() or next(written, None) is not None:
            found.append(sigma)
    return found


def _image(job: Job, made: Product, day: date) -> str:
    """Make the image of one date if it is not there yet; its path relative to the job's folder."""
    folder = job.output.folder
    if job.output.format == "zarr":
        return f"prediction.zarr/{made.name}"
    store, n = CogStore(job), job.query[made.role].per_cell
    path = store.final_path(made, day)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        parts: list[tuple[Path, Window]] = [
            (store.tile_folder(task) / made.file(day), task.core.scaled(n)) for task in _tasks_of(job, made.role, day)
        ]
        tags = image_tags(day, job.provenance())
        if job.output.mosaic == "vrt":
            write_text(path, vrt_xml(made.layout, parts, tags, path.parent))
        else:
            mosaic_cog(path, vrt_xml(made.layout, parts, tags, None))
    return path.relative_to(folder).as_posix()


def _tasks_of(job: Job, role: str, day: date) -> list[Task]:
    return [t for t in job.tasks() if role in t.step.query and day in t.step.query[role].dates]


def _failures(job: Job, markers: Mapping[str, Marker | None]) -> dict[tuple[str, date], str]:
    """(role, date) of every image with a missing or failed tile, and the first reason."""
    found: dict[tuple[str, date], str] = {}
    for task in job.tasks():
        marker = markers[task.name]
        if marker is not None and marker.complete:
            continue
        reason = f"tile {task.tile}: " + ("not run yet" if marker is None else marker.error)
        for role, wanted in task.step.query.items():
            for day in wanted.dates:
                found.setdefault((role, day), reason)
    return found


def _drop_joined_tiles(job: Job, markers: Mapping[str, Marker | None], failed: Mapping[tuple[str, date], str]) -> None:
    """Remove the tile images of tasks whose dates have all been joined; their markers stay."""
    for task in job.tasks():
        dates = [(role, day) for role, wanted in task.step.query.items() for day in wanted.dates]
        if markers[task.name] is not None and not any(key in failed for key in dates):
            shutil.rmtree(CogStore(job).tile_folder(task), ignore_errors=True)


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
        letters = ["?" if m is None else _STATE_LETTERS[m.state] for m in states]
        across = job.tiles.shape[1]
        lines += [f"step {step.name}:", *("".join(letters[i : i + across]) for i in range(0, len(letters), across))]
    lines += [f"{m.task} failed: {m.error}" for m in known if not m.complete]
    return "\n".join(lines) + "\n"
