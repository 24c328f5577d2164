"""Join images into one series; several acquisitions of one solar day become one image, or an error.

Two images of one day are two rows of a Landsat pass, two tiles, or two satellites. Merged, each pixel is taken whole
(all bands) from one of them: from the first, in order of time and name, where it is usable (observed in every band,
no quality layer objects); where it is usable in none, from the first that observed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube, Item, Stored
from sitsfusion.errors import DateError, GridError, InputError
from sitsfusion.grid import Window, describe
from sitsfusion.io.fixes import fixable
from sitsfusion.io.placing import same_grid
from sitsfusion.sensors import Encoding

Duplicates = Literal["error", "merge"]
_NAMED = 6  # as many days or files are named in an error


def join(cubes: Sequence[Cube], duplicates: Duplicates = "error") -> Cube:
    """One cube of all images of some cubes of the same sensor, bands and grid, in order of time. Lazy.

    Args:
        cubes: at least one; each with any number of dates.
        duplicates: `error`: images of the same solar day are refused; `merge`: they become one image (see above).

    Raises:
        InputError: no cube, or other sensors or bands. GridError: other grids. DateError: duplicates not to be merged.
    """
    if not cubes:
        raise InputError("there is no image to join")
    _check_alike(cubes)
    images = [(cube, t) for cube in cubes for t in range(len(cube))]
    days: dict[date, list[tuple[Cube, int]]] = {}
    for cube, t in sorted(images, key=_order):
        days.setdefault(cube.dates[t], []).append((cube, t))
    if duplicates == "error":
        _refuse_duplicates({day: [cube.items[t] for cube, t in same] for day, same in days.items()})
    first = cubes[0]
    source = JoinedSource(first.bands, tuple(tuple(same) for same in days.values()))
    items = tuple(_merged_item([cube.items[t] for cube, t in same]) for same in days.values())
    return Cube(first.sensor, first.bands, first.grid, tuple(days), source, items, first.native)


@dataclass(frozen=True)
class JoinedSource:
    """For each date the images that it is made of: (cube, number of its date)."""

    bands: tuple[str, ...]
    images: tuple[tuple[tuple[Cube, int], ...], ...]

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        keys = [self.bands[i] for i in bands]
        return first_usable([cube.select(bands=keys).window(window).stored(i) for cube, i in self.images[t]])

    def fingerprint(self, t: int) -> Mapping[str, object]:
        prints = [dict(cube.fingerprint(i)) for cube, i in self.images[t]]
        return prints[0] if len(prints) == 1 else {"files": _all_files(prints), "merged": prints}


def first_usable(images: Sequence[Stored]) -> Stored:
    """One image out of several of the same pixels: each pixel from the first image where it is best.

    Stored numbers are kept where all images have the same encodings; otherwise the result is float32 in physical units.
    """
    if len(images) == 1:
        return images[0]
    decoded = [_decoded(image) for image in images]
    clear = [np.ones(image.values.shape[1:], bool) if image.clear is None else image.clear for image in images]
    observed = [np.asarray(~np.isnan(values).any(axis=0)) for values in decoded]
    # 2 usable, 1 observed, 0 neither; argmax takes the first of the best
    best = np.argmax([o.astype(int) + (o & c) for o, c in zip(observed, clear, strict=True)], axis=0)  # h w
    same = all(image.encodings == images[0].encodings for image in images)
    values = np.stack([image.values for image in images] if same else decoded)  # n c h w
    chosen = np.take_along_axis(values, best[None, None], axis=0)[0]
    encodings = images[0].encodings if same else tuple(Encoding(dtype="float32") for _ in images[0].encodings)
    return Stored(chosen, encodings, np.take_along_axis(np.stack(clear), best[None], axis=0)[0])


def _decoded(image: Stored) -> NDArray[np.float32]:
    return np.stack([e.decode(band) for e, band in zip(image.encodings, image.values, strict=True)])


def _order(image: tuple[Cube, int]) -> tuple[date, datetime, str]:
    cube, t = image
    day, item = cube.dates[t], cube.items[t]
    time = datetime.combine(day, datetime.min.time()) if item.time is None else item.time.replace(tzinfo=None)
    return day, time, item.id


def _merged_item(items: Sequence[Item]) -> Item:
    """What several acquisitions have in common; the time of the first."""
    first = items[0]
    if len(items) == 1:
        return first
    names = ("platform", "baseline", "sun_zenith", "sun_azimuth", "view_zenith", "view_azimuth")
    common: dict[str, Any] = {n: getattr(first, n) for n in names if len({getattr(item, n) for item in items}) == 1}
    return Item(id="+".join(item.id for item in items), time=first.time, **common)


def _all_files(prints: Iterable[Mapping[str, object]]) -> list[object]:
    found: list[object] = []
    for one in prints:
        files = one.get("files", [])
        found.extend(files if isinstance(files, list) else [files])
    return found


def _refuse_duplicates(days: Mapping[date, Sequence[Item]]) -> None:
    repeated = {day: items for day, items in days.items() if len(items) > 1}
    if not repeated:
        return
    listed = [f"{day}: {', '.join(item.id for item in items)}" for day, items in list(repeated.items())[:_NAMED]]
    more = f"; and {len(repeated) - _NAMED} more days" if len(repeated) > _NAMED else ""
    error = DateError(
        f"{len(repeated)} day(s) have several images ({'; '.join(listed)}{more}); "
        "merge them (--duplicates merge) or remove the extra ones"
    )
    raise fixable(error, duplicates="merge")


def _check_alike(cubes: Sequence[Cube]) -> None:
    first = cubes[0]
    for cube in cubes[1:]:
        if (cube.sensor, cube.bands) != (first.sensor, first.bands):
            raise InputError(
                f"{cube.items[0].id} has {cube.sensor.name} bands {', '.join(cube.bands)}; "
                f"{first.items[0].id} has {first.sensor.name} bands {', '.join(first.bands)}: select the common ones"
            )
        if not same_grid(first.grid, cube.grid):
            raise GridError(
                f"{cube.items[0].id} lies on {describe(cube.grid)}; {first.items[0].id} on {describe(first.grid)}: "
                "put them on one grid first (`Cube.onto`)"
            )
