"""Which images serve a wanted day: choices for the whole scene, made from metadata alone.

A *pair* is a fine image and the coarse image of the same day (or the nearest within `max_gap` days). A day can be
predicted if it has a coarse image and enough pairs of other days.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sitsfusion.cube import Cube
from sitsfusion.dates import distance
from sitsfusion.errors import InputError, MissingBandError


@dataclass(frozen=True)
class Choice:
    """Images that serve one day: fine images of the reference pairs in time order, and all coarse images needed (the
    day's and the pairs').
    """

    references: tuple[date, ...]
    coarse: tuple[date, ...]


def matching_bands(fine: Cube, coarse: Cube, chosen: Mapping[str, str]) -> dict[str, str]:
    """The coarse band of each fine band: as chosen, else the one of the same common name ("nir08").

    Raises:
        MissingBandError: a chosen band that a cube lacks, or no band in common.
    """
    if chosen:
        wanted = dict(zip(fine.sensor.resolve(chosen), coarse.sensor.resolve(chosen.values()), strict=True))
        fine.select(bands=wanted)
        coarse.select(bands=dict.fromkeys(wanted.values()))
        return wanted
    named = {band.common_name: band.key for band in coarse.band_info()}
    found = {b.key: named[b.common_name] for b in fine.band_info() if b.common_name in named}
    if not found:
        raise MissingBandError(
            f"no fine band has the common name of a coarse one: {_listed(fine)} of {fine.sensor.name}, "
            f"{_listed(coarse)} of {coarse.sensor.name}; name the pairs with the option `bands`"
        )
    return found


def coarse_of(day: date, days: Sequence[date], max_gap: int) -> date | None:
    """The coarse image of a day: the nearest one within `max_gap` days, ties to the earlier."""
    if not days:
        return None
    away = distance(days, day)
    nearest = int(away.argmin())
    return days[nearest] if away[nearest] <= max_gap else None


def usable_days(cube: Cube, min_clear_share: float) -> tuple[date, ...]:
    """Dates with at least this share of usable pixels, and with any at all. An unknown share counts as enough."""
    return cube.dates_clear(max(min_clear_share, sys.float_info.min))


def choose(
    day: date, fine: Sequence[date], coarse: Sequence[date], counts: tuple[int, int], max_gap: int
) -> Choice | str:
    """The images for a wanted day, or why it cannot be predicted.

    Args:
        day: wanted; a fine image of this day is no reference.
        fine: days of fine images that may serve as reference.
        coarse: days of usable coarse images.
        counts: (fewest, most) pairs the method takes. Two: the nearest before and the nearest after, or the two
            nearest where one side has none.
        max_gap: see `coarse_of`.
    """
    own = coarse_of(day, coarse, max_gap)
    if own is None:
        return f"no usable coarse image within {max_gap} day(s)" if max_gap else "no usable coarse image of that day"
    matched = {d: coarse_of(d, coarse, max_gap) for d in fine if d != day}
    pairs = {d: c for d, c in matched.items() if c is not None}
    if len(pairs) < counts[0]:
        return f"{counts[0]} usable reference pair(s) of fine and coarse images needed, there are {len(pairs)}"
    references = _nearest(day, sorted(pairs), counts)
    return Choice(references, tuple(sorted({own, *(pairs[d] for d in references)})))


def _nearest(day: date, pairs: Sequence[date], counts: tuple[int, int]) -> tuple[date, ...]:
    ranked = [pairs[i] for i in distance(pairs, day).argsort(kind="stable")]
    if counts[1] == 1:
        return (ranked[0],)
    found = [d for d in ranked if d < day][:1] + [d for d in ranked if d > day][:1]
    if len(found) < counts[0]:
        found = ranked[: counts[0]]
    return tuple(sorted(found))


def check_references(references: Sequence[date], fine: Cube) -> None:
    """Days named as references must have a fine image.

    Raises:
        InputError: names those that have none.
    """
    missing = [str(day) for day in references if day not in fine.dates]
    if missing:
        raise InputError(f"no fine image of the reference day(s) {', '.join(missing)}; there are {fine.dates}")


def _listed(cube: Cube) -> str:
    return ", ".join(f"{band.key} ({band.common_name})" for band in cube.band_info())
