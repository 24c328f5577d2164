"""Masking strategies: which dates of both sensors a model is given, and at which it is judged.

Day lists in, day lists out. Training and evaluation of temporal models hide dates and ask for them back; a strategy
says which (Michel and Inglada, TAMRFSITS). Nothing here looks at pixels or clouds, except `select_dates`, which
picks the dates of a `Series`.

Some strategies think in days 0..365 of a year (pivots, gaps, calendar days). `StrategyOptions.year_start` says where
that year begins in the day numbers of the series: 0 if days count from January 1st, else for example the first day of
a time slice. Randomness comes only from the generator that is passed in: `random.Random(seed)`, or `random` itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from operator import ge, le
from typing import Annotated, Any, Protocol, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sitsfusion.errors import InputError
from sitsfusion.series import Series, collate

YEAR = 365  # days; gaps begin before this day

Days = Sequence[float]
Item = TypeVar("Item")


class RandomSource(Protocol):
    """What is asked of a generator: `random.Random` and the module `random` have it."""

    def choice(self, seq: Sequence[Item], /) -> Item: ...
    def uniform(self, a: float, b: float, /) -> float: ...
    def randint(self, a: int, b: int, /) -> int: ...
    def shuffle(self, x: MutableSequence[Any], /) -> None: ...


class Strategy(StrEnum):
    """The nineteen strategies, by their published names; `CONJ` are days that both sensors have."""

    ALL = "ALL"
    RANDOM = "RANDOM"
    RANDOM_ALL_DOYS = "RANDOM_ALL_DOYS"
    GAPS = "GAPS"
    NOHR = "NOHR"
    NOLR = "NOLR"
    FORECAST = "FORECAST"
    BACKCAST = "BACKCAST"
    DEEPHARMO = "DEEPHARMO"
    ALL2CONJHR = "ALL2CONJHR"
    CONJLR_HR2HR = "CONJLRuHR2HR"
    CONJLR2HR = "CONJLR2HR"
    LR_HRNOCONJ2HR = "LRuHRNOCONJ2HR"
    HRNOCONJ2HR = "HRNOCONJ2HR"
    ALLHR2ALLHR = "ALLHR2ALLHR"
    L3A = "L3A"
    L3A_10D = "L3A_10D"
    CONTEXT = "CONTEXT"
    CUSTOM = "CUSTOM"


@dataclass(frozen=True)
class Dates:
    """Dates picked for one sensor, in order.

    Attributes:
        days: day numbers.
        positions: where each is in the sensor's series; None where no image is taken: a target that is only a day.
    """

    days: tuple[float, ...]
    positions: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if len(self.days) != len(self.positions):
            raise InputError(f"{len(self.days)} days and {len(self.positions)} positions: one position per day")

    def __len__(self) -> int:
        return len(self.days)


@dataclass(frozen=True)
class Split:
    """What a model gets and what it must predict. None: that sensor is not given, or not asked for; it may be empty."""

    lr_input: Dates | None
    hr_input: Dates | None
    lr_target: Dates | None
    hr_target: Dates | None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StrategyOptions(_Frozen):
    """Numbers that strategies use; the defaults are those of the published test command.

    Attributes:
        rate: share of the dates that RANDOM and RANDOM_ALL_DOYS hide.
        forecast_day: pivot of FORECAST and BACKCAST, in days after `year_start`.
        gap: length of the gaps of GAPS and of the stretches between them, in days.
        context_start: first day of the stretch that CONTEXT hides, in days after `year_start`.
        context_size: its length, in days.
        context_count: images given on each side of it.
        custom_days: target days of CUSTOM, as day numbers of the series.
        year_start: day number of the series at which the strategies' year begins.
        calendar_year: the year whose 1st and 15th days of each month are the targets of L3A.
    """

    rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    forecast_day: float = 183
    gap: Annotated[float, Field(gt=0)] = 30
    context_start: float = 160
    context_size: Annotated[float, Field(ge=0)] = 60
    context_count: Annotated[int, Field(ge=1)] = 2
    custom_days: tuple[int | float, ...] = ()
    year_start: int | float = 0
    calendar_year: Annotated[int, Field(ge=1, le=9999)] = 2022


@dataclass(frozen=True)
class TrainingDraw:
    """The random choices of one training step; `forecast_day` and `gap` as in `StrategyOptions`."""

    strategy: Strategy
    rate: float
    forecast_day: int
    gap: int

    def options(self, year_start: float = 0) -> StrategyOptions:
        """The options to split with."""
        return StrategyOptions(rate=self.rate, forecast_day=self.forecast_day, gap=self.gap, year_start=year_start)


PUBLISHED_POOL = (
    *(Strategy.RANDOM,) * 8,
    Strategy.NOHR,
    Strategy.NOLR,
    Strategy.FORECAST,
    Strategy.BACKCAST,
    *(Strategy.GAPS,) * 4,
)


class TrainingPool(_Frozen):
    """What training steps are drawn from. Ranges include both ends.

    Attributes:
        strategies: one is chosen with equal chances; repeat one to make it more likely. Published: RANDOM 1/2,
            GAPS 1/4, NOHR, NOLR, FORECAST and BACKCAST 1/16 each.
        rate: range of the hidden share.
        forecast_day: range of the pivot, whole days.
        gap: range of the gap length, whole days.
    """

    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)] = PUBLISHED_POOL
    rate: tuple[float, float] = (0.2, 0.7)
    forecast_day: tuple[int, int] = (65, 300)
    gap: tuple[int, int] = (30, 90)

    @model_validator(mode="after")
    def _ranges_run_upwards(self) -> TrainingPool:
        for name, (low, high) in {"rate": self.rate, "forecast_day": self.forecast_day, "gap": self.gap}.items():
            if low > high:
                raise ValueError(f"the range of {name} must be (lowest, highest), found {(low, high)}")
        if self.rate[0] < 0 or self.rate[1] > 1 or self.gap[0] < 1:
            raise ValueError(f"rates {self.rate} must be within 0 and 1, gaps {self.gap} at least 1 day")
        return self

    def draw(self, rng: RandomSource) -> TrainingDraw:
        """Four draws, always all of them and in this order: strategy, rate, forecast day, gap."""
        strategy = rng.choice(self.strategies)
        rate = rng.uniform(*self.rate)
        forecast_day = rng.randint(*self.forecast_day)
        return TrainingDraw(strategy, rate, forecast_day, rng.randint(*self.gap))


@dataclass(frozen=True)
class _Case:
    """One call: day lists of both sensors, options, generator."""

    lr: tuple[float, ...]
    hr: tuple[float, ...]
    options: StrategyOptions
    rng: RandomSource

    @property
    def all_lr(self) -> Dates:
        return _where(self.lr, lambda day: True)

    @property
    def all_hr(self) -> Dates:
        return _where(self.hr, lambda day: True)


def split(strategy: Strategy | str, lr_days: Days, hr_days: Days, options: StrategyOptions, rng: RandomSource) -> Split:
    """Divide the dates of two series by a strategy.

    Args:
        strategy: or its published name.
        lr_days: day numbers of the LR series, whole or not, negative or beyond a year; may be empty.
        hr_days: those of the HR series. Two days are common if they are equal as numbers.
        options: what the strategy needs.
        rng: only RANDOM and RANDOM_ALL_DOYS draw from it: they shuffle the LR positions, then the HR positions.

    Raises:
        InputError: no strategy has that name.
    """
    names = [one.value for one in Strategy]
    if strategy not in names:
        raise InputError(f"no strategy is named {str(strategy)!r}; the strategies are {', '.join(names)}")
    return _RULES[Strategy(strategy)](_Case(tuple(lr_days), tuple(hr_days), options, rng))


def select_dates(series: Series, picks: Sequence[Dates | None]) -> Series | None:
    """The picked dates of each batch element.

    Args:
        series: `[b t c h w]`.
        picks: one per batch element.

    Returns:
        `[b t' c h w]`: a pick without position is zeros, not valid, at its day; elements with fewer dates than the
        fullest are padded at the end (`sitsfusion.series.collate`). None if every pick is None; beside others, None
        counts as zero dates.

    Raises:
        InputError: another number of picks than batch elements, a position that the series does not have.
    """
    b, t = series.days.shape
    if len(picks) != b:
        raise InputError(f"{len(picks)} picks for a batch of {b}: give one per batch element")
    if all(pick is None for pick in picks):
        return None
    for pick in picks:
        outside = [p for p in (pick.positions if pick else ()) if p is not None and not 0 <= p < t]
        if outside:
            raise InputError(f"positions {outside} do not exist in a series of {t} dates")
    return collate([_element(series, i, pick or Dates((), ())) for i, pick in enumerate(picks)])


def _element(series: Series, i: int, pick: Dates) -> Series:
    """The picked dates of element i: `[1 t' c h w]`."""
    images = [p for p in pick.positions if p is not None]
    index = torch.tensor(images, dtype=torch.long, device=series.device)
    found = Series(
        series.values[i][index][None],
        series.days[i][index][None],
        None if series.valid is None else series.valid[i][index][None],
    )
    if len(images) == len(pick):
        return found
    exists = torch.tensor([p is not None for p in pick.positions], device=series.device)
    values = series.values.new_zeros(1, len(pick), *series.values.shape[2:])
    values[:, exists] = found.values
    valid = torch.zeros(1, len(pick), *series.values.shape[3:], dtype=torch.bool, device=series.device)
    valid[:, exists] = found.usable()
    whole = all(float(day).is_integer() for day in pick.days)
    dtype = series.days.dtype if whole else torch.float64
    return Series(values, torch.tensor([pick.days], dtype=dtype, device=series.device), valid)


# --- picking ---------------------------------------------------------------------------------------------------------


_NO_DATE = Dates((), ())


def _picked(days: Days, positions: Sequence[int]) -> Dates:
    return Dates(tuple(days[p] for p in positions), tuple(positions))


def _where(days: Days, keep: Callable[[float], bool]) -> Dates:
    return _picked(days, [i for i, day in enumerate(days) if keep(day)])


def _unique(days: Days, keep: Callable[[float], bool]) -> Dates:
    """Sorted distinct days; of equal days the first position."""
    return _picked(days, [list(days).index(day) for day in sorted(set(days)) if keep(day)])


def _at(days: Days, targets: Days) -> Dates:
    """Target days in their order, with a position where the series has that day."""
    listed = list(days)
    return Dates(tuple(targets), tuple(listed.index(day) if day in listed else None for day in targets))


def _only_days(targets: Days) -> Dates:
    return Dates(tuple(targets), (None,) * len(targets))


def _common(case: _Case) -> Dates:
    return _unique(case.hr, lambda day: day in case.lr)


def _uncommon(case: _Case) -> Dates:
    return _unique(case.hr, lambda day: day not in case.lr)


# --- the strategies --------------------------------------------------------------------------------------------------


def _to_all(case: _Case, lr: Dates, hr: Dates) -> Split:
    return Split(lr, hr, case.all_lr, case.all_hr)


def _random_part(case: _Case) -> tuple[Dates, Dates]:
    def kept(days: Days) -> Dates:
        positions = list(range(len(days)))
        case.rng.shuffle(positions)
        return _picked(days, sorted(positions[math.ceil(len(days) * case.options.rate) :]))

    lr = kept(case.lr)  # before HR: the order of the draws is part of the strategy
    return lr, kept(case.hr)


def _random_all_days(case: _Case) -> Split:
    lr, hr = _random_part(case)
    days = (*case.lr, *case.hr)
    return Split(lr, hr, _at(case.lr, days), _at(case.hr, days))


def _gaps(case: _Case) -> Split:
    gap = case.options.gap
    starts = [case.options.year_start + gap * k for k in range(1, math.ceil(YEAR / gap), 2)]

    def outside(day: float) -> bool:
        return not any(start < day < start + gap for start in starts)

    return _to_all(case, _where(case.lr, outside), _where(case.hr, outside))


def _one_side(case: _Case, keep: Callable[[float, float], bool]) -> Split:
    pivot = case.options.year_start + case.options.forecast_day
    return _to_all(case, *(_where(days, lambda day: keep(day, pivot)) for days in (case.lr, case.hr)))


def _half_months(case: _Case) -> Split:
    start, year = case.options.year_start, case.options.calendar_year
    days = [start + (date(year, m, d) - date(year, 1, 1)).days for m in range(1, 13) for d in (1, 15)]
    return Split(case.all_lr, case.all_hr, None, _only_days(days))


def _ten_days(case: _Case) -> Split:
    days = [case.options.year_start + day for day in range(0, 361, 10)]
    return Split(case.all_lr, case.all_hr, None, _only_days(days))


def _context(case: _Case) -> Split:
    (lr, lr_all), (hr, hr_all) = (_context_of(days, case.options) for days in (case.lr, case.hr))
    return Split(lr, hr, lr_all, hr_all)


def _context_of(days: tuple[float, ...], options: StrategyOptions) -> tuple[Dates, Dates]:
    """Dates on both sides of the hidden stretch, and these with the dates between them.

    Without a date on one side, the first date of the series stands for it, as published.
    """
    if not days:
        return _NO_DATE, _NO_DATE
    start = options.year_start + options.context_start
    before = max((i for i, day in enumerate(days) if day <= start), default=0)
    after = min((i for i, day in enumerate(days) if day >= start + options.context_size), default=0)
    given = {i for i in range(before - options.context_count + 1, before + 1) if i >= 0}
    given |= {i for i in range(after, after + options.context_count) if i < len(days)}
    return _picked(days, sorted(given)), _picked(days, sorted(given | set(range(before + 1, after))))


def _custom(case: _Case) -> Split:
    days = case.options.custom_days
    return Split(case.all_lr, case.all_hr, _at(case.lr, days), _at(case.hr, days))


_RULES: dict[Strategy, Callable[[_Case], Split]] = {
    Strategy.ALL: lambda c: _to_all(c, c.all_lr, c.all_hr),
    Strategy.RANDOM: lambda c: _to_all(c, *_random_part(c)),
    Strategy.RANDOM_ALL_DOYS: _random_all_days,
    Strategy.GAPS: _gaps,
    Strategy.NOHR: lambda c: _to_all(c, c.all_lr, _NO_DATE),
    Strategy.NOLR: lambda c: _to_all(c, _NO_DATE, c.all_hr),
    Strategy.FORECAST: lambda c: _one_side(c, le),
    Strategy.BACKCAST: lambda c: _one_side(c, ge),
    Strategy.DEEPHARMO: lambda c: _to_all(c, c.all_lr, _uncommon(c)),
    Strategy.ALL2CONJHR: lambda c: Split(c.all_lr, c.all_hr, None, _common(c)),
    Strategy.CONJLR_HR2HR: lambda c: Split(_unique(c.lr, lambda day: day in c.hr), _uncommon(c), None, _common(c)),
    Strategy.CONJLR2HR: lambda c: Split(_unique(c.lr, lambda day: day in c.hr), None, None, _common(c)),
    Strategy.LR_HRNOCONJ2HR: lambda c: Split(c.all_lr, _uncommon(c), None, _common(c)),
    Strategy.HRNOCONJ2HR: lambda c: Split(None, _uncommon(c), None, _common(c)),
    Strategy.ALLHR2ALLHR: lambda c: Split(None, c.all_hr, None, c.all_hr),
    Strategy.L3A: _half_months,
    Strategy.L3A_10D: _ten_days,
    Strategy.CONTEXT: _context,
    Strategy.CUSTOM: _custom,
}
