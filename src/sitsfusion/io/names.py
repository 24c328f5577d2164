"""What file names say: the date, and which band or quality layer is inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import PurePosixPath

from sitsfusion.dates import solar_day
from sitsfusion.errors import DateError, InputError
from sitsfusion.sensors import Sensor

_YEARS = range(1972, 2100)
_PIXEL_SIZE = re.compile(r"(?<![a-z0-9])r?\d{1,4}m(?![a-z0-9])", re.IGNORECASE)  # 10m, R20m
_BASELINE = re.compile(r"_N(\d{2})(\d{2})_")  # of Sentinel-2 product names


@dataclass(frozen=True)
class Moment:
    """The solar day of an image, and its time (UTC) where it is known."""

    day: date
    time: datetime | None = None


def _from_timestamp(match: re.Match[str]) -> datetime:
    return datetime.strptime("".join(match.groups()), "%Y%m%d%H%M%S")


def _from_day(match: re.Match[str]) -> date:
    return date(int(match["y"]), int(match["m"]), int(match["d"]))


def _from_day_of_year(match: re.Match[str]) -> date:
    year, number = int(match["y"]), int(match["n"])
    found = date(year, 1, 1) + timedelta(days=number - 1)
    if number < 1 or found.year != year:
        raise ValueError("no such day of the year")
    return found


# In order of preference: the first kind that a name contains is used.
_KINDS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], date]]] = (
    (re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})T(\d{2})[:-]?(\d{2})[:-]?(\d{2})(?!\d)"), _from_timestamp),
    (re.compile(r"(?<!\d)(?P<y>\d{4})(?P<s>[-_.])(?P<m>\d{2})(?P=s)(?P<d>\d{2})(?!\d)"), _from_day),
    (re.compile(r"(?<!\d)(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:\d{6})?(?!\d)"), _from_day),
    (re.compile(r"(?<!\d)(?P<y>\d{4})(?P<n>\d{3})(?!\d)"), _from_day_of_year),
)


def find_moment(name: str, longitude: float, pattern: re.Pattern[str] | None = None) -> Moment:
    """When the image of a file was taken, from its name or, if that has no date, from the folders it lies in.

    Looked for, in this order: `YYYYMMDDTHHMMSS` (also with dashes), `YYYY-MM-DD` (or `_`, `.`), `YYYYMMDD`, `YYYYDDD`
    (day of the year). The first kind that occurs counts. A date alone is taken as the solar day; a time is UTC and
    gives the solar day at `longitude` (degrees east).

    Args:
        name: relative to the place, with `/`.
        longitude: of the image.
        pattern: says where the date is instead: its first group, or the one called `date`, is searched.

    Raises:
        DateError: no date, or several different ones.
    """
    path = PurePosixPath(name)
    texts = [_matched(pattern, name)] if pattern is not None else [path.stem, *reversed(path.parent.parts)]
    for text in texts:
        found = _dates_in(text)
        days = {_solar(moment, longitude) for moment in found}
        if len(days) > 1:
            raise DateError(
                f"{name} contains several dates ({', '.join(str(day) for day in sorted(days))}); say which one counts "
                r"with date_pattern, a regular expression whose group is the date, e.g. 'LC08_L2SP_\d{6}_(\d{8})_'"
            )
        if found:
            times = [moment for moment in found if isinstance(moment, datetime)]
            return Moment(days.pop(), times[0] if times else None)
    raise DateError(
        f"{name} contains no date (YYYYMMDD, YYYY-MM-DD or YYYYDDD), nor do its folders; "
        "give dates_csv (columns file,date), date_pattern, or leave the file out (exclude)"
    )


def find_baseline(name: str) -> str | None:
    """The processing baseline in a Sentinel-2 product name (`_N0509_` is "05.09"), or None."""
    match = _BASELINE.search(name)
    return None if match is None else f"{match[1]}.{match[2]}"


def find_layer(sensor: Sensor, text: str) -> str | None:
    """The band key or quality layer that a file name or band description stands for; None if there is none.

    Keys, aliases and layer names (`B04`, `SR_B4`, `SCL`) count before common names (`red`); case is ignored; a name
    must stand alone between other characters than letters and digits. A quality layer counts before the product that
    it belongs to (`ST_20180207_QA_PIXEL`).

    Raises:
        InputError: the text names several.
    """
    for table in _tables(sensor):
        found = table.found(text)
        if len(found) > 1 and len(layers := {name for name in found if sensor.rule(name)}) == 1:
            return layers.pop()
        if len(found) > 1:
            raise InputError(f"{text!r} names several layers of {sensor.name}: {', '.join(sorted(found))}")
        if found:
            return found.pop()
    return None


def stem(sensor: Sensor, name: str) -> str:
    """A file name without extension, band name and pixel size: the same for all files of one acquisition."""
    bare = PurePosixPath(name).with_suffix("").as_posix()
    for table in _tables(sensor):
        bare = table.pattern.sub("", bare)
    bare = _PIXEL_SIZE.sub("", bare)
    parts = [re.sub(r"([-_. ])[-_. ]+", r"\1", part).strip("-_. ") for part in bare.split("/")]
    return "/".join(part for part in parts if part)


@dataclass(frozen=True)
class _Table:
    """Lower-case name -> band key or quality layer, and the expression that finds a name standing alone."""

    targets: Mapping[str, str]
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, targets: Mapping[str, str]) -> _Table:
        # longest first, so that SR_B4 is not read as B4
        names = "|".join(re.escape(name) for name in sorted(targets, key=len, reverse=True))
        return cls(targets, re.compile(rf"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])", re.IGNORECASE))

    def found(self, text: str) -> set[str]:
        return {self.targets[match.group().lower()] for match in self.pattern.finditer(text)}


@lru_cache(maxsize=64)
def _tables(sensor: Sensor) -> tuple[_Table, _Table]:
    """Codes (keys, aliases, quality layers) and the common names that belong to one band only."""
    codes = {name.lower(): rule.layer for rule in sensor.quality for name in (rule.layer, *rule.aliases)}
    codes |= {name.lower(): band.key for band in sensor.bands for name in (band.key, *band.aliases)}
    names = [band.common_name for band in sensor.bands]
    common = {b.common_name.lower(): b.key for b in sensor.bands if names.count(b.common_name) == 1}
    return _Table.of(codes), _Table.of(common)


def _matched(pattern: re.Pattern[str], name: str) -> str:
    match = pattern.search(name)
    if match is None or not pattern.groups:
        why = "has no group around the date" if match else f"does not match {name}"
        raise DateError(rf"date_pattern {pattern.pattern!r} {why}; write e.g. '_(\d{{8}})_', or exclude the file")
    return str(match["date"] if "date" in pattern.groupindex else match[1])


def _dates_in(text: str) -> list[date]:
    for pattern, read in _KINDS:
        found = []
        for match in pattern.finditer(text):
            try:
                moment = read(match)
            except ValueError:
                continue  # eight digits that are no date: an orbit, a tile, a version
            if moment.year in _YEARS:
                found.append(moment)
        if found:
            return found
    return []


def _solar(moment: date, longitude: float) -> date:
    return solar_day(moment, longitude) if isinstance(moment, datetime) else moment
