"""Open places that may be broken: note every error, and go on with the option that gets past it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sitsfusion.cube import Cube
from sitsfusion.doctor.report import Finding
from sitsfusion.errors import DateError, GridError, InputError, ReadError, SensorError, SitsFusionError
from sitsfusion.io import GENERAL, Opening, find_reader, open_cubes
from sitsfusion.io.fixes import fix_of
from sitsfusion.io.scene_file import RoleSource, SceneFile, find_scene_file, read_scene_file

_MOST_FIXES = 20
# Kind of finding by the option that gets past an error.
_CODES = {
    "duplicates": "duplicates",
    "incomplete": "bands",
    "offset": "baseline",
    "resample_to": "grids",
    "sensor": "sensor",
    "exclude": "file",
}
_DATED_FOLDER = re.compile(r"\d{7,8}|\d{4}[-_.]\d{2}[-_.]\d{2}")


@dataclass(frozen=True)
class Place:
    """A place to look at: where, how to read it, and its role if a scene file says so."""

    source: RoleSource
    role: str | None = None


@dataclass(frozen=True)
class Opened:
    """What came of opening a place: cubes by the reader's roles, and `options` with all that it took to get there."""

    place: Place
    reader: str
    options: Mapping[str, Any]
    cubes: Mapping[str, Cube]
    findings: tuple[Finding, ...] = field(default=())


def places_of(given: Iterable[str | Path]) -> tuple[list[Place], SceneFile | None]:
    """The places that paths mean: the roles of a scene file, the sub-folders that are places, or themselves.

    Raises:
        ReadError, InputError: a scene file that cannot be used.
    """
    found: list[Place] = []
    scene = None
    for path in (Path(p).expanduser().absolute() for p in given):
        file = find_scene_file(path)
        if file is not None:
            scene = read_scene_file(file)
            found += [Place(source, role) for role, source in scene.roles.items()]
        else:
            found += [Place(RoleSource(path=part)) for part in _parts(path)]
    return found, scene


def open_tolerantly(place: Place) -> Opened:
    """Open a place in spite of duplicates, incomplete dates, unreadable files and the like, and note each of them."""
    source, name = place.source, str(place.source.path)
    options: dict[str, Any] = {**source.options, **({"sensor": source.sensor} if source.sensor else {})}
    findings: list[Finding] = []
    chosen = source.reader or ""
    for _ in range(_MOST_FIXES):
        try:
            chosen = chosen or _reader_of(source.path)
            cubes = open_cubes(source.path, Opening(chosen, options=options))
            return Opened(place, chosen, options, cubes, tuple(findings))
        except SitsFusionError as error:
            findings.append(finding_of(error, place.role or name))
            fixed = _with_fix(options, fix_of(error))
            if fixed == options:
                break
            options = fixed
    return Opened(place, chosen or "none", options, {}, tuple(findings))


def finding_of(error: SitsFusionError, role: str) -> Finding:
    """An error as a finding; messages of this library end in `; what to do`."""
    fix = fix_of(error)
    kinds = {ReadError: "file", DateError: "dates", GridError: "grid", SensorError: "sensor", InputError: "input"}
    other = next((code for kind, code in kinds.items() if isinstance(error, kind)), "error")
    message, _, remedy = str(error).rpartition("; ")
    if not message or remedy.count(")") > remedy.count("("):
        message, remedy = str(error), ""
    code = next((_CODES[key] for key in fix if key in _CODES), other)
    return Finding(level="error", code=code, role=role, message=message, remedy=remedy)


def _reader_of(path: Path) -> str:
    if not path.exists():
        raise ReadError(f"{path} does not exist; check the path")
    return find_reader(path).NAME


def _with_fix(options: Mapping[str, Any], fix: Mapping[str, Any]) -> dict[str, Any]:
    """Options with a fix added; files to leave out add up."""
    exclude = (*options.get("exclude", ()), *fix.get("exclude", ()))
    return {**options, **fix, **({"exclude": exclude} if exclude else {})}


def _parts(path: Path) -> list[Path]:
    """The sub-folders of a folder, if it holds nothing but two or more places; else itself."""
    if not path.is_dir() or any(child.is_file() for child in path.iterdir() if not child.name.startswith(".")):
        return [path]
    if _known_by(path) not in (None, GENERAL):
        return [path]  # a reader for a particular layout: its sub-folders belong together
    children = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    apart = [child for child in children if not _DATED_FOLDER.search(child.name) and _known_by(child) is not None]
    return apart if len(apart) == len(children) and len(apart) > 1 else [path]


def _known_by(path: Path) -> str | None:
    """The name of the one reader that knows a place."""
    try:
        return find_reader(path).NAME
    except InputError:
        return None
