"""Which files of a spatiotemporal fusion data set belong together, and which dates are for what.

A *target* is a date whose fine image is to be predicted, from the pair of the date before it. Dates are split by
target: no image of a validation or test target is seen in training, neither as target nor as reference; the fine
image of the date before a target may be from an earlier split, as it would be in use. The published split is there
by name, to compare with published figures: its validation and test dates are the same, and it zips the sorted lists
of files without looking at their dates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Literal

from sitsfusion.datasets.stf_sets import Sensor, StfSet, folders
from sitsfusion.errors import DateError, ReadError

Part = Literal["train", "validation", "test"]
HELD_OUT: tuple[Part, Part] = ("validation", "test")
_IMAGES = (".tif", ".tiff")


@dataclass(frozen=True)
class Dated:
    """The fine and the coarse file of one date, that of the fine one."""

    day: date
    fine: Path
    coarse: Path


@dataclass(frozen=True)
class Pairing:
    """Reference date and target date."""

    reference: Dated
    target: Dated


def listed(described: StfSet, names: Sequence[str], sensor: Sensor) -> list[tuple[date, str]]:
    """Images by date, from the names in a folder; what is no TIFF (headers, quick-looks, metadata) is left out.

    Raises:
        DateError: a TIFF whose name has no date, or two of one date.
    """
    images = [name for name in names if Path(name).suffix.lower() in _IMAGES]
    found = sorted((described.day(name, sensor), name) for name in images)
    for (day, name), (other, twin) in pairwise(found):
        if day == other:
            raise DateError(f"{described.key}: two {sensor} images of {day}: {name} and {twin}; keep one of them")
    return found


def zipped(described: StfSet, fine: Sequence[str], coarse: Sequence[str]) -> list[tuple[str, str]]:
    """As published: both lists sorted by date, then zipped, the longer one cut; dates are not compared."""
    both = (listed(described, names, sensor) for names, sensor in ((fine, "fine"), (coarse, "coarse")))  # type: ignore[arg-type]
    return [(f, c) for (_, f), (_, c) in zip(*both, strict=False)]


def matched(
    described: StfSet, fine: Sequence[str], coarse: Sequence[str], max_gap: int = 0
) -> list[tuple[date, str, str]]:
    """Date, fine and coarse file, each fine image with the coarse one of its date.

    Args:
        described: the data set.
        fine: names in the folder of fine images.
        coarse: likewise.
        max_gap: days at most between the two images of a pair.

    Raises:
        DateError: an image without a partner, less than two dates, names without a date.
    """
    fine_days, coarse_days = listed(described, fine, "fine"), listed(described, coarse, "coarse")
    found, used = [], set()
    alone = []
    for day, name in fine_days:
        near = [abs((other - day).days) for other, _ in coarse_days]
        nearest = near.index(min(near)) if near else None
        if nearest is None or near[nearest] > max_gap or nearest in used:
            alone.append(f"fine {day}")
            continue
        used.add(nearest)
        found.append((day, name, coarse_days[nearest][1]))
    alone += [f"coarse {day}" for i, (day, _) in enumerate(coarse_days) if i not in used]
    if alone:
        raise DateError(
            f"{described.key}: {len(alone)} image(s) have no partner of the same date: {', '.join(alone[:6])}"
            f"{' ...' if len(alone) > 6 else ''}. Remove or add files; or allow max_gap days between the two images of "
            "a pair; or take split=published, which pairs files by their order alone"
        )
    _require_dates(described, len(found), 2)
    return found


def open_pairs(described: StfSet, root: Path, *, published: bool = False, max_gap: int = 0) -> list[Dated]:
    """All dates of a data set on disk, in order.

    Raises:
        ReadError: a folder is missing. DateError: as `matched`.
    """
    where = folders(described, root)
    names = {sensor: _names(folder, described) for sensor, folder in where.items()}
    if published:
        pairs = zipped(described, names["fine"], names["coarse"])
        _require_dates(described, len(pairs), 2)
        found = [(described.day(f, "fine"), f, c) for f, c in pairs]
    else:
        found = matched(described, names["fine"], names["coarse"], max_gap)
    return [Dated(day, where["fine"] / f, where["coarse"] / c) for day, f, c in found]


def published_split(described: StfSet, dates: Sequence[Dated]) -> dict[Part, list[Pairing]]:
    """The survey's: the first dates train, all others are validation and test; pairs lie inside one of them."""
    train, rest = dates[: described.train_dates], dates[described.train_dates :]
    if min(len(train), len(rest)) < 2:
        raise DateError(
            f"{described.key}: the published split needs {described.train_dates} dates for training and 2 others, "
            f"found {len(dates)} in all: take split=chronological"
        )
    return {"train": _consecutive(train), "validation": _consecutive(rest), "test": _consecutive(rest)}


def chronological_split(
    described: StfSet, dates: Sequence[Dated], shares: tuple[float, float] = (0.6, 0.2)
) -> dict[Part, list[Pairing]]:
    """Targets in order of time: this share for training, this for validation, the rest for the test, 1 each at least.

    Raises:
        DateError: less than four dates.
    """
    _require_dates(described, len(dates), 4)
    pairs = _consecutive(dates)
    total = len(pairs)
    validation = max(1, round(shares[1] * total))
    train = min(max(1, round(shares[0] * total)), total - validation - 1)
    validation = min(validation, total - train - 1)
    cut = train + validation
    return {"train": pairs[:train], "validation": pairs[train:cut], "test": pairs[cut:]}


def all_pairs(pairs: Sequence[Pairing]) -> list[Pairing]:
    """Every ordered pair of the dates that these are made of: more training samples, both directions in time."""
    dates = {d.day: d for p in pairs for d in (p.reference, p.target)}
    return [Pairing(a, b) for a in dates.values() for b in dates.values() if a != b]


def _consecutive(dates: Sequence[Dated]) -> list[Pairing]:
    return [Pairing(a, b) for a, b in pairwise(dates)]


def _require_dates(described: StfSet, found: int, needed: int) -> None:
    if found < needed:
        raise DateError(f"{described.key}: {found} date(s) with both images found, {needed} or more are needed")


def _names(folder: Path, described: StfSet) -> list[str]:
    if not folder.is_dir():
        raise ReadError(
            f"no folder {folder}: {described.key} ({described.title}) keeps its images in {described.folder}/Landsat "
            "(fine) and .../MODIS (coarse) below the root of the data (location.data)"
        )
    return sorted(path.name for path in folder.iterdir())


def splits(described: StfSet, dates: Sequence[Dated], name: str) -> Mapping[Part, list[Pairing]]:
    """A split by its name, "published" or "chronological"."""
    return published_split(described, dates) if name == "published" else chronological_split(described, dates)
