"""What grows: leaf area through the year, crop calendars, and the sudden events of farming.

Leaf area follows a double logistic with random parameters for each parcel and year (the form used for satellite
series by Beck et al., 2006). Crops change from year to year and end abruptly at harvest; stubble lies until the soil
is ploughed; a catch crop may grow until spring; meadows are mown. Dates are those of north-western Europe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property

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

    def moved(self, shift: float, length: float, leaf_area: float) -> Crop:
        """The same crop in a year of another season: all days moved, stretched about day 199, leaf areas scaled."""
        middle, days = 199.0, ("sown", "rise", "fall", "harvested", "flowers")
        when = {name: shift + middle + length * (getattr(self, name) - middle) for name in days}
        return replace(
            self, **when, winter=leaf_area * self.winter, peak=leaf_area * self.peak,
            rise_width=length * self.rise_width, fall_width=length * self.fall_width,
        )  # fmt: skip


CROPS = {
    "wheat": Crop(0.30, -72, 0.9, 95, 11, 5.0, 181, 7, 209, 6, 0.75),
    "barley": Crop(0.10, -86, 1.2, 86, 11, 4.5, 166, 6, 190, 5, 0.70),
    "rapeseed": Crop(0.09, -125, 1.9, 82, 12, 4.5, 180, 8, 203, 6, 0.50, 116),
    "maize": Crop(0.23, 118, 0.0, 172, 9, 4.5, 264, 10, 279, 9, 0.30),
    "beet": Crop(0.12, 95, 0.0, 160, 11, 4.5, 330, 15, 300, 17, 0.12),
    "potato": Crop(0.16, 105, 0.0, 160, 8, 4.5, 238, 9, 262, 12, 0.10),
}
CATCH_CROP = Crop(0.75, 235, 0.0, 262, 7, 3.2, 405, 14, 440, 14, 0.0)
# Lasting plants: leaf area that never goes, and a yearly growth on top of it.
LASTING = {Cover.MEADOW: 1.9, Cover.BROADLEAF: 0.35, Cover.CONIFER: 3.2, Cover.GARDEN: 0.9, Cover.TRACK: 0.3}
YEARLY = {
    Cover.MEADOW: Crop(0, -60, 0, 95, 14, 2.2, 300, 22, 430, 0, 0),
    Cover.BROADLEAF: Crop(0, -60, 0, 114, 6, 4.0, 302, 8, 430, 0, 0),
    Cover.CONIFER: Crop(0, -60, 0, 140, 15, 0.6, 290, 20, 430, 0, 0),
    Cover.GARDEN: Crop(0, -60, 0, 104, 12, 2.0, 300, 16, 430, 0, 0),
    Cover.TRACK: Crop(0, -60, 0, 100, 12, 0.7, 280, 20, 430, 0, 0),
}
_PERENNIAL_LEAVES = 1.3  # leaf area of lasting plants on fields that never goes
_SQUEEZED = 0.62  # length of the first of two crops, relative to the only crop of a year


@dataclass(frozen=True)
class Farming:
    """Calendars and habits of the farmers of a place; the defaults are those of north-western Europe.

    Attributes:
        crops: what is grown on the fields.
        catch: grown between two crops; its share is that of the fields on which there is time for it.
        catch_before: day until which a field must be ploughed for it.
        yearly, lasting: growth of lasting plants through the year, and leaf area that never goes, by cover.
        cuts: days on which meadows are mown; mown: share of the meadows that are.
        fallow: weeds on fields without a crop, and the share of the fields that have none in a year.
        perennial: growth of lasting plants on fields (orchards, vines, plantations), and the share of the fields.
        double: share of the fields with two crops a year.
    """

    crops: Mapping[str, Crop] = field(default_factory=lambda: dict(CROPS))
    catch: Crop = CATCH_CROP
    catch_before: float = 262
    yearly: Mapping[Cover, Crop] = field(default_factory=lambda: dict(YEARLY))
    lasting: Mapping[Cover, float] = field(default_factory=lambda: dict(LASTING))
    cuts: tuple[float, float, float] = (140, 190, 245)
    mown: float = 0.6
    fallow: Crop = Crop(0.0, -40, 0.2, 110, 20, 0.9, 205, 20, 235, 12, 0.2)
    perennial: Crop = Crop(0.0, -60, 0, 110, 14, 1.2, 295, 20, 430, 0, 0)
    double: float = 0.0

    def moved(self, shift: float, length: float, leaf_area: float) -> Farming:
        """The same habits in a year of another season: see `Crop.moved`."""

        def day(of: float) -> float:
            return shift + 199.0 + length * (of - 199.0)

        first, second, third = self.cuts
        return replace(
            self, crops={name: crop.moved(shift, length, leaf_area) for name, crop in self.crops.items()},
            catch=self.catch.moved(shift, length, leaf_area), fallow=self.fallow.moved(shift, length, leaf_area),
            perennial=self.perennial.moved(shift, length, leaf_area), catch_before=day(self.catch_before),
            yearly={cover: crop.moved(shift, length, leaf_area) for cover, crop in self.yearly.items()},
            lasting={cover: leaf_area * area for cover, area in self.lasting.items()},
            cuts=(day(first), day(second), day(third)),
        )  # fmt: skip


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
    farming: Farming = field(default_factory=Farming)
    _seasons: dict[int, Season] = field(default_factory=dict, repr=False)

    def on(self, day: date) -> Plants:
        """State of the plants on a day."""
        land, now = self.landscape, float(day.toordinal())
        green = self._lasting[land.parcel] * land.vigour
        dry = np.zeros_like(green)
        flowers, straw, tilled, mown = np.zeros((4, land.cover.size), np.float32)
        for season in (self.season(year) for year in (day.year - 1, day.year, day.year + 1)):
            for growth in (season.main, season.catch):
                self._add_growth(growth, now, green, dry)
            flowers += np.exp(-(((now - season.main.flowers) / 9) ** 2))
            straw += season.main.stubble * np.exp(-_since(season.main.end, now) / 80) * (now < season.ploughed)
            for worked in (season.ploughed, season.main.start, season.catch.start):
                tilled += np.exp(-_since(worked, now) / 25) * self._tilled
            mown += np.exp(-_since(season.cuts, now) / 18).sum(0)
        green *= (1 - 0.7 * np.minimum(mown, 1))[land.parcel]
        return Plants(green, dry, flowers, straw + 0.5 * mown, np.minimum(tilled, 1))

    def season(self, year: int) -> Season:
        """What happens in the harvests of a year."""
        if year not in self._seasons:
            self._seasons[year] = self._season(year)
        return self._seasons[year]

    @cached_property
    def _perennial(self) -> NDArray[np.bool_]:
        """Fields of lasting plants [p]."""
        cover = self.landscape.cover
        chosen = stream(self.seed, "perennial").random(cover.size) < self.farming.perennial.share
        return np.asarray((cover == Cover.FIELD) & chosen)

    @cached_property
    def _tilled(self) -> NDArray[np.bool_]:
        """Fields that are ploughed and sown [p]."""
        return np.asarray((self.landscape.cover == Cover.FIELD) & ~self._perennial)

    @cached_property
    def _double(self) -> NDArray[np.bool_]:
        """Fields with two crops a year [p]."""
        return self._tilled & (stream(self.seed, "two crops").random(self._tilled.size) < self.farming.double)

    @cached_property
    def _lasting(self) -> Values:
        """Leaf area that never goes [p]."""
        area = by_cover(dict(self.farming.lasting))[self.landscape.cover]
        return np.where(self._perennial, np.float32(_PERENNIAL_LEAVES), area)

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
        dry[at] += 0.8 * ripe * self._tilled[of]  # leaves of trees and grass fall

    def _season(self, year: int) -> Season:
        before, main, after = (self._main_growth(y) for y in (year - 1, year, year + 1))
        rng, farming = stream(self.seed, "farming", year), self.farming
        tillable, double = self._tilled, self._double
        count, new_year = tillable.size, date(year, 1, 1).toordinal() - 1
        start = np.maximum(main.start, np.where(tillable, before.end + 5, -_NEVER))
        # ploughed some weeks after the harvest, or only before the next crop
        lag = np.where(rng.random(count) < 0.75, rng.uniform(4, 50, count), 130.0)
        lag = np.where(double, np.minimum(lag, 6), lag)
        ploughed = np.minimum(main.end + lag, np.maximum(after.start - 1, main.end + 4))
        possible = tillable & (after.start - ploughed > 150) & (ploughed < new_year + farming.catch_before) & ~double
        catch = _growth(farming.catch, new_year, stream(self.seed, "catch crops", year), count)
        chosen = possible & (rng.random(count) < farming.catch.share)
        catch_start = np.maximum(ploughed + 2, catch.start)
        catch_end = np.minimum(catch.end, after.start - 10)
        catch = _where(chosen, catch, start=catch_start, rise=catch_start + rng.normal(27, 4, count), end=catch_end)
        second = _second_crop(double & (after.start - ploughed > 95), main, ploughed, after.start, self.seed, year)
        cuts = np.array(farming.cuts)[:, None] + new_year + rng.normal(0, 9, (3, count))
        mown = (self.landscape.cover == Cover.MEADOW) & (rng.random(count) < farming.mown)
        return Season(
            _where(np.ones(count, bool), main, start=start),
            _either(double, second, catch),
            np.where(tillable, ploughed, _NEVER),
            np.where(mown, cuts, _NEVER),
        )

    def _main_growth(self, year: int) -> Growth:
        """The crop of each field and the yearly growth of lasting plants, drawn for one year without its neighbours."""
        cover, farming = self.landscape.cover, self.farming
        rng = stream(self.seed, "crops", year)
        new_year = date(year, 1, 1).toordinal() - 1
        crops = list(farming.crops.values())
        shares = np.cumsum([crop.share for crop in crops])
        drawn = np.searchsorted(shares, rng.random(cover.size) * shares[-1])
        fallow = stream(self.seed, "fallow", year).random(cover.size) < farming.fallow.share
        sown = self._tilled & ~fallow
        chosen = [sown & (drawn == i) for i in range(len(crops))] + [cover == c for c in farming.yearly]
        chosen += [self._tilled & fallow, self._perennial]
        kinds = [*crops, *farming.yearly.values(), farming.fallow, farming.perennial]
        parts = [_growth(kind, new_year, rng, cover.size) for kind in kinds]
        names = [f.name for f in fields(Growth)]
        main = Growth(**{n: np.select(chosen, [getattr(part, n) for part in parts], _NOTHING[n]) for n in names})
        return _either(self._double & sown, _squeezed(main), main)


def _squeezed(growth: Growth) -> Growth:
    """The growth in less time, so that another can follow: the same day of rise, all others nearer to it."""
    names = ("start", "fall", "end", "flowers")
    days = {name: growth.rise + _SQUEEZED * (getattr(growth, name) - growth.rise) for name in names}
    widths = {name: _SQUEEZED * getattr(growth, name) for name in ("rise_width", "fall_width")}
    return replace(growth, **days, **widths)


def _second_crop(
    chosen: NDArray[np.bool_], main: Growth, ploughed: Parcels, until: Parcels, seed: int, year: int
) -> Growth:
    """A full crop after the first, harvested before the next year's is sown."""
    rng = stream(seed, "second crops", year)
    start = ploughed + rng.uniform(3, 15, chosen.size)
    end = np.minimum(start + rng.normal(115, 10, chosen.size), until - 6)
    return _where(
        chosen, main, start=start, end=end, winter=np.zeros(chosen.size), rise=start + 0.36 * (end - start),
        rise_width=np.full(chosen.size, 8.0), fall=start + 0.82 * (end - start), fall_width=np.full(chosen.size, 7.0),
        flowers=np.full(chosen.size, -_NEVER),
    )  # fmt: skip


def _either(chosen: NDArray[np.bool_], one: Growth, other: Growth) -> Growth:
    """The growths of `one` where chosen, those of the other elsewhere."""
    return Growth(**{f.name: np.where(chosen, getattr(one, f.name), getattr(other, f.name)) for f in fields(Growth)})


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
