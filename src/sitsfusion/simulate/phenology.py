"""What grows: leaf area through the year, crop calendars, and the sudden events of farming.

Leaf area follows a double logistic with random parameters for each parcel and year (the form used for satellite
series by Beck et al., 2006). Crops change from year to year and end abruptly at harvest; stubble lies until the soil
is ploughed; a catch crop may grow until spring; meadows are mown. Dates are those of north-western Europe.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.landscape import Cover, Landscape, Values, by_cover
from sitsfusion.simulate.noise import stream

Parcels = NDArray[np.float64]  # [p]
_NEVER = 1e9  # a day that does not come


@dataclass(frozen=True)
class Crop:
    """Mean calendar of a crop; days count from 1 January of the harvest year, leaf areas are m2 per m2.

    Attributes:
        share: of the fields.
        sown, harvested: days; `spread` is the standard deviation of the harvest, 0 for plants that last.
        winter: leaf area before spring growth (0 for spring crops).
        rise, rise_width: middle and steepness (days) of spring growth; `peak`: leaf area that it leads to.
        fall, fall_width: middle and steepness of ripening, when leaves turn to straw.
        stubble: share of the ground that straw covers after the harvest.
        flowers: day of full yellow flower, if it has one.
    """

    share: float
    sown: float
    winter: float
    rise: float
    rise_width: float
    peak: float
    fall: float
    fall_width: float
    harvested: float
    spread: float
    stubble: float
    flowers: float = -_NEVER


CROPS = {
    "wheat": Crop(0.30, -72, 0.9, 95, 11, 5.0, 181, 7, 209, 6, 0.75),
    "barley": Crop(0.10, -86, 1.2, 86, 11, 4.5, 166, 6, 190, 5, 0.70),
    "rapeseed": Crop(0.09, -125, 1.9, 82, 12, 4.5, 180, 8, 203, 6, 0.50, 116),
    "maize": Crop(0.23, 118, 0.0, 172, 9, 4.5, 264, 10, 279, 9, 0.30),
    "beet": Crop(0.12, 95, 0.0, 160, 11, 4.5, 330, 15, 300, 17, 0.12),
    "potato": Crop(0.16, 105, 0.0, 160, 8, 4.5, 238, 9, 262, 12, 0.10),
}
_CATCH_CROP = Crop(0.75, 235, 0.0, 262, 7, 3.2, 405, 14, 440, 14, 0.0)
# Lasting plants: leaf area that never goes, and a yearly growth on top of it.
_LASTING = by_cover({Cover.MEADOW: 1.9, Cover.BROADLEAF: 0.35, Cover.CONIFER: 3.2, Cover.GARDEN: 0.9, Cover.TRACK: 0.3})
_YEARLY = {
    Cover.MEADOW: Crop(0, -60, 0, 95, 14, 2.2, 300, 22, 430, 0, 0),
    Cover.BROADLEAF: Crop(0, -60, 0, 114, 6, 4.0, 302, 8, 430, 0, 0),
    Cover.CONIFER: Crop(0, -60, 0, 140, 15, 0.6, 290, 20, 430, 0, 0),
    Cover.GARDEN: Crop(0, -60, 0, 104, 12, 2.0, 300, 16, 430, 0, 0),
    Cover.TRACK: Crop(0, -60, 0, 100, 12, 0.7, 280, 20, 430, 0, 0),
}
_CUTS = (140, 190, 245)  # days on which meadows are mown


@dataclass(frozen=True)
class Growth:
    """One growth of each parcel [p], as `Crop`, with days since 0001-01-01; `end` = harvest."""

    start: Parcels
    winter: Parcels
    rise: Parcels
    rise_width: Parcels
    peak: Parcels
    fall: Parcels
    fall_width: Parcels
    end: Parcels
    stubble: Parcels
    flowers: Parcels


# The growth of a parcel where nothing grows.
_NOTHING = {
    "start": _NEVER, "winter": 0.0, "rise": _NEVER, "rise_width": 1.0, "peak": 0.0, "fall": _NEVER, "fall_width": 1.0,
    "end": _NEVER, "stubble": 0.0, "flowers": -_NEVER,
}  # fmt: skip


@dataclass(frozen=True)
class Season:
    """All that happens to the parcels [p] in the harvests of one year; days as in `Growth`, `_NEVER` if not."""

    main: Growth
    catch: Growth
    ploughed: Parcels
    cuts: NDArray[np.float64]  # [3, p]


@dataclass(frozen=True)
class Plants:
    """State on one day: leaf areas (m2 per m2) of each fragment [n] and states of each parcel [p].

    `green`, `dry`: leaf area [n]; `flowers`: 0 to 1 [p]; `straw`: share of the ground under straw [p]; `tilled`: 1
    just after ploughing or sowing, then fading to 0 [p].
    """

    green: Values
    dry: Values
    flowers: Values
    straw: Values
    tilled: Values


@dataclass(frozen=True)
class Phenology:
    """The plants of a landscape on any day."""

    landscape: Landscape
    seed: int
    _seasons: dict[int, Season] = field(default_factory=dict, repr=False)

    def on(self, day: date) -> Plants:
        """State of the plants on a day."""
        land, now = self.landscape, float(day.toordinal())
        green = _LASTING[land.cover][land.parcel] * land.vigour
        dry = np.zeros_like(green)
        flowers, straw, tilled, mown = np.zeros((4, land.cover.size), np.float32)
        for season in (self.season(year) for year in (day.year - 1, day.year, day.year + 1)):
            for growth in (season.main, season.catch):
                self._add_growth(growth, now, green, dry)
            flowers += np.exp(-(((now - season.main.flowers) / 9) ** 2))
            straw += season.main.stubble * np.exp(-_since(season.main.end, now) / 80) * (now < season.ploughed)
            for worked in (season.ploughed, season.main.start, season.catch.start):
                tilled += np.exp(-_since(worked, now) / 25) * (land.cover == Cover.FIELD)
            mown += np.exp(-_since(season.cuts, now) / 18).sum(0)
        green *= (1 - 0.7 * np.minimum(mown, 1))[land.parcel]
        return Plants(green, dry, flowers, straw + 0.5 * mown, np.minimum(tilled, 1))

    def season(self, year: int) -> Season:
        """What happens in the harvests of a year."""
        if year not in self._seasons:
            self._seasons[year] = _season(self.landscape.cover, self.seed, year)
        return self._seasons[year]

    def _add_growth(self, growth: Growth, now: float, green: Values, dry: Values) -> None:
        """Add one growth, where it stands on the field on day `now`, to the state of the fragments."""
        land = self.landscape
        at = np.flatnonzero(((growth.start <= now) & (now < growth.end))[land.parcel])
        of, delay = land.parcel[at], land.delay[at]

        def risen(middle: Parcels, width: Parcels) -> Values:
            """0 before, 1 after the middle day, each fragment delayed by its own delay."""
            since, pace = ((now - middle) / width).astype(np.float32), (1 / width).astype(np.float32)
            return _logistic(since[of] - delay * pace[of])

        area = growth.winter[of].astype(np.float32)
        area += (growth.peak - growth.winter).astype(np.float32)[of] * risen(growth.rise, growth.rise_width)
        area *= risen(growth.start + 22, np.full_like(growth.start, 6.0)) * land.vigour[at]
        ripe = area * risen(growth.fall, growth.fall_width)
        green[at] += area - ripe
        dry[at] += 0.8 * ripe * (land.cover == Cover.FIELD)[of]  # leaves of trees and grass fall


def _season(cover: NDArray[np.int8], seed: int, year: int) -> Season:
    before, main, after = (_main_growth(cover, seed, y) for y in (year - 1, year, year + 1))
    rng = stream(seed, "farming", year)
    count, new_year = cover.size, date(year, 1, 1).toordinal() - 1
    start = np.maximum(main.start, np.where(cover == Cover.FIELD, before.end + 5, -_NEVER))
    # ploughed some weeks after the harvest, or only before the next crop
    lag = np.where(rng.random(count) < 0.75, rng.uniform(4, 50, count), 130.0)
    ploughed = np.minimum(main.end + lag, np.maximum(after.start - 1, main.end + 4))
    tillable = cover == Cover.FIELD
    possible = tillable & (after.start - ploughed > 150) & (ploughed < new_year + 262)
    catch = _growth(_CATCH_CROP, new_year, stream(seed, "catch crops", year), count)
    chosen = possible & (rng.random(count) < _CATCH_CROP.share)
    catch_start = np.maximum(ploughed + 2, catch.start)
    catch_end = np.minimum(catch.end, after.start - 10)
    catch = _where(chosen, catch, start=catch_start, rise=catch_start + rng.normal(27, 4, count), end=catch_end)
    cuts = np.array(_CUTS)[:, None] + new_year + rng.normal(0, 9, (3, count))
    mown = (cover == Cover.MEADOW) & (rng.random(count) < 0.6)
    return Season(
        _where(np.ones(count, bool), main, start=start),
        catch,
        np.where(tillable, ploughed, _NEVER),
        np.where(mown, cuts, _NEVER),
    )


def _main_growth(cover: NDArray[np.int8], seed: int, year: int) -> Growth:
    """The crop of each field and the yearly growth of lasting plants, drawn for one year without its neighbours."""
    rng = stream(seed, "crops", year)
    new_year = date(year, 1, 1).toordinal() - 1
    shares = np.cumsum([crop.share for crop in CROPS.values()])
    drawn = np.searchsorted(shares, rng.random(cover.size) * shares[-1])
    kinds = [*CROPS.values(), *_YEARLY.values()]
    chosen = [(cover == Cover.FIELD) & (drawn == i) for i in range(len(CROPS))] + [cover == c for c in _YEARLY]
    parts = [_growth(kind, new_year, rng, cover.size) for kind in kinds]
    names = [f.name for f in fields(Growth)]
    return Growth(**{n: np.select(chosen, [getattr(part, n) for part in parts], _NOTHING[n]) for n in names})


def _growth(crop: Crop, new_year: int, rng: np.random.Generator, count: int) -> Growth:
    """`count` growths of one crop around its mean calendar."""
    day, width, size = rng.standard_normal((4, count)), rng.standard_normal((2, count)), rng.standard_normal(count)
    return Growth(
        start=new_year + crop.sown + 7 * day[0] * (crop.spread > 0),
        winter=np.full(count, crop.winter) * np.exp(0.25 * size),
        rise=new_year + crop.rise + 6 * day[1],
        rise_width=crop.rise_width * np.exp(0.12 * width[0]),
        peak=crop.peak * np.exp(0.12 * size),
        fall=new_year + crop.fall + 5 * day[2],
        fall_width=crop.fall_width * np.exp(0.12 * width[1]),
        end=new_year + crop.harvested + crop.spread * day[3],
        stubble=np.full(count, crop.stubble),
        flowers=new_year + crop.flowers + 3 * day[1],
    )


def _where(chosen: NDArray[np.bool_], growth: Growth, **changes: Parcels) -> Growth:
    """The growth with some fields changed, and no growth at all where not `chosen`."""
    values = {f.name: changes.get(f.name, getattr(growth, f.name)) for f in fields(Growth)}
    return Growth(**{name: np.where(chosen, value, _NOTHING[name]) for name, value in values.items()})


def _since(event: NDArray[np.float64], now: float) -> NDArray[np.float64]:
    """Days since an event, a very large number before it."""
    return np.where(event <= now, now - event, _NEVER)


def _logistic(x: Values) -> Values:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), np.float32)
