from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sitsfusion.errors import InputError
from sitsfusion.simulate.compare import (
    LAGS,
    WAVES,
    WINDOW,
    Place,
    Row,
    clear_shares,
    cloud_sizes,
    compare,
    describe,
    distance,
    grouped,
    histogram,
    spectrum,
    variogram,
)

CLEAR = np.ones((1, 64, 64), bool)


def place(name: str, values: NDArray[np.float32], valid: NDArray[np.bool_] | None = None, **changes: object) -> Place:
    """Images [t, c, h, w] of one place, 10 days apart, 10 m pixels."""
    count, bands, height, width = values.shape
    names = tuple(f"B{b}" for b in range(bands))
    seen = np.ones((count, height, width), bool) if valid is None else valid
    made = Place(name, names, values, seen, np.arange(count) * 10.0, (10.0, 10.0), (10.0,) * bands)
    return replace(made, **changes)


@given(st.floats(-0.3, 0.3), st.integers(0, 99))
def test_the_distance_of_histograms_is_the_shift_between_them(shift: float, seed: int) -> None:
    values = np.random.default_rng(seed).gamma(2.0, 0.1, (2, 1, 16, 16)).astype(np.float32)
    seen = np.ones((2, 16, 16), bool)
    apart = distance(histogram(values, seen), histogram(values + np.float32(shift), seen))
    assert apart == pytest.approx(abs(shift), abs=1e-6)


def test_what_is_not_valid_is_in_no_histogram() -> None:
    values = np.full((1, 1, 4, 4), 0.2, np.float32)
    seen = np.ones((1, 4, 4), bool)
    values[0, 0, 0], seen[0, 0] = np.nan, False
    np.testing.assert_allclose(histogram(values, seen), 0.2, rtol=1e-6)
    assert np.isnan(histogram(values, np.zeros_like(seen))).all()


@given(st.integers(0, 99), st.floats(0.001, 0.01))
@settings(max_examples=20, deadline=None)
def test_variogram_of_a_trend_is_the_trend_times_the_lag(seed: int, trend: float) -> None:
    rng = np.random.default_rng(seed)
    days = np.arange(0, 360, 10.0)
    start = rng.random((1, 1, 6, 7)).astype(np.float32)
    values = start + np.float32(trend) * days.astype(np.float32)[:, None, None, None]
    seen = rng.random((days.size, 6, 7)) < 0.6
    values[~seen[:, None]] = np.nan
    found = variogram(values, seen, days)[0]
    assert np.isnan(found[0]) == (LAGS[1] <= 10)  # no two dates are less than 8 days apart
    low, high = trend * LAGS[1:-1], trend * LAGS[2:]
    assert ((found[1:] >= 0.999 * low) & (found[1:] <= 1.001 * high))[np.isfinite(found[1:])].all()
    assert np.isfinite(found[1:]).sum() >= 8


def test_variogram_of_noise_is_its_deviation_times_the_root_of_two() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, (40, 2, 40, 40)).astype(np.float32)
    found = variogram(noise, np.ones((40, 40, 40), bool), np.arange(40) * 5.0)
    np.testing.assert_allclose(found[np.isfinite(found)], 0.02 * np.sqrt(2), rtol=0.05)


@pytest.mark.parametrize("pixel", [10.0, 20.0])
def test_spectrum_of_noise_is_flat_at_its_variance_times_the_area_of_a_pixel(pixel: float) -> None:
    side = round(WINDOW / pixel)
    noise = np.random.default_rng(2).normal(0, 0.1, (20, side, side)).astype(np.float32)
    found = spectrum(noise, np.ones((side, side), bool), (pixel, pixel)).mean(0)
    seen = WAVES[1:] <= WINDOW / (2 * pixel) * 1.01
    assert np.isnan(found[~seen]).all()
    np.testing.assert_allclose(found[seen], np.log10(0.01 * pixel**2), atol=0.15)


@given(st.sampled_from([2, 4, 6, 10, 14, 20, 27]), st.sampled_from([(1.0, 1.0), (1.0, 0.5)]))
@settings(deadline=None)
def test_a_wave_is_found_in_its_class_whatever_the_pixel(waves: int, pixels: tuple[float, float]) -> None:
    x = (np.arange(64 / pixels[1]) + 0.5) * 10 * pixels[1]
    image = np.tile(np.sin(2 * np.pi * waves * x / WINDOW), (64, 1))[None].astype(np.float32)
    found = spectrum(image, np.ones(image.shape[1:], bool), (10 * pixels[0], 10 * pixels[1]))[0]
    assert np.nanargmax(found) == np.digitize(waves, WAVES) - 1


def test_spectrum_fills_what_is_not_valid_with_the_mean() -> None:
    image = np.full((1, 64, 64), 0.3, np.float32)
    seen = CLEAR[0].copy()
    image[0, :3, :3], seen[:3, :3] = np.nan, False
    assert (spectrum(image, seen, (10.0, 10.0)) < -10).all()


def _flood(mask: NDArray[np.bool_]) -> list[int]:
    """Sizes of 4-connected components, found by walking."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    sizes = []
    while left:
        front, size = [left.pop()], 0
        while front:
            r, c = front.pop()
            size += 1
            around = {(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)} & left
            left -= around
            front += around
        sizes.append(size)
    return sorted(sizes)


@given(arrays(bool, st.tuples(st.integers(4, 12), st.integers(4, 12))))
@settings(deadline=None)
def test_cloud_sizes_are_those_of_the_components(cloudy: NDArray[np.bool_]) -> None:
    found = cloud_sizes(~cloudy[None], (10.0, 20.0))
    if not 0.05 <= (~cloudy).mean() <= 0.95:
        assert np.isnan(found).all()
        return
    sizes = np.repeat(_flood(cloudy), _flood(cloudy))  # each pixel with the size of its cloud
    assert found.min() >= np.log10(sizes.min() * 200) - 1e-9
    assert found.max() <= np.log10(sizes.max() * 200) + 1e-9
    if len(set(sizes)) == 1:
        np.testing.assert_allclose(found, np.log10(sizes[0] * 200))


def test_half_of_the_cloudy_area_lies_in_clouds_below_the_middle() -> None:
    clear = np.ones((2, 20, 20), bool)
    clear[0, 2:12, 2:12] = False  # 100 pixels
    clear[1, ::4, ::4] = False  # 25 of one pixel
    found = 10 ** cloud_sizes(clear, (10.0, 10.0))
    assert found[24] > 5_000
    assert found[0] == pytest.approx(100)
    assert found[-1] == pytest.approx(10_000)


def test_a_winding_cloud_is_one_cloud() -> None:
    clear = np.ones((1, 21, 21), bool)
    clear[0, ::2] = False
    clear[0, 1::4, -1] = clear[0, 3::4, 0] = False
    size = np.count_nonzero(~clear) * 100
    np.testing.assert_allclose(10 ** cloud_sizes(clear, (10.0, 10.0)), size)


def test_clear_shares() -> None:
    seen = np.zeros((10, 2, 2), bool)
    seen[5:] = True
    found = clear_shares(seen)
    assert (found[0], found[-1]) == (0, 1)
    assert found.mean() == pytest.approx(0.5)


def test_distance_leaves_out_what_one_of_two_lacks() -> None:
    a, b = np.array([[1.0, np.nan, 3.0]]), np.array([[2.0, 5.0, 3.0], [1.0, np.nan, np.nan]])
    assert distance(a, b) == pytest.approx((1 + 0 + 0) / 3)
    assert np.isnan(distance(a, np.full((1, 3), np.nan)))


def test_a_place_has_only_the_statistics_that_its_images_allow() -> None:
    rng = np.random.default_rng(0)
    one = place("one", rng.random((1, 1, 70, 130), np.float32))
    found = describe(one)
    assert {key[0] for key in found} == {"image", "spectrum"}
    assert found["image", "B0"].shape == (2, 49)  # two views beside each other
    year = place("year", rng.random((30, 1, 64, 64), np.float32), rng.random((30, 64, 64)) < 0.9, masks=True)
    assert {key[0] for key in describe(year)} == {"year", "variogram", "cloud size", "clear share"}
    assert not describe(place("small", rng.random((1, 1, 20, 20), np.float32)))


def test_waves_finer_than_the_real_pixels_are_not_compared() -> None:
    values = np.random.default_rng(0).random((1, 2, 64, 64)).astype(np.float32)
    found = describe(place("upsampled", values, native=(10.0, 20.0)))
    assert np.isfinite(found["spectrum", "B0"]).all()
    assert np.isnan(found["spectrum", "B1"]).tolist() == [[False] * 5 + [True] * 2]


def test_comparison_of_constant_places() -> None:
    def constant(name: str, level: float) -> Place:
        return place(name, np.full((1, 1, 64, 64), level, np.float32))

    real = [constant("a", 0.1), constant("b", 0.3)]
    rows = {row.statistic: row for row in compare(real, [constant("x", 0.2), constant("y", 0.2)])}
    image = rows["image"]
    assert (image.band, image.places) == ("B0", 2)
    assert (image.real, image.simulated, image.drawn) == pytest.approx((0.2, 0.1, 0.0), abs=1e-6)
    assert image.ratio == pytest.approx(0.5)


def test_images_of_one_place_are_not_compared_with_each_other() -> None:
    values = np.full((1, 1, 64, 64), 0.1, np.float32)
    real = [place("a", values), place("a", values + 1), place("b", values)]
    (row,) = (row for row in compare(real, []) if row.statistic == "image")
    assert row.real == pytest.approx(0.5)
    assert np.isnan(row.simulated)
    assert np.isnan(row.ratio)


def test_groups_are_means_over_bands() -> None:
    rows = [Row("year", "B02", 0.1, 0.2, 0.0, 3), Row("year", "B03", 0.3, 0.2, 0.1, 4), Row("year", "B8A", 1, 1, 1, 4)]
    (found,) = grouped(rows, {"visible": ("B02", "B03"), "thermal": ("LST",)})
    assert (found.statistic, found.band, found.places) == ("year", "visible", 4)
    assert (found.real, found.simulated, found.drawn) == pytest.approx((0.2, 0.2, 0.05))


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"place odd: values \(2, 1, 4, 4\)"):
        place("odd", np.zeros((2, 1, 4, 4), np.float32), np.ones((2, 4, 5), bool))
