"""Reader of one site of the LS2S2 data set (doi 10.5281/zenodo.15471890): Sentinel-2, Landsat and panchromatic images.

Every valid date of the index files is there, the last one too (`sitsfusion.datasets.ls2s2`, which follows the
published training set-up, leaves it out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item, Stored
from sitsfusion.errors import InputError, ReadError
from sitsfusion.grid import Window, describe, per_cell
from sitsfusion.io import rasters
from sitsfusion.io.files import file_prints
from sitsfusion.io.ls2s2_index import Acquisition, acquisitions
from sitsfusion.sensors import Encoding

NAME = "ls2s2"

SiteRole = Literal["fine", "coarse", "pan"]
_REFLECTANCE = Encoding(dtype="int16", scale=1e-4, nodata=-10000)
_KELVIN = Encoding(dtype="int16", scale=0.1, nodata=-10000)


class Options(BaseModel):
    """Options of the reader."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: tuple[SiteRole, ...] | None = Field(
        None, description="roles to open: fine (Sentinel-2), coarse (Landsat), pan (default: all that the site has)"
    )


@dataclass(frozen=True)
class _Series:
    """What a site holds for one role. Of several index files, the last one's images are read; all masks count."""

    folder: str
    index_files: tuple[str, ...]
    sensor: str
    bands: tuple[str, ...]


_SITE: Mapping[str, _Series] = {
    "fine": _Series(
        "sentinel2",
        ("index.csv",),
        "sentinel-2-l2a",
        ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    ),
    "coarse": _Series(
        "landsat",
        ("index.csv",),
        "landsat-8-9-c2-l2",
        ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "LST"),
    ),
    # The mask of the panchromatic image knows nothing of clouds: those of the multispectral image count too.
    "pan": _Series("landsat", ("index.csv", "index_pan.csv"), "landsat-8-9-c2-l1", ("B08",)),
}


@dataclass(frozen=True)
class SiteSource:
    """Images of one sensor of a site.

    `images` has, per date, the file of the bands and the files of the masks; a mask pixel is `mask_steps` (one per
    mask) grid pixels wide. A pixel is unusable where a mask is not 0, or where one of the bands read is 0.
    """

    site: Path
    grid: GeoBox
    encodings: tuple[Encoding, ...]
    images: tuple[tuple[Path, tuple[Path, ...]], ...]
    mask_steps: tuple[int, ...]

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        image, masks = self.images[t]
        values = rasters.read_window(str(image), bands, window)
        clear = np.asarray((values != 0).all(axis=0))
        for mask, step in zip(masks, self.mask_steps, strict=True):
            clear &= rasters.read_repeated(str(mask), [0], window, step)[0] == 0
        return Stored(values, tuple(self.encodings[band] for band in bands), clear)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        image, masks = self.images[t]
        return {
            "files": file_prints(self.site, [image, *masks]),
            "encodings": [encoding.model_dump() for encoding in self.encodings],
        }


def recognise(path: Path) -> bool:
    """A folder that holds `sentinel2/index.csv` or `landsat/index.csv`."""
    return any((path / folder / "index.csv").is_file() for folder in ("sentinel2", "landsat"))


def read(path: Path, options: Options) -> dict[str, Cube]:
    """The cubes of a site: `fine` (10 bands, 10 m), `coarse` (7 bands and LST, 30 m), `pan` (15 m).

    Raises:
        ReadError: a role asked for that the site lacks; a file that is missing or not what it should be.
        NoImageError: a sensor without any valid date (leave it out with `roles`).
        InputError: an index file that cannot be understood.
    """
    site = path.absolute()
    present = [role for role, part in _SITE.items() if (site / part.folder / part.index_files[-1]).is_file()]
    wanted = options.roles or present
    for role in wanted:
        if role not in present:
            raise ReadError(f"LS2S2 site {site} has no {role} images; it has {', '.join(present) or 'no index file'}")
    return {role: _cube(site, _SITE[role]) for role in wanted}


def _cube(site: Path, part: _Series) -> Cube:
    dates = acquisitions(site / part.folder, part.index_files)
    sensor = sensors.get(part.sensor)
    grids = [_grid(dates[0].files(at)[0]) for at in range(len(part.index_files))]
    head = rasters.header(str(dates[0].files(-1)[0]))
    if head.count != len(part.bands) or head.dtype != _REFLECTANCE.dtype:
        raise ReadError(
            f"{dates[0].files(-1)[0]} has {head.count} band(s) of {head.dtype}; expected int16 of "
            f"{', '.join(part.bands)} (an LS2S2 image)"
        )
    source = SiteSource(
        site,
        grids[-1],
        tuple(_KELVIN if sensor.band(key).unit == "kelvin" else _REFLECTANCE for key in part.bands),
        tuple((a.files(-1)[0], tuple(a.files(at)[1] for at in range(len(grids)))) for a in dates),
        tuple(_step(grid, grids[-1], part.folder) for grid in grids),
    )
    native = tuple(max(1, round(sensor.band(key).resolution / grids[-1].affine.a)) for key in part.bands)
    days = tuple(a.day for a in dates)
    return Cube(sensor, part.bands, grids[-1], days, source, tuple(_item(a) for a in dates), native)


def _grid(image: Path) -> GeoBox:
    return rasters.header(str(image)).grid


def _step(coarse: GeoBox, fine: GeoBox, what: str) -> int:
    """Fine pixels along one coarse pixel; both grids have the same box."""
    step = per_cell(fine, coarse)
    if coarse.boundingbox != fine.boundingbox or coarse.shape != (fine.shape.y / step, fine.shape.x / step):
        raise InputError(f"{what}: {describe(coarse)} and {describe(fine)} do not share their corners")
    return step


def _item(acquisition: Acquisition) -> Item:
    line = acquisition.lines[-1]
    return Item(id=line.id, clear_share=acquisition.lines[0].clear_share)
