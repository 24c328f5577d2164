"""Every day number of the library comes from here.

An image belongs to one *solar day*: the date at which the sun passed over it, so that two tiles of one overpass
that straddle midnight UTC are one image. Days, not timestamps, decide whether two images are of the same date.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import DateError

_DAY = re.compile(r"^(\d{4})[-./]?(\d{2})[-./]?(\d{2})$")
_STEP = re.compile(r"^(\d+)d?$")


def parse_day(text: str | date | np.datetime64) -> date:
    """A calendar day from `2022-01-31`, `20220131`, `2022.01.31` or `2022/01/31` (or a date, or a date and time).

    Raises:
        DateError: not a date.
    """
    if isinstance(text, datetime):
        return text.date()
    if isinstance(text, date):
        return text
    match = _DAY.match(str(text).strip().partition("T")[0] if isinstance(text, np.datetime64) else str(text).strip())
    try:
        if match is None:
            raise ValueError("not of the form YYYY-MM-DD")
        return date(*(int(part) for part in match.groups()))
    except ValueError as error:
        raise DateError(f"{text!r} is not a date ({error}); write it as 2022-01-31") from None


def solar_day(moment: datetime, longitude: float) -> date:
    """The local solar date of a UTC time at a longitude in degrees east."""
    return (moment.replace(tzinfo=None) + timedelta(hours=longitude / 15.0)).date()


def days_since(days: Iterable[date], origin: date) -> NDArray[np.int64]:
    """Whole days from `origin` (day 0), negative before it: shape [t]."""
    return np.array([(day - origin).days for day in days], np.int64)


def day_of_year(days: Iterable[date]) -> NDArray[np.int64]:
    """1 for January 1st: shape [t]."""
    return np.array([day.timetuple().tm_yday for day in days], np.int64)


def local_year(day: date, latitude: float) -> date:
    """The first day of the year that a day is in: January 1st north of the equator (and on it), July 1st south of it.

    Days counted from there are seasons, the same in both hemispheres: day 0 is in winter.
    """
    if latitude >= 0:
        return date(day.year, 1, 1)
    return date(day.year if day.month >= 7 else day.year - 1, 7, 1)


def distance(days: Iterable[date], target: date) -> NDArray[np.int64]:
    """Absolute number of days between each date and the target: shape [t]."""
    return np.abs(days_since(days, target))


def check_series(days: Sequence[date], what: str) -> None:
    """The dates of a cube must be days (not moments), unique and increasing.

    Raises:
        DateError: names the repeated or misplaced dates.
    """
    for day in days:
        if isinstance(day, datetime) or not isinstance(day, date):
            raise DateError(
                f"{what}: {day!r} is not a calendar day (datetime.date); "
                "make days of times with `dates.solar_day`, of texts with `dates.parse_day`"
            )
    repeated = sorted(day for day, count in Counter(days).items() if count > 1)
    if repeated:
        raise DateError(
            f"{what}: {len(repeated)} date(s) occur more than once: {_listed(repeated)}; "
            "merge them (--duplicates merge) or remove the extra images"
        )
    if list(days) != sorted(days):
        raise DateError(f"{what}: dates are not in increasing order; sort them before making a cube")


def parse_dates(
    text: str,
    *,
    inputs: Sequence[date] = (),
) -> tuple[date, ...]:
    """Dates asked for on a command line, sorted and without repeats.

    A comma-separated list of: a date; `START/END` with `/5d` for a step other than one day; `5d` alone (every five
    days from the first to the last input date); `inputs` (the input dates); `1+15` (days of each month within the
    input dates), also `START/END/1+15`.

    Raises:
        DateError: a part that is none of these, an empty range, or one that needs input dates when there are none.
    """
    found: set[date] = set()
    for part in (p.strip() for p in text.split(",")):
        days = _expand(part, sorted(inputs))
        if not days:
            raise DateError(f"{part!r} contains no date{_span(inputs)}")
        found.update(days)
    return tuple(sorted(found))


def every(start: date, end: date, step: int) -> tuple[date, ...]:
    """Every `step` days from `start` to `end`, both included when hit."""
    if step < 1:
        raise DateError(f"a step of {step} days is not possible; give 1 or more")
    return tuple(start + timedelta(days=n) for n in range(0, (end - start).days + 1, step))


def _expand(part: str, inputs: Sequence[date]) -> Sequence[date]:
    if part == "inputs":
        return inputs
    if _DAY.match(part):
        return [parse_day(part)]
    pieces = part.split("/")
    if _DAY.match(pieces[0]) and len(pieces) in (2, 3):
        start, end, rule = parse_day(pieces[0]), parse_day(pieces[1]), (pieces[2:] or ["1d"])[0]
    elif len(pieces) == 1 and inputs and (_STEP.match(part) or "+" in part):
        start, end, rule = inputs[0], inputs[-1], part
    else:
        raise DateError(f"{part!r} is not a date, a range START/END/STEP, a step such as 5d, 1+15, or `inputs`")
    if match := _STEP.match(rule):
        return every(start, end, int(match[1]))
    if re.fullmatch(r"\d+(\+\d+)+", rule):
        of_month = {int(n) for n in rule.split("+")}
        return [day for day in every(start, end, 1) if day.day in of_month]
    raise DateError(f"{rule!r} is not a step; write 5d for every five days, 1+15 for days of the month")


def _span(inputs: Sequence[date]) -> str:
    return f" (the inputs run from {min(inputs)} to {max(inputs)})" if inputs else ""


def _listed(days: Sequence[date], most: int = 6) -> str:
    shown = ", ".join(str(day) for day in days[:most])
    return shown + (f" and {len(days) - most} more" if len(days) > most else "")
