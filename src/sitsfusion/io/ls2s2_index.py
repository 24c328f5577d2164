"""The index files of an LS2S2 site: which dates a sensor has, and where their images are.

A site holds a folder per sensor (`sentinel2`, `landsat`), each with tab-separated index files that list every date
of the download, also the rejected ones (specification of the LS2S2 data set, sections 1.3 and 7; data set:
doi 10.5281/zenodo.15471890).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from sitsfusion.dates import parse_day
from sitsfusion.errors import DateError, InputError, ReadError

_BOOLEANS = {"true": True, "false": False}


class NoImageError(InputError):
    """A site has no valid image of a sensor."""


@dataclass(frozen=True)
class IndexLine:
    """One date in one index file. Paths are absolute, None where no file was written (release 1.0.0: no snow masks)."""

    day: date
    id: str
    clear_share: float | None
    valid: bool
    bands: Path | None
    mask: Path | None
    snow_mask: Path | None = None


@dataclass(frozen=True)
class Acquisition:
    """A date that can be read: one line per index file, each with files for bands and mask."""

    day: date
    lines: tuple[IndexLine, ...]

    def files(self, at: int) -> tuple[Path, Path]:
        """Bands and mask file of index file number `at`."""
        line = self.lines[at]
        if line.bands is None or line.mask is None:
            raise InputError(f"{line.id} of {self.day} is valid in its index, but has no bands or no mask file")
        return line.bands, line.mask


def index_names(folder: Path, index_files: Sequence[str] | None) -> tuple[str, ...]:
    """The index files meant: as given, or for None every `.csv` of the folder in alphabetic order.

    Raises:
        ReadError: there is no such folder.
    """
    if not folder.is_dir():
        raise ReadError(f"{folder} is not a folder; expected the images of one sensor of an LS2S2 site there")
    return tuple(sorted(f.name for f in folder.glob("*.csv"))) if index_files is None else tuple(index_files)


def acquisitions(folder: Path, index_files: Sequence[str] | None = ("index.csv",)) -> tuple[Acquisition, ...]:
    """The dates of a sensor that are present and valid in all its index files, in time order.

    A line that is valid but names no bands file (LS2S2 1.0.0 marks a Sentinel-2 date as valid from a clear share
    of 0.25 on, but writes only what is above it) counts as not valid: there is no image to read.

    Raises:
        ReadError: a folder or index file that is missing or cannot be read.
        InputError: an index file with missing columns, unreadable fields or repeated dates.
        NoImageError: no date is left.
    """
    names = index_names(folder, index_files)
    tables = [read_index(folder / name) for name in names]
    days = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    found = [Acquisition(day, tuple(table[day] for table in tables)) for day in days]
    kept = tuple(a for a in found if all(line.valid for line in a.lines))
    if not kept:
        raise NoImageError(
            f"no image files in {folder}: none of {len(found)} date(s) is valid in {', '.join(names) or 'any index'}"
        )
    return kept


def conjunctions(
    first: Sequence[Acquisition], second: Sequence[Acquisition]
) -> tuple[tuple[Acquisition, ...], tuple[Acquisition, ...]]:
    """Of each sensor the dates that the other has too.

    Raises:
        NoImageError: they have no date in common.
    """
    common = {a.day for a in first} & {a.day for a in second}
    if not common:
        raise NoImageError(f"the sensors have no date in common ({len(first)} and {len(second)} valid dates)")
    return tuple(a for a in first if a.day in common), tuple(a for a in second if a.day in common)


def read_index(path: Path) -> dict[date, IndexLine]:
    """The lines of one index file by date; columns are found by name (the identifier column may occur twice).

    Raises:
        ReadError: the file is missing or not text.
        InputError: missing columns, unreadable fields, repeated dates; the message gives file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"index file {path} cannot be read ({error}); expected tab-separated text") from error
    head = lines[0].split("\t") if lines else []
    missing = {"acquisition_date", "valid", "bands", "mask"} - set(head)
    if missing:
        raise InputError(f"index file {path} has no column {', '.join(sorted(missing))}; it has {', '.join(head)}")
    table: dict[date, IndexLine] = {}
    for number, text in enumerate(lines[1:], start=2):
        if not text.strip():
            continue
        line = _parse(dict(zip(head, _fields(text, len(head)), strict=True)), path, number)
        if line.day in table:
            raise InputError(f"{path}, line {number}: {line.day} occurs twice; expected one line per date")
        table[line.day] = line
    return table


def _fields(text: str, count: int) -> list[str]:
    fields = text.split("\t")
    return (fields + [""] * count)[:count]


def _parse(row: dict[str, str], path: Path, number: int) -> IndexLine:
    try:
        day = parse_day(row["acquisition_date"])
        rate = row.get("clear_pixel_rate", "")
        valid = _BOOLEANS[row["valid"].strip().lower()]
        share = float(rate) if rate else None
    except (DateError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}, line {number}: {error} cannot be used; expected a date as 2022-01-31, True or False, a rate"
        ) from error
    bands, mask, snow = (_locate(path.parent, row.get(column, "")) for column in ("bands", "mask", "snow_mask"))
    name = row.get("product_id") or f"{day:%Y%m%d}"
    return IndexLine(day, name, share, valid and bands is not None, bands, mask, snow)


def _locate(folder: Path, text: str) -> Path | None:
    """A path of an index, relative to its folder; of an absolute one the last two parts count."""
    if not text.strip():
        return None
    path = PurePosixPath(text.strip())
    return folder.absolute().joinpath(*(path.parts[-2:] if path.is_absolute() else path.parts))
