"""STAIR: what it takes and refuses, and its result where it is known, in both modes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion import methods
from sitsfusion.cube import Cube
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.run import job_runtime
from sitsfusion.errors import InputError, PlanError
from sitsfusion.methods.stair import alignment, survey
from sitsfusion.methods.stair.fusion import difference_fusion
from sitsfusion.methods.stair.gaps import Search, fill
from sitsfusion.methods.strips import strips
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.battery import assemble
from tests.scenes import cube, days


def job_of(scene: Scene, dates: tuple[date, ...], **options: object) -> Job:
    method = methods.make("stair", options)
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


# --- mode full -----------------------------------------------------------------------------------------------------

FINE, COARSE = (0, 5, 10, 14), (0, 3, 10, 20)
FULL = {"mode": "full", "window": 5, "growth": 4, "largest": 9, "clusters": 3}


def changing(cells: tuple[int, int] = (8, 9), *, shift: int = 0) -> tuple[Scene, np.ndarray]:
    """Fields of three kinds that brighten at one pace each, coarse images as 0.8 x + 0.01 of their block means and
    `shift` fine pixels too low, and the truth [kinds and days]; no gaps.
    """
    rng = np.random.default_rng(4)
    kind = np.kron(rng.integers(0, 3, cells), np.ones((3, 3), int))
    kind = np.roll(kind, 1, axis=0)  # fields that do not end where coarse pixels do

    def image(day: int) -> np.ndarray:
        return (np.array([0.1, 0.2, 0.35])[kind] + np.array([0.002, 0.0, 0.004])[kind] * day)[None]

    def seen_coarse(day: int) -> np.ndarray:
        moved = np.roll(image(day), shift, axis=1)
        return 0.8 * moved.reshape(1, cells[0], 3, cells[1], 3).mean((2, 4)) + 0.01

    fine, coarse = cube("fine", FINE, cells, bands=["B02"]), cube("coarse", COARSE, cells, bands=["B02"])
    cubes = {
        "fine": np.stack([image(d) for d in FINE]),
        "coarse": np.stack([seen_coarse(d) for d in COARSE]),
    }
    made = {
        role: Cube.from_array(
            cubes[role].astype(np.float32), sensor=c.sensor, bands=c.bands, grid=c.grid, dates=c.dates
        )
        for role, c in {"fine": fine, "coarse": coarse}.items()
    }
    return Scene(made), np.stack([image(d) for d in range(21)])


def cloudy(scene: Scene, clouds: dict[str, dict[int, tuple[slice, slice]]]) -> Scene:
    """The scene with clouds of value 9 at rows and columns of dates by number."""
    cubes = dict(scene.cubes)
    for role, where in clouds.items():
        c = cubes[role]
        values, valid = c.to_numpy()
        for t, (rows, cols) in where.items():
            valid[t, rows, cols], values[t, :, rows, cols] = False, 9
        cubes[role] = Cube.from_array(values, sensor=c.sensor, bands=c.bands, grid=c.grid, dates=c.dates, valid=valid)
    return Scene(cubes)


def test_full_mode_gives_back_clear_fine_pixels_and_fills_their_gaps_by_class() -> None:
    scene, truth = changing()
    hole = (slice(6, 11), slice(7, 13))
    found = assemble(job_of(cloudy(scene, {"fine": {2: hole}}), days(10), **FULL))["fine"]
    assert found.valid.all()
    np.testing.assert_allclose(found.values[0], truth[10], atol=1e-5)


def test_full_mode_predicts_days_between_and_without_coarse_image() -> None:
    scene, _ = changing()
    found = assemble(job_of(scene, days(3, 4), **FULL))["fine"]
    assert found.valid.all()
    assert found.days_to_clear.max() <= 1
    fine, coarse = (c.to_numpy()[0] for c in scene.cubes.values())
    line = np.polyfit(coarse[[0, 2]].ravel(), fine[[0, 2]].reshape(2, 8, 3, 9, 3).mean((2, 4)).ravel(), 1)
    up = np.polyval(line, coarse.astype(float)).repeat(3, -2).repeat(3, -1)
    difference = [fine[0] - up[0], fine[2] - up[2]]
    day3 = up[1] + 0.7 * difference[0] + 0.3 * difference[1]
    np.testing.assert_allclose(found.values[0], day3, atol=1e-5)
    day4 = (6 * up[1] + up[2]) / 7 + 0.6 * difference[0] + 0.4 * difference[1]
    np.testing.assert_allclose(found.values[1], day4, atol=1e-5)


def test_full_mode_leaves_clouds_of_coarse_images_out() -> None:
    scene, truth = changing()
    cloud = {"coarse": {1: (slice(2, 5), slice(2, 5)), 2: (slice(0, 3), slice(0, 9))}}
    found = assemble(job_of(cloudy(scene, cloud), days(3, 10), **FULL))["fine"]
    assert found.valid.all()
    np.testing.assert_allclose(found.values[1], truth[10], atol=1e-5)
    assert np.abs(found.values[0] - truth[3]).max() < 0.05


def test_a_shifted_coarse_image_is_found_and_moved_back() -> None:
    scene, _ = changing(shift=2)
    job = job_of(scene, days(3), **FULL | {"clusters": None, "most_clusters": 4})
    state = job.method.calibrate(scene, job.plan, job_runtime(job))
    assert state["shifts"].tolist() == [[-2, 0]] * len(COARSE)
    assert 1 <= len(state["centres"]) <= 4
    slope, offset = state["line"][:, 0]
    assert slope == pytest.approx(1 / 0.8, rel=1e-3)
    assert offset == pytest.approx(-0.01 / 0.8, abs=1e-3)
    plain = job_of(scene, days(3), **FULL, max_shift=0, adjust=False)
    state = plain.method.calibrate(scene, plain.plan, job_runtime(plain))
    assert (state["shifts"] == 0).all()
    assert state["line"].tolist() == [[1.0], [0.0]]


def test_what_is_learnt_does_not_depend_on_the_strips_it_is_read_in(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = changing(shift=1)
    scene = cloudy(scene, {"fine": {0: (slice(3, 17), slice(0, 9)), 2: (slice(0, 9), slice(5, 20))}})
    job = job_of(scene, days(3), **FULL)
    whole = job.method.calibrate(scene, job.plan, job_runtime(job))
    monkeypatch.setattr(survey, "strips", lambda scene, pixels=0: strips(scene, pixels=3 * scene.size[1] * 9))
    cut = job.method.calibrate(scene, job.plan, job_runtime(job))
    assert whole.keys() == cut.keys()
    for name, found in whole.items():
        np.testing.assert_allclose(cut[name], found, rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(dy=st.integers(-4, 4), dx=st.integers(-4, 4))
def test_an_image_is_put_where_its_shift_says(dy: int, dx: int) -> None:
    image = np.arange(12.0).reshape(1, 3, 4)
    around = np.pad(image.repeat(2, 1).repeat(2, 2), ((0, 0), (4, 4), (4, 4)), constant_values=np.nan)
    expected = around[:, 4 - dy : 10 - dy, 4 - dx : 12 - dx]
    np.testing.assert_array_equal(alignment.on_fine_grid(torch.from_numpy(image), 2, (dy, dx)), expected)


def brute_fill(
    image: np.ndarray, other: np.ndarray, classes: np.ndarray, line: np.ndarray, search: Search
) -> np.ndarray:
    """One other image, pixel by pixel."""
    out, (_, height, width) = image.copy(), image.shape
    for y, x in zip(*np.isnan(image[0]).nonzero(), strict=True):
        k = classes[y, x]
        if k < 0 or np.isnan(other[0, y, x]):
            continue
        expected = line[k, :, 0, None, None] * other + line[k, :, 1, None, None]
        for radius in search.radii:
            near = [
                (((other[:, i, j] - other[:, y, x]) ** 2).sum(), i, j)
                for i in range(max(0, y - radius), min(height, y + radius + 1))
                for j in range(max(0, x - radius), min(width, x + radius + 1))
                if classes[i, j] == k and np.isfinite(image[0, i, j]) and np.isfinite(other[0, i, j])
            ]
            if len(near) >= search.neighbours:
                break
        best = sorted(near)[: search.neighbours]
        errors = [image[:, i, j] - expected[:, i, j] for _, i, j in best]
        out[:, y, x] = expected[:, y, x] + (np.mean(errors, axis=0) if errors else 0)
    return out


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
    search=st.builds(Search, st.integers(1, 9), st.sampled_from([1, 3, 5]), st.just(2), st.sampled_from([5, 9])),
)
def test_gaps_are_filled_as_a_plain_loop_does(height: int, width: int, seed: int, search: Search) -> None:
    rng = np.random.default_rng(seed)
    image, other = rng.random((2, 2, height, width))
    image[:, rng.random((height, width)) < 0.4] = np.nan
    other[:, rng.random((height, width)) < 0.2] = np.nan
    classes, lines = rng.integers(-1, 2, (height, width)), rng.random((1, 2, 2, 2))
    tensors = (torch.from_numpy(a) for a in (image, other[None], classes, lines))
    found = fill(*tensors, search)
    np.testing.assert_allclose(found, brute_fill(image, other, classes, lines[0], search), atol=1e-12)


def test_what_the_first_other_image_cannot_fill_the_next_one_does() -> None:
    image = torch.tensor([[[torch.nan, torch.nan, 3.0]]])
    others = torch.tensor([[[[1.0, torch.nan, 3.0]]], [[[5.0, 6.0, torch.nan]]]])
    lines = torch.tensor([1.0, 0.0]).expand(2, 1, 1, 2)
    found = fill(image, others, torch.zeros(1, 3, dtype=torch.int64), lines, Search(1, 3, 2, 3))
    assert found.tolist() == [[[1.0, 6.0, 3.0]]]


def test_full_mode_refuses_what_it_cannot_do() -> None:
    apart = place().select({"fine": days(5, 9), "coarse": days(0, 3)})
    with pytest.raises(PlanError, match="stair needs a day that has both a fine and a coarse image, there is none"):
        job_of(apart, days(3), mode="full")
    scene, _ = changing()
    everywhere = (slice(None), slice(None))
    blind = cloudy(scene, {"fine": dict.fromkeys(range(len(FINE)), everywhere)})
    with pytest.raises(InputError, match=r"no fine pixel of .* is usable on any day"):
        assemble(job_of(blind, days(3), **FULL))
    with pytest.raises(InputError, match="largest window, 3, must not be smaller than the first, 31"):
        methods.make("stair", {"largest": 3})
