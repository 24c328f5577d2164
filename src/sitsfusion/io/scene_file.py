"""`scene.yaml`: which images make a scene, and how to read them.

    name: my field
    origin: 2022-01-01            # day 0 (default: the first date)
    roles:
      fine:
        path: sentinel2           # relative to this file
        reader: geotiff           # default: recognised
        sensor: sentinel-2-l2a    # default: recognised
        options: {baseline: "05.09"}
      coarse:
        path: landsat
        resample: {onto: fine, ratio: 3, method: cubic}

Unknown keys are errors, so that a misspelt one cannot be ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sitsfusion.errors import InputError, ReadError
from sitsfusion.io.warp import Method
from sitsfusion.scene import Role

FILE_NAME = "scene.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resample(_Strict):
    """Onto which grid the images of a role are resampled."""

    onto: Role | None = Field(None, description="role whose grid is the reference (default: the finest other one)")
    ratio: int | None = Field(
        None, ge=1, description="reference pixels along one output pixel (default: what keeps the pixel size best)"
    )
    method: Method = Field("cubic", description="nearest, bilinear, cubic or average; see `Cube.onto`")


class RoleSource(_Strict):
    """Where the images of one role are and how to read them."""

    path: Path = Field(description="folder, archive or file; in a scene file relative to it")
    reader: str | None = Field(None, description="name of the reader (default: recognised)")
    sensor: str | None = Field(None, description="name, or a .yaml that describes one (default: recognised)")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the reader")
    resample: Resample | None = Field(None, description="resample onto a grid that nests in another role's")


class SceneFile(_Strict):
    """Content of a scene.yaml. Paths are absolute here and relative in the file."""

    name: str = "scene"
    origin: date | None = Field(None, description="day 0 of the job (default: the first date of any role)")
    roles: dict[Role, RoleSource] = Field(min_length=1)


def is_scene_file(place: Path) -> bool:
    """Whether a place is a scene file, or a folder that holds one called scene.yaml."""
    return find_scene_file(place) is not None


def find_scene_file(place: Path) -> Path | None:
    """The scene file that a place is or holds, or None."""
    if place.suffix.lower() in (".yaml", ".yml") and not place.is_dir():
        return place
    return place / FILE_NAME if (place / FILE_NAME).is_file() else None


def read_scene_file(path: Path) -> SceneFile:
    """Read a scene file.

    Raises:
        ReadError: it cannot be read, or is not YAML.
        InputError: unknown keys or wrong values, each with its place in the file.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); write one with `sitsfusion doctor`") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ReadError(f"{path} is not valid YAML: {error}") from error
    try:
        found = SceneFile.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path} does not describe a scene: {listed_problems(error)}") from error
    folder = path.resolve().parent
    return found.model_copy(update={"roles": {role: _absolute(source, folder) for role, source in found.roles.items()}})


def write_scene_file(scene: SceneFile, path: Path, notes: Iterable[str] = ()) -> None:
    """Write a scene file with paths relative to it; `notes` become comment lines at its head."""
    folder = path.resolve().parent
    content = scene.model_dump(mode="json", exclude_defaults=True)
    for role, source in scene.roles.items():
        content["roles"][role]["path"] = Path(os.path.relpath(source.path, folder)).as_posix()
    head = "".join(f"# {line}\n" for line in notes)
    text = yaml.safe_dump({"name": scene.name, **content}, sort_keys=False, allow_unicode=True)
    path.write_text(head + text)


def listed_problems(error: ValidationError) -> str:
    """What pydantic found, each with the path of the value."""
    problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg'][0].lower()}{e['msg'][1:]}" for e in error.errors()]
    return "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")


def _absolute(source: RoleSource, folder: Path) -> RoleSource:
    path = Path(os.path.normpath(folder / source.path))
    sensor = source.sensor
    if sensor is not None and sensor.endswith((".yaml", ".yml")):
        sensor = str(folder / sensor)
    return source.model_copy(update={"path": path, "sensor": sensor})
