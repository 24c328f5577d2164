"""CLOSEST against cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from sitsfusion import Cube, methods
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.battery import assemble
from tests.scenes import cube, days, scene

pytestmark = pytest.mark.smoke


def with_shares(place: Scene, **shares: list[float | None]) -> Scene:
    """The scene with the clear shares of its images known."""
    cubes = dict(place.cubes)
    for role, known in shares.items():
        items = tuple(replace(item, clear_share=s) for item, s in zip(cubes[role].items, known, strict=True))
        cubes[role] = replace(cubes[role], items=items)
    return replace(place, cubes=cubes)


def job_of(place: Scene, dates: tuple[date, ...], resolution: float | None = None, **options: object) -> Job:
    closest = methods.make("closest", options)
    query = query_of(place, dates, closest.outputs(place), resolution=resolution)
    return plan_job(place, query, closest, OutputSpec(Path("never-written"), format="zarr"), Resources(device="cpu"))


def chosen(job: Job) -> dict[date, date]:
    """Which image each output date copies."""
    return {step.query["fine"].dates[0]: step.inputs["fine"][0] for step in job.plan.steps}


IMAGES = (0, 10, 20, 30)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("nearest", {-5: 0, 0: 0, 4: 0, 5: 0, 6: 10, 15: 10, 16: 20, 99: 30}),
        ("last", {0: 0, 4: 0, 5: 0, 6: 0, 15: 10, 16: 10, 99: 30}),
        ("next", {-5: 0, 0: 0, 4: 10, 5: 10, 6: 10, 15: 20, 16: 20}),
    ],
)
def test_the_image_that_is_copied(direction: str, expected: dict[int, int]) -> None:
    """A tie goes to the earlier image."""
    place = with_shares(Scene({"fine": cube("fine", IMAGES, (2, 2))}), fine=[1.0] * 4)
    asked = (-5, 0, 4, 5, 6, 15, 16, 99)
    made = job_of(place, days(*asked), direction=direction)
    assert chosen(made) == {days(a)[0]: days(b)[0] for a, b in expected.items()}
    assert {r.day for r in made.plan.refused} == {days(a)[0] for a in asked if a not in expected}
    where = {"last": "at or before it", "next": "at or after it"}.get(direction)
    assert {r.reason for r in made.plan.refused} <= {f"no fine image with at most 50% masked {where}"}


@pytest.mark.parametrize(("most", "expected"), [(0.5, 10), (0.49, 30), (0.05, 30), (1.0, 0)])
def test_images_masked_too_much_are_passed_over(most: float, expected: int) -> None:
    place = with_shares(Scene({"fine": cube("fine", IMAGES, (2, 2))}), fine=[0.0, 0.5, 0.2, 1.0])
    assert chosen(job_of(place, days(1), max_masked_share=most)) == {days(1)[0]: days(expected)[0]}


def test_an_image_of_unknown_share_counts_as_usable() -> None:
    place = with_shares(Scene({"fine": cube("fine", IMAGES, (2, 2))}), fine=[0.0, None, 0.0, 0.0])
    assert chosen(job_of(place, days(30))) == {days(30)[0]: days(10)[0]}


def test_every_sensor_chooses_for_itself() -> None:
    made = job_of(with_shares(scene((2, 2)), fine=[1, 1, 1, 1], coarse=[1, 0, 1, 1]), days(5))
    assert [step.inputs for step in made.plan.steps] == [{"fine": days(5), "coarse": days(3)}]
    assert made.plan.steps[0].informing("coarse") == ("coarse",)


def test_the_image_is_copied_with_its_clouds() -> None:
    place = with_shares(scene((4, 5)), fine=[1, 0, 0, 0], coarse=[1, 0, 0, 0])
    found = assemble(job_of(place, days(9)))
    frame = place["fine"].frame(0)
    np.testing.assert_array_equal(found["fine"].values[0], frame.values)
    np.testing.assert_array_equal(found["fine"].valid[0], frame.valid)
    np.testing.assert_array_equal(found["fine"].clear_count[0], frame.valid)
    np.testing.assert_array_equal(found["fine"].days_to_clear[0], np.where(frame.valid, 9, 32767))
    coarse = place["coarse"].frame(0)
    repeated = coarse.valid.repeat(3, 0).repeat(3, 1)
    assert (found["coarse"].valid[0] <= repeated).all()


def test_clouds_do_not_reach_what_is_called_valid_when_pixels_get_smaller() -> None:
    place = with_shares(scene((8, 8)), fine=[1, 0, 0, 0], coarse=[1, 0, 0, 0])
    cloudy = np.zeros((8, 8), bool)
    cloudy[5:, 4:7] = True
    found = []
    for brightness in (0.1, 7.0):
        values, valid = (part.copy() for part in place["coarse"].to_numpy())
        values, valid = np.nan_to_num(values, nan=0.2), valid | True
        values[:, :, cloudy], valid[:, cloudy] = brightness, False
        old = place["coarse"]
        images = Cube.from_array(
            values, sensor=old.sensor, bands=old.bands, grid=old.grid, dates=old.dates, valid=valid, items=old.items
        )
        found.append(assemble(job_of(place.with_cubes(coarse=images), days(9)))["coarse"])
    one, other = found
    np.testing.assert_array_equal(one.valid, other.valid)
    assert one.valid[0, :9, :9].all()
    assert not one.valid[0][cloudy.repeat(3, 0).repeat(3, 1)].any()
    np.testing.assert_allclose(one.values[:, :, one.valid[0]], other.values[:, :, one.valid[0]], atol=1e-4)


def test_without_any_usable_image_all_dates_are_refused() -> None:
    place = with_shares(scene((2, 2)), fine=[0.0] * 4, coarse=[1.0] * 4)
    made = job_of(place, days(4, 5))
    assert {(r.role, r.reason) for r in made.plan.refused} == {("fine", "no fine image with at most 50% masked at all")}
    assert all(set(step.query) == {"coarse"} for step in made.plan.steps)
