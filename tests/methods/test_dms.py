"""DMS: upsampling with gaps, trees, and what the method takes and refuses. (The goldens prove the sharpener.)"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion import methods
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.errors import InputError, MissingBandError, MissingExtraError
from sitsfusion.methods.dms.sharpener import Models, Rules, Samples, homogeneity_weights, mixed
from sitsfusion.methods.dms.stored import from_arrays, to_arrays
from sitsfusion.methods.dms.trees import TreeRules, fit_forest
from sitsfusion.methods.dms.upsampling import Enlargement, upsample
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.battery import _thermal, assemble
from tests.scenes import cube, days


def job_of(scene: Scene, dates: tuple[date, ...], **options: object) -> Job:
    method = methods.make("dms", {"max_masked_share": 1, **options})
    query = query_of(scene, dates, method.outputs(scene))
    spec = OutputSpec(Path("never-written"), encoding="float32")
    return plan_job(scene, query, method, spec, Resources(device="cpu", tile=480))


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(8, 14), st.integers(8, 14)),
    ratio=st.integers(2, 9),
    at=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_a_part_is_upsampled_as_in_the_whole(size: tuple[int, int], ratio: int, at: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = np.where(rng.random(size) < 0.1, np.nan, rng.uniform(280, 320, size))
    whole = upsample(low, Enlargement(ratio), (size[0] * ratio, size[1] * ratio))
    part = low[:, at:]
    made = upsample(part, Enlargement(ratio, at, size[1]), (size[0] * ratio, part.shape[1] * ratio))
    margin = 3 * ratio if at else 0
    np.testing.assert_array_equal(made[:, margin:], whole[:, at * ratio + margin :])


def test_upsampling_keeps_a_plane_inside_and_pads_beyond() -> None:
    rows, cols = np.mgrid[0:8, 0:9]
    made = upsample((2.0 * rows + 3 * cols), Enlargement(3), (26, 27))
    y, x = (np.mgrid[0:24, 0:27] + 0.5) / 3 - 0.5
    np.testing.assert_allclose(made[6:18, 6:21], (2 * y + 3 * x)[6:18, 6:21])
    np.testing.assert_array_equal(made[24:], made[23:24].repeat(2, 0))


def test_a_forest_survives_storage_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(200, 3))
    y = 5 * x[:, 0] + np.where(x[:, 1] > 0.5, 3, 0)
    rules = TreeRules(8, trees=4)
    forest, again, other = (fit_forest(x, y, np.ones(200), rules, (seed,)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(forest.predict(x), again.predict(x))
    assert not np.array_equal(forest.predict(x), other.predict(x))
    assert np.abs(forest.predict(x) - y).mean() < 0.3
    models = from_arrays(to_arrays(Models((None, forest, None), other), "s"), "s")
    assert [m is None for m in models.local] == [True, False, True]
    assert models.local[1] is not None
    assert models.overall is not None
    np.testing.assert_array_equal(models.local[1].predict(x), forest.predict(x))
    np.testing.assert_array_equal(models.overall.predict(x), other.predict(x))


def test_equally_homogeneous_samples_have_equal_weights() -> None:
    np.testing.assert_array_equal(homogeneity_weights(np.full(5, 0.2)), np.ones(5))


def test_mixed_pixels_weigh_half_or_are_left_out() -> None:
    cv = np.array([0.1, 0.2, 0.4, 0.8])
    np.testing.assert_array_equal(mixed(cv, None), [False, False, False, True])
    np.testing.assert_array_equal(mixed(cv, 0.3), [False, False, True, True])
    np.testing.assert_allclose(homogeneity_weights(cv, 0.3), homogeneity_weights(cv) * [1, 1, 0.5, 1])
    rng = np.random.default_rng(0)
    means, spread = rng.uniform(1000, 3000, (1, 8, 8)), np.where(np.arange(64).reshape(8, 8) % 3, 0.1, 0.5)
    kelvin = 2800 + means[0] / 10 + np.where(spread > 0.3, 300, 0)  # the mixed ones mislead
    samples = Samples(means, spread, kelvin, np.ones((8, 8), bool))
    everywhere, trees = (slice(0, 8), slice(0, 8)), TreeRules(2, trees=1, bootstrap=False)
    kept, dropped = (
        samples.fit(everywhere, Rules(mixed_cv=0.3, drop_mixed=drop), trees, (0,)) for drop in (False, True)
    )
    assert kept is not None
    assert dropped is not None
    right = 2800 + means[0].ravel() / 10
    assert np.abs(dropped.predict(means.reshape(1, -1).T) - right).max() < 1
    assert np.abs(kept.predict(means.reshape(1, -1).T) - right).max() > 10
    assert samples.fit(everywhere, Rules(mixed_cv=0.05, drop_mixed=True), trees, (0,)) is None


@pytest.mark.parametrize("mode", ["reference", "full"])
def test_a_temperature_that_follows_the_reflectances_is_sharpened(mode: str) -> None:
    scene = _thermal((60, 63), 0)
    fine = scene["fine"]
    rng = np.random.default_rng(1)
    coarse_pattern = rng.uniform(0.05, 0.4, (1, 4, 20, 21)).repeat(9, 2).repeat(9, 3)
    values = (coarse_pattern + rng.uniform(-0.03, 0.03, coarse_pattern.shape)).astype(np.float32)
    truth = 280 + 40 * values[:, 3:]
    seen = truth.reshape(1, 1, 60, 3, 63, 3).mean((3, 5)).reshape(1, 1, 20, 3, 21, 3).mean((3, 5))
    stored = seen.repeat(3, 2).repeat(3, 3).astype(np.float32)
    coarse = scene["coarse"]
    make = type(fine).from_array
    place = Scene(
        {
            "fine": make(values, sensor=fine.sensor, bands=fine.bands, grid=fine.grid, dates=fine.dates[:1]),
            "coarse": make(stored, sensor=coarse.sensor, bands=("LST",), grid=coarse.grid, dates=coarse.dates[:1]),
        }
    )
    found = assemble(job_of(with_clear_shares(place), days(4), mode=mode, trees=3))["coarse"]
    assert found.valid.all()
    flat = np.abs(stored.repeat(3, 2).repeat(3, 3) - truth).mean()
    assert np.abs(found.values - truth).mean() < flat / 3


def test_days_that_cannot_be_predicted_are_refused_with_the_reason() -> None:
    scene = with_clear_shares(_thermal((9, 9), 0))
    refused = {r.day: r.reason for r in job_of(scene, days(4, 6)).plan.refused}
    assert refused == {days(6)[0]: "dms needs a temperature image of the day, there is none"}
    cloudy = replace(scene["fine"], items=tuple(replace(i, clear_share=0.1) for i in scene["fine"].items))
    made = methods.make("dms")
    place = replace(scene, cubes={**scene.cubes, "fine": cloudy})
    (refusal,) = made.plan(place, query_of(place, days(4), made.outputs(place))).refused
    assert refusal.reason == "dms needs a fine image with at most 50% masked, there is none"


def test_scenes_that_it_cannot_take_are_named() -> None:
    no_kelvin = Scene({"fine": cube("fine", (0,), (3, 3)), "coarse": cube("coarse", (0,), (3, 3), bands=["B04"])})
    with pytest.raises(InputError, match="needs thermal or coarse images with a band in kelvin"):
        methods.make("dms").outputs(no_kelvin)
    few_bands = Scene({"fine": cube("fine", (0,), (3, 3)), "coarse": cube("coarse", (0,), (3, 3))})
    with pytest.raises(MissingBandError):
        job_of(few_bands, days(0))
    with pytest.raises(InputError, match=r"pixel of 100 is not a whole number of the scene's cells of 30"):
        job_of(_thermal((6, 6), 0), days(4), resolution=100)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.tree", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sitsfusion\[classical\]'"):
        fit_forest(np.ones((20, 1)), np.ones(20), np.ones(20), TreeRules(2), (0,))
