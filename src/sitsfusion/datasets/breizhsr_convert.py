"""`convert breizhsr`: from the distributed rasters and tables to the tensors of the published preprocessing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from torch import Tensor

from sitsfusion.datasets.breizhsr import PREPARED, Site, StoredSite, closest_views
from sitsfusion.datasets.breizhsr_pickle import read_table
from sitsfusion.errors import InputError, ReadError
from sitsfusion.nets.misr_config import SCALE
from sitsfusion.ops.resample import bicubic

DEFAULT_VIEWS = 8
_MULTIPLE = 8  # fine pixels that sides are cut to a multiple of
_TABLES = ("train", "test")
Order = Literal["closest", "stored"]
Image = NDArray[np.generic]


@dataclass(frozen=True)
class Converted:
    """What came of it: sites written, and for each one left out its number and why; views left out for their size."""

    sites: int
    left_out: tuple[str, ...]
    views_left_out: int


def prepare_site(
    hr: Image, views: Sequence[tuple[int, Image]], most: int, order: Order = "closest"
) -> StoredSite | None:
    """Rasters of a site as the published preprocessing stores them.

    Args:
        hr: uint8 `[c H W]`.
        views: day relative to the fine image, and digital numbers (reflectance x 10000) `[c h w]` of each, as stored.
        most: views kept; fewer are filled up by repeating the last one.
        order: which are kept: those closest in time, or the first ones (as published).

    Returns:
        Sides cut from the upper left corner to multiples of 8 fine pixels; None if no view is left. Views of another
        size than a quarter of the fine image are left out with their day (the published code kept the day).

    Raises:
        InputError: an image too small to hold 8 fine pixels a side.
    """
    height, width = (side - side % _MULTIPLE for side in hr.shape[1:])
    if min(height, width) == 0:
        raise InputError(f"a fine image of {hr.shape[1]} x {hr.shape[2]} pixels is smaller than 8 x 8")
    size = (height // SCALE, width // SCALE)
    fitting = [(day, view) for day, view in views if fits(view, hr)]
    if not fitting:
        return None
    days = [day for day, _ in fitting]
    kept = closest_views(days, most) if order == "closest" else list(range(min(most, len(days))))
    missing = most - len(kept)
    images = [_reflectance(fitting[i][1], size) for i in kept]
    nearest = min(range(len(days)), key=lambda i: abs(days[i]))
    single = _reflectance(fitting[nearest][1], size)
    return StoredSite(
        hr=torch.from_numpy(hr[:, :height, :width].astype(np.float32) / np.float32(255)),
        views=torch.stack(images + [images[-1]] * missing),
        days=tuple([days[i] for i in kept] + [days[kept[-1]]] * missing),
        present=tuple([1] * len(kept) + [0] * missing),
        single=single,
        single_day=days[nearest],
        enlarged=bicubic(single, 1 / SCALE),
    )


def fits(view: Image, hr: Image) -> bool:
    """Whether a view covers what the fine image does: a quarter of its sides, give or take less than a pixel."""
    return all(abs(SCALE * a - b) < SCALE for a, b in zip(view.shape[1:], hr.shape[1:], strict=True))


def _reflectance(view: Image, size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(view[:, : size[0], : size[1]].astype(np.float32) / np.float32(10_000))


def convert_breizhsr(root: Path, *, max_views: int = DEFAULT_VIEWS, order: Order = "closest") -> Converted:
    """Prepare a distributed BreizhSR folder: tensors and lists go under `ROOT/preprocessed`.

    Args:
        root: holds `dataset_train.pkl`, `dataset_test.pkl` and the rasters they name.
        max_views: views kept of each site.
        order: which ones: the closest in time, or the first stored (as published).

    Raises:
        ReadError: a table or a raster is missing or damaged.
        InputError: a table without a needed column, a fine image that is too small.
    """
    if max_views < 1:
        raise InputError(f"{max_views} views cannot be kept; give 1 or more")
    left_out: list[str] = []
    written = views_left_out = 0
    for table in _TABLES:
        sites: list[Site] = []
        for row in read_table(root / f"dataset_{table}.pkl"):
            hr, views = _rasters(root, row)
            stored = prepare_site(hr, views, max_views, order) if views else None
            views_left_out += sum(not fits(view, hr) for _, view in views)
            if stored is None:
                left_out.append(f"{table} {row['index']}: no Sentinel-2 image" + (" of its size" if views else ""))
            else:
                sites.append(_write(root, table, int(row["index"]), _split(row, table), stored))
        _write_index(root, table, sites)
        written += len(sites)
    return Converted(written, tuple(left_out), views_left_out)


def list_prepared(root: Path) -> Converted:
    """Write the lists for a folder that the published preprocessing has made, from its pickled tables.

    Raises:
        ReadError, InputError: as `convert_breizhsr`.
    """
    written = 0
    for table in _TABLES:
        sites = [_listed(row, table) for row in read_table(root / PREPARED / f"dataset_{table}.pkl")]
        _write_index(root, table, sites)
        written += len(sites)
    return Converted(written, (), 0)


def _listed(row: dict[str, Any], table: str) -> Site:
    columns = ("path_hr", "path_lr_sisr", "path_lr_up", "path_lr_misr", "alphas", "dates_encoding")
    hr, single, enlarged, views, present, days = (_column(row, name) for name in columns)
    days = [int(day) for day in days]
    days += [days[-1]] * (len(present) - len(days))
    return Site(
        id=int(row["index"]), split=_split(row, table), hr=hr, single=single, enlarged=enlarged, views=views,
        single_day=min((day for day, _ in _acquisitions(row)), key=abs), days=tuple(days),
        present=tuple(1 if p else 0 for p in present),
    )  # fmt: skip


def _rasters(root: Path, row: dict[str, Any]) -> tuple[Image, list[tuple[int, Image]]]:
    hr = _read(root / str(_column(row, "spot6_image")))
    return hr, [(day, _read(root / path)) for day, path in _acquisitions(row)]


def _acquisitions(row: dict[str, Any]) -> list[tuple[int, str]]:
    """Signed day difference and path of each Sentinel-2 image, in stored order.

    Images are keyed by the absolute difference, so of two images as far before as after only the last one is left.
    """
    images, day = _column(row, "sen2_acquisitions"), _column(row, "dates_spot6")
    days = [(date - day).days for date in _column(row, "dates_sen2")]
    if [abs(d) for d in days] == [abs(int(key)) for key in images]:
        return [(d, str(path)) for d, path in zip(days, images.values(), strict=True)]
    found = []
    for key, path in images.items():
        same = [d for d in days if abs(d) == abs(int(key))]
        if not same:
            raise InputError(f"site {row['index']} has an image {key} days away, but no such date; found {days}")
        found.append((same[-1], str(path)))
    return found


def _split(row: dict[str, Any], table: str) -> Any:
    return "test" if table == "test" else _column(row, "split" if "split" in row else "type_split")


def _column(row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise InputError(f"the table has no column {name!r}; it has {', '.join(map(str, row))}")
    return row[name]


def _read(path: Path) -> Image:
    try:
        with rasterio.open(path) as raster:
            image: Image = raster.read()
    except RasterioIOError as error:
        raise ReadError(f"{path} cannot be read ({error}); copy or download it again") from error
    if len(image) != 3:
        raise InputError(f"{path} has {len(image)} bands, expected 3 (red, green, blue)")
    return image


def _write(root: Path, table: str, number: int, split: Any, stored: StoredSite) -> Site:
    single, several = (f"{PREPARED}/{kind}/dataset_{table}" for kind in ("SISR", "MISR"))
    tensors = {
        "hr": (f"{single}/img_hr/{number}.pt", stored.hr),
        "single": (f"{single}/img_lr/{number}.pt", stored.single),
        "enlarged": (f"{single}/img_lr_up/{number}.pt", stored.enlarged),
        "views": (f"{several}/img_lr/{number}.pt", stored.views),
    }
    for name, tensor in tensors.values():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(tensor.contiguous().clone(), path)
    return Site(
        id=number, split=split, **{what: name for what, (name, _) in tensors.items()},
        single_day=stored.single_day, days=stored.days, present=stored.present,
    )  # fmt: skip


def _write_index(root: Path, table: str, sites: Sequence[Site]) -> None:
    path = root / PREPARED / f"dataset_{table}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps([site.model_dump() for site in sites], indent=1))
    partial.replace(path)
