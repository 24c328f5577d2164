"""Read images: one place on disk, or several, into a `Scene`.

A reader is a module with

    NAME: str                                       # as in scene.yaml and --reader
    class Options(pydantic.BaseModel)               # frozen, unknown keys refused
    def recognise(path: Path) -> bool               # a cheap look at names
    def read(path: Path, options: Options) -> dict[str, Cube]      # cubes by role; reads headers only

and is imported when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic import BaseModel, ValidationError

from sitsfusion.cube import Cube
from sitsfusion.errors import GridError, InputError, ReadError
from sitsfusion.io.scene_file import (
    Resample,
    RoleSource,
    SceneFile,
    find_scene_file,
    listed_problems,
    read_scene_file,
)
from sitsfusion.io.warp import nested_grid
from sitsfusion.scene import Scene

# Name -> module. The particular ones first; `geotiff` takes any folder of GeoTIFFs that no other reader knows.
READERS: Mapping[str, str] = {
    "ls2s2": "sitsfusion.io.ls2s2",
    "usgs": "sitsfusion.io.usgs",
    "safe": "sitsfusion.io.safe",
    "hls": "sitsfusion.io.hls",
    "xarray": "sitsfusion.io.xarray_io",
    "geotiff": "sitsfusion.io.geotiff",
}
GENERAL = "geotiff"

Place = str | Path
__all__ = ["GENERAL", "READERS", "Opening", "Reader", "Resample", "RoleSource", "SceneFile"]
__all__ += ["find_reader", "open_cubes", "open_scene", "reader"]


class Reader(Protocol):
    """What a reader module offers."""

    NAME: str
    Options: type[BaseModel]

    def recognise(self, path: Path) -> bool:
        """Whether a place looks like one that this reader reads; opens at most one file."""
        ...

    def read(self, path: Path, options: Any) -> dict[str, Cube]:
        """The cubes of a place by role."""
        ...


@dataclass(frozen=True)
class Opening:
    """How places are opened where an entry does not say it itself."""

    reader: str | None = None
    sensor: str | None = None
    duplicates: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def open_scene(
    place: Place | SceneFile | Mapping[str, Place | RoleSource],
    *,
    reader: str | None = None,
    sensor: str | None = None,
    options: Mapping[str, Any] | None = None,
    duplicates: str | None = None,
    resample: Mapping[str, Resample] | None = None,
    origin: date | None = None,
) -> Scene:
    """Open a scene. No pixel is read.

    Args:
        place: a scene.yaml (or a folder that holds one), a place that one reader recognises, or a mapping from role
            to a place or a `RoleSource`.
        reader: name of the reader for places that do not name theirs (default: recognised).
        sensor: the same for the sensor.
        options: options of the reader, for places that do not give their own.
        duplicates: what to do with several acquisitions of one solar day: `error` or `merge` (readers that can meet
            some have this option).
        resample: by role: put these images on a grid that nests in another role's (see `nested_grid`, `Cube.onto`).
        origin: day 0 of the job (default: the scene file's, else the first date of any role).

    Raises:
        InputError: no or several readers know the place, an unknown role or option, a role that is not there.
        GridError: the grids do not nest; the message says how they differ, `resample` is the remedy.
        ReadError, DateError, MissingBandError: from the reader.
    """
    opening = Opening(reader, sensor, duplicates, options or {})
    wanted: dict[str, Resample] = {}
    file = as_scene_file(place)
    if file is None:
        path = Path(cast(Place, place))
        cubes, name = open_cubes(path, opening), path.stem
        hosts: dict[str, str] = {}
    else:
        cubes, hosts = open_roles({str(role): source for role, source in file.roles.items()}, opening)
        wanted = {role: source.resample for role, source in file.roles.items() if source.resample is not None}
        name, origin = file.name, origin or file.origin
    wanted |= resample or {}
    wanted = {**{guest: wanted[host] for guest, host in hosts.items() if host in wanted}, **wanted}
    return Scene(resampled(cubes, wanted), origin, name)


def open_roles(roles: Mapping[str, RoleSource], general: Opening) -> tuple[dict[str, Cube], dict[str, str]]:
    """The cubes of several roles, and what their places hold besides.

    A place may hold more than the role it was given for: Landsat reflectance comes with surface temperature. Nothing
    is lost: such cubes (`thermal`, `pan`, `sar`, `dem`) join under their own role, unless that role was given.

    Returns:
        The cubes by role; and for each cube that joined, the role whose place it came from.

    Raises:
        InputError: two places both bring the same role.
    """
    cubes: dict[str, Cube] = {}
    hosts: dict[str, str] = {}
    for role, source in roles.items():
        found = _open_place(role, source, general)
        cubes[role] = _pick(role, found, source.path)
        for guest, cube in found.items():
            if guest in roles or guest in ("fine", "coarse"):
                continue
            if guest in hosts:
                raise InputError(
                    f"the {hosts[guest]} and {role} places both hold {guest} images; name one: {guest}=PLACE"
                )
            cubes[guest], hosts[guest] = cube, role
    return cubes, hosts


def open_cubes(path: Path, opening: Opening | None = None) -> dict[str, Cube]:
    """All cubes of one place by role, as a reader finds them; they need not nest."""
    path, opening = path.expanduser().absolute(), opening or Opening()
    if not path.exists():
        raise ReadError(f"{path} does not exist; give a folder, an archive, a Zarr or NetCDF store, or a scene.yaml")
    module = reader(opening.reader) if opening.reader else find_reader(path)
    return module.read(path, _options(module, opening, path))


def reader(name: str) -> Reader:
    """A reader by name."""
    if name not in READERS:
        raise InputError(f"unknown reader {name!r}; known: {', '.join(READERS)}")
    return cast(Reader, importlib.import_module(READERS[name]))


def find_reader(path: Path) -> Reader:
    """The one reader that recognises a place.

    Raises:
        InputError: none does, or several do.
    """
    found = [name for name in READERS if reader(name).recognise(path)]
    special = [name for name in found if name != GENERAL]
    if len(special) > 1:
        raise InputError(f"{path} could be read as {' or '.join(special)}; say which (--reader NAME, `reader:`)")
    if not found:
        _refuse_hdf4(path)
        raise InputError(
            f"no reader knows {path}: expected a folder of GeoTIFFs with dates in their names, an LS2S2 site, Landsat, "
            "Sentinel-2 or HLS products, a Zarr or NetCDF store, or a scene.yaml"
        )
    return reader((special or found)[0])


def _refuse_hdf4(path: Path) -> None:
    if path.suffix.lower() == ".hdf" or (path.is_dir() and any(path.glob("*.hdf"))):
        raise InputError(
            f"{path} holds HDF4 files (.hdf, MODIS), which the GDAL of rasterio's wheels cannot read; use the "
            "cloud-optimised GeoTIFFs of a STAC catalogue, or convert them with a GDAL that has HDF4 (conda)"
        )


def as_scene_file(place: Place | SceneFile | Mapping[str, Place | RoleSource]) -> SceneFile | None:
    """The scene file that was given, or what a mapping from role to place says; None for any other place."""
    if isinstance(place, SceneFile):
        return place
    if isinstance(place, Mapping):
        roles = {role: p if isinstance(p, RoleSource) else {"path": p} for role, p in place.items()}
        try:
            return SceneFile.model_validate({"roles": roles})
        except ValidationError as error:
            raise InputError(f"this does not describe a scene: {listed_problems(error)}") from error
    file = find_scene_file(Path(place))
    return None if file is None else read_scene_file(file)


def _open_place(role: str, source: RoleSource, general: Opening) -> dict[str, Cube]:
    """All cubes of a role's place; what its entry does not say is taken from `general`. Not resampled yet."""
    opening = Opening(
        source.reader or general.reader,
        source.sensor or general.sensor,
        general.duplicates,
        source.options or general.options,
    )
    try:
        return open_cubes(source.path, opening)
    except InputError as error:
        error.add_note(f"while opening the {role} images")
        raise


def _pick(role: str, cubes: Mapping[str, Cube], path: Path) -> Cube:
    """The cube meant by a role: the one of that name, or the only one of its kind (optical images are of one kind)."""
    if role in cubes:
        return cubes[role]
    optical = [name for name in cubes if name in ("fine", "coarse")]
    if len(cubes) == 1:
        return next(iter(cubes.values()))
    if role in ("fine", "coarse") and len(optical) == 1:
        return cubes[optical[0]]
    raise InputError(f"{path} holds {', '.join(cubes)} images; which are the {role} ones is not clear: use those names")


def _options(module: Reader, opening: Opening, path: Path) -> BaseModel:
    known, given = module.Options.model_fields, dict(opening.options)
    if opening.sensor is not None:
        if "sensor" not in known:
            raise InputError(f"reader {module.NAME} of {path} knows its sensor; leave out `sensor: {opening.sensor}`")
        given.setdefault("sensor", opening.sensor)
    if opening.duplicates is not None and "duplicates" in known:
        given.setdefault("duplicates", opening.duplicates)
    try:
        return module.Options.model_validate(given)
    except ValidationError as error:
        raise InputError(
            f"options of reader {module.NAME} for {path}: {listed_problems(error)}; possible: {', '.join(known)}"
        ) from error


def resampled(cubes: Mapping[str, Cube], wanted: Mapping[str, Resample]) -> dict[str, Cube]:
    """The cubes, some of them put on a grid that nests in another role's; only overlapping pixels are kept of those."""
    done = dict(cubes)
    for role, how in wanted.items():
        if role not in cubes:
            raise InputError(f"role {role} is to be resampled but is not there; the scene has {', '.join(cubes)}")
        reference = done[_reference(role, how, done)]
        grid = nested_grid(reference.grid, how.ratio or _ratio(done[role], reference), done[role].grid)
        done[role] = done[role].onto(grid, how.method)
    return done


def _reference(role: str, how: Resample, cubes: Mapping[str, Cube]) -> str:
    others = [name for name in cubes if name != role]
    if how.onto in others:
        return str(how.onto)
    if how.onto is not None or not others:
        raise InputError(f"{role} images cannot be put onto the grid of {how.onto or 'none'}; other roles: {others}")
    return min(others, key=lambda name: cubes[name].grid.affine.a)


def _ratio(cube: Cube, reference: Cube) -> int:
    """Reference pixels along one pixel of a cube, rounded; their CRS must have the same unit."""
    mine, theirs = cube.grid, reference.grid
    if mine.crs is None or theirs.crs is None or mine.crs.units != theirs.crs.units:
        raise GridError(f"pixel sizes in {mine.crs} and {theirs.crs} cannot be compared; give the `ratio` wanted")
    return max(1, round(mine.affine.a / theirs.affine.a))
