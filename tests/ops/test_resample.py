"""Resampling by a factor."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.ops import resample

SIDES = st.integers(7, 20)


@given(SIDES, SIDES, st.sampled_from([3, 5, 7]))
def test_bicubic_by_an_odd_factor_picks_block_centres(h, w, factor):
    x = torch.rand(2, 3, h, w)
    middle = factor // 2
    expected = x[..., middle::factor, middle::factor][..., : h // factor, : w // factor]
    torch.testing.assert_close(resample.bicubic(x, factor), expected, rtol=0, atol=1e-6)


def test_bicubic_coefficient_is_three_quarters():
    impulse = torch.zeros(1, 9)
    impulse[0, 4] = 1.0
    up = resample.bicubic(impulse.expand(5, 9), 0.5)[4]
    a, near, far = -0.75, 0.75, 1.25  # distances of the two outputs that flank a pixel: 0.25, 0.75, then 1.25, 1.75
    close = (a + 2) * 0.25**3 - (a + 3) * 0.25**2 + 1
    assert up[8].item() == pytest.approx(close, abs=1e-6)
    assert up[7].item() == pytest.approx((a + 2) * near**3 - (a + 3) * near**2 + 1, abs=1e-6)
    assert up[6].item() == pytest.approx(a * (far**3 - 5 * far**2 + 8 * far - 4), abs=1e-6)


@given(SIDES, SIDES, st.sampled_from([1, 2, 3, 6, 1 / 2, 1 / 3, 1 / 6]))
def test_image_and_mask_get_the_same_size(h, w, factor):
    x = torch.rand(2, h, w)
    size = resample.bicubic(x, factor).shape
    assert resample.bilinear(x, factor).shape == size
    assert resample.nearest(x > 0.5, factor).shape == size


@given(SIDES, SIDES, st.integers(1, 6))
def test_nearest_repeats_going_up_and_takes_block_corners_going_down(h, w, factor):
    mask = torch.rand(h, w) > 0.5
    up = resample.nearest(mask, 1.0 / factor)
    assert torch.equal(up, mask.repeat_interleave(factor, 0).repeat_interleave(factor, 1))
    assert torch.equal(resample.nearest(up, factor), mask)


def test_factor_one_is_the_identity():
    x = torch.rand(1, 4, 4, dtype=torch.float64)
    assert torch.equal(resample.bicubic(x, 1), x)
    assert torch.equal(resample.nearest(x, 1), x)


def test_dtypes_are_kept_and_integers_truncated():
    x = torch.tensor([[0, 3], [0, 3]], dtype=torch.int16)
    up = resample.bilinear(x, 0.5)
    assert up.dtype == torch.int16
    assert up[0].tolist() == [0, 0, 2, 3]  # 0, 0.75, 2.25, 3
    assert resample.bicubic(x.to(torch.bfloat16), 0.5).dtype == torch.bfloat16
    assert resample.bicubic(x.double(), 0.5).dtype == torch.float64


@pytest.mark.parametrize("factor", [0.0, -2.0, float("nan"), 9.0])
def test_impossible_factors_are_refused(factor):
    with pytest.raises(InputError, match="factor"):
        resample.bicubic(torch.rand(1, 8, 8), factor)
    with pytest.raises(InputError, match="factor"):
        resample.nearest(torch.rand(1, 8, 8), factor)
