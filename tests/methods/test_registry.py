"""Methods by name, their options, and what users may add."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from sitsfusion import methods
from sitsfusion.errors import InputError
from sitsfusion.methods.base import Card, Method
from sitsfusion.query import Output
from tests import stubs
from tests.scenes import cube, scene

pytestmark = pytest.mark.smoke


@pytest.fixture
def own_names() -> Iterator[None]:
    """Forget what a test registers."""
    before = dict(methods._REGISTERED)
    yield
    methods._REGISTERED.clear()
    methods._REGISTERED.update(before)


def test_every_name_leads_to_a_method_of_that_name() -> None:
    assert {"closest", "naive"} <= set(methods.names())
    for name in ("closest", "naive"):
        found = methods.get(name)
        assert issubclass(found, Method)
        assert found.card.name == name
        assert found.card.title
        assert found.card.citation
        assert methods.make(name).provenance() == {}


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown method 'starfm2'; known: .*closest, .*naive"):
        methods.make("starfm2")


def test_an_instance_is_a_method_already() -> None:
    made = stubs.Noisy()
    assert methods.make(made) is made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_masked_share": 2}, "options of closest: max_masked_share: .*less than or equal to 1"),
        ({"direction": "left"}, "options of closest: direction: .*'nearest', 'last' or 'next'"),
        ({"speed": 1}, r"options of closest: speed: .*not permitted .known options: direction, max_masked_share"),
    ],
)
def test_bad_options_are_refused_with_the_known_ones(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        methods.make("closest", options)


def test_options_come_as_one_object_or_by_name() -> None:
    closest = methods.get("closest")
    options = closest.Options.model_validate({"direction": "last"})
    assert closest(options).options == closest(direction="last").options == options
    with pytest.raises(InputError, match="as one object or by name, not both"):
        closest(options, direction="next")
    with pytest.raises(ValueError, match="frozen"):
        options.direction = "next"  # type: ignore[attr-defined]


def test_a_user_registers_a_method(own_names: None) -> None:
    methods.register(stubs.Noisy)
    assert "noisy" in methods.names()
    assert isinstance(methods.make("noisy"), stubs.Noisy)
    assert methods.register(stubs.Noisy) is stubs.Noisy, "registering twice is harmless"


def test_a_name_is_taken_once(own_names: None) -> None:
    class Naive(stubs.Noisy):
        card = Card("naive", "", "", "")

    with pytest.raises(InputError, match="a method called 'naive' exists already; choose another name"):
        methods.register(Naive)


def test_an_installed_package_brings_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("noisy", "tests.stubs:Noisy", "sitsfusion.methods")
    monkeypatch.setattr(methods, "_entry_points", lambda: [entry])
    assert "noisy" in methods.names()
    assert methods.get("noisy") is stubs.Noisy


def test_what_a_method_takes_and_gives() -> None:
    place = scene((2, 2)).with_cubes(thermal=cube("coarse", (0,), (2, 2), bands=["LST"]))
    assert stubs.Calibrated().inputs(place) == ("coarse",)
    naive = methods.make("naive")
    assert naive.inputs(place) == ("fine", "coarse", "thermal")
    outputs = naive.outputs(place)
    assert outputs["thermal"] == Output(place["thermal"].sensor, ("LST",))
    assert set(outputs) == {"fine", "coarse", "thermal"}
