"""What a job writes: encodings, names and tags of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from sitsfusion import grid as grids
from sitsfusion.errors import InputError
from sitsfusion.io.cog import Layout
from sitsfusion.prediction import QUALITY_BANDS
from sitsfusion.query import RoleQuery
from sitsfusion.scene import Scene
from sitsfusion.sensors import Band, Encoding

Format = Literal["cog", "zarr"]
Mosaic = Literal["cog", "vrt"]
Kind = Literal["values", "sigma", "quality"]
KINDS: tuple[Kind, ...] = ("values", "quality", "sigma")
_COUNT = Encoding(dtype="int16")
_FLOAT = Encoding(dtype="float32", nodata=float("nan"))


@dataclass(frozen=True)
class OutputSpec:
    """Where and how results are written.

    Attributes:
        folder: of the job.
        format: "cog" (one GeoTIFF per role and date) or "zarr" (one group per role).
        encoding: "sensor" (the integers that the sensor's bands declare) or "float32" (physical values as they are).
        mosaic: with "cog": "cog" joins the tiles of each date into one file; "vrt" leaves tile files under a virtual
            mosaic (nothing is written twice: for large areas).
    """

    folder: Path
    format: Format = "cog"
    encoding: Literal["sensor", "float32"] = "sensor"
    mosaic: Mosaic = "cog"


@dataclass(frozen=True)
class Product:
    """One series of images that a job writes: a role's bands, their sigma, or their quality."""

    name: str
    role: str
    kind: Kind
    layout: Layout

    def file(self, day: date) -> str:
        """File name of one date."""
        return f"{self.name}_{day:%Y%m%d}.tif"


def product(scene: Scene, role: str, wanted: RoleQuery, kind: Kind, spec: OutputSpec) -> Product:
    """The product of a role over the whole scene.

    Raises:
        InputError: bands that cannot be written into one file, or not at all.
    """
    grid = grids.refine(scene.cells, wanted.per_cell)
    if kind == "quality":
        return Product(f"{role}_quality", role, kind, Layout(grid, QUALITY_BANDS, (_COUNT,) * 3, ("", "days", "")))
    bands = [wanted.sensor.band(key) for key in wanted.bands]
    units = tuple(band.unit for band in bands)
    plain = kind == "sigma" or spec.encoding == "float32"
    encodings = (_FLOAT,) * len(bands) if plain else _declared(wanted.sensor.name, bands)
    name = role if kind == "values" else f"{role}_sigma"
    return Product(name, role, kind, Layout(grid, wanted.bands, encodings, units))


def _declared(sensor: str, bands: Sequence[Band]) -> tuple[Encoding, ...]:
    """The output encodings of a sensor's bands: an image has one number type and one nodata number."""
    first = bands[0]
    for band in bands:
        if band.output.nodata is None and not band.output.dtype.startswith("float"):
            raise InputError(
                f"band {band.key} of {sensor} is to be written as {band.output.dtype} without a nodata number, but a "
                "pixel that was never observed needs one: add `nodata` to its `output`, or write float32 "
                "(--encoding float32)"
            )
        if not _alike(band.output, first.output):
            raise InputError(
                f"bands {first.key} ({_stored(first)}) and {band.key} ({_stored(band)}) of {sensor} cannot be written "
                "into one image: make `output` of the sensor's bands alike, ask for them apart (--bands), or write "
                "float32 (--encoding float32)"
            )
    return tuple(band.output for band in bands)


def _alike(a: Encoding, b: Encoding) -> bool:
    both_nan = a.nodata is not None and b.nodata is not None and a.nodata != a.nodata and b.nodata != b.nodata
    return a.dtype == b.dtype and (a.nodata == b.nodata or both_nan)


def _stored(band: Band) -> str:
    return f"{band.output.dtype}, nodata {band.output.nodata}"


def image_tags(day: date, provenance: Mapping[str, object]) -> dict[str, str]:
    """Tags of one image: its date and what made it. No time of writing: the same job gives the same bytes."""
    return {
        "TIFFTAG_DATETIME": f"{day:%Y:%m:%d} 00:00:00",
        "TIFFTAG_SOFTWARE": f"sitsfusion {provenance['version']}",
        "DATE": day.isoformat(),
        **{key.upper(): str(provenance[key]) for key in ("method", "plan_id", "weights") if provenance.get(key)},
    }
