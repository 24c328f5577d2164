from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.evaluation.cases import Case, divide, strategy_of
from sitsfusion.evaluation.sites import SceneSite
from sitsfusion.strategies import Strategy, StrategyOptions
from tests.evaluation import tiny
from tests.scenes import days

# Strategies that ask for the days which both sensors have.
NEEDS_COMMON = {s for s in Strategy if s.value.endswith(("CONJHR", "2HR"))}


def case(strategy: str, scene: object = None, **changes: object) -> Case:
    return Case(SceneSite(scene or tiny.scene()), strategy_of(strategy), **changes)


def test_gaps_hides_days_inside_the_gaps_and_asks_for_all() -> None:
    found = divide(case("GAPS"), tiny.scene())
    assert found.origin == date(2022, 1, 1)
    assert found.given_dates("fine") == days(0, 20, 80)
    assert found.given_dates("coarse") == days(5, 20, 90)
    assert found.asked == {"fine": days(*tiny.FINE), "coarse": days(*tiny.COARSE)}
    assert found.targets["fine"].dates == days(*tiny.FINE)


def test_gaps_count_from_the_origin_that_is_given() -> None:
    found = divide(case("GAPS", origin=date(2022, 1, 11)), tiny.scene())
    assert found.given_dates("fine") == days(0, 20, 40, 80)
    assert found.given_dates("coarse") == days(5, 20, 90)


def test_a_withheld_sensor_is_not_in_the_scene_and_a_hidden_one_is_empty() -> None:
    assert "fine" not in divide(case("CONJLR2HR"), tiny.scene()).given
    assert divide(case("NOHR"), tiny.scene()).given["fine"].dates == ()


def test_days_without_an_image_are_asked_for_and_have_no_target() -> None:
    found = divide(case("L3A"), tiny.scene())
    assert len(found.asked["fine"]) == 24
    assert "coarse" not in found.asked
    assert found.targets["fine"].dates == (date(2022, 1, 1),)


def test_thermal_images_are_hidden_with_the_coarse_ones() -> None:
    scene = tiny.scene()
    scene = scene.with_cubes(thermal=scene["coarse"].select(bands=["LST"]))
    found = divide(case("GAPS", scene), scene)
    assert found.given["thermal"].dates == found.given["coarse"].dates


def test_images_are_thinned_evenly() -> None:
    found = divide(case("ALL", max_dates=2), tiny.scene())
    assert found.asked == {"fine": days(0, 40), "coarse": days(5, 50)}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: strategy_of("GAP"), "no strategy is named 'GAP'"),
        (lambda: case("ALL", min_clear=2), "min_clear 2"),
        (lambda: case("ALL", max_dates=0), "max_dates 0"),
        (lambda: divide(case("CONJLR2HR"), tiny.scene(fine=(1,), coarse=(2,))), "asks for no date"),
        (
            lambda: divide(case("CUSTOM", options=StrategyOptions(custom_days=(1.5,))), tiny.scene()),
            r"days \[1.5\] are not whole",
        ),
        (lambda: divide(case("ALL"), replace(tiny.scene(), cubes={})), "no fine or coarse image"),
    ],
)
def test_bad_input_is_refused_with_a_reason(made: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(Strategy),
    st.sets(st.integers(-30, 400), min_size=1, max_size=6),
    st.sets(st.integers(-30, 400), min_size=1, max_size=6),
    st.integers(0, 9),
)
def test_methods_see_existing_images_only_and_targets_are_asked_for(
    strategy: Strategy, fine: set[int], coarse: set[int], seed: int
) -> None:
    scene = tiny.scene(sorted(fine), sorted(coarse))
    one = case(strategy.value, scene, seed=seed, options=StrategyOptions(custom_days=(3,)))
    if strategy in NEEDS_COMMON and not fine & coarse:
        with pytest.raises(InputError, match="asks for no date"):
            divide(one, scene)
        return
    found = divide(one, scene)
    for role in ("fine", "coarse"):
        assert set(found.given_dates(role)) <= set(scene[role].dates)
        asked = set(found.asked.get(role, ()))
        assert set(found.targets[role].dates if role in found.targets else ()) == asked & set(scene[role].dates)
    assert divide(one, scene).given.dates() == found.given.dates()
    assert min(found.asked.values())[0] >= date(2021, 1, 1) - timedelta(days=400)
