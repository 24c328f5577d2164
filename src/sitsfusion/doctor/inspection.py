"""Put the doctor's findings about some places together, and say how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sitsfusion.cube import Cube
from sitsfusion.doctor import radiometry, series
from sitsfusion.doctor.opening import Opened, Place, finding_of, open_tolerantly, places_of
from sitsfusion.doctor.report import DateFacts, Finding, Report, RoleReport
from sitsfusion.doctor.sampling import READS, Sample, sample
from sitsfusion.errors import InputError, SitsFusionError
from sitsfusion.grid import describe
from sitsfusion.io import resampled
from sitsfusion.io.merge import JoinedSource
from sitsfusion.io.scene_file import Resample, RoleSource, SceneFile
from sitsfusion.scene import ROLES, Scene

_OPTICAL = ("fine", "coarse")


@dataclass(frozen=True)
class Examined:
    """One cube of one place, and what was found about it."""

    role: str
    opened: Opened
    cube: Cube
    seen: Sample
    findings: tuple[Finding, ...]


def inspect(*places: str | Path | Scene) -> Report:
    """Look at places (folders, sites, archives, stores, a scene.yaml) or at one open scene.

    Broken places are reported, not raised: unreadable files, no coordinate system, duplicates, grids that do not nest,
    wrong scales. Pixels are sampled, so that 150 dates take seconds; the report says how many were looked at.

    Raises:
        InputError: no place, or a scene together with other places.
    """
    if len(places) == 1 and isinstance(places[0], Scene):
        return _of_scene(places[0])
    paths = [place for place in places if not isinstance(place, Scene)]
    if not paths or len(paths) < len(places):
        raise InputError("give one or more places to look at, or one open scene alone")
    try:
        found, file = places_of(paths)
    except SitsFusionError as error:
        return Report(roles=(), findings=(finding_of(error, str(paths[0])),))
    opened = [open_tolerantly(place) for place in found]
    examined = [_examined(one, role, cube) for one, role, cube in _roles(opened)]
    findings = [finding for one in opened for finding in one.findings] + _unused(opened, examined)
    findings += [finding for one in examined for finding in one.findings]
    cubes, across = _together({one.role: one.cube for one in examined}, found)
    reports = tuple(_facts(replace(one, cube=cubes[one.role])) for one in examined)
    return Report(roles=reports, findings=(*findings, *across), suggestion=_suggestion(examined, across, file))


def suggest_scene(*places: str | Path) -> SceneFile:
    """How to read some places: roles, readers, sensors, and the options that the findings of `inspect` ask for.

    Raises:
        InputError: nothing in the places can be read.
    """
    report = inspect(*places)
    if report.suggestion is None:
        problems = "; ".join(finding.message for finding in report.findings)
        raise InputError(f"nothing can be read in {', '.join(map(str, places))}: {problems}")
    return report.suggestion


def _of_scene(scene: Scene) -> Report:
    roles: list[RoleReport] = []
    findings: list[Finding] = []
    for role, cube in scene.cubes.items():
        opened = Opened(Place(RoleSource(path=Path(scene.name)), role), "open", {}, {role: cube})
        one = _examined(opened, role, cube)
        roles.append(_facts(one))
        findings += one.findings
    return Report(roles=tuple(roles), findings=(*findings, *series.overlap_in_time(scene.cubes)))


# -- one role ----------------------------------------------------------------------------------------------------------


def _examined(opened: Opened, role: str, cube: Cube) -> Examined:
    seen = sample(cube)
    mixed = len({band.unit for band in cube.band_info()}) > 1
    numbers = radiometry.cube_radiometry(role, cube, READS) if mixed else radiometry.radiometry(role, seen)
    findings = [*series.dates(role, seen), *numbers]
    if _baseline_was_unknown(opened) and cube.sensor.baseline_offset is not None:
        findings.append(_measured_offset(role, seen))
    return Examined(role, opened, cube, seen, tuple(findings))


def _baseline_was_unknown(opened: Opened) -> bool:
    return any(finding.code == "baseline" for finding in opened.findings)


def _measured_offset(role: str, seen: Sample) -> Finding:
    present, dark = radiometry.offset_seems_present(seen), radiometry.dark_level(seen)
    if present is None:
        message = "no clear image tells whether the numbers hold an offset"
    else:
        held = "seem to hold the offset of 0.1" if present else "do not seem to hold an offset"
        message = f"the numbers {held}: read without one, the darkest per cent of clear pixels lies at {dark:.3f}"
    remedy = "" if present is None else f"set offset: {_offset(seen)} if you agree"
    return Finding(level="note", code="offset", role=role, message=message, remedy=remedy)


def _offset(seen: Sample) -> float:
    return -0.1 if radiometry.offset_seems_present(seen) else 0.0


def _facts(one: Examined) -> RoleReport:
    cube, seen = one.cube, one.seen
    source = one.seen.cube.source
    images = sum(len(same) for same in source.images) if isinstance(source, JoinedSource) else len(cube)
    return RoleReport(
        role=one.role,
        place=str(one.opened.place.source.path),
        reader=one.opened.reader,
        sensor=cube.sensor.name,
        bands=cube.bands,
        absent_bands=series.absent_bands(cube),
        grid=describe(seen.cube.grid),
        crs=None if cube.grid.crs is None else str(cube.grid.crs),
        pixel=abs(seen.cube.grid.affine.a),
        dates=len(cube),
        images=images,
        first=cube.dates[0] if cube.dates else None,
        last=cube.dates[-1] if cube.dates else None,
        stored=_stored(seen),
        quality=any(image.quality for image in seen.images),
        looked_at=seen.looked_at,
        days=tuple(DateFacts(day=i.day, id=i.id, observed=i.observed, clear=i.clear) for i in seen.images),
    )


def _stored(seen: Sample) -> str:
    """Pixel types and nodata numbers that occur."""
    kinds = {(e.dtype, e.nodata) for image in seen.images for e in image.encodings}
    texts = [f"{dtype}, no data: {'not declared' if n is None else f'{n:g}'}" for dtype, n in sorted(kinds, key=str)]
    return " and ".join(texts)


# -- several roles -----------------------------------------------------------------------------------------------------


def _roles(opened: Sequence[Opened]) -> list[tuple[Opened, str, Cube]]:
    """A role for each cube: as a scene file says, else the reader's; of several optical ones the finest is `fine`."""
    found = [(one, one.place.role or role, cube) for one in opened for role, cube in _meant(one).items()]
    optical = sorted(
        (i for i, (_, role, _) in enumerate(found) if role in _OPTICAL), key=lambda i: abs(found[i][2].grid.affine.a)
    )
    if len(optical) > 1 and not any(one.place.role for one in opened):
        names = {i: _OPTICAL[min(k, 1)] for k, i in enumerate(optical)}
        found = [(one, names.get(i, role), cube) for i, (one, role, cube) in enumerate(found)]
    first: dict[str, tuple[Opened, str, Cube]] = {}
    for entry in found:
        first.setdefault(entry[1], entry)
    return sorted(first.values(), key=lambda entry: ROLES.index(entry[1]))


def _meant(one: Opened) -> Mapping[str, Cube]:
    """The cubes of a place, or the one that its role in a scene file means."""
    role = one.place.role
    if role is None or not one.cubes:
        return one.cubes
    return {role: one.cubes.get(role, next(iter(one.cubes.values())))}


def _unused(opened: Sequence[Opened], examined: Sequence[Examined]) -> list[Finding]:
    """Cubes that no role is left for."""
    used = {id(one.cube) for one in examined}
    found = []
    for one in (one for one in opened if one.place.role is None):
        for role, cube in one.cubes.items():
            if id(cube) not in used:
                message = f"{one.place.source.path} holds {role} images too, for which there are others already"
                remedy = "name the place of each role: fine=FOLDER coarse=FOLDER thermal=FOLDER"
                found.append(Finding(level="warning", code="roles", role=role, message=message, remedy=remedy))
    return found


def _together(cubes: Mapping[str, Cube], places: Sequence[Place]) -> tuple[Mapping[str, Cube], list[Finding]]:
    """The cubes, resampled as a scene file says, and findings about how they fit each other."""
    wanted = {place.role: place.source.resample for place in places if place.role and place.source.resample}
    findings = []
    try:
        cubes = resampled(cubes, {role: how for role, how in wanted.items() if how is not None})
    except InputError as error:
        findings.append(finding_of(error, ", ".join(wanted)))
    findings += series.nesting(cubes).values()
    return cubes, findings + series.overlap_in_time(cubes)


def _suggestion(examined: Sequence[Examined], across: Sequence[Finding], file: SceneFile | None) -> SceneFile | None:
    if not examined:
        return None
    apart = {finding.role for finding in across if finding.code == "nesting"}
    finest = min(examined, key=lambda one: abs(one.cube.grid.affine.a)).role
    roles: dict[str, Any] = {}
    for one in examined:
        source = one.opened.place.source
        options = {**one.opened.options, **_measured_options(one)}
        sensor = options.pop("sensor", None) or one.cube.sensor.name
        resample = Resample(onto=finest) if one.role in apart else source.resample
        roles[one.role] = RoleSource(
            path=source.path, reader=one.opened.reader, sensor=sensor, options=_plain(options), resample=resample
        )
    head = {} if file is None else {"name": file.name, "origin": file.origin}
    return SceneFile.model_validate({**head, "roles": roles})


def _measured_options(one: Examined) -> dict[str, Any]:
    """Options that the sampled numbers ask for."""
    options: dict[str, Any] = {}
    if _baseline_was_unknown(one.opened) and one.cube.sensor.baseline_offset is not None:
        options["offset"] = _offset(one.seen)
    better = radiometry.likely_encoding(one.seen)
    if better is not None:
        options["scale"], options["offset"] = better
    if radiometry.wrapped(one.role, one.seen):
        encoding = one.seen.images[0].encodings[0]
        most = int(np.iinfo(encoding.dtype).max)
        options["valid_range"] = [0, most // 2]
        if encoding.nodata is None:
            options["nodata"] = most
    return options


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As YAML writes them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
