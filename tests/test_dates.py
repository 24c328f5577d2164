"""Day numbers and the grammar of dates."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion import dates
from sitsfusion.errors import DateError

pytestmark = pytest.mark.smoke
some_day = st.dates(date(1972, 7, 23), date(2060, 12, 31))


@settings(deadline=None)
@given(day=some_day, form=st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y.%m.%d", "%Y/%m/%d", " %Y-%m-%d "]))
def test_days_are_read_in_every_usual_form(day: date, form: str) -> None:
    assert dates.parse_day(day.strftime(form)) == day


@settings(deadline=None)
@given(day=some_day)
def test_dates_times_and_numpy_days_are_days_too(day: date) -> None:
    assert dates.parse_day(day) == day
    assert dates.parse_day(datetime(day.year, day.month, day.day, 23, 59)) == day
    assert dates.parse_day(np.datetime64(day)) == day
    assert dates.parse_day(np.datetime64(day).astype("datetime64[ns]")) == day


@pytest.mark.parametrize("text", ["", "2022-02-30", "2022-13-01", "22-01-01", "yesterday", "2022-01-01T10:00", "NaT"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(DateError, match="write it as 2022-01-31"):
        dates.parse_day(text)


@pytest.mark.parametrize(
    ("moment", "longitude", "expected"),
    [
        (datetime(2022, 6, 1, 23, 50), 178.0, date(2022, 6, 2)),
        (datetime(2022, 6, 2, 0, 10), 178.0, date(2022, 6, 2)),
        (datetime(2022, 6, 2, 0, 10), -170.0, date(2022, 6, 1)),
        (datetime(2022, 6, 1, 10, 0), 2.0, date(2022, 6, 1)),
    ],
)
def test_an_overpass_that_straddles_midnight_is_one_day(moment: datetime, longitude: float, expected: date) -> None:
    assert dates.solar_day(moment, longitude) == expected


@settings(deadline=None)
@given(days=st.lists(some_day, max_size=9), origin=some_day)
def test_day_numbers_are_whole_days_from_the_origin(days: list[date], origin: date) -> None:
    numbers = dates.days_since(days, origin)
    assert numbers.dtype == np.int64
    assert [origin + timedelta(int(n)) for n in numbers] == days
    assert (dates.distance(days, origin) == abs(numbers)).all()


def test_day_of_year_counts_leap_days() -> None:
    assert list(dates.day_of_year([date(2023, 1, 1), date(2023, 12, 31), date(2024, 12, 31)])) == [1, 365, 366]


@settings(deadline=None)
@given(days=st.lists(some_day, max_size=9))
def test_a_series_is_unique_and_increasing(days: list[date]) -> None:
    if sorted(set(days)) == days:
        dates.check_series(days, "fine")
    else:
        with pytest.raises(DateError, match="fine: "):
            dates.check_series(days, "fine")


def test_repeated_days_are_named_with_the_remedy() -> None:
    day = date(2022, 1, 5)
    with pytest.raises(DateError, match=r"1 date\(s\) occur more than once: 2022-01-05; merge them"):
        dates.check_series([day, day], "fine")


@pytest.mark.parametrize("moment", [datetime(2022, 1, 5), "2022-01-05", np.datetime64("2022-01-05")])
def test_a_moment_or_a_text_is_no_day(moment: object) -> None:
    with pytest.raises(DateError, match="is not a calendar day"):
        dates.check_series([moment], "fine")  # type: ignore[list-item]


INPUTS = [date(2022, 1, 3), date(2022, 2, 20)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-01-05", ["2022-01-05"]),
        ("2022-01-05,20220103, 2022-01-05", ["2022-01-03", "2022-01-05"]),
        ("2022-01-01/2022-01-03", ["2022-01-01", "2022-01-02", "2022-01-03"]),
        ("2022-01-01/2022-01-12/5d", ["2022-01-01", "2022-01-06", "2022-01-11"]),
        ("2022-01-01/2022-01-11/5", ["2022-01-01", "2022-01-06", "2022-01-11"]),
        ("2022-01-10/2022-02-20/1+15", ["2022-01-15", "2022-02-01", "2022-02-15"]),
        ("30d", ["2022-01-03", "2022-02-02"]),
        ("10+20", ["2022-01-10", "2022-01-20", "2022-02-10", "2022-02-20"]),
        ("inputs", ["2022-01-03", "2022-02-20"]),
        ("inputs,2022-01-05", ["2022-01-03", "2022-01-05", "2022-02-20"]),
    ],
)
def test_the_grammar_of_dates(text: str, expected: list[str]) -> None:
    assert [day.isoformat() for day in dates.parse_dates(text, inputs=INPUTS)] == expected


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("", (), "is not a date, a range"),
        ("2022-01-01/2022-01-05/0d", (), "a step of 0 days"),
        ("2022-01-05/2022-01-01", INPUTS, "contains no date .the inputs run from 2022-01-03 to 2022-02-20"),
        ("5d", (), "is not a date, a range"),
        ("inputs", (), "'inputs' contains no date"),
        ("2022-01-01/2022-01-05/weekly", (), "'weekly' is not a step"),
        ("2022-02-30", (), "is not a date"),
        ("2022-01-01/2022-02-30", (), "is not a date"),
        ("2022-01-01,", (), "is not a date, a range"),
        ("30+31", [date(2022, 2, 1), date(2022, 2, 28)], "contains no date"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused(text: str, inputs: list[date], message: str) -> None:
    with pytest.raises(DateError, match=message):
        dates.parse_dates(text, inputs=inputs)


@settings(deadline=None)
@given(start=some_day, length=st.integers(0, 400), step=st.integers(1, 60))
def test_ranges_step_from_their_first_day(start: date, length: int, step: int) -> None:
    end = start + timedelta(length)
    found = dates.parse_dates(f"{start}/{end}/{step}d")
    assert found[0] == start
    assert all((b - a).days == step for a, b in pairwise(found))
    assert 0 <= (end - found[-1]).days < step


@pytest.mark.parametrize(
    ("day", "latitude", "expected"),
    [
        (date(2022, 3, 1), 50.0, date(2022, 1, 1)),
        (date(2022, 12, 31), 0.0, date(2022, 1, 1)),
        (date(2022, 3, 1), -30.0, date(2021, 7, 1)),
        (date(2022, 7, 1), -30.0, date(2022, 7, 1)),
    ],
)
def test_the_local_year_begins_in_winter(day: date, latitude: float, expected: date) -> None:
    assert dates.local_year(day, latitude) == expected
