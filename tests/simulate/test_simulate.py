from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.sensors import get
from sitsfusion.simulate import Simulated, simulate_scene, write_geotiffs
from sitsfusion.simulate.clouds import Clouds, make_clouds, sky_of
from sitsfusion.simulate.landscape import Cover, make_landscape
from sitsfusion.simulate.noise import periodic_field, stream
from sitsfusion.simulate.sensors import INSTRUMENTS, LANDSAT, SENTINEL2
from sitsfusion.simulate.sun import Sun, sun_at
from sitsfusion.simulate.weather import Weather
from sitsfusion.simulate.world import World

ROLES = ("fine", "coarse")
JANUARY, JUNE, JULY = date(2022, 1, 20), date(2022, 6, 15), date(2022, 7, 15)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cloudy() -> Simulated:
    return simulate_scene(90, seed=5)


@pytest.fixture(scope="module")
def clear() -> Simulated:
    return simulate_scene((60, 72), seed=5, cloudiness=0)


def ndvi(values: np.ndarray) -> np.ndarray:
    """Of the fine role's bands [..., c, h, w]."""
    nir, red = values[..., 6, :, :], values[..., 2, :, :]
    return (nir - red) / (nir + red)


# -- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    one, two, other = (simulate_scene(30, seed=seed) for seed in (7, 7, 8))
    for role in ROLES:
        assert one.scene[role].dates == two.scene[role].dates
        assert one.scene[role].items == two.scene[role].items
        np.testing.assert_array_equal(one.quality[role], two.quality[role])
        for t in range(len(one.scene[role])):
            np.testing.assert_array_equal(one.scene[role].stored(t).values, two.scene[role].stored(t).values)
            np.testing.assert_array_equal(one.scene[role].stored(t).clear, two.scene[role].stored(t).clear)
    assert not np.array_equal(one.scene["fine"].stored(0).values, other.scene["fine"].stored(0).values)
    assert not np.array_equal(one.truth("fine", [JUNE]), other.truth("fine", [JUNE]))


def test_truth_of_a_date_does_not_depend_on_other_dates_or_on_the_clouds(clear: Simulated) -> None:
    fresh = simulate_scene((60, 72), seed=5, cloudiness=0.9)
    for role in ROLES:
        together = clear.truth(role, [date(2023, 3, 1), JUNE, date(2021, 12, 31), JUNE])
        np.testing.assert_array_equal(together[1], fresh.truth(role, [JUNE])[0])
        np.testing.assert_array_equal(together[1], together[3])
        assert together.dtype == np.float32
        assert together.shape == (4, len(clear.scene[role].bands), 60, 72)


def test_streams_of_different_purposes_differ() -> None:
    draws = {stream(*key).integers(2**62) for key in ((1, "a"), (1, "b"), (2, "a"), (1, "a", 2), (1, "a", 3))}
    assert len(draws) == 5
    assert stream(1, "a", 2).integers(2**62) in draws


# -- what a scene is made of ------------------------------------------------------------------------------------------


def test_a_scene_has_both_sensors_on_nested_grids(cloudy: Simulated) -> None:
    fine, coarse = cloudy.scene["fine"], cloudy.scene["coarse"]
    assert (fine.sensor.name, coarse.sensor.name) == ("sentinel-2-l2a", "landsat-8-9-c2-l2")
    assert fine.bands == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    assert coarse.bands == ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "LST")
    assert fine.native == (1, 1, 1, 2, 2, 2, 1, 2, 2, 2)
    assert coarse.native == (1, 1, 1, 1, 1, 1, 1, 3)
    assert str(cloudy.scene.cells.crs) == "EPSG:32631"
    assert (cloudy.scene.per_cell("fine"), cloudy.scene.per_cell("coarse")) == (3, 1)
    assert fine.grid.affine.c % 30 == 0
    assert fine.grid.affine.f % 30 == 0


@pytest.mark.parametrize(("role", "step", "count"), [("fine", 5, (73,)), ("coarse", 8, (45, 46))])
def test_satellites_take_turns_at_their_revisit(role: str, step: int, count: tuple[int, ...]) -> None:
    orbits, platforms = World().sensing(role).orbits, tuple(INSTRUMENTS[role].platforms)
    found = orbits.passes(role, 2022, 1, platforms)
    assert len(found) in count
    assert all(b[0] - a[0] == timedelta(step) and a[1] != b[1] for a, b in pairwise(found))
    assert found[0][0].year == found[-1][0].year == 2022
    assert found[-1][0] + timedelta(step) >= date(2023, 1, 1)
    assert orbits.passes(role, 2024, 1, platforms)[-1][0] + timedelta(step) >= date(2025, 1, 1)


def test_items_know_the_acquisition(cloudy: Simulated) -> None:
    for role in ROLES:
        cube = cloudy.scene[role]
        for t, (item, day) in enumerate(zip(cube.items, cube.dates, strict=True)):
            assert item.time is not None
            assert item.time.date() == day
            assert item.platform in INSTRUMENTS[role].platforms.values()
            assert item.clear_share == pytest.approx(cube.frame(t).valid.mean())
            assert item.sun_zenith is not None
            assert 20 < item.sun_zenith < 80
    assert cloudy.scene["fine"].items[0].baseline == "05.10"


# zenith and azimuth that ESA gives for tile 31UES (metadata of real products, means over the tile)
@pytest.mark.parametrize(
    ("moment", "zenith", "azimuth"),
    [
        ("2017-08-04T10:53:28", 35.87, 155.19),
        ("2017-12-20T11:04:40", 74.95, 170.15),
        ("2018-04-19T11:01:27", 40.67, 163.79),
        ("2018-09-21T10:57:29", 50.93, 168.12),
    ],
)
def test_the_sun_is_where_product_metadata_say(moment: str, zenith: float, azimuth: float) -> None:
    sun = sun_at(datetime.fromisoformat(moment), 50.81, 3.02)
    assert sun.zenith == pytest.approx(zenith, abs=1.0)
    assert sun.azimuth == pytest.approx(azimuth, abs=2.5)


@given(st.integers(4, 24), st.integers(4, 24), st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_every_pixel_of_a_landscape_is_shared_out(rows: int, cols: int, seed: int) -> None:
    land = make_landscape((3 * rows, 3 * cols), seed)
    shares = land.cover_shares()
    assert shares.shape == (len(Cover), 3 * rows, 3 * cols)
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-6)
    assert sum(land.ranks) == land.share.size
    assert np.unique(land.pixel).size == land.elevation.size


def test_parcels_are_fields_with_pure_insides_and_mixed_edges() -> None:
    land = make_landscape((150, 150), 3)
    inside = land.share[: land.ranks[0]]  # of the largest fragment in each pixel
    assert 0.5 < (inside == 1).mean() < 0.95
    of_field = np.bincount(land.parcel, land.share)[land.cover == Cover.FIELD] / 100  # ha
    large = of_field[of_field > 0.1]
    assert 0.5 < np.median(large) < 5
    shares = land.cover_shares().mean((1, 2))
    assert shares[Cover.FIELD] > 0.3
    assert all(shares[c] > 0.003 for c in (Cover.WATER, Cover.ROAD, Cover.MEADOW, Cover.BROADLEAF))


# -- the truth --------------------------------------------------------------------------------------------------------


def test_truth_is_plausible_on_any_day(clear: Simulated) -> None:
    days = [date(2022, 1, 1) + timedelta(30 * i) for i in range(14)]
    for role in ROLES:
        values = clear.truth(role, days)
        assert np.isfinite(values).all()
        reflectance = values if role == "fine" else values[:, :-1]
        assert reflectance.min() > -0.005
        assert reflectance.max() < 0.9
        if role == "coarse":
            assert values[:, -1].min() > 255
            assert values[:, -1].max() < 330


def test_vegetation_follows_the_season(clear: Simulated) -> None:
    truth = clear.truth("fine", [JANUARY, JUNE])
    winter, summer = ndvi(truth)
    shares = clear.place.surface.landscape.cover_shares()
    woods = shares[Cover.BROADLEAF] > 0.9
    wet = np.pad(shares[Cover.WATER] == 1, 1, mode="edge")
    water = np.lib.stride_tricks.sliding_window_view(wet, (3, 3)).all((2, 3))  # borders also show what is beside them
    assert water.any()
    assert truth[1, 6].mean() > truth[0, 6].mean() + 0.05  # near infrared
    assert summer[woods].mean() > winter[woods].mean() + 0.2
    assert summer[water].max() < 0.1


def test_farming_makes_jumps_where_woods_change_slowly(clear: Simulated) -> None:
    days = [date(2022, 6, 20) + timedelta(5 * i) for i in range(12)]
    series = ndvi(clear.truth("fine", days))  # [t, h, w]
    red = clear.truth("fine", days)[:, 2]
    shares = clear.place.surface.landscape.cover_shares()
    fields, woods = shares[Cover.FIELD] == 1, shares[Cover.BROADLEAF] == 1
    jump = np.abs(np.diff(red, axis=0)).max(0)
    assert (jump[fields] > 0.02).mean() > 0.1
    assert np.abs(np.diff(series, axis=0))[:, woods].max() < 0.12
    edges = jump[fields].std()
    assert edges > 3 * jump[woods].std()


def test_crops_change_from_year_to_year(clear: Simulated) -> None:
    days = [JUNE, date(2023, 6, 15)]
    one, two = ndvi(clear.truth("fine", days))
    fields = clear.place.surface.landscape.cover_shares()[Cover.FIELD] == 1
    assert np.corrcoef(one[fields], two[fields])[0, 1] < 0.8
    old, new = clear.truth("fine", [date(2022, 12, 31), date(2023, 1, 1)])
    assert np.abs(old - new).mean() < 0.003  # the turn of the year is not a seam


def test_temperature_follows_season_and_vegetation(clear: Simulated) -> None:
    coarse = clear.truth("coarse", [JANUARY, JULY])
    winter, summer = coarse[:, -1]
    assert summer.mean() > winter.mean() + 8
    land = clear.place.surface.landscape.cover_shares()[Cover.WATER] < 0.05
    nir, red = coarse[1, 4], coarse[1, 3]
    vegetation = (nir - red) / (nir + red)
    assert np.corrcoef(vegetation[land], summer[land])[0, 1] < -0.5
    assert 1 < summer[land].std() < 6
    assert winter.std() < summer.std()


def test_landsat_sees_the_surface_through_another_response() -> None:
    same = {band: np.full((3, 3), 0.1, np.float32) for band in (*SENTINEL2.sources, "B01")}
    fine = dict(zip(SENTINEL2.responses, SENTINEL2.respond(same), strict=True))
    coarse = dict(zip(LANDSAT.responses, LANDSAT.respond(same), strict=True))
    assert fine["B04"][0, 0] == pytest.approx(0.1)
    assert coarse["B02"][0, 0] == pytest.approx(0.9778 * 0.1 - 0.004, abs=1e-6)
    assert coarse["B05"][0, 0] == pytest.approx(0.9983 * 0.1 - 0.0001, abs=1e-6)


# -- the sensors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_clear_image_is_the_degraded_truth_and_noise(clear: Simulated, role: str) -> None:
    cube, what = clear.scene[role], INSTRUMENTS[role]
    for t in range(0, len(cube), 9):
        expected = what.observe(clear.truth(role, [cube.dates[t]])[0])
        found = cube.frame(t).values
        sigma = np.sqrt((what.noise(expected, list(range(len(cube.bands)))) ** 2).mean((1, 2)))
        for b, key in enumerate(cube.bands):
            gain, offset = np.polyfit(expected[b].ravel(), found[b].ravel(), 1)
            rest = (found[b] - gain * expected[b] - offset).std()
            # interpolated bands have less noise; rounding adds next to nothing
            assert 0.3 * sigma[b] < rest < 1.2 * sigma[b], key
            # what is left of the atmosphere, one number per image
            bias = abs((found[b] - expected[b]).mean())
            assert bias < (2.0 if key == "LST" else 0.012 + 0.025 * expected[b].mean()), key


def test_optics_keep_means_and_blur_the_coarse_bands(clear: Simulated) -> None:
    for what in (SENTINEL2, LANDSAT):
        flat = np.full((len(what.bands), 33, 45), 0.25, np.float32)
        seen = what.observe(flat)
        assert seen.shape == (len(what.bands), 33 // what.step, 45 // what.step)
        np.testing.assert_allclose(seen, 0.25, rtol=1e-5)
    truth = clear.truth("fine", [JUNE])[0]
    seen = SENTINEL2.observe(truth)
    np.testing.assert_array_equal(seen[[0, 1, 2, 6]], truth[[0, 1, 2, 6]])  # 10 m bands
    assert (np.abs(np.diff(seen[7], axis=1)).mean() < 0.8 * np.abs(np.diff(truth[7], axis=1)).mean()).all()


@pytest.mark.parametrize("role", ROLES)
def test_numbers_are_stored_as_the_products_store_them(cloudy: Simulated, role: str) -> None:
    cube = cloudy.scene[role]
    stored = [cube.stored(t) for t in range(len(cube))]
    assert all(s.values.dtype == np.uint16 for s in stored)
    assert all(s.values.min() > 0 for s in stored)  # 0 is nodata: everything was observed
    assert stored[0].encodings == get(cube.sensor.name).stored(cube.bands, cube.items[0].baseline)
    if role == "fine":
        assert stored[0].encodings[0].offset == pytest.approx(-0.1)  # baseline 04.00 and later
    plausible = np.array([band.plausible for band in cube.band_info()])
    for t in range(len(cube)):
        frame = cube.frame(t)
        assert np.isfinite(frame.values).all()
        seen = frame.values[:, frame.valid]
        assert (seen >= plausible[:, :1]).all()
        assert (seen <= plausible[:, 1:]).all()


def test_what_does_not_fit_the_numbers_is_saturated() -> None:
    extremes = np.stack([np.full((2, 2), v, np.float32) for v in ([-3.0, 99.0] * 5)])
    decoded = [e.decode(v) for e, v in zip(SENTINEL2.encodings, SENTINEL2.encode(extremes), strict=True)]
    assert np.isfinite(decoded).all()
    assert np.max(decoded) == pytest.approx(SENTINEL2.encodings[0].limits()[1], rel=1e-4)


# -- the sky ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_cloudiness_is_the_mean_cover(wanted: float) -> None:
    covers = [Weather(4).cover(date(2020, 1, 1) + timedelta(i), wanted) for i in range(0, 1400, 4)]
    assert np.mean(covers) == pytest.approx(wanted, abs=0.08)
    assert min(covers) >= 0
    assert max(covers) <= 1


def test_a_clear_year_has_no_clouds_and_an_overcast_one_no_view(clear: Simulated) -> None:
    assert np.mean([item.clear_share for item in clear.scene["fine"].items]) > 0.97
    sky = clear.sky("fine", clear.scene["fine"].dates[3])
    assert max(sky.opacity.max(), sky.shadow.max(), sky.cirrus.max()) == 0
    field = make_clouds(stream(1, "overcast"), (60, 60), 1.0)
    assert field.opacity((60, 60)).min() > 0.9


def test_clouds_cover_what_is_asked_and_have_soft_edges() -> None:
    clouds = make_clouds(stream(2, "clouds"), (256, 256), 0.4)
    opacity = clouds.opacity((512, 512))  # the whole field, of which a scene sees a part
    assert (opacity > 0).mean() == pytest.approx(0.4, abs=0.01)
    assert ((opacity > 0.05) & (opacity < 0.95)).sum() > 0.15 * (opacity > 0.05).sum()


def test_shadows_fall_away_from_the_sun_by_height_times_tangent() -> None:
    field = periodic_field(stream(3, "field"), 256, 20.0, 600.0, 1.8)
    clouds = Clouds(field, 0.5, np.zeros((1, 1), np.float32), 1.0, height=600.0)
    south = sky_of(clouds, (120, 120), Sun(45, 180), 290.0)  # the sun in the south, shadows 600 m to the north
    np.testing.assert_allclose(south.shadow[:60], south.opacity[60:], atol=1e-5)
    east = sky_of(clouds, (120, 120), Sun(45, 90), 290.0)
    np.testing.assert_allclose(east.shadow[:, :60], east.opacity[:, 60:], atol=1e-5)
    assert Sun(60, 180).shift(100)[0] == pytest.approx(-173.2, abs=0.1)


@pytest.mark.parametrize("role", ROLES)
def test_masks_are_mostly_right_but_not_always(cloudy: Simulated, role: str) -> None:
    cube, step = cloudy.scene[role], INSTRUMENTS[role].step
    hidden, shaded, open_, valid = [], [], [], []
    for t, day in enumerate(cube.dates):
        sky = cloudy.sky(role, day)
        centre = (slice(step // 2, None, step),) * 2
        hidden.append((np.maximum(sky.opacity, sky.cirrus * 3) > 0.5)[centre])
        shaded.append((sky.shadow > 0.8)[centre])
        open_.append((np.maximum(np.maximum(sky.opacity, sky.cirrus), sky.shadow) < 0.02)[centre])
        valid.append(cube.frame(t).valid)
    cloud, shadow, visible, usable = (np.stack(x) for x in (hidden, shaded, open_, valid))
    assert 0.2 < cloud.mean() < 0.8
    assert usable[cloud].mean() < 0.05  # clouds missed
    assert 0.0 < usable[~cloud & shadow].mean() < 0.5  # shadows missed
    assert 0.75 < usable[visible].mean() < 1  # QA_PIXEL flags a margin around clouds too


def test_clouds_are_bright_and_cold_and_shadows_dark(cloudy: Simulated) -> None:
    cube = cloudy.scene["coarse"]
    t = int(np.argmin([item.clear_share or 0.0 for item in cube.items]))
    truth = LANDSAT.observe(cloudy.truth("coarse", [cube.dates[t]])[0])
    seen = cube.frame(t).values
    assert np.median(seen[1] - truth[1]) > 0.2
    assert np.median(seen[7] - truth[7]) < -5
    sky = cloudy.sky("fine", JULY)
    surface = {"B04": np.full(sky.shadow.shape, 0.2, np.float32)}
    dark = sky.over_reflectance(surface)["B04"][(sky.shadow > 0.9) & (sky.opacity + sky.cirrus < 0.01)]
    assert (dark < 0.1).all()


# -- edges ------------------------------------------------------------------------------------------------------------


def test_any_multiple_of_30_metres() -> None:
    made = simulate_scene((15, 33), seed=2)  # an odd number of pixels: 20 m and 90 m pixels reach beyond
    assert made.scene["fine"].shape[2:] == (15, 33)
    assert made.scene["coarse"].shape[2:] == (5, 11)
    assert made.quality["fine"].shape[1:] == (8, 17)
    assert made.scene["fine"].to_numpy()[0].shape[0] == 73


@pytest.mark.parametrize(
    "wrong", [{"size": 100}, {"size": 9}, {"size": (60, 61)}, {"seed": -1}, {"cloudiness": 1.5}, {"year": 0}]
)
def test_impossible_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"size|seed|cloudiness|year"):
        simulate_scene(**{"size": 30, **wrong})  # type: ignore[arg-type]


def test_only_the_two_roles_have_a_truth(clear: Simulated) -> None:
    with pytest.raises(InputError, match="'thermal' is not simulated"):
        clear.truth("thermal", [JUNE])


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_hold_the_scene(clear: Simulated, tmp_path: Path) -> None:
    write_geotiffs(clear, tmp_path, truth=[JUNE])
    fine, coarse = clear.scene["fine"], clear.scene["coarse"]
    assert len(list((tmp_path / "sentinel2").iterdir())) == 2 * len(fine)
    assert len(list((tmp_path / "landsat").iterdir())) == 9 * len(coarse)
    with rasterio.open(tmp_path / "sentinel2" / f"S2_{fine.dates[4]:%Y%m%d}.tif") as file:
        assert file.descriptions == fine.bands
        assert file.nodatavals == (0.0,) * 10
        assert (file.crs.to_epsg(), file.transform) == (32631, fine.grid.affine)
        assert file.tags()["PROCESSING_BASELINE"] == "05.10"
        decoded = file.read() * np.array(file.scales)[:, None, None] + np.array(file.offsets)[:, None, None]
    np.testing.assert_allclose(decoded, fine.frame(4).values, atol=1e-6)
    with rasterio.open(tmp_path / "sentinel2" / f"S2_{fine.dates[4]:%Y%m%d}_SCL.tif") as file:
        assert file.res == (20.0, 20.0)
        np.testing.assert_array_equal(file.read(1), clear.quality["fine"][4])
    with rasterio.open(tmp_path / "landsat" / f"{coarse.items[2].id}_ST_B10.tif") as file:
        assert file.descriptions == ("ST_B10",)
        kelvin = file.read(1) * file.scales[0] + file.offsets[0]
    np.testing.assert_allclose(kelvin, coarse.frame(2).values[-1], atol=1e-3)
    with rasterio.open(tmp_path / "landsat" / f"{coarse.items[2].id}_QA_PIXEL.tif") as file:
        rule = coarse.sensor.rule("QA_PIXEL")
        assert rule is not None
        np.testing.assert_array_equal(rule.clear(file.read(1)), coarse.frame(2).valid)
    with rasterio.open(tmp_path / "truth" / f"coarse_{JUNE:%Y%m%d}.tif") as file:
        np.testing.assert_array_equal(file.read(), clear.truth("coarse", [JUNE])[0])
