"""From options of the command line to a scene and a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rasterio.features import bounds as geometry_bounds
from rasterio.warp import transform_geom

from sitsfusion import methods
from sitsfusion.api import Wanted, plan
from sitsfusion.cli.options import JobOptions, PlaceOptions, nested, pairs, values
from sitsfusion.dates import parse_day
from sitsfusion.engine.job import Job, Resources
from sitsfusion.engine.outputs import Mosaic, OutputSpec
from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.io import Resample, RoleSource, open_scene
from sitsfusion.scene import ROLES, Scene


def scene_of(given: PlaceOptions) -> Scene:
    """The scene that the options describe, cut to the part asked for."""
    place, roles = _places(given.places)
    sensors, options = pairs(given.sensor, "--sensor"), nested(values(given.read, "--read"), "--read")
    common: dict[str, Any] = {
        "duplicates": None if given.duplicates == "error" else given.duplicates,
        "resample": {role: Resample() for role in given.resample or ()},
        "origin": parse_day(given.origin) if given.origin else None,
    }
    if place is not None:
        if len(sensors) > 1 or len(options) > 1:
            raise InputError("one PLACE takes one --sensor and --read options of one role; give ROLE=FOLDER instead")
        common |= {"sensor": next(iter(sensors.values()), None), "options": next(iter(options.values()), None)}
        return _part(open_scene(place, **common), given)
    sources = {
        role: RoleSource(path=path, sensor=sensors.pop(role, None), options=options.pop(role, {}))
        for role, path in roles.items()
    }
    if sensors or options:
        unused = ", ".join([*sensors, *options])
        raise InputError(f"--sensor or --read names {unused}; the places are {', '.join(roles)}")
    return _part(open_scene(sources, **common), given)


def job_of(given: JobOptions, scene: Scene) -> Job:
    """The planned job that the options describe."""
    roles, bands = _bands(given.bands)
    memory = None if given.memory is None else int(given.memory * 2**30)
    resources = Resources(given.device, given.dtype, 1, given.workers, given.threads, memory)
    mosaic: Mosaic = "vrt" if given.format_ == "vrt" else "cog"
    output = OutputSpec(given.out, "zarr" if given.format_ == "zarr" else "cog", given.encoding, mosaic)
    wanted = Wanted(roles, bands, given.resolution)
    return plan(
        scene, _dates(given), given.method, output=output, wanted=wanted, resources=resources, **_method_options(given)
    )


def _places(texts: Sequence[str]) -> tuple[Path | None, dict[str, Path]]:
    """One place without a role, or places by role."""
    named = [text.partition("=") for text in texts]
    roles = {role: Path(path) for role, equals, path in named if equals and role in ROLES}
    if len(roles) == len(texts):
        return None, roles
    if len(texts) == 1:
        return Path(texts[0]), {}
    raise InputError(f"give one place, or places by role such as fine=DIR coarse=DIR (roles: {', '.join(ROLES)})")


def _part(scene: Scene, given: PlaceOptions) -> Scene:
    chosen = [name for name in ("bbox", "aoi", "size") if getattr(given, name) is not None]
    if len(chosen) > 1:
        raise InputError(f"give only one of --{' and --'.join(chosen)}")
    if given.bbox is not None:
        return scene.within(*_numbers(given.bbox, "--bbox"))
    if given.size is not None:
        return scene.window(Window(*(int(n) for n in _numbers(given.size, "--size"))))
    if given.aoi is not None:
        return scene.within(*_bounds(given.aoi, scene))
    return scene


def _bounds(path: Path, scene: Scene) -> Sequence[float]:
    """Bounds in the scene's CRS of a GeoJSON geometry, feature or collection (longitude, latitude)."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable GeoJSON file: {error}") from error
    features = content.get("features", [content]) if isinstance(content, dict) else []
    shapes = [feature.get("geometry", feature) for feature in features]
    if not shapes or not all(isinstance(s, dict) and "coordinates" in s for s in shapes):
        raise InputError(f"{path} holds no GeoJSON geometry with coordinates")
    if scene.cells.crs is None:
        raise InputError(f"{scene.name} has no coordinate system, so --aoi cannot be placed in it; use --size")
    boxes = [geometry_bounds(transform_geom("EPSG:4326", scene.cells.crs.to_wkt(), shape)) for shape in shapes]
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)


def _numbers(text: str, option: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 4:
        raise InputError(f"{option} {text!r} is not four numbers separated by commas")
    return found


def _dates(given: JobOptions) -> str:
    asked = [text for text in (given.dates, given.every, "inputs" if given.at_inputs else None) if text]
    if not asked:
        raise InputError("no date asked for: give --dates, --every 5d or --at-inputs")
    return ",".join(asked)


def _bands(texts: Sequence[str] | None) -> tuple[list[str] | None, dict[str, Sequence[str]]]:
    """Roles asked for (None: all) and, for those that name them, their bands."""
    named = [text.partition("=") for text in texts or ()]
    bands: dict[str, Sequence[str]] = {
        role: [key.strip() for key in keys.split(",")] for role, equals, keys in named if equals
    }
    return [role for role, _, _ in named] or None, bands


def _method_options(given: JobOptions) -> dict[str, Any]:
    options = values(given.set_, "--set")
    known = methods.get(given.method).Options.model_fields
    for name in ("max_dates", "window_days"):
        value = getattr(given, name)
        if value is not None:
            if name not in known:
                raise InputError(f"method {given.method} has no --{name.replace('_', '-')}")
            options[name] = value
    return options
