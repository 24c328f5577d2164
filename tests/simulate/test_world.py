from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
import torch

from sitsfusion.simulate import World, simulate_place, simulate_scene
from sitsfusion.simulate.acquire import Place
from sitsfusion.simulate.atmosphere import Atmosphere
from sitsfusion.simulate.landscape import Cover, Landscape, LandUse, make_landscape
from sitsfusion.simulate.orbits import Orbits
from sitsfusion.simulate.phenology import Farming
from sitsfusion.simulate.quality import Detector
from sitsfusion.simulate.sensing import moved
from sitsfusion.simulate.sun import Sun
from sitsfusion.simulate.weather import Climate, Weather

ROLES = ("fine", "coarse")
JANUARY, JUNE = date(2022, 1, 20), date(2022, 6, 15)
COLD = Climate(coldest=-10, season=28, snowfall=1.0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def fine(**changes: object) -> World:
    """The temperate world with other Sentinel-2 images."""
    return replace(World(), fine=replace(World().fine, **changes))


def image(place: Place, day: date = JUNE, orbit: int = 0) -> np.ndarray:
    """Decoded Sentinel-2 image [c, h, w] of a day."""
    made = place.acquire("fine", day, "S2A", orbit)
    pairs = zip(place.instrument("fine").encodings, made.stored, strict=True)
    return np.stack([encoding.decode(band) for encoding, band in pairs])


def ndvi(values: np.ndarray) -> float:
    return float(((values[6] - values[2]) / (values[6] + values[2])).mean())


# -- random worlds ----------------------------------------------------------------------------------------------------


def test_thirty_random_places_are_possible_ones() -> None:
    worlds = [World.draw(seed) for seed in range(30)]
    for seed, world in enumerate(worlds):
        place = simulate_place(12, seed=seed, world=world)
        for day in (JANUARY, date(2022, 5, 1), date(2022, 8, 10)):
            for role in ROLES:
                values = place.truth(role, day)
                reflectance = values if role == "fine" else values[:-1]
                assert np.isfinite(values).all()
                assert reflectance.min() >= 0
                assert reflectance.max() <= 1.2
                if role == "coarse":
                    assert values[-1].min() > 230
                    assert values[-1].max() < 345
        for role in ROLES:
            assert len(place.passes(role, 2022)) > 12
            found = place.acquire(role, *place.passes(role, 2022)[3])
            assert found.clear.shape == found.stored.shape[1:]
        assert 0.2 <= world.sky.cloudiness <= 0.8
    assert 3 < sum(world.toa for world in worlds) < 15
    assert min(world.latitude for world in worlds) < 0 < max(world.latitude for world in worlds)
    assert max(w.land.field_size for w in worlds) > 10 * min(w.land.field_size for w in worlds)


def test_a_world_and_its_scene_follow_from_the_seed() -> None:
    assert World.draw(11) == World.draw(11)
    assert World.draw(11) != World.draw(12)
    one, two = (simulate_place(12, seed=3, world=World.draw(11)) for _ in range(2))
    for role in ROLES:
        assert one.passes(role, 2022) == two.passes(role, 2022)
        for image in one.passes(role, 2022)[::9]:
            here, there = one.acquire(role, *image), two.acquire(role, *image)
            assert here.item == there.item
            np.testing.assert_array_equal(here.stored, there.stored)
            np.testing.assert_array_equal(here.quality, there.quality)


def test_a_scene_of_a_random_place_is_a_scene() -> None:
    made = simulate_scene(12, seed=4, world=World.draw(8))
    assert made.scene["fine"].sensor.name == "sentinel-2-l1c"
    frame = made.scene["fine"].frame(5)
    assert (np.isnan(frame.values).any(0) <= ~frame.valid).all()
    assert made.truth("fine", [JUNE]).shape == (1, 10, 12, 12)


@pytest.mark.parametrize("seed", [2, 5])  # one with two orbits and snow, one at the top of the atmosphere
def test_truth_does_not_depend_on_the_sky_nor_on_what_else_was_asked(seed: int) -> None:
    world = World.draw(seed)
    one, other = (simulate_place(12, seed=1, world=world, cloudiness=cloudiness) for cloudiness in (0.1, 0.9))
    clean = replace(world, fine=World().fine, coarse=replace(World().coarse, responses=world.coarse.responses))
    third = simulate_place(12, seed=1, world=clean)
    other.acquire("fine", JANUARY, "S2A")
    other.truth("coarse", date(2021, 3, 1))
    for role in ROLES:
        np.testing.assert_array_equal(one.truth(role, JUNE), other.truth(role, JUNE))
        np.testing.assert_array_equal(one.truth(role, JUNE), third.truth(role, JUNE))


def test_the_default_is_the_temperate_world() -> None:
    assert simulate_place(12).world == World.temperate()
    assert simulate_place(12).cloudiness == 0.5
    grid = simulate_place(12).grid
    assert (str(grid.crs), grid.affine.c, grid.affine.f) == ("EPSG:32631", 502_200, 5_628_000)


def test_a_southern_place_has_its_grid_its_sun_and_its_seasons_there() -> None:
    farming, climate = Farming().moved(182, 1, 1), Climate(warmest=16)
    place = simulate_place(60, seed=5, world=World(latitude=-35, farming=farming, climate=climate))
    assert str(place.grid.crs) == "EPSG:32731"
    assert place.sun("fine", JANUARY).zenith < place.sun("fine", JUNE).zenith
    assert place.sun("fine", JUNE).azimuth > 270 or place.sun("fine", JUNE).azimuth < 90  # in the north
    december, july = (place.truth("fine", date(2022, month, 20)) for month in (12, 7))
    assert december[6].mean() > july[6].mean() + 0.05  # near infrared
    assert place.truth("coarse", JANUARY)[-1].mean() > place.truth("coarse", JUNE)[-1].mean() + 8


# -- the land ---------------------------------------------------------------------------------------------------------


def test_land_use_is_what_is_asked() -> None:
    land = make_landscape((150, 150), 1, LandUse(shares={Cover.CONIFER: 0.6, Cover.WATER: 0.2}))
    shares = land.cover_shares().mean((1, 2))
    assert shares[Cover.CONIFER] == pytest.approx(0.6, abs=0.12)
    assert shares[Cover.WATER] == pytest.approx(0.2, abs=0.08)
    assert shares[Cover.SAND] == 0


def test_parcels_have_the_size_and_the_form_asked_for() -> None:
    small, large = (make_landscape((90, 90), 2, LandUse(field_size=size)) for size in (0.5, 12))
    assert small.cover.size > 6 * large.cover.size
    compact, strips = (make_landscape((90, 90), 2, LandUse(shares={}, elongation=e, hedges=0)) for e in (1, 8))
    assert _borders(strips) > 1.2 * _borders(compact)


def _borders(land: Landscape) -> float:
    """Length of all borders for the number of parcels."""
    labels = land.parcel[: land.ranks[0]].reshape(land.shape)
    changes = (np.diff(labels, axis=0) != 0).sum() + (np.diff(labels, axis=1) != 0).sum()
    return float(changes / np.sqrt(np.unique(labels).size))


def test_hills_are_as_high_as_asked() -> None:
    flat, high = (make_landscape((90, 90), 3, LandUse(relief=relief)) for relief in (0.1, 5))
    np.testing.assert_allclose(high.elevation - 60, 50 * (flat.elevation - 60), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("kind", ["fallow", "perennial", "double"])
def test_farming_habits_change_the_year_of_the_fields(kind: str) -> None:
    def series(share: float) -> np.ndarray:
        usual = Farming()
        here = replace(usual, **{kind: share if kind == "double" else replace(getattr(usual, kind), share=share)})
        place = simulate_place(60, seed=4, world=World(farming=here, land=LandUse(shares={}, hedges=0)))
        return np.array([ndvi(place.truth("fine", date(2022, 1, 10) + timedelta(20 * i))) for i in range(18)])

    without, with_ = series(0.0), series(1.0)
    if kind == "fallow":
        assert with_.max() < without.max() - 0.15
    elif kind == "perennial":
        assert with_.min() > without.min() + 0.15
    else:  # the first crop ripens in June, the second stands in August
        assert with_[8] < without[8] - 0.1
        assert with_[11] > without[11] + 0.1


# -- snow -------------------------------------------------------------------------------------------------------------


def test_snow_falls_in_cold_winters_melts_and_whitens() -> None:
    cold = World(climate=COLD)
    winter = Weather(1, COLD)
    depth = np.array([winter.snow(date(2022, 1, 1) + timedelta(i)) for i in range(365)])
    assert depth[:40].max() > 5
    assert depth[150:250].max() == 0
    assert Weather(1, replace(COLD, snowfall=0.0)).snow(JANUARY) == 0
    snowy = date(2022, 1, 1) + timedelta(int(depth[:60].argmax()))
    white, bare = (
        simulate_place(30, seed=1, world=w) for w in (cold, replace(cold, climate=replace(COLD, snowfall=0.0)))
    )
    one, other = white.truth("fine", snowy), bare.truth("fine", snowy)
    assert one[1].mean() > other[1].mean() + 0.2  # green
    assert one[9].mean() < other[9].mean() + 0.05  # short-wave infrared stays dark
    np.testing.assert_array_equal(white.truth("fine", JUNE), bare.truth("fine", JUNE))
    assert white.truth("coarse", snowy)[-1].mean() <= bare.truth("coarse", snowy)[-1].mean() + 0.01


def test_snow_is_a_class_of_its_own_and_not_unusable() -> None:
    place = simulate_place(60, seed=1, cloudiness=0.0, world=World(climate=COLD))
    depth = [place.surface.weather.snow(date(2022, 1, 1) + timedelta(i)) for i in range(60)]
    snowy = date(2022, 1, 1) + timedelta(int(np.argmax(depth)))
    scl, qa = place.acquire("fine", snowy, "S2A"), place.acquire("coarse", snowy, "LC08")
    assert (scl.quality == 11).mean() > 0.4
    assert (qa.quality >> 5 & 1).mean() > 0.4
    snow = (scl.quality == 11).repeat(2, 0).repeat(2, 1)
    assert scl.clear[snow].all()
    assert not (place.acquire("fine", JUNE, "S2A").quality == 11).any()


# -- the images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("south", "east"), [(1.0, 0.0), (0.0, -2.0), (0.4, 0.0), (-1.3, 0.7)])
def test_an_image_is_moved_by_the_amount(south: float, east: float) -> None:
    rows, cols = np.mgrid[0:40, 0:50].astype(np.float32)

    def wave(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (np.sin(y / 3) + np.cos(x / 4) + 0.01 * x * y)[None]

    found = moved(wave(rows, cols), south, east)
    np.testing.assert_allclose(found[:, 5:-5, 5:-5], wave(rows - south, cols - east)[:, 5:-5, 5:-5], atol=0.01)


def test_misregistration_shifts_the_images_and_not_the_truth() -> None:
    quiet = {"haze": 0.0, "gain": 0.0, "noise": 0.0}
    place, true = (simulate_place(60, seed=2, cloudiness=0, world=fine(shift=s, **quiet)) for s in (6.0, 0.0))
    shifts = [place.shift("fine", JUNE + timedelta(i)) for i in range(200)]
    assert 10 * np.std(shifts) == pytest.approx(6.0, rel=0.15)
    np.testing.assert_array_equal(place.truth("fine", JUNE), true.truth("fine", JUNE))
    day = max((JUNE + timedelta(i) for i in range(20)), key=lambda d: np.abs(place.shift("fine", d)).max())
    expected = moved(true.truth("fine", day), *place.shift("fine", day))
    np.testing.assert_allclose(image(place, day)[:3], expected[:3], atol=2e-4)


def test_two_orbits_see_rough_land_differently_and_the_truth_between() -> None:
    quiet = {"haze": 0.0, "gain": 0.0, "noise": 0.0, "orbits": Orbits(5, overlap=2)}
    place = simulate_place(60, seed=2, cloudiness=0, world=fine(view=0.10, **quiet))
    east, west = image(place, orbit=0), image(place, orbit=1)
    np.testing.assert_allclose(
        (east + west) / 2, place.instrument("fine").observe(place.truth("fine", JUNE)), atol=2e-4
    )
    ratio = (east / west)[6]
    woods = place.surface.landscape.cover_shares()[Cover.BROADLEAF] > 0.9
    fields = place.surface.landscape.cover_shares()[Cover.FIELD] > 0.9
    assert 1.05 < ratio[fields].mean() < ratio[woods].mean() < 1.25
    days = {passed.orbit: passed.day.toordinal() % 5 for passed in place.passes("fine", 2022)}
    assert (days[1] - days[0]) % 5 == 2


def test_a_swath_that_ends_inside_leaves_nodata_that_is_not_valid() -> None:
    place = simulate_place(30, seed=2, world=fine(orbits=Orbits(5, overlap=2, edge=1.0)))
    outside: dict[int, np.ndarray] = {}
    for day, platform, orbit in place.passes("fine", 2022)[:8]:
        made = place.acquire("fine", day, platform, orbit)
        missing = (made.stored == 0).all(0)
        assert ((made.stored == 0).any(0) == missing).all()
        assert 0.05 < missing.mean() < 0.95
        assert not made.clear[missing].any()
        np.testing.assert_array_equal(missing, outside.setdefault(orbit, missing))
        assert (made.quality == 0).mean() == pytest.approx(missing.mean())
    assert not np.array_equal(outside[0], outside[1])
    torn = simulate_place(
        30, seed=2, world=replace(World(), coarse=replace(World().coarse, orbits=Orbits(8, torn=1.0)))
    )
    found = torn.acquire("coarse", JUNE, "LC08")
    assert ((found.stored == 0).all(0) == (found.quality == 1)).all()
    assert 0.05 < (found.quality == 1).mean() < 0.95


@pytest.mark.parametrize(("satellites", "revisit", "overlap", "counts"), [(1, 10, 0, {36, 37}), (2, 5, 2, {146})])
def test_calendars(satellites: int, revisit: int, overlap: int, counts: set[int]) -> None:
    orbits = Orbits(revisit, satellites, overlap)
    found = orbits.passes("fine", 2022, 4, ("S2A", "S2B"))
    assert len(found) in counts
    assert len({passed.day for passed in found}) == len(found)
    assert len({passed.platform for passed in found}) == satellites
    fewer = replace(orbits, missing=0.4).passes("fine", 2022, 4, ("S2A", "S2B"))
    assert set(fewer) < set(found)
    assert 0.4 < len(fewer) / len(found) < 0.8


def test_the_top_of_the_atmosphere_is_blue_and_follows_the_haze() -> None:
    surface, top = (simulate_place(30, seed=3, cloudiness=0, world=World(toa=toa)) for toa in (False, True))
    below, above = (place.truth("fine", JUNE).mean((1, 2)) for place in (surface, top))
    assert above[0] > below[0] + 0.04  # blue
    assert above[0] - below[0] > 3 * (above[2] - below[2])  # red
    assert above[9] < below[9]  # short-wave infrared: only gases
    np.testing.assert_array_equal(surface.truth("coarse", JUNE), top.truth("coarse", JUNE))
    assert top.instrument("fine").sensor.name == "sentinel-2-l1c"
    light, heavy = (Atmosphere(aerosol=0.2).terms(Sun(40, 150), haze)[0] for haze in (0.5, 2.0))
    assert (heavy > light).all()
    hazy = replace(top.world, atmosphere=Atmosphere(unrest=0.5))
    place = simulate_place(30, seed=3, cloudiness=0, world=hazy)
    blues = [image(place, JUNE + timedelta(i))[0].mean() for i in range(6)]
    assert np.ptp(blues) > 0.004


def test_haze_may_lie_in_patches() -> None:
    even, patchy = (
        simulate_place(90, seed=3, cloudiness=0, world=fine(haze=0.03, haze_patches=p, noise=0.0)) for p in (0.0, 1.0)
    )
    difference = image(patchy)[0] - image(even)[0]
    assert difference.std() > 5e-4
    assert image(patchy)[9].std() == pytest.approx(image(even)[9].std(), rel=0.05)  # less in the infrared


def test_detectors_err_as_told() -> None:
    def clear_share(detector: Detector, cloudiness: float) -> float:
        place = simulate_place(30, seed=6, cloudiness=cloudiness, world=fine(detector=detector))
        return float(np.mean([place.acquire("fine", JUNE + timedelta(2 * i), "S2A").clear.mean() for i in range(12)]))

    usual = clear_share(Detector(), 0.5)
    assert clear_share(Detector(suspicion=0.1), 0.5) < usual - 0.01
    assert clear_share(Detector(margin=4), 0.5) < usual - 0.01
    assert clear_share(Detector(missed=0.3), 0.5) > usual + 0.05
    assert clear_share(Detector(false=0.2), 0.0) == pytest.approx(0.8, abs=0.08)


def test_noise_and_responses_are_those_of_the_world() -> None:
    world = World.draw(1)
    place = simulate_place(12, seed=1, world=world)
    assert place.instrument("fine").noise_floor == pytest.approx(world.fine.noise * 0.0010)
    usual = World().instrument("coarse").responses
    drawn = place.instrument("coarse").responses
    assert set(drawn) == set(usual)
    assert all(abs(drawn[key].gain - usual[key].gain) < 0.12 and drawn[key] != usual[key] for key in usual)
