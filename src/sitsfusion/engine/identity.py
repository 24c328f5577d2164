"""The identity of a plan: what makes two runs the same job, so that one may go on where the other stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from sitsfusion.engine.tiling import TileGrid
from sitsfusion.query import Query
from sitsfusion.sensors import Sensor

if TYPE_CHECKING:
    from sitsfusion.engine.job import Job

# What of a band's description changes pixels.
_OF_A_BAND = {"key", "unit", "resolution", "mtf", "stored", "output"}


def content_id(job: Job) -> str:
    """Hash of all that determines the result but the size of tiles; not of budget, device, workers, absolute paths or
    library version.
    """
    scene = job.scene
    content = {
        "inputs": [entry for role, days in job.used_dates().items() for entry in _inventory(job, role, days)],
        "cells": [list(scene.cells.affine[:6]), list(scene.size), str(scene.cells.crs)],
        "method": [job.method.card.name, job.method.options.model_dump(mode="json"), dict(job.method.provenance())],
        "steps": [[s.name, {r: _days(d) for r, d in s.inputs.items()}, _wanted(s.query)] for s in job.plan.steps],
        "query": _wanted(job.query),
        "origin": scene.day_origin.isoformat(),
        "seed": job.resources.seed,
        "dtype": job.resources.dtype,
        "tilings": [repr(tiling) for tiling in job.tilings.values()],
        "output": [job.output.format, job.output.encoding, job.output.mosaic],
    }
    return _hash(content)


def plan_id(content: str, tiles: TileGrid) -> str:
    """Identity of a plan: of its content and of how it is cut into tiles (results differ by rounding)."""
    return _hash([content, tiles.height, tiles.width])


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _inventory(job: Job, role: str, days: Sequence[date]) -> list[Any]:
    """One entry per image; the sensor's description stands in front."""
    cube = job.scene[role].select(dates=days)
    images = [[cube.dates[t].isoformat(), dict(cube.fingerprint(t))] for t in range(len(cube))]
    rules = [rule.model_dump(mode="json", exclude={"source"}) for rule in cube.sensor.quality]
    return [[role, _described(cube.sensor, cube.bands), list(cube.native), rules], *images]


def _wanted(query: Query) -> Mapping[str, Any]:
    return {role: [_described(q.sensor, q.bands), _days(q.dates), q.per_cell] for role, q in query.items()}


def _described(sensor: Sensor, keys: Sequence[str]) -> list[Any]:
    return [sensor.name, [sensor.band(key).model_dump(mode="json", include=_OF_A_BAND) for key in keys]]


def _days(days: Sequence[date]) -> list[str]:
    return [day.isoformat() for day in days]
