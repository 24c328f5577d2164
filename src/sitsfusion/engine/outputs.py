"""What a job writes: encodings, names and tags of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from sitsfusion import grid as grids
from sitsfusion.io.cog import Layout
from sitsfusion.prediction import QUALITY_BANDS
from sitsfusion.query import RoleQuery
from sitsfusion.scene import Scene
from sitsfusion.sensors import Encoding

Format = Literal["cog", "zarr"]
Mosaic = Literal["cog", "vrt"]
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
    kind: Literal["values", "sigma", "quality"]
    layout: Layout

    def file(self, day: date) -> str:
        """File name of one date."""
        return f"{self.name}_{day:%Y%m%d}.tif"


def product(scene: Scene, role: str, wanted: RoleQuery, kind: Literal["values", "sigma", "quality"], spec: OutputSpec) -> Product:
    """The product of a role over the whole scene."""
    grid = grids.refine(scene.cells, wanted.per_cell)
    if kind == "quality":
        return Product(f"{role}_quality", role, kind, Layout(grid, QUALITY_BANDS, (_COUNT,) * 3, ("", "days", "")))
    bands = [wanted.sensor.band(key) for key in wanted.bands]
    units = tuple(band.unit for band in bands)
    plain = kind == "sigma" or spec.encoding == "float32"
    encodings = tuple(_FLOAT if plain else band.output for band in bands)
    name = role if kind == "values" else f"{role}_sigma"
    return Product(name, role, kind, Layout(grid, wanted.bands, encodings, units))


def image_tags(day: date, provenance: Mapping[str, object]) -> dict[str, str]:
    """Tags of one image: its date and what made it. No time of writing: the same job gives the same bytes."""
    return {
        "TIFFTAG_DATETIME": f"{day:%Y:%m:%d} 00:00:00",
        "TIFFTAG_SOFTWARE": f"sitsfusion {provenance['version']}",
        "DATE": day.isoformat(),
        **{key.upper(): str(provenance[key]) for key in ("method", "plan_id", "weights") if provenance.get(key)},
    }
