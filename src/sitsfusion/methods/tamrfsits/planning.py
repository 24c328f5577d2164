"""Which images serve which days: what TAMRFSITS decides once for a whole scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sitsfusion.dates import days_since


@dataclass(frozen=True)
class Limits:
    """At most `max_dates` input images within `window_days`, as in training; images whose usable share is below
    `min_clear_share` are left out, as the training data set leaves them out.
    """

    max_dates: int
    window_days: int
    min_clear_share: float


@dataclass(frozen=True)
class DateBlock:
    """Query days that share their input images; `inputs` are the dates of each role."""

    days: tuple[date, ...]
    inputs: Mapping[str, tuple[date, ...]]


def make_blocks(days: Sequence[date], available: Mapping[str, Sequence[date]], limits: Limits) -> list[DateBlock]:
    """Query days (sorted) in blocks, and the inputs of each.

    When everything lies within `window_days` and `max_dates`, there is one block. Otherwise days are taken together
    in runs of at most a quarter of `window_days`; the inputs of a run are the dates within `window_days` centred on
    it, and if these are too many, each role's share of `max_dates` (in proportion to its number of dates), those
    nearest to the run.
    """
    all_inputs = sorted(day for dates in available.values() for day in dates)
    everything = sorted([*days, *all_inputs])
    if len(all_inputs) <= limits.max_dates and (everything[-1] - everything[0]).days < limits.window_days:
        return [DateBlock(tuple(days), {role: tuple(dates) for role, dates in available.items()})]
    return [DateBlock(run, _inputs_of(run, available, limits)) for run in _runs(days, limits.window_days // 4)]


def _runs(days: Sequence[date], length: int) -> list[tuple[date, ...]]:
    runs: list[list[date]] = []
    for day in days:
        if not runs or (day - runs[-1][0]).days >= max(length, 1):
            runs.append([])
        runs[-1].append(day)
    return [tuple(run) for run in runs]


def _inputs_of(
    run: tuple[date, ...], available: Mapping[str, Sequence[date]], limits: Limits
) -> dict[str, tuple[date, ...]]:
    centre = run[0] + (run[-1] - run[0]) / 2
    half = timedelta(days=(limits.window_days - 1) // 2)
    near = {role: [d for d in dates if abs(d - centre) <= half] for role, dates in available.items()}
    total = sum(map(len, near.values()))
    if total <= limits.max_dates:
        return {role: tuple(dates) for role, dates in near.items()}
    quota = {role: limits.max_dates * len(dates) // total for role, dates in near.items()}
    return {role: _nearest(dates, run, quota[role]) for role, dates in near.items()}


def _nearest(dates: Sequence[date], run: tuple[date, ...], count: int) -> tuple[date, ...]:
    """The `count` dates nearest to the run (0 days inside it); ties to the one nearer its middle, then the earlier."""
    gaps = {d: int(max((run[0] - d).days, (d - run[-1]).days, 0)) for d in dates}
    middle = run[0] + (run[-1] - run[0]) / 2
    offsets = dict(zip(dates, abs(days_since(dates, middle)), strict=True))
    return tuple(sorted(sorted(dates, key=lambda d: (gaps[d], offsets[d], d))[:count]))
