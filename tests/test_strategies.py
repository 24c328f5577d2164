from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sitsfusion.errors import InputError
from sitsfusion.series import Series
from sitsfusion.strategies import (
    PUBLISHED_POOL,
    Dates,
    Strategy,
    StrategyOptions,
    TrainingPool,
    select_dates,
    split,
)

days_lists = st.lists(st.integers(-400, 800), max_size=12, unique=True).map(sorted)
every_strategy = st.sampled_from(list(Strategy))
all_options = st.builds(
    StrategyOptions,
    rate=st.floats(0, 1),
    forecast_day=st.integers(65, 300),
    gap=st.integers(30, 90),
    custom_days=st.lists(st.integers(-400, 800), max_size=4).map(tuple),
)


def positions(dates: Dates | None) -> tuple[int | None, ...] | None:
    return None if dates is None else dates.positions


@given(every_strategy, days_lists, days_lists, all_options, st.integers(0, 99))
def test_inputs_and_targets_are_dates_of_the_series(
    strategy: Strategy, lr: list[int], hr: list[int], options: StrategyOptions, seed: int
) -> None:
    found = split(strategy, lr, hr, options, random.Random(seed))
    for given_days, dates in ((lr, found.lr_input), (hr, found.hr_input)):
        if dates is not None:
            assert list(dates.positions) == sorted(set(dates.positions))
            assert [given_days[p] for p in dates.positions] == list(dates.days)
    for series_days, dates in ((lr, found.lr_target), (hr, found.hr_target)):
        for day, position in zip(dates.days, dates.positions, strict=True) if dates else ():
            assert position is None or series_days[position] == day
    assert found.lr_input is not None or found.hr_input is not None
    assert found.hr_target is not None


@given(
    every_strategy.filter(lambda s: s is not Strategy.CUSTOM),
    days_lists,
    days_lists,
    all_options,
    st.integers(-1000, 1000),
)
def test_another_day_origin_gives_the_same_dates(
    strategy: Strategy, lr: list[int], hr: list[int], options: StrategyOptions, shift: int
) -> None:
    moved = options.model_copy(update={"year_start": shift})
    ours = split(strategy, lr, hr, options, random.Random(0))
    other = split(strategy, [d + shift for d in lr], [d + shift for d in hr], moved, random.Random(0))
    for part in ("lr_input", "hr_input", "lr_target", "hr_target"):
        assert positions(getattr(ours, part)) == positions(getattr(other, part))


@given(st.sampled_from(sorted(set(PUBLISHED_POOL))), days_lists, days_lists, st.integers(0, 99))
def test_training_targets_are_the_whole_series(strategy: Strategy, lr: list[int], hr: list[int], seed: int) -> None:
    pool = TrainingPool(strategies=(strategy,))
    rng = random.Random(seed)
    draw = pool.draw(rng)
    found = split(draw.strategy, lr, hr, draw.options(), rng)
    assert found.lr_target is not None
    assert found.hr_target is not None
    assert list(found.lr_target.days) == lr
    assert list(found.hr_target.days) == hr
    assert 0.2 <= draw.rate <= 0.7
    assert 65 <= draw.forecast_day <= 300
    assert 30 <= draw.gap <= 90


@given(days_lists, st.integers(1, 200))
def test_gaps_are_open_intervals_within_the_year(lr: list[int], gap: int) -> None:
    found = split("GAPS", lr, [], StrategyOptions(gap=gap), random.Random(0))
    assert found.lr_input is not None
    starts = list(range(gap, 365, 2 * gap))
    assert list(found.lr_input.days) == [d for d in lr if not any(s < d < s + gap for s in starts)]


@given(days_lists, days_lists)
def test_common_days(lr: list[int], hr: list[int]) -> None:
    found = split("CONJLRuHR2HR", lr, hr, StrategyOptions(), random.Random(0))
    both = sorted(set(lr) & set(hr))
    assert found.lr_target is None
    assert found.lr_input is not None
    assert found.hr_input is not None
    assert found.hr_target is not None
    assert list(found.lr_input.days) == list(found.hr_target.days) == both
    assert sorted([*found.hr_input.days, *both]) == hr


def test_the_published_pool() -> None:
    counts = {strategy: PUBLISHED_POOL.count(strategy) for strategy in set(PUBLISHED_POOL)}
    assert len(PUBLISHED_POOL) == 16
    assert counts[Strategy.RANDOM] == 8
    assert counts[Strategy.GAPS] == 4
    assert sorted(counts.values()) == [1, 1, 1, 1, 4, 8]


def test_the_module_random_is_a_generator() -> None:
    state = random.getstate()
    random.seed(3)
    ours = TrainingPool().draw(random)
    random.setstate(state)
    assert ours == TrainingPool().draw(random.Random(3))


def test_l3a_knows_leap_years() -> None:
    march = [
        split("L3A", [], [5], StrategyOptions(calendar_year=y, year_start=100), random.Random(0)).hr_target.days[4]
        for y in (2022, 2024)
    ]
    assert march == [159, 160]


def test_context_beyond_the_first_year() -> None:
    """Days above 365 do not stand in for the end of the stretch."""
    found = split("CONTEXT", [10, 150, 180, 230, 300, 400, 500], [], StrategyOptions(), random.Random(0))
    assert found.lr_input is not None
    assert found.lr_input.days == (10, 150, 230, 300)
    assert found.lr_target is not None
    assert found.lr_target.days == (10, 150, 180, 230, 300)


def test_unknown_names_and_impossible_options_are_refused() -> None:
    with pytest.raises(InputError, match="no strategy is named 'SOME'"):
        split("SOME", [1], [1], StrategyOptions(), random.Random(0))
    with pytest.raises(ValidationError, match="lowest, highest"):
        TrainingPool(gap=(90, 30))
    with pytest.raises(ValidationError, match="within 0 and 1"):
        TrainingPool(rate=(0.5, 1.5))
    with pytest.raises(ValidationError):
        StrategyOptions(ratio=0.5)  # type: ignore[call-arg]
    with pytest.raises(InputError, match="one position per day"):
        Dates((1,), ())


# --- selecting dates of a series -------------------------------------------------------------------------------------


def batch(valid: bool) -> Series:
    values = torch.arange(2 * 3 * 2 * 2 * 2.0).reshape(2, 3, 2, 2, 2) + 1
    masks = torch.arange(24).reshape(2, 3, 2, 2) % 3 > 0
    return Series(values, torch.tensor([[5, 7, 9], [6, 7, 8]]), masks if valid else None)


@pytest.mark.parametrize("valid", [True, False])
def test_each_element_has_its_own_dates(valid: bool) -> None:
    series = batch(valid)
    found = select_dates(series, [Dates((9, 5), (2, 0)), Dates((8,), (2,))])
    assert found is not None
    assert found.days.tolist() == [[9, 5], [8, 0]]
    torch.testing.assert_close(found.values[0], series.values[0, [2, 0]])
    torch.testing.assert_close(found.usable()[0], series.usable()[0, [2, 0]])
    torch.testing.assert_close(found.values[1, 0], series.values[1, 2])
    assert not found.usable()[1, 1].any()


def test_a_day_without_image_is_empty() -> None:
    found = select_dates(batch(True), [Dates((7, 7.5), (1, None)), Dates((1, 2), (None, None))])
    assert found is not None
    assert found.days.tolist() == [[7, 7.5], [1, 2]]
    assert not found.values[0, 1].any()
    assert not found.usable()[1].any()
    torch.testing.assert_close(found.values[0, 0], batch(True).values[0, 1])


def test_an_absent_sensor() -> None:
    assert select_dates(batch(False), [None, None]) is None
    some = select_dates(batch(False), [None, Dates((6,), (0,))])
    assert some is not None
    assert not some.usable()[0].any()
    empty = select_dates(batch(False), [Dates((), ()), Dates((), ())])
    assert empty is not None
    assert empty.values.shape == (2, 0, 2, 2, 2)


def test_selections_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"positions \[3\] do not exist"):
        select_dates(batch(False), [Dates((1,), (3,)), None])
    with pytest.raises(InputError, match="one per batch element"):
        select_dates(batch(False), [None])
