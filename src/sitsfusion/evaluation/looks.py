"""Small pictures of what was given, asked for and predicted, kept for the figures of the report.

`OUT/pictures/<case>/<method>.npz` and, of the case itself, `OUT/pictures/<case>/case.npz`. A picture is an array
`[h, w, 3]` (red, green, blue reflectance) or `[h, w]` (kelvin), float32, NaN where nothing is known; its key says what
it shows: `<what>|<role>|<kind>|<size>|<day>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.dates import parse_day
from sitsfusion.errors import ReadError, WriteError
from sitsfusion.evaluation.cases import Division
from sitsfusion.evaluation.sites import Truth
from sitsfusion.prediction import Prediction
from sitsfusion.sensors import Band

FOLDER = "pictures"
MOST_DAYS, THUMB, MAP = 12, 96, 240  # days of a synopsis; sides in pixels

What = Literal["given", "observed", "truth", "predicted"]
Kind = Literal["rgb", "thermal"]
Size = Literal["thumb", "map"]
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Key:
    """What a picture shows: `size` thumb is the whole image thinned out, map the middle of it as it is."""

    what: What
    role: str
    kind: Kind
    size: Size
    day: date

    def __str__(self) -> str:
        return "|".join((self.what, self.role, self.kind, self.size, self.day.isoformat()))


def parse_key(text: str) -> Key:
    """Back from its text."""
    what, role, kind, size, day = text.split("|")
    return Key(what, role, kind, size, parse_day(day))  # type: ignore[arg-type]


def save_looks(
    out: Path, case: str, label: str, prediction: Prediction, division: Division, truth: Truth | None
) -> None:
    """Save the pictures of one prediction, and those of its case. Raises WriteError."""
    predicted: dict[str, Pixels] = {}
    for role, cube in prediction.cubes.items():
        series = _Series("predicted", role, tuple(cube.band_info()), _reader(cube))
        predicted |= _pictures(series, division, *_days(division, role, cube.dates))
    _save(out / FOLDER / case / f"{label}.npz", predicted)
    _save(out / FOLDER / case / "case.npz", _of_case(division, truth))


def read_looks(file: Path) -> dict[Key, Pixels]:
    """Pictures of a file. Raises ReadError."""
    try:
        with np.load(file) as found:
            return {parse_key(name): found[name] for name in found.files}
    except (OSError, ValueError) as error:
        raise ReadError(f"{file} cannot be read ({error}); delete it and repeat the run") from error


@dataclass(frozen=True)
class _Series:
    """Images of a role, by day."""

    what: What
    role: str
    bands: tuple[Band, ...]
    read: Callable[[date], Pixels]


def _of_case(division: Division, truth: Truth | None) -> dict[str, Pixels]:
    found: dict[str, Pixels] = {}
    for role in division.asked:
        thumbs, maps = _days(division, role, division.asked[role])
        if role in division.given:
            cube = division.given[role]
            series = _Series("given", role, tuple(cube.band_info()), _reader(cube))
            found |= _pictures(series, division, _evenly(cube.dates), [])
        target = division.targets.get(role)
        if target is not None:
            series = _Series("observed", role, tuple(target.band_info()), _reader(target, hide_clouds=True))
            there = [[day for day in days if day in target.dates] for days in (thumbs, maps)]
            found |= _pictures(series, division, *there)
        if truth is not None and role in division.given:
            bands = [division.given[role].sensor.band(key) for key in division.bands[role]]
            series = _Series("truth", role, tuple(bands), _true(truth, role))
            found |= _pictures(series, division, thumbs, maps)
    return found


def _true(truth: Truth, role: str) -> Callable[[date], Pixels]:
    return lambda day: truth(role, day)


def _reader(cube: Cube, hide_clouds: bool = False) -> Callable[[date], Pixels]:
    def read(day: date) -> Pixels:
        frame = cube.frame(cube.dates.index(day))
        return np.where(frame.valid, frame.values, np.float32(np.nan)) if hide_clouds else frame.values

    return read


def _days(division: Division, role: str, dates: Sequence[date]) -> tuple[list[date], list[date]]:
    """Days of the synopsis, the same for all methods, and the day of the map, of those that there are."""
    asked = division.asked[role]
    chosen = map_day(division, role)
    return [d for d in _evenly(asked) if d in dates], [d for d in (chosen,) if d in dates]


def map_day(division: Division, role: str) -> date:
    """The hidden day whose observed image is the clearest, else the one in the middle of the days asked for."""
    asked, target, given = division.asked[role], division.targets.get(role), set(division.given_dates(role))
    if target is None or not target.dates:
        return asked[len(asked) // 2]
    shares = {day: item.clear_share or 0.0 for day, item in zip(target.dates, target.items, strict=True)}
    hidden = [day for day in target.dates if day not in given] or list(target.dates)
    middle = hidden[len(hidden) // 2]
    return max(hidden, key=lambda day: (shares[day], -abs((day - middle).days)))


def _evenly(dates: Sequence[date]) -> list[date]:
    if len(dates) <= MOST_DAYS:
        return list(dates)
    return [dates[round(i * (len(dates) - 1) / (MOST_DAYS - 1))] for i in range(MOST_DAYS)]


def _pictures(series: _Series, division: Division, thumbs: Sequence[date], maps: Sequence[date]) -> dict[str, Pixels]:
    found: dict[str, Pixels] = {}
    share = min(1.0, MAP / (max(division.given.size) * _finest(division)))
    for day in dict.fromkeys([*thumbs, *maps]):
        for kind, picture in _kinds(series.read(day), series.bands):
            if day in thumbs:
                found[str(Key(series.what, series.role, kind, "thumb", day))] = _thinned(picture)
            if day in maps:
                found[str(Key(series.what, series.role, kind, "map", day))] = _middle(picture, share)
    return found


def _finest(division: Division) -> int:
    return max(division.given.per_cell(role) for role in division.given.cubes)


def _kinds(values: Pixels, bands: Sequence[Band]) -> Iterator[tuple[Kind, Pixels]]:
    names = [band.common_name for band in bands]
    optical = [i for i, band in enumerate(bands) if band.unit == "reflectance"]
    warm = [i for i, band in enumerate(bands) if band.unit == "kelvin"]
    if optical:
        at = [names.index(name) if name in names else optical[0] for name in ("red", "green", "blue")]
        yield "rgb", np.moveaxis(values[at], 0, -1)
    if warm:
        yield "thermal", values[warm[0]]


def _thinned(picture: Pixels) -> Pixels:
    step = -(-max(picture.shape[:2]) // THUMB)
    return picture[step // 2 :: step, step // 2 :: step].astype(np.float32)


def _middle(picture: Pixels, share: float) -> Pixels:
    """The middle of a picture: this share of its sides."""
    height, width = (max(1, round(share * side)) for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width].astype(np.float32)


def _save(file: Path, pictures: dict[str, Pixels]) -> None:
    part = file.with_name(f"{file.stem}.{uuid4().hex}.part.npz")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(part, **pictures)  # type: ignore[arg-type]
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WriteError(f"{file} cannot be written ({error.strerror})") from error
