"""Queries: what can be asked for."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from sitsfusion.errors import DateError, InputError, MissingBandError
from sitsfusion.query import Output, RoleQuery, query_of
from sitsfusion.scene import Scene
from tests.scenes import cube, days, scene

pytestmark = pytest.mark.smoke
PLACE = scene((4, 5))
OUTPUTS = {role: Output(PLACE[role].sensor, PLACE[role].bands) for role in PLACE.cubes}


def ask(**changed: Any) -> Any:
    return query_of(PLACE, **{"dates": days(1, 2), "outputs": OUTPUTS, **changed})


def test_by_default_all_bands_of_all_roles_at_the_finest_pixel() -> None:
    found = ask()
    assert {role: (q.bands, q.per_cell) for role, q in found.items()} == {
        "fine": (("B02", "B08"), 3),
        "coarse": (("B04", "LST"), 3),
    }
    assert found["fine"].dates == days(1, 2)


def test_roles_bands_and_resolution_can_be_chosen() -> None:
    found = ask(roles=["coarse"], bands={"coarse": ["lwir11"]}, resolution=15)
    assert {role: (q.bands, q.per_cell) for role, q in found.items()} == {"coarse": (("LST",), 2)}


def test_a_method_says_at_which_pixel_it_usually_predicts() -> None:
    usual = {**OUTPUTS, "coarse": OUTPUTS["coarse"]._replace(per_cell=1)}
    assert {role: q.per_cell for role, q in ask(outputs=usual).items()} == {"fine": 3, "coarse": 1}
    assert {role: q.per_cell for role, q in ask(outputs=usual, resolution=15).items()} == {"fine": 2, "coarse": 2}


@pytest.mark.parametrize("dates", [days(2, 1, 2), ["20220103", "2022-01-02"], [datetime(2022, 1, 3), date(2022, 1, 2)]])
def test_dates_come_in_any_order_and_form(dates: Any) -> None:
    assert ask(dates=dates)["fine"].dates == days(1, 2)


def test_only_roles_that_the_scene_has() -> None:
    place = Scene({"fine": cube("fine", (0,), (2, 2))})
    assert set(query_of(place, days(1), OUTPUTS)) == {"fine"}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"dates": []}, DateError, "no date asked for"),
        ({"dates": ["tomorrow"]}, DateError, "'tomorrow' is not a date"),
        ({"roles": ["thermal"]}, InputError, "cannot predict thermal; possible: fine, coarse"),
        ({"roles": []}, InputError, "cannot predict anything; possible: fine, coarse"),
        ({"outputs": {}}, InputError, "cannot predict anything; possible: nothing"),
        ({"bands": {"pan": ["B08"]}}, InputError, "cannot predict pan"),
        ({"bands": {"fine": ["B04"]}}, MissingBandError, "cannot predict fine B04; possible: B02, B08"),
        ({"bands": {"fine": ["B02", "blue"]}}, InputError, "band B02 is named more than once"),
        ({"bands": {"fine": []}}, InputError, "no band"),
        ({"resolution": 20}, InputError, "20 does not divide the common cell of 30; use 30, 15, 10"),
        ({"resolution": 0}, InputError, "does not divide"),
        ({"resolution": -10}, InputError, "does not divide"),
        ({"resolution": float("nan")}, InputError, "does not divide"),
        ({"resolution": float("inf")}, InputError, "does not divide"),
    ],
)
def test_what_cannot_be_asked_for(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(**changed)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"bands": ("blue",)}, MissingBandError, "no band blue"),
        ({"dates": ()}, DateError, "no date asked for of sentinel-2-l2a"),
        ({"dates": days(2, 1)}, DateError, "not in increasing order"),
        ({"per_cell": 0}, InputError, "0 output pixels per cell"),
    ],
)
def test_a_query_made_by_hand_is_checked_too(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    good = {"sensor": PLACE["fine"].sensor, "bands": ("B02",), "dates": days(1), "per_cell": 3}
    assert RoleQuery(**good).at(days(4)).dates == days(4)
    with pytest.raises(error, match=message):
        RoleQuery(**{**good, **changed})
