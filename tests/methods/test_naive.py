"""NAIVE against the published operations that the goldens prove."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion import methods
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.ops.resample import bicubic
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.battery import assemble
from tests.scenes import cube, days, scene

pytestmark = pytest.mark.smoke


def job_of(place: Scene, dates: tuple[date, ...], resolution: float | None = None, tile: int = 480) -> Job:
    naive = methods.make("naive")
    query = query_of(place, dates, naive.outputs(place), resolution=resolution)
    return plan_job(
        place, query, naive, OutputSpec(Path("never-written"), format="zarr"), Resources(device="cpu", tile=tile)
    )


@settings(deadline=None, max_examples=10)
@given(
    dates=st.sets(st.integers(-40, 400), min_size=1, max_size=5),
    origin=st.none() | st.integers(-500, 500),
    resolution=st.sampled_from([None, 30, 15, 5]),
    tile=st.sampled_from([16, 48]),
)
def test_it_is_gap_filling_and_then_bicubic(
    dates: set[int], origin: int | None, resolution: float | None, tile: int
) -> None:
    place = replace(scene((7, 9)), origin=None if origin is None else days(origin)[0])
    wanted = days(*sorted(dates))
    found = assemble(job_of(place, wanted, resolution, tile))
    for role, picture in found.items():
        values, valid = (torch.from_numpy(a) for a in place[role].to_numpy())
        numbers = [torch.tensor([(d - days(0)[0]).days for d in of]) for of in (place[role].dates, wanted)]
        filled = linear_gapfill(values, valid, *numbers)
        expected = bicubic(filled, (resolution or 10) / place[role].grid.affine.a).numpy()
        np.testing.assert_allclose(picture.values, expected, rtol=3e-6, atol=3e-6)
        np.testing.assert_array_equal(picture.valid, np.isfinite(expected).all(1))


def test_on_the_day_of_a_clear_image_it_is_that_image() -> None:
    place = Scene({"fine": cube("fine", (0, 5, 9), (4, 4))})
    found = assemble(job_of(place, days(5)))["fine"]
    frame = place["fine"].frame(1)
    np.testing.assert_array_equal(found.values[0][:, frame.valid], frame.values[:, frame.valid])


def test_beyond_the_images_the_nearest_clear_one_is_repeated() -> None:
    place = Scene({"fine": cube("fine", (0, 5), (4, 4))})
    found = assemble(job_of(place, days(-30, 300)))["fine"]
    first, last = place["fine"].frame(0), place["fine"].frame(1)
    for t, (near, far) in enumerate(((first, last), (last, first))):
        expected = np.where(near.valid, near.values, np.where(far.valid, far.values, np.nan))
        np.testing.assert_array_equal(found.values[t], expected)


def test_half_way_between_two_clear_images_it_is_their_mean() -> None:
    place = Scene({"fine": cube("fine", (0, 4), (4, 4))})
    found = assemble(job_of(place, days(2)))["fine"]
    a, b = place["fine"].frame(0), place["fine"].frame(1)
    both = a.valid & b.valid
    np.testing.assert_allclose(found.values[0][:, both], ((a.values + b.values) / 2)[:, both], rtol=1e-6)


def test_a_pixel_never_clear_spoils_its_bicubic_neighbourhood() -> None:
    often = range(0, 80, 2)  # so often that only the corner is never clear
    place = Scene({"fine": cube("fine", often, (6, 6)), "coarse": cube("coarse", often, (6, 6))})
    found = assemble(job_of(place, days(4)))
    fine, coarse = found["fine"], found["coarse"]
    assert not fine.valid[0, :2, :2].any()
    assert fine.valid[0, 2:, 2:].all(), "no upsampling, no neighbourhood"
    assert not coarse.valid[0, : 3 * 2 + 3, : 3 * 2 + 3].any(), "the corner of 2 x 2 pixels and one around it"
    assert coarse.valid[0, -3:, -3:].all()


def test_a_sensor_with_too_few_images_is_refused_and_the_others_are_not() -> None:
    place = scene((3, 3)).select({"fine": days(0, 5), "coarse": days(3)})
    made = job_of(place, days(1, 2))
    assert [set(step.query) for step in made.plan.steps] == [{"fine"}]
    assert [(r.role, r.day, r.reason) for r in made.plan.refused] == [
        ("coarse", day, "naive needs 2 or more coarse images, there are 1") for day in days(1, 2)
    ]
