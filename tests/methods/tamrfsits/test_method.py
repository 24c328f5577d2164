"""TAMRFSITS behind the method protocol: what the user's images become, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from sitsfusion import Cube, Resources, Scene, Wanted, fuse, plan
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.errors import GridError, InputError, MissingBandError
from sitsfusion.methods.tamrfsits.compensation import MARGIN
from sitsfusion.ops.mtf import degrade, psf_taps
from sitsfusion.simulate import simulate_scene
from tests.fake.weights import seeded_weights

DAYS = "2022-03-10,2022-07-20"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(seeded_weights(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def scene() -> Scene:
    """60 x 75 pixels, few dates, stored as products store them."""
    made = simulate_scene((60, 75), seed=5).scene
    return made.select({"fine": made["fine"].dates[::6], "coarse": made["coarse"].dates[::5]})


def values(scene: Scene, weights: str, days: str = DAYS, tile: int | None = None, **options: object) -> dict:
    found = fuse(scene, days, "tamrfsits", weights=weights, resources=Resources(tile=tile), **options)
    return {role: cube.to_numpy()[0] for role, cube in found.cubes.items()}


@pytest.mark.parametrize("compensation", [False, True])
def test_tiles_do_not_matter(scene: Scene, weights: str, compensation: bool) -> None:
    day = scene["coarse"].dates[2].isoformat()
    whole = values(scene, weights, f"{DAYS},{day}", residual_compensation=compensation)
    tiled = values(scene, weights, f"{DAYS},{day}", tile=48, residual_compensation=compensation)
    for role, expected in whole.items():
        np.testing.assert_allclose(tiled[role], expected, rtol=1e-5, atol=1e-5)
    assert whole["fine"].shape == (3, 10, 60, 75)
    assert whole["coarse"].shape == (3, 8, 60, 75)
    assert 200 < whole["coarse"][:, 7].mean() < 400  # kelvin


def test_compensated_prediction_agrees_with_the_coarse_image(scene: Scene, weights: str) -> None:
    """Blurred and brought to 30 m, it shows what the sensor saw, better than without; cloudy pixels are untouched."""
    cube = scene["coarse"]
    t = max(range(len(cube)), key=lambda i: cube.frame(i).valid.mean())
    day = cube.dates[t].isoformat()
    plain = values(scene, weights, day)["coarse"][0]
    better = values(scene, weights, day, residual_compensation=True)["coarse"][0]
    taps = psf_taps(10.0, [30.0] * 7 + [90.0], [0.3] * 7 + [0.2], half_width=MARGIN)
    seen, frame = {}, cube.frame(t)
    for name, image in (("plain", plain), ("better", better)):
        seen[name] = degrade(torch.from_numpy(image), taps, 3).numpy()
    errors = {name: np.abs(image - frame.values)[:7, frame.valid].mean() for name, image in seen.items()}
    assert errors["better"] < 0.5 * errors["plain"]
    cloudy = ~frame.valid.repeat(3, 0).repeat(3, 1)
    assert cloudy.any() or frame.valid.all()
    np.testing.assert_array_equal(better[:, cloudy], plain[:, cloudy])


def test_temperature_may_come_as_a_role_of_its_own(scene: Scene, weights: str) -> None:
    coarse = scene["coarse"]
    apart = Scene(
        {
            "fine": scene["fine"],
            "coarse": coarse.select(bands=[k for k in coarse.bands if k != "LST"]),
            "thermal": coarse.select(bands=["LST"]),
        }
    )
    together, joined = values(scene, weights), values(apart, weights)
    assert set(joined) == {"fine", "coarse"}
    for role, expected in together.items():
        np.testing.assert_allclose(joined[role], expected, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def anchored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights that do not see clouds and are compensated in time."""
    keys = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "LST")
    how = {"decay_days": 3.0, "noise": 1e-3}
    folder = tmp_path_factory.mktemp("anchored")
    return str(seeded_weights(folder, optional=keys, cloudy="hidden", compensation=how))


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, which distrust what looks like a missed cloud, and know the season."""
    how = {"decay_days": 20.0, "noise": 0.2}
    folder = tmp_path_factory.mktemp("wary")
    said = {"cloudy": "hidden", "compensation": how, "missed_clouds": 1.0, "day_origin": "local_year"}
    return str(seeded_weights(folder, **said))


def test_day_0_may_be_the_local_new_year(scene: Scene, wary: str) -> None:
    found = fuse(scene, "2022-07-20", "tamrfsits", weights=wary)
    assert found.provenance["day_origin"] == "2022-01-01"


def test_missed_clouds_are_distrusted_whatever_is_asked_for(scene: Scene, wary: str, anchored: str) -> None:
    """A bright patch that its mask calls clear; near infrared alone must come out as it does with all bands."""
    fine, t = scene["fine"], 3
    numbers, valid = fine.to_numpy()
    valid[:, 20:40, 20:40] = True
    clear = numbers.copy()
    clear[:, :, 20:40, 20:40] = 0.1
    cloudy = clear.copy()
    cloudy[t, :, 20:40, 20:40] = 0.7
    shared = {"sensor": fine.sensor, "bands": fine.bands, "grid": fine.grid, "dates": fine.dates, "valid": valid}
    scenes = [Scene({"fine": Cube.from_array(v, **shared), "coarse": scene["coarse"]}) for v in (clear, cloudy)]
    day = fine.dates[t].isoformat()
    change = {}
    for name, used in (("wary", wary), ("trusting", anchored)):
        one, other = (values(made, used, day)["fine"][0, :, 25:35, 25:35] for made in scenes)
        change[name] = np.abs(other - one)[:4].mean()
    assert change["wary"] < 0.5 * change["trusting"]
    wanted = Wanted(bands={"fine": ["B08"]})
    alone = fuse(scenes[1], day, "tamrfsits", weights=wary, wanted=wanted)["fine"].to_numpy()[0][0, 0]
    np.testing.assert_allclose(alone, values(scenes[1], wary, day)["fine"][0, fine.bands.index("B08")], atol=1e-5)


def test_tiles_do_not_matter_where_clouds_are_distrusted(scene: Scene, wary: str) -> None:
    whole, tiled = values(scene, wary), values(scene, wary, tile=48)
    for role, expected in whole.items():
        np.testing.assert_allclose(tiled[role], expected, rtol=1e-5, atol=2e-5)


def test_tiles_do_not_matter_with_compensation_in_time(scene: Scene, anchored: str) -> None:
    whole, tiled = values(scene, anchored), values(scene, anchored, tile=48)
    for role, expected in whole.items():
        np.testing.assert_allclose(tiled[role], expected, rtol=1e-5, atol=2e-5)


def test_compensation_in_time_agrees_with_clear_images_and_knows_no_cloud(scene: Scene, anchored: str) -> None:
    fine = scene["fine"]
    t = max(range(len(fine)), key=lambda i: fine.frame(i).valid.mean())
    frame, day = fine.frame(t), fine.dates[t].isoformat()
    found = values(scene, anchored, day)["fine"][0]
    plain = values(scene, anchored, day, temporal_compensation=False)["fine"][0]
    sharp = [fine.bands.index(key) for key in ("B02", "B03", "B04", "B08")]  # not blurred by their optics
    errors = [np.abs(v - frame.values)[sharp][:, frame.valid].mean() for v in (found, plain)]
    assert errors[0] < 0.02 < errors[1]
    numbers, valid = fine.to_numpy()
    numbers[:, :][~valid[:, None].repeat(10, 1)] = 0.9
    shared = {"sensor": fine.sensor, "bands": fine.bands, "grid": fine.grid, "dates": fine.dates}
    other = Scene({"fine": Cube.from_array(numbers, **shared, valid=valid), "coarse": scene["coarse"]})
    np.testing.assert_allclose(values(other, anchored, day)["fine"][0], found, atol=1e-6)


def test_what_no_image_showed_clear_is_not_guessed(scene: Scene, anchored: str) -> None:
    def darkened(cube: Cube, corner: int) -> Cube:
        numbers, valid = cube.to_numpy()
        valid[:, :corner, :corner] = False
        shared = {"sensor": cube.sensor, "bands": cube.bands, "grid": cube.grid, "dates": cube.dates}
        return Cube.from_array(numbers, **shared, valid=valid)

    place = Scene({"fine": darkened(scene["fine"], 12), "coarse": darkened(scene["coarse"], 2)})
    found = fuse(place, DAYS, "tamrfsits", weights=anchored, min_clear_share=1e-6)
    for cube in found.cubes.values():
        numbers, valid = cube.to_numpy()
        assert np.isnan(numbers[:, :, :6, :6]).all()
        assert not valid[:, :6, :6].any()
        assert valid[:, 6:12, 6:12].any()  # seen by the coarse sensor


def test_compensation_may_be_asked_of_weights_without(scene: Scene, weights: str) -> None:
    plain, asked = values(scene, weights), values(scene, weights, temporal_compensation=True)
    assert all(np.abs(plain[role] - asked[role]).max() > 1e-3 for role in plain)


def test_temperature_alone_beside_sentinel2(scene: Scene, weights: str, anchored: str) -> None:
    """Weights that can do without Landsat reflectance take temperature of its own days."""
    thermal = scene["coarse"].select(bands=["LST"])
    place = Scene({"fine": scene["fine"], "thermal": thermal})
    found = values(place, anchored)
    assert {role: v.shape[1] for role, v in found.items()} == {"fine": 10, "coarse": 8}
    assert all(np.isfinite(v).all() for v in found.values())
    hotter = Cube.from_array(
        thermal.to_numpy()[0] + 5, sensor=thermal.sensor, bands=["LST"], grid=thermal.grid, dates=thermal.dates,
        valid=thermal.to_numpy()[1],
    )  # fmt: skip
    day = max(thermal.dates, key=lambda d: thermal.frame(thermal.dates.index(d)).valid.mean()).isoformat()
    warmed = values(Scene({"fine": scene["fine"], "thermal": hotter}), anchored, day)
    assert (warmed["coarse"][:, 7] - values(place, anchored, day)["coarse"][:, 7]).mean() > 2
    with pytest.raises(MissingBandError, match="B01"):
        values(place, weights)


def test_a_missing_band_is_refused_unless_the_weights_can_do_without(
    scene: Scene, weights: str, tmp_path: Path
) -> None:
    lacking = Scene({"fine": scene["fine"], "coarse": scene["coarse"].select(bands=["B02", "B03", "B04", "LST"])})
    with pytest.raises(MissingBandError, match="B01, B05, B06, B07"):
        values(lacking, weights)
    out = OutputSpec(tmp_path / "o")
    on_request = plan(lacking, DAYS, "tamrfsits", output=out, weights=weights, accept_missing=True)
    assert any("NOT trained" in note for note in on_request.plan.notes)
    robust = seeded_weights(tmp_path / "robust", optional=["B01", "B05", "B06", "B07"])
    assert np.isfinite(values(lacking, str(robust))["coarse"]).all()


def test_one_sensor_is_enough(scene: Scene, weights: str) -> None:
    fine = values(Scene({"fine": scene["fine"]}), weights)
    assert {role: v.shape[1:] for role, v in fine.items()} == {"fine": (10, 60, 75)}
    coarse = values(Scene({"coarse": scene["coarse"]}), weights)
    assert {role: v.shape[1:] for role, v in coarse.items()} == {"coarse": (8, 60, 75)}


def test_what_was_never_observed_is_filled_not_nan(scene: Scene, weights: str) -> None:
    numbers, valid = scene["fine"].to_numpy()
    numbers[0, :, :20] = np.nan
    holed = Cube.from_array(
        numbers, sensor=scene["fine"].sensor, bands=scene["fine"].bands, grid=scene["fine"].grid,
        dates=scene["fine"].dates, valid=valid,
    )  # fmt: skip
    assert np.isfinite(values(Scene({"fine": holed, "coarse": scene["coarse"]}), weights)["fine"]).all()


def test_masks_do_not_change_predictions(scene: Scene, weights: str) -> None:
    """But a date that is nearly all masked is left out, as in training."""
    fine = scene["fine"]
    numbers, _ = fine.to_numpy()
    shared = {"sensor": fine.sensor, "bands": fine.bands, "grid": fine.grid, "dates": fine.dates}
    rng = np.random.default_rng(0)
    speckled = rng.random((len(fine), *fine.shape[2:])) < 0.6
    clear = Cube.from_array(numbers, **shared)
    masked = Cube.from_array(numbers, **shared, valid=speckled)
    first, second = (values(Scene({"fine": c, "coarse": scene["coarse"]}), weights) for c in (clear, masked))
    np.testing.assert_array_equal(first["fine"], second["fine"])
    speckled[3] = False
    hidden = Scene({"fine": Cube.from_array(numbers, **shared, valid=speckled), "coarse": scene["coarse"]})
    assert np.abs(values(hidden, weights)["fine"] - first["fine"]).max() > 1e-4


def test_days_count_from_the_rule_of_the_weights(scene: Scene, weights: str, tmp_path: Path) -> None:
    def origin(place: Scene, reference: str) -> date:
        job = plan(place, DAYS, "tamrfsits", output=OutputSpec(tmp_path / "o"), weights=reference)
        return job.scene.day_origin

    usable = [d for d, i in zip(scene["fine"].dates, scene["fine"].items, strict=True) if (i.clear_share or 0) >= 0.25]
    assert origin(scene, weights) == usable[0]
    fixed = str(seeded_weights(tmp_path / "fixed", day_origin="2022-01-01"))
    assert origin(scene, fixed) == date(2022, 1, 1)
    given = Scene(scene.cubes, origin=date(2021, 12, 1))
    assert origin(given, fixed) == date(2021, 12, 1)
    early, late = values(scene, fixed), values(given, fixed)
    assert np.abs(early["fine"] - late["fine"]).max() > 1e-4


def test_long_series_are_taken_in_blocks_and_far_dates_are_refused(scene: Scene, weights: str, tmp_path: Path) -> None:
    job = plan(
        scene, "2022-01-05/2022-12-20/15d,2030-01-01", "tamrfsits", output=OutputSpec(tmp_path / "o"),
        weights=weights, max_dates=8, window_days=120,
    )  # fmt: skip
    assert len(job.plan.steps) > 3
    assert all(sum(map(len, step.inputs.values())) <= 8 for step in job.plan.steps)
    assert {r.day for r in job.plan.refused} == {date(2030, 1, 1)}
    assert "within 120 days" in job.plan.refused[0].reason


def test_grids_that_do_not_fit_the_network(scene: Scene, weights: str) -> None:
    fine = scene["fine"]
    one_pixel = scene["coarse"].to_numpy()[0][:1, :, :1, :1]
    wrong = Cube.from_array(
        one_pixel.repeat(60, 2).repeat(75, 3), sensor=scene["coarse"].sensor, bands=scene["coarse"].bands,
        grid=fine.grid, dates=[fine.dates[0]],
    )  # fmt: skip
    with pytest.raises(GridError, match="3 times larger"):
        values(Scene({"fine": fine, "coarse": wrong}), weights)
    with pytest.raises(GridError, match="pixels of 10"):
        fuse(scene, DAYS, "tamrfsits", weights=weights, wanted=_resolution(30.0))


def test_unknown_weights_say_what_to_do(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITSFUSION_HOME", str(tmp_path))
    with pytest.raises(InputError, match="sitsfusion fetch tamrfsits-v2"):
        fuse(scene, DAYS, "tamrfsits", weights="tamrfsits-v2")


def test_provenance_names_the_weights(scene: Scene, weights: str) -> None:
    found = fuse(scene, "2022-07-20", "tamrfsits", weights=weights)
    assert found.provenance["weights"] == "seeded-0"
    assert len(found.provenance["weights_sha256"]) == 64


def test_bfloat16_is_close(scene: Scene, weights: str) -> None:
    exact = values(scene, weights)
    low = fuse(scene, DAYS, "tamrfsits", weights=weights, resources=Resources(dtype="bfloat16"))
    for role, expected in exact.items():
        difference = np.abs(low[role].to_numpy()[0] - expected)
        assert difference.max() > 0
        assert difference.mean() < 0.02 * (expected.max() - expected.min())


def _resolution(pixel: float) -> Wanted:
    return Wanted(resolution=pixel)


def test_far_origin_is_legal(scene: Scene, weights: str) -> None:
    """Days may be negative or beyond a year."""
    shifted = Scene(scene.cubes, origin=scene["fine"].dates[0] + timedelta(days=500))
    assert np.isfinite(values(shifted, weights)["fine"]).all()
