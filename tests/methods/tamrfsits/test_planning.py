"""Which images serve which days."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sitsfusion.methods.tamrfsits.planning import Limits, make_blocks

LIMITS = Limits(50, 365, 0.25)
START = date(2020, 1, 1)


def days(step: int, count: int, start: date = START) -> list[date]:
    return [start + timedelta(days=step * i) for i in range(count)]


def test_a_year_is_one_block() -> None:
    available = {"coarse": days(16, 15), "fine": days(10, 30)}
    (block,) = make_blocks(days(15, 24), available, LIMITS)
    assert block.inputs == {role: tuple(dates) for role, dates in available.items()}
    assert len(block.days) == 24


def test_a_long_series_is_cut_into_runs_of_a_quarter() -> None:
    wanted = days(5, 200)  # 1000 days
    blocks = make_blocks(wanted, {"coarse": days(16, 63), "fine": days(5, 200)}, LIMITS)
    assert [d for b in blocks for d in b.days] == wanted
    for block in blocks:
        assert (block.days[-1] - block.days[0]).days < 365 // 4
        inputs = [d for dates in block.inputs.values() for d in dates]
        assert len(inputs) <= 50
        assert (max(inputs) - min(inputs)).days <= 365


def test_too_many_dates_keep_the_nearest_of_each_sensor() -> None:
    wanted = [START + timedelta(days=100)]
    (block,) = make_blocks(wanted, {"coarse": days(2, 100), "fine": days(1, 200)}, LIMITS)
    assert len(block.inputs["coarse"]) == 16  # 50 * 100 // 300
    assert len(block.inputs["fine"]) == 33
    gaps = [abs((d - wanted[0]).days) for d in block.inputs["fine"]]
    assert max(gaps) == 16


@given(
    wanted=st.sets(st.integers(-400, 900), min_size=1, max_size=40),
    fine=st.sets(st.integers(-300, 800), max_size=120),
    coarse=st.sets(st.integers(-300, 800), max_size=60),
    most=st.integers(2, 60),
    window=st.integers(20, 500),
)
def test_every_day_is_in_one_block_and_limits_hold(
    wanted: set[int], fine: set[int], coarse: set[int], most: int, window: int
) -> None:
    def as_dates(numbers: set[int]) -> list[date]:
        return [START + timedelta(days=n) for n in sorted(numbers)]

    available = {"fine": as_dates(fine), "coarse": as_dates(coarse)}
    blocks = make_blocks(as_dates(wanted), available, Limits(most, window, 0.25))
    assert [d for b in blocks for d in b.days] == as_dates(wanted)
    for block in blocks:
        chosen = [d for dates in block.inputs.values() for d in dates]
        assert len(chosen) <= most
        assert all(list(block.inputs[role]) == sorted(set(block.inputs[role])) for role in block.inputs)
        assert all(set(block.inputs[role]) <= set(available[role]) for role in block.inputs)
        if chosen:
            assert (max(chosen) - min(chosen)).days <= window
