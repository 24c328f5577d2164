"""`Cube`: the images of one sensor at several dates on one grid, read when they are needed.

A cube knows its sensor, bands, grid and dates, and where the pixels are stored (a `Source`); it holds none unless
they were loaded. `frame(t)` decodes one date of the cube's window to physical units. `select` and `window` make
other cubes and read nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion.dates import check_series
from sitsfusion.errors import InputError, MissingBandError
from sitsfusion.grid import Window, crop
from sitsfusion.sensors import Band, Encoding, Sensor

Bands = tuple[str, ...]
_WHOLE = Window(0, 0, 0, 0)  # of the source's grid; replaced when the cube is made


@dataclass(frozen=True)
class Item:
    """What is known of one acquisition besides its pixels; None where nothing is known.

    `clear_share` is the scene-wide share of usable pixels in [0, 1]; angles are degrees; `baseline` is the
    processing baseline of Sentinel-2 products ("05.09").
    """

    id: str
    time: datetime | None = None
    platform: str | None = None
    baseline: str | None = None
    clear_share: float | None = None
    sun_zenith: float | None = None
    sun_azimuth: float | None = None
    view_zenith: float | None = None
    view_azimuth: float | None = None


@dataclass(frozen=True, eq=False)
class Stored:
    """Pixels as a source keeps them.

    `values` [c, h, w] of any number type; `encodings` one per band; `clear` [h, w] bool, False where a quality layer
    calls the pixel unusable, or None when there is no quality layer.
    """

    values: NDArray[np.generic]
    encodings: tuple[Encoding, ...]
    clear: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded image: `values` [c, h, w] float32 in physical units (NaN where never observed); `valid` [h, w] bool.

    A pixel is valid when every band was observed and no quality layer objects. Cloudy pixels keep their values.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]

    def filled(self, fill: float | NDArray[np.float32]) -> NDArray[np.float32]:
        """The values with NaN replaced: by one number, or by one per band ([c])."""
        fills = np.broadcast_to(np.asarray(fill, np.float32).reshape(-1, 1, 1), self.values.shape)
        return np.where(np.isnan(self.values), fills, self.values)


class Source(Protocol):
    """Where the pixels of a cube are. Must be picklable: tiles are read in other processes."""

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        """Bands (indices in the source's order) of stored date `t` inside a window of the source's grid."""
        ...

    def fingerprint(self, t: int) -> Mapping[str, object]:
        """What identifies the stored pixels of date `t`, independent of where the files lie: goes into the plan."""
        ...


@dataclass(frozen=True)
class Cube:
    """Lazy images [t, c, h, w] of one sensor.

    Attributes:
        sensor: gives units and encodings of the bands.
        bands: canonical band keys, in order.
        grid: the pixels. Only benchmark data may have no CRS.
        dates: solar days, unique and increasing.
        items: what else is known of each acquisition (same length as `dates`).
        native: for each band, how many grid pixels wide one real pixel of the band is (20 m on a 10 m grid: 2).
        source: where the pixels are; `bands` and `dates` of the cube point into it.
    """

    sensor: Sensor
    bands: Bands
    grid: GeoBox
    dates: tuple[date, ...]
    source: Source = field(repr=False)
    items: tuple[Item, ...] = ()
    native: tuple[int, ...] = ()
    _band_index: tuple[int, ...] = field(default=(), repr=False)
    _date_index: tuple[int, ...] = field(default=(), repr=False)
    _window: Window = field(default=_WHOLE, repr=False)

    def __post_init__(self) -> None:
        check_series(self.dates, self.sensor.name)
        check_bands(self.sensor, self.bands)
        defaults: dict[str, object] = {
            "items": tuple(Item(id=f"{self.sensor.name}_{day:%Y%m%d}") for day in self.dates),
            "native": tuple(1 for _ in self.bands),
            "_band_index": tuple(range(len(self.bands))),
            "_date_index": tuple(range(len(self.dates))),
        }
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        if self._window == _WHOLE:
            object.__setattr__(self, "_window", Window(0, 0, *self.grid.shape))
        _same_length("items", self.items, "dates", self.dates)
        _same_length("native", self.native, "bands", self.bands)

    @classmethod
    def from_array(
        cls,
        values: NDArray[np.generic],
        *,
        sensor: Sensor,
        bands: Iterable[str],
        grid: GeoBox,
        dates: Sequence[date],
        valid: NDArray[np.bool_] | None = None,
        encodings: Sequence[Encoding] | None = None,
        items: Sequence[Item] = (),
        native: Sequence[int] = (),
    ) -> Cube:
        """A cube of an array [t, c, h, w].

        Without `encodings` the values must be floating point, in physical units (reflectance, kelvin). With them
        (one per band) they are stored numbers. `valid` [t, h, w] is False where a quality layer objects.

        Raises:
            InputError: shapes, types or lengths that do not fit together.
        """
        keys = sensor.resolve(bands)
        _check_array(values, valid, (len(dates), len(keys), *grid.shape), encoded=encodings is not None)
        if encodings is not None:
            _same_length("encodings", encodings, "bands", keys)
        physical = tuple(Encoding(dtype="float32") for _ in keys)
        source = ArraySource(values, valid, tuple(encodings) if encodings is not None else physical)
        return cls(sensor, keys, grid, tuple(dates), source, tuple(items), tuple(native))

    # -- what it is ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.dates)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(dates, bands, rows, columns)."""
        return len(self.dates), len(self.bands), self.grid.shape.y, self.grid.shape.x

    def band_info(self) -> tuple[Band, ...]:
        """The sensor's description of each band."""
        return tuple(self.sensor.band(key) for key in self.bands)

    # -- other cubes of the same pixels; nothing is read -----------------------------------------------------------

    def select(self, bands: Iterable[str] | None = None, dates: Iterable[date] | None = None) -> Cube:
        """The cube of some bands (in the order given) and some dates (in time order).

        Raises:
            MissingBandError: a band that this cube lacks.
            InputError: a date that this cube lacks.
        """
        at_bands = range(len(self.bands)) if bands is None else self._find_bands(bands)
        at_dates = range(len(self.dates)) if dates is None else self._find_dates(dates)
        return replace(
            self,
            bands=tuple(self.bands[i] for i in at_bands),
            native=tuple(self.native[i] for i in at_bands),
            dates=tuple(self.dates[i] for i in at_dates),
            items=tuple(self.items[i] for i in at_dates),
            _band_index=tuple(self._band_index[i] for i in at_bands),
            _date_index=tuple(self._date_index[i] for i in at_dates),
        )

    def dates_clear(self, least: float) -> tuple[date, ...]:
        """Dates whose share of usable pixels over the whole scene is at least `least`; unknown counts as enough."""
        shares = (item.clear_share for item in self.items)
        known = zip(self.dates, shares, strict=True)
        return tuple(day for day, share in known if share is None or share >= least)

    def window(self, window: Window) -> Cube:
        """The cube of a rectangle of pixels, counted from this cube's first row and column.

        Raises:
            InputError: the rectangle is empty or reaches beyond the grid.
        """
        if window.empty or window.clipped(self.shape[2:]) != window:
            raise InputError(f"{window} does not lie inside a grid of {self.grid.shape.y} x {self.grid.shape.x} pixels")
        moved = replace(window, row=window.row + self._window.row, col=window.col + self._window.col)
        return replace(self, grid=crop(self.grid, window), _window=moved)

    def onto(self, grid: GeoBox, method: Literal["nearest", "bilinear", "cubic", "average"] = "cubic") -> Cube:
        """The cube resampled onto another grid, lazily; values become float32 physical units.

        A pixel is valid only if every source pixel that the kernel spans is valid. See `sitsfusion.io.warp.onto`.

        Raises:
            GridError: no CRS, a rotated grid, no overlap.
        """
        from sitsfusion.io.warp import onto  # a leaf: the nouns do not need rasterio

        return onto(self, grid, method)

    # -- pixels -----------------------------------------------------------------------------------------------------

    def stored(self, t: int) -> Stored:
        """Date number `t` as stored, in this cube's bands and window."""
        return self.source.read(self._date_index[t], self._band_index, self._window)

    def frame(self, t: int) -> Frame:
        """Date number `t` decoded to float32 physical units.

        Raises:
            ReadError: the pixels cannot be read.
        """
        stored = self.stored(t)
        values = np.stack([e.decode(band) for e, band in zip(stored.encodings, stored.values, strict=True)])
        valid = np.asarray(~np.isnan(values).any(axis=0))
        if stored.clear is not None:
            valid &= stored.clear
        return Frame(values, valid)

    def filled(self, t: int, fill: float | NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of date `t` with the never-observed pixels replaced (one number, or one per band)."""
        return self.frame(t).filled(fill)

    def load(self) -> Cube:
        """The same cube with its pixels in memory, as stored."""
        frames = tuple(self.stored(t) for t in range(len(self)))
        return replace(
            self,
            source=LoadedSource(frames, self.source, self._date_index),
            _band_index=tuple(range(len(self.bands))),
            _date_index=tuple(range(len(self))),
            _window=Window(0, 0, *self.grid.shape),
        )

    def to_numpy(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """All dates decoded: values [t, c, h, w] float32 and valid [t, h, w]."""
        frames = [self.frame(t) for t in range(len(self))]
        if not frames:
            return np.zeros(self.shape, np.float32), np.zeros((0, *self.shape[2:]), bool)
        return np.stack([f.values for f in frames]), np.stack([f.valid for f in frames])

    def fingerprint(self, t: int) -> Mapping[str, object]:
        """What identifies the stored pixels of date `t`."""
        return self.source.fingerprint(self._date_index[t])

    def pixel_bytes(self) -> int:
        """Bytes of one pixel of one date, uncompressed, as the product stores it: its bands and one for validity."""
        return sum(np.dtype(band.stored.dtype).itemsize for band in self.band_info()) + 1

    def _find_bands(self, bands: Iterable[str]) -> list[int]:
        keys = self.sensor.resolve(bands)
        missing = [key for key in keys if key not in self.bands]
        if missing:
            found = ", ".join(self.bands)
            raise MissingBandError(f"{self.sensor.name} cube has no {', '.join(missing)}; it has {found}")
        return [self.bands.index(key) for key in keys]

    def _find_dates(self, dates: Iterable[date]) -> list[int]:
        wanted = sorted(set(dates))
        at = {day: i for i, day in enumerate(self.dates)}
        missing = [str(day) for day in wanted if day not in at]
        if missing:
            raise InputError(f"{self.sensor.name} cube has no image of {', '.join(missing[:6])}")
        return [at[day] for day in wanted]


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Pixels in one array: `values` [t, c, h, w], `valid` [t, h, w] or None, one encoding per band."""

    values: NDArray[np.generic]
    valid: NDArray[np.bool_] | None
    encodings: tuple[Encoding, ...]

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        rows, cols = window.slices
        clear = None if self.valid is None else self.valid[t, rows, cols]
        return Stored(self.values[t, list(bands), rows, cols], tuple(self.encodings[i] for i in bands), clear)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        digest = hashlib.sha256(np.ascontiguousarray(self.values[t]).tobytes())
        if self.valid is not None:
            digest.update(np.packbits(self.valid[t]).tobytes())
        return {"array": digest.hexdigest(), "encodings": [e.model_dump() for e in self.encodings]}


@dataclass(frozen=True, eq=False)
class LoadedSource:
    """Frames read from another source, kept as stored. They are identified as there: loading makes no other data."""

    frames: tuple[Stored, ...]
    source: Source
    index: tuple[int, ...]

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        frame, (rows, cols) = self.frames[t], window.slices
        clear = None if frame.clear is None else frame.clear[rows, cols]
        return Stored(frame.values[list(bands), rows, cols], tuple(frame.encodings[i] for i in bands), clear)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        return self.source.fingerprint(self.index[t])


def check_bands(sensor: Sensor, keys: Sequence[str]) -> None:
    """Bands must be canonical keys of their sensor, at least one, none twice.

    Raises:
        InputError: no band, or a band twice.
        MissingBandError: a band that the sensor lacks.
    """
    if not keys:
        raise InputError(f"{sensor.name}: no band; choose from {', '.join(sensor.keys)}")
    repeated = sorted({key for key in keys if list(keys).count(key) > 1})
    if repeated:
        raise InputError(f"{sensor.name}: band {', '.join(repeated)} is named more than once (aliases are one band)")
    unknown = [key for key in keys if key not in sensor.keys]
    if unknown:
        raise MissingBandError(f"{sensor.name} has no band {', '.join(unknown)}; it has {', '.join(sensor.keys)}")


def _same_length(a: str, first: Sequence[object], b: str, second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise InputError(f"a cube has {len(first)} {a} but {len(second)} {b}; they must go together")


def _check_array(
    values: NDArray[np.generic], valid: NDArray[np.bool_] | None, expected: tuple[int, ...], *, encoded: bool
) -> None:
    if values.shape != expected:
        raise InputError(f"values have shape {values.shape}; expected (dates, bands, rows, columns) = {expected}")
    if valid is not None and (valid.shape != (expected[0], *expected[2:]) or valid.dtype != bool):
        raise InputError(f"valid is {valid.dtype} {valid.shape}; expected bool {(expected[0], *expected[2:])}")
    if not encoded and not np.issubdtype(values.dtype, np.floating):
        raise InputError(
            f"values are {values.dtype}: without `encodings` they must be floating point in physical units; "
            "give encodings (scale, offset, nodata per band) for stored integers"
        )
    if not (np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)):
        raise InputError(f"values are {values.dtype}; expected integers or floating point")
