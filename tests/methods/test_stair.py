"""STAIR: what it takes and refuses, and its result where it is known."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from sitsfusion import methods
from sitsfusion.cube import Cube
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.errors import InputError
from sitsfusion.methods.stair import difference_fusion
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.battery import assemble
from tests.scenes import cube, days


def job_of(scene: Scene, dates: tuple[date, ...]) -> Job:
    method = methods.make("stair")
    query = query_of(scene, dates, method.outputs(scene))
    return plan_job(scene, query, method, OutputSpec(Path("never-written")), Resources(device="cpu", tile=480))


def place() -> Scene:
    cells = (5, 6)
    return Scene(
        {
            "fine": cube("fine", (0, 5, 9, 14), cells),
            "coarse": cube("coarse", (0, 3, 14, 20), cells, bands=("B02", "B05")),
        }
    )


def uniform(source: Cube, levels: list[float]) -> Cube:
    values = np.ones(source.shape, np.float32) * np.array(levels, np.float32)[:, None, None, None]
    return Cube.from_array(values, sensor=source.sensor, bands=source.bands, grid=source.grid, dates=source.dates)


def test_the_difference_is_interpolated_between_days_of_both_sensors() -> None:
    scene = place()
    scene = Scene(
        {
            "fine": uniform(scene["fine"], [0.2, 0.9, 0.9, 0.5]),
            "coarse": uniform(scene["coarse"], [0.1, 0.15, 0.3, 0.35]),
        }
    )
    found = assemble(job_of(scene, days(3, 20)))["fine"]
    slope = (0.2 - 0.1) / 14
    np.testing.assert_allclose(found.values[0], 0.15 + 0.1 + 3 * slope, atol=1e-6)
    np.testing.assert_allclose(found.values[1], 0.35 + 0.2, atol=1e-6)


def test_the_fine_image_of_the_day_itself_is_never_used() -> None:
    scene = place()
    (step,) = job_of(scene, days(14)).plan.steps
    assert step.inputs == {"fine": days(0, 5, 9), "coarse": days(0, 14)}


def test_days_that_cannot_be_predicted_are_refused_with_the_reason() -> None:
    scene = place().select({"fine": days(5, 14), "coarse": days(3, 14)})
    refused = {r.day: r.reason for r in job_of(scene, days(3, 5, 14)).plan.refused}
    assert refused == {
        days(5)[0]: "stair needs a coarse image of the day, there is none",
        days(14)[0]: "stair needs another day that has both a fine and a coarse image, there is none",
    }


def test_missing_pixels_are_zero_and_nothing_is_masked_as_published() -> None:
    found = assemble(job_of(place(), days(3)))["fine"]
    assert found.valid.all()
    assert (found.values[0, :, :2, :2] == 0).all()


def test_arrays_without_a_common_day_are_an_error() -> None:
    fine = (torch.ones(1, 1, 2, 2), None, torch.tensor([1]))
    with pytest.raises(InputError, match="day 5: STAIR needs a coarse image of it and another day of both sensors"):
        difference_fusion(fine, (torch.ones(1, 1, 2, 2), torch.tensor([5])), torch.tensor([5]))


def test_sensors_without_a_common_band_are_an_error() -> None:
    scene = Scene({"fine": cube("fine", (0, 5), (2, 2), bands=["B05"]), "coarse": cube("coarse", (0, 5), (2, 2))})
    with pytest.raises(InputError, match="no band in common: rededge071; red, lwir11"):
        job_of(scene, days(0))
