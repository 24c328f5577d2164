"""Point spread functions, and the fast filters against the direct ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.ops import mtf, resample

LANDSAT = (10.0, [30.0, 30.0, 90.0], [0.3, 1.0, 0.2])


def test_half_width_and_sigma_of_landsat_bands():
    taps = mtf.psf_taps(*LANDSAT)
    assert taps.shape == (3, 19)
    torch.testing.assert_close(taps.sum(1), torch.ones(3))
    sigma = 10.0 / math.sqrt(2.0 * math.log(taps[0, 9] / taps[0, 10]))
    assert sigma == pytest.approx(14.818, abs=1e-3)
    assert taps[1].tolist() == [0.0] * 9 + [1.0] + [0.0] * 9  # MTF 1: a Dirac


@given(st.floats(5.0, 60.0), st.floats(0.05, 0.6))
def test_kernel_has_the_mtf_it_was_made_from(resolution, value):
    row = mtf.psf_taps(1.0, [resolution], [value], half_width=400)[0].double()
    offsets = torch.arange(-400, 401)
    response = (row * torch.cos(2.0 * math.pi * 0.5 / resolution * offsets)).sum()
    assert response.item() == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.01, float("nan")])
def test_impossible_mtf_is_refused(value):
    with pytest.raises(InputError, match=r"\(0, 1\]"):
        mtf.psf_taps(10.0, [20.0, 20.0], [0.3, value])


@pytest.mark.parametrize(
    ("pixel", "resolution", "value", "half"),
    [(0.0, [20.0], [0.3], None), (10.0, [-20.0], [0.3], None), (10.0, [20.0, 20.0], [0.3], None),
     (10.0, [], [], None), (10.0, [20.0], [0.3], -1)],
)  # fmt: skip
def test_impossible_psf_is_refused(pixel, resolution, value, half):
    with pytest.raises(InputError):
        mtf.psf_kernel(pixel, resolution, value, half)


@given(st.integers(10, 16), st.integers(10, 17), st.integers(0, 99))
@settings(deadline=None)
def test_separable_filter_equals_the_direct_one(h, w, seed):
    x = torch.rand(2, 2, 3, h, w, generator=torch.Generator().manual_seed(seed))
    direct = mtf.convolve(x, mtf.psf_kernel(*LANDSAT))
    torch.testing.assert_close(mtf.blur(x, mtf.psf_taps(*LANDSAT)), direct, rtol=0, atol=1e-5)


@given(st.integers(10, 19), st.integers(10, 19), st.sampled_from([1, 2, 3, 4, 5, 7, 1 / 3]))
@settings(deadline=None)
def test_degrade_equals_filtering_then_resampling(h, w, factor):
    x = torch.rand(2, 3, h, w)
    expected = resample.bicubic(mtf.convolve(x, mtf.psf_kernel(*LANDSAT)), factor)
    torch.testing.assert_close(mtf.degrade(x, mtf.psf_taps(*LANDSAT), factor), expected, rtol=0, atol=1e-5)


def test_filters_keep_constants_and_high_pass_removes_them():
    x = torch.full((3, 12, 13), 0.25)
    taps = mtf.psf_taps(*LANDSAT)
    torch.testing.assert_close(mtf.blur(x, taps), x)
    torch.testing.assert_close(mtf.high_pass(x, taps), torch.zeros_like(x), rtol=0, atol=1e-6)


def test_border_is_mirrored_without_repeating_the_edge():
    x = torch.tensor([[[1.0, 10.0, 100.0], [1.0, 10.0, 100.0], [1.0, 10.0, 100.0]]])
    right_neighbour = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])
    assert mtf.convolve(x, right_neighbour)[0, 0].tolist() == [10.0, 100.0, 10.0]


def test_half_precision_keeps_its_dtype():
    x = torch.rand(1, 3, 12, 12)
    taps = mtf.psf_taps(*LANDSAT)
    low = mtf.degrade(x.bfloat16(), taps, 3)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), mtf.degrade(x, taps, 3), rtol=0, atol=1e-2)


@pytest.mark.parametrize("size", [(1, 1), (2, 30), (5, 4), (9, 9)])
def test_small_images_are_mirrored_back_and_forth(size: tuple[int, int]):
    x, half = torch.rand(3, *size), 9
    padded = np.stack([np.pad(band, half, mode="reflect") for band in x.numpy()])
    expected = mtf.blur(torch.from_numpy(padded), taps := mtf.psf_taps(*LANDSAT))[:, half:-half, half:-half]
    torch.testing.assert_close(mtf.blur(x, taps), expected, rtol=0, atol=1e-6)


def test_images_that_do_not_fit_are_refused():
    taps = mtf.psf_taps(*LANDSAT)
    with pytest.raises(InputError, match="3 channels"):
        mtf.blur(torch.rand(4, 30, 30), taps)


def test_generic_downscale_uses_one_psf_for_all_channels():
    x = torch.rand(2, 3, 12, 14)
    kernel = mtf.psf_kernel(1.0, [2.0], [0.1], 3).expand(3, -1, -1)
    expected = resample.bicubic(mtf.convolve(x, kernel), 2)
    torch.testing.assert_close(mtf.generic_downscale(x, 2, 0.1), expected, rtol=0, atol=1e-6)


def test_residual_compensation_restores_a_bias_and_keeps_fine_detail():
    taps = mtf.psf_taps(*LANDSAT)
    truth = torch.rand(2, 3, 30, 30)
    observed = resample.bicubic(mtf.blur(truth, taps), 3)
    biased = mtf.residual_compensation(truth + 0.1, observed, taps, 3)
    unbiased = mtf.residual_compensation(truth, observed, taps, 3)
    torch.testing.assert_close(biased, unbiased, rtol=0, atol=1e-5)
    by_formula = truth + (resample.bicubic(observed, 1 / 3) - mtf.blur(truth, taps))
    torch.testing.assert_close(unbiased, by_formula, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="factor 2"):
        mtf.residual_compensation(truth, observed, taps, 2)


def test_gradient_of_a_ramp_is_its_slope():
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    found = mtf.gradient_magnitude_squared((2.0 * rows + 3.0 * columns)[None])
    torch.testing.assert_close(found, torch.full((1, 5, 6), 13.0))
    with pytest.raises(InputError, match="1 x 6"):
        mtf.gradient_magnitude_squared(torch.rand(1, 1, 6))
