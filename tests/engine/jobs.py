"""Make the small jobs of the engine's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sitsfusion import methods
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.methods.base import Method
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.scenes import coarse_scene, days

DATES = days(2, 6)
TILES = Resources(device="cpu", tile=16)
FORMATS: dict[str, dict[str, Any]] = {"cog": {}, "vrt": {"mosaic": "vrt"}, "zarr": {"format": "zarr"}}


def small_scene(seed: int = 0) -> Scene:
    """30 m images of 40 x 70 pixels: with tiles of 16 pixels, 3 x 5 tiles of which the last are smaller."""
    return coarse_scene((40, 70), seed)


def job(
    folder: Path,
    method: str | Method = "naive",
    *,
    place: Scene | None = None,
    dates: Sequence[date] = DATES,
    spec: Mapping[str, Any] | None = None,
    wanted: Mapping[str, Any] | None = None,
    **resources: Any,
) -> Job:
    """A job of 15 tiles unless told otherwise."""
    place, chosen = place or small_scene(), methods.make(method)
    query = query_of(place, dates, chosen.outputs(place), **(wanted or {}))
    return plan_job(
        place,
        query,
        chosen,
        OutputSpec(folder, **(spec or {})),
        Resources(**{"device": "cpu", "tile": 16, **resources}),
    )
