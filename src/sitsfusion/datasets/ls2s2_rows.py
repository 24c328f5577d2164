"""Writing the index files of an LS2S2 site, and making those of Landsat and its panchromatic images agree."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sitsfusion.datasets.ls2s2_masks import Masks
from sitsfusion.dates import parse_day
from sitsfusion.errors import InputError, ReadError, WriteError

Table = list[list[str]]


@dataclass(frozen=True)
class Row:
    """One date of an index; rates are shares of the pixels, None where the sensor does not tell."""

    sensor: str
    day: date
    clear: float
    snow: float | None
    dark: float | None
    valid: bool
    bands: str | None = None
    mask: str | None = None
    snow_mask: str | None = None

    @classmethod
    def of(cls, sensor: str, day: date, masks: Masks, valid: bool) -> Row:
        """The row of a date of which no file is written yet."""
        snow, dark = (None if mask is None else float(mask.mean()) for mask in (masks.snow, masks.dark))
        return cls(sensor, day, masks.clear_share, snow, dark, valid)

    def fields(self) -> dict[str, str]:
        """Columns and their texts, but for the identifier."""
        known = {"dark_pixel_rate": self.dark, "snow_pixel_rate": self.snow}
        paths = {"bands": self.bands, "mask": self.mask}
        if self.snow is not None:
            paths["snow_mask"] = self.snow_mask
        return {
            "acquisition_date": f"{self.day}",
            "clear_pixel_rate": str(self.clear),
            **{name: str(rate) for name, rate in known.items() if rate is not None},
            "valid": str(self.valid),
            **{name: path or "" for name, path in paths.items()},
        }


def write_index(file: Path, rows: Sequence[Row]) -> None:
    """Write an index. As published, the identifier stands twice in that of images with bands of the surface.

    Raises:
        InputError: no row.
        WriteError: it cannot be written.
    """
    if not rows:
        raise InputError(f"nothing to write into {file}: the cube has no date")
    twice = 1 if rows[0].snow is None else 2
    head = ["product_id"] * twice + list(rows[0].fields())
    _save(file, [head, *([f"{r.sensor}_{r.day:%Y%m%d}"] * twice + list(r.fields().values()) for r in rows)])


def clean(site: Path) -> list[date]:
    """Make `landsat/index.csv` and `landsat/index_pan.csv` of a site agree; without both, nothing is done.

    Dates that are not valid, or unknown to the panchromatic index, lose their folder; the latter also their line. The
    panchromatic lines take clear share and validity of the multispectral ones, whose masks know of clouds.

    Returns:
        The dates whose folder was removed.

    Raises:
        ReadError: there is no such folder; an index cannot be read.
        InputError: it lacks a column, or has a date that is none.
        WriteError: an index or folder cannot be replaced.
    """
    if not site.is_dir():
        raise ReadError(f"{site} is not a folder; expected an LS2S2 site")
    folder = site / "landsat"
    files = folder / "index.csv", folder / "index_pan.csv"
    if not all(file.is_file() for file in files):
        return []
    (head, *lines), (pan_head, *pan_lines) = (_load(file) for file in files)
    pan = {line[pan_head.index("product_id")]: line for line in pan_lines}
    name, valid, rate, at_day = (
        head.index(column) for column in ("product_id", "valid", "clear_pixel_rate", "acquisition_date")
    )
    useless = [parse_day(line[at_day]) for line in lines if line[valid] != "True" or line[name] not in pan]
    kept = [line for line in lines if line[name] in pan]
    kept_pan = [_agreeing(pan[line[name]], pan_head, line[rate], line[valid]) for line in kept]
    _save(files[0], [head, *kept])
    _save(files[1], [pan_head, *kept_pan])
    return [day for day in useless if _remove(folder / f"{day:%Y%m%d}")]


def _agreeing(line: list[str], head: Sequence[str], rate: str, valid: str) -> list[str]:
    fields = dict(zip(head, line, strict=True)) | {"clear_pixel_rate": rate, "valid": valid}
    if valid != "True":
        fields |= {"bands": "", "mask": ""}
    return list(fields.values())


def _load(file: Path) -> Table:
    """Lines of an index, header first; a column that occurs twice is called `name.1` the second time."""
    try:
        head, *lines = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if line)
    except (OSError, ValueError) as error:
        raise ReadError(f"index file {file} cannot be read ({error})") from error
    absent = {"product_id", "valid", "clear_pixel_rate", "acquisition_date"} - set(head)
    if absent:
        raise InputError(f"index file {file} has no column {', '.join(sorted(absent))}; it has {', '.join(head)}")
    named = [name if name not in head[:at] else f"{name}.1" for at, name in enumerate(head)]
    return [named, *((line + [""] * len(head))[: len(head)] for line in lines)]


def _save(file: Path, table: Table) -> None:
    replace_text(file, "".join("\t".join(line) + "\n" for line in table))


def replace_text(file: Path, text: str) -> None:
    """Write a text file, or replace it in one step. Raises WriteError."""
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise WriteError(f"{file} cannot be written ({error})") from error


def _remove(folder: Path) -> bool:
    """Remove a folder; whether there was one."""
    try:
        if not folder.is_dir():
            return False
        shutil.rmtree(folder)
        return True
    except OSError as error:
        raise WriteError(f"{folder} cannot be removed ({error})") from error
