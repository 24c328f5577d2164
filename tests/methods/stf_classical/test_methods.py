"""What all coarse/fine methods promise: masks respected, constants kept, changes recovered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.errors import InputError
from sitsfusion.scene import Scene
from tests.battery import Picture, assemble
from tests.golden import goldens
from tests.golden.adapters.stf_classical import efast_outputs
from tests.methods.stf_classical.places import pair_scene, truth
from tests.methods.stf_classical.test_pairs import NAMES, day, job_of
from tests.scenes import days

SMALL = {
    "starfm": {"window": 7},
    "estarfm": {"window": 9},
    "fsdaf": {"half_window": 3},
    "fit-fc": {"window": 7, "similar": 8},
    "spstfm": {"atoms": 8, "rounds": 2, "resampling": "bilinear"},
    "efast": {"cloud_ramp": 2, "min_importance": 0},
}
CELLS = (8, 8)
every_method = pytest.mark.parametrize("name", NAMES)


def predicted(place: Scene, name: str, number: int = 5, **options: object) -> Picture:
    return assemble(job_of(place, name, days(number), **{**SMALL[name], **options}))["fine"]


def changed(place: Scene, role: str, values: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> Scene:
    """The scene with other pixels in a role."""
    old = place[role]
    cube = Cube.from_array(
        values.astype(np.float32), sensor=old.sensor, bands=old.bands, grid=old.grid, dates=old.dates, valid=valid
    )
    return replace(place, cubes={**place.cubes, role: cube})


@every_method
def test_constant_images_stay_constant(name: str) -> None:
    """Windows without any variance have an answer: the value itself."""
    place = pair_scene(CELLS, clouds=False)
    for role in ("fine", "coarse"):
        place = changed(place, role, np.full(place[role].shape, 0.25, np.float32))
    if name == "spstfm":  # there is no change to learn from
        with pytest.raises(InputError, match="no change between the pairs"):
            predicted(place, name)
        return
    found = predicted(place, name)
    assert found.valid.all()
    np.testing.assert_allclose(found.values, 0.25, rtol=1e-4)


@every_method
def test_masked_values_are_never_looked_at(name: str) -> None:
    place = pair_scene((12, 12))
    expected = predicted(place, name)
    for role in ("fine", "coarse"):
        values, valid = place[role].to_numpy()
        place = changed(place, role, np.where(valid[:, None], values, 77.0), valid)
    found = predicted(place, name)
    np.testing.assert_array_equal(found.valid, expected.valid)
    np.testing.assert_array_equal(found.values, expected.values)
    assert expected.valid.any()


@every_method
def test_a_cloud_over_the_coarse_image_of_the_day_is_a_gap(name: str) -> None:
    place = pair_scene((12, 12), clouds=False)
    values, valid = place["coarse"].to_numpy()
    if name == "efast":  # needs no image of the day, only a series
        valid[:, :3, :3] = False
    else:
        valid[place["coarse"].dates.index(day(5)), :3, :3] = False
    found = predicted(changed(place, "coarse", values, valid), name)
    assert not found.valid[0, :9, :9].any()
    assert found.valid[0, 18:, 18:].all()


@every_method
def test_a_day_between_the_pairs_is_better_than_a_copy(name: str) -> None:
    """Fields that change as straight lines in time."""
    place = pair_scene((16, 16), clouds=False)
    found = predicted(place, name, 4).values[0]
    expected = truth(4, (48, 48), 0)
    copied = place["fine"].frame(0).values
    assert np.abs(found - expected).mean() < 0.5 * np.abs(copied - expected).mean()


@every_method
def test_observed_pixels_are_kept_unless_told_otherwise(name: str) -> None:
    place = pair_scene((12, 12))
    values, valid = place["fine"].to_numpy()
    values[place["fine"].dates.index(day(10))] += 0.1  # what no method could know
    place = changed(place, "fine", values, valid)
    frame = place["fine"].select(dates=days(10)).frame(0)
    kept, made = (predicted(place, name, 10, keep_observed=k) for k in (True, False))
    np.testing.assert_allclose(kept.values[0][:, frame.valid], frame.values[:, frame.valid])
    assert np.nanmin(np.abs(made.values[0] - frame.values)[:, frame.valid]) > 1e-3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("starfm", {"pairs": 1, "log_scale": 1.0}),
        ("starfm", {"strict": True, "copy_equal": True, "resampling": "bicubic"}),
        ("starfm", {"use_change": False}),
        ("estarfm", {"mode": "full"}),
        ("estarfm", {"data_range": (0.0, 10_000.0)}),
        ("fsdaf", {"surface": "idw"}),
        ("fsdaf", {"surface": "spline", "classes": 2}),
    ],
)
def test_options_change_the_result_and_keep_it_sound(name: str, options: dict[str, object]) -> None:
    place = pair_scene((12, 12), clouds=False)
    found, usual = predicted(place, name, **options).values, predicted(place, name).values
    assert np.abs(found[0] - truth(5, (36, 36), 0)).mean() < 0.05
    assert not np.array_equal(found, usual) or options.get("surface") == "spline" or "data_range" in options


@pytest.mark.parametrize("name", ["fsdaf", "fit-fc"])
def test_real_coarse_pixels_may_be_wider_than_the_grid(name: str) -> None:
    """A coarse image stored on a grid twice as fine gives what it gives on its own grid."""
    place = pair_scene((8, 8), clouds=False, native=2)
    values, _ = place["coarse"].to_numpy()
    halved = values.reshape(*values.shape[:2], 4, 2, 4, 2).mean((3, 5))
    stored = changed(place, "coarse", halved.repeat(2, 2).repeat(2, 3))
    stored = replace(stored, cubes={**stored.cubes, "coarse": replace(stored["coarse"], native=(2, 2, 2))})
    found = predicted(stored, name)
    assert found.valid.all()
    np.testing.assert_allclose(found.values, predicted(place, name).values, atol=2e-6)


def test_a_reference_without_usable_pixels_is_named() -> None:
    place = pair_scene((4, 4), clouds=False)
    values, valid = place["fine"].to_numpy()
    valid[:] = False
    with pytest.raises(InputError, match="no usable pixel"):
        predicted(changed(place, "fine", values, valid), "starfm")


def test_efast_agrees_with_its_golden() -> None:
    golden = goldens.load(goldens.DATA / "baseline_temporal.npz")
    limits = {k: v for k, v in golden.meta["tolerance"].items() if k in ("rtol", "atol")}
    for name, value in efast_outputs(golden).items():
        np.testing.assert_allclose(value, golden.outputs[name], **limits, err_msg=name)


def test_memory_does_not_grow_with_the_image() -> None:
    """Blocks of an image twice as large are no larger."""
    from sitsfusion.methods.stf_classical.windows import neighbourhoods

    def largest(side: int) -> int:
        blocks = neighbourhoods((side, side), 25, 6)
        return max((b.rows.stop - b.rows.start) * (b.columns.stop - b.columns.start) for b in blocks)

    assert largest(600) == largest(1200)
