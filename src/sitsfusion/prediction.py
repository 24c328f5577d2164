"""`Prediction`: what comes out of a job, read back lazily from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion import sensors
from sitsfusion.cube import Cube, Stored
from sitsfusion.dates import parse_day
from sitsfusion.errors import InputError, ReadError
from sitsfusion.grid import Window
from sitsfusion.io import rasters
from sitsfusion.io.files import sampled_digest, tree_digest
from sitsfusion.sensors import Encoding

NOTE = "prediction.json"
# Bands of the quality images, in order: 1 where nothing could be predicted; days to the nearest clear observation
# (32767: none); number of clear observations that informed the pixel.
QUALITY_BANDS = ("invalid", "days_to_clear", "clear_count")


@dataclass(frozen=True)
class Missing:
    """An image that was asked for and is not there, and why."""

    role: str
    day: date
    reason: str


@dataclass(frozen=True)
class Prediction:
    """Cubes by role, lazy: pixels are read when asked for.

    Attributes:
        cubes: predicted images; a pixel is valid where the method could say something.
        sigma: one standard deviation in the band's unit, by role, for methods that have one.
        missing: dates that could not be predicted, or whose tiles failed, and why.
        provenance: method, options, weights, inputs, version.
        folder: where the files are.
    """

    cubes: Mapping[str, Cube]
    sigma: Mapping[str, Cube]
    missing: tuple[Missing, ...]
    provenance: Mapping[str, Any]
    folder: Path

    def __getitem__(self, role: str) -> Cube:
        if role not in self.cubes:
            raise InputError(f"the prediction has no {role}; it has {', '.join(self.cubes) or 'nothing'}")
        return self.cubes[role]

    def quality(self, role: str, day: date) -> dict[str, NDArray[np.int16]]:
        """The layers `invalid`, `days_to_clear` and `clear_count` [h, w] of one image.

        Raises:
            InputError: no such role or date, or a cube that is not as `open_prediction` made it.
        """
        cube = self[role].select(dates=[day])
        if not isinstance(cube.source, ResultSource):
            raise InputError(f"the {role} cube has no quality layers; ask the prediction that `open_prediction` gives")
        layers = cube.source.images.layers(cube._date_index[0], Window(0, 0, *cube.grid.shape))
        return dict(zip(QUALITY_BANDS, layers, strict=True))


class Images(Protocol):
    """The stored images of one product and its quality layers."""

    def values(self, t: int, bands: Sequence[int], window: Window) -> NDArray[np.generic]:
        """Stored numbers [c, h, w]."""
        ...

    def layers(self, t: int, window: Window) -> NDArray[np.int16]:
        """Quality layers [3, h, w]."""
        ...

    def identity(self, t: int) -> str:
        """A digest of the stored numbers of one date."""
        ...


@dataclass(frozen=True)
class ResultSource:
    """Source of a predicted cube. `keep`: a temporary folder that lives as long as any cube in it."""

    images: Images
    encodings: tuple[Encoding, ...]
    keep: Any = field(default=None, repr=False, compare=False)

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        clear = self.images.layers(t, window)[0] == 0
        return Stored(self.images.values(t, bands, window), tuple(self.encodings[i] for i in bands), clear)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        return {"prediction": self.images.identity(t)}


@dataclass(frozen=True)
class TiffImages:
    """One GeoTIFF or VRT per date, and one for its quality layers."""

    files: tuple[Path, ...]
    quality: tuple[Path, ...]

    def values(self, t: int, bands: Sequence[int], window: Window) -> NDArray[np.generic]:
        return rasters.read_window(str(self.files[t]), bands, window)

    def layers(self, t: int, window: Window) -> NDArray[np.int16]:
        return rasters.read_window(str(self.quality[t]), None, window).astype(np.int16)

    def identity(self, t: int) -> str:
        return sampled_digest(self.files[t])


@dataclass(frozen=True)
class ZarrImages:
    """One Zarr group with a variable per band, and one with the quality layers."""

    group: Path
    quality: Path
    bands: tuple[str, ...]

    def values(self, t: int, bands: Sequence[int], window: Window) -> NDArray[np.generic]:
        return self._read(self.group, [self.bands[i] for i in bands], t, window)

    def layers(self, t: int, window: Window) -> NDArray[np.int16]:
        return self._read(self.quality, QUALITY_BANDS, t, window).astype(np.int16)

    def identity(self, t: int) -> str:
        return f"{tree_digest(self.group)}/{t}"

    def _read(self, path: Path, names: Sequence[str], t: int, window: Window) -> NDArray[np.generic]:
        group: Any = zarr.open_group(str(path), mode="r")
        rows, cols = window.slices
        return np.stack([np.asarray(group[name][t, rows, cols]) for name in names])


def open_prediction(folder: str | Path, keep: Any = None) -> Prediction:
    """Open a results folder of `fuse`.

    Args:
        folder: holds `prediction.json`.
        keep: an object that must live as long as any of the cubes (a temporary folder).

    Raises:
        ReadError: the folder holds no finished results.
    """
    folder = Path(folder)
    try:
        note = json.loads((folder / NOTE).read_text())
    except (OSError, ValueError) as error:
        raise ReadError(f"{folder} holds no results of `fuse` ({NOTE}: {error}); run or repeat the job") from error
    products = note["products"]
    cubes = {p["role"]: _cube(folder, note, p, keep) for p in products.values() if p["kind"] == "values"}
    sigma = {p["role"]: _cube(folder, note, p, keep) for p in products.values() if p["kind"] == "sigma"}
    missing = tuple(Missing(m["role"], parse_day(m["date"]), m["reason"]) for m in note["missing"])
    return Prediction(cubes, sigma, missing, note["provenance"], folder)


def _cube(folder: Path, note: Mapping[str, Any], product: Mapping[str, Any], keep: Any) -> Cube:
    images, quality = product["images"], note["products"][f"{product['role']}_quality"]["images"]
    dates, bands = sorted(images), tuple(product["bands"])
    a = product["grid"]
    grid = GeoBox(tuple(a["shape"]), Affine(*a["transform"]), a["crs"])
    stored: Images
    if note["format"] == "zarr" and images:
        stored = ZarrImages(folder / images[dates[0]], folder / quality[dates[0]], bands)
        index = tuple(product["dates"].index(day) for day in dates)
    else:
        stored = TiffImages(tuple(folder / images[d] for d in dates), tuple(folder / quality[d] for d in dates))
        index = tuple(range(len(dates)))
    encodings = tuple(Encoding.model_validate(e) for e in product["encodings"])
    sensor = sensors.Sensor.model_validate(product["sensor"])
    days = tuple(parse_day(day) for day in dates)
    return Cube(sensor, bands, grid, days, ResultSource(stored, encodings, keep), _date_index=index)
