"""Patch pairs of Deep-Harmonization: a metadata table (CSV) and one HDF5 file per pair; and how such patches are cut.

A patch file `<folder>/*/*/<patch_id>*` holds `s2_image` (6 bands, digital numbers x 10000), `l8_image` (6 bands,
Collection 2 level 2 digital numbers) and `l8_pan` (reflectance at the top of the atmosphere).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import InputError, MissingExtraError, ReadError

# Pairs that differ more than this are cloudy in one of the sensors (the filter of the publication).
_SSIM, _PSNR = 0.81, 22.0
_COARSE, _FINE = 86, 256  # sides of the published patches, which are not exactly one to three
_SCALE, _OFFSET = 2.75e-5, -0.2
PairType = Literal["Train", "Test", "Validation"]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class PatchPair:
    """One row of the table: `geometry` is the text of a polygon (WKT); `fields`, the agricultural fields in it."""

    patch_id: str
    location: str
    day: date
    pair_type: str
    ssim: float
    psnr: float
    geometry: str = ""
    fields: int | None = None


@dataclass(frozen=True, eq=False)
class Patch:
    """Reflectance of one pair, float32, none negative: `s2 [6, 256, 256]`, `l8 [6, 86, 86]`, `pan [1, h, w]`."""

    s2: Array
    l8: Array
    pan: Array


def read_metadata(
    file: Path,
    *,
    pair_type: PairType | None = None,
    locations: Sequence[str] | None = None,
    dates: Sequence[date] | None = None,
    min_fields: int | None = None,
) -> tuple[PatchPair, ...]:
    """The rows of a metadata table whose sensors agree (SSIM of 0.81 and more, PSNR above 22), in the file's order.

    Args:
        file: CSV with the columns patch_id, location, date, pair_type, ssim, psnr (geometry, Field_counts).
        pair_type: only these.
        locations: only these tiles.
        dates: only these days.
        min_fields: at least as many agricultural fields.

    Raises:
        ReadError: the file is absent, or a column or a number in it is.
        InputError: no row is left.
    """
    rows = list(_rows(file))
    wanted = partial(_wanted, pair_type=pair_type, locations=locations, dates=dates, min_fields=min_fields)
    kept = tuple(row for row in rows if wanted(row))
    if not kept:
        raise InputError(f"none of the {len(rows)} rows of {file} passes the filters (SSIM, PSNR, and those asked for)")
    return kept


def find_patch(folder: Path, patch_id: str) -> Path:
    """The first file `<folder>/*/*/<patch_id>*`; ReadError if there is none."""
    found = sorted(folder.glob(f"*/*/{patch_id}*"))
    if not found:
        raise ReadError(f"no file {folder}/*/*/{patch_id}*; expected the HDF5 patch of this row of the metadata")
    return found[0]


def read_patch(file: Path, *, scaled: bool = True) -> Patch:
    """One HDF5 patch.

    `scaled=False` takes `s2_image` and `l8_image` as they are (already reflectance). Sides become 256 and 86 by the
    nearest pixel; negative reflectance becomes 0.

    Raises:
        ReadError: the file is damaged or lacks a data set.
        MissingExtraError: h5py is not installed.
    """
    s2, l8, pan = _datasets(file)
    return prepare_patch(s2, l8, pan, scaled=scaled)


def prepare_patch(s2: Array, l8: Array, pan: Array, *, scaled: bool = True) -> Patch:
    """Digital numbers `[6, h, w]`, `[6, h, w]` and reflectance `[h, w]` as `read_patch` gives them."""
    if scaled:
        s2, l8 = s2 / np.float32(10_000), l8 * np.float32(_SCALE) + np.float32(_OFFSET)
    images = nearest_size(s2, _FINE), nearest_size(l8, _COARSE), pan[None]
    return Patch(*(np.clip(x, 0, None).astype(np.float32) for x in images))


def nearest_size(x: Array, side: int) -> Array:
    """`[..., h, w]` -> `[..., side, side]`: output pixel i is input pixel floor(i h / side)."""
    rows, cols = (np.arange(side) * n // side for n in x.shape[-2:])
    return x[..., rows[:, None], cols]


def split_box(
    bounds: tuple[float, float, float, float], size: tuple[float, float], overlap: tuple[float, float] = (0, 0)
) -> NDArray[np.float64]:
    """Overlapping patches of a box: `[n, 4]` of (left, bottom, right, top), sorted.

    They start at the lower left corner, every `size - overlap`; the last ones end at the box's upper right edges.

    Raises:
        InputError: patches larger than the box, or an overlap as large as a patch.
    """
    lefts = _starts(bounds[0], bounds[2], size[0], overlap[0])
    bottoms = _starts(bounds[1], bounds[3], size[1], overlap[1])
    return np.array([(x, y, x + size[0], y + size[1]) for x in lefts for y in bottoms])


def _starts(low: float, high: float, size: float, overlap: float) -> list[float]:
    if not 0 < size <= high - low or not 0 <= overlap < size:
        raise InputError(f"patches of {size} with an overlap of {overlap} do not fit a box side of {high - low}")
    steps = int((high - low - size) // (size - overlap))
    return sorted({*(low + k * (size - overlap) for k in range(steps + 1)), high - size})


def _rows(file: Path) -> Iterator[PatchPair]:
    if not file.is_file():
        raise ReadError(f"no metadata table at {file}")
    with file.open(newline="") as text:
        for number, row in enumerate(csv.DictReader(text), start=2):
            try:
                yield _row(row)
            except (KeyError, TypeError, ValueError) as error:
                raise ReadError(
                    f"line {number} of {file}: {error!r}; expected the columns patch_id, location, date (2021-05-30), "
                    "pair_type, ssim and psnr (numbers)"
                ) from error


def _row(row: dict[str, str]) -> PatchPair:
    count = row.get("Field_counts")
    return PatchPair(
        row["patch_id"], row["location"], date.fromisoformat(row["date"]), row["pair_type"], float(row["ssim"]),
        float(row["psnr"]), row.get("geometry", ""), int(float(count)) if count else None,
    )  # fmt: skip


def _wanted(
    row: PatchPair,
    *,
    pair_type: str | None,
    locations: Sequence[str] | None,
    dates: Sequence[date] | None,
    min_fields: int | None,
) -> bool:
    return (
        row.ssim >= _SSIM
        and row.psnr > _PSNR
        and (pair_type is None or row.pair_type == pair_type)
        and (locations is None or row.location in locations)
        and (dates is None or row.day in dates)
        and (min_fields is None or (row.fields or 0) >= min_fields)
    )


def _datasets(file: Path) -> tuple[Array, Array, Array]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("reading HDF5 patches", "netcdf") from error
    try:
        with h5py.File(file, "r") as content:
            s2, l8, pan = (content[name][()].astype(np.float32) for name in ("s2_image", "l8_image", "l8_pan"))
    except (OSError, KeyError) as error:
        raise ReadError(
            f"{file} cannot be read as a patch ({error}): expected HDF5 with s2_image, l8_image and l8_pan"
        ) from error
    return s2, l8, pan
