from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.metrics.structure import gaussian_window, scc_sums, shifted_mae, ssim, uniform_window, uqi
from sitsfusion.metrics.sums import Mean
from tests.metrics.images import drawn, mask, pair

SMALL = gaussian_window(5, 1.0)


def small_ssim(p: Tensor, t: Tensor, valid: Tensor | None) -> Mean:
    return ssim(p, t, valid, data_range=1.0, window=SMALL)


def small_uqi(p: Tensor, t: Tensor, valid: Tensor | None) -> Mean:
    return uqi(p, t, valid, uniform_window(5))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 6))
def test_tiles_that_overlap_by_a_window_add_up(seed: int, cut: int) -> None:
    p, t = pair(seed, 2, 14, 11)
    valid = mask(seed, 14, 11, share=0.97)
    rows = slice(0, cut + 4), slice(cut, 14)  # windows of 5
    for metric in (small_ssim, small_uqi):
        first, second = (metric(p[:, r], t[:, r], valid[r]) for r in rows)
        torch.testing.assert_close((first + second).value(), metric(p, t, valid).value(), equal_nan=True)
    rows = slice(0, cut + 2), slice(cut, 14)  # windows of 3
    high = [scc_sums(p[:, r], t[:, r], valid[r]) for r in rows]
    torch.testing.assert_close((high[0] + high[1]).correlation(), scc_sums(p, t, valid).correlation(), equal_nan=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_what_is_masked_never_matters(seed: int) -> None:
    p, t = pair(seed, 2, 12, 12)
    valid = mask(seed, 12, 12, share=0.97)
    hidden = p.masked_fill(~valid, torch.nan), t.masked_fill(~valid, torch.inf)
    for metric in (small_ssim, small_uqi):
        torch.testing.assert_close(
            metric(*hidden, valid).value(), metric(p, t, valid).value(), rtol=0, atol=0, equal_nan=True
        )
    found = scc_sums(*hidden, valid).correlation()
    torch.testing.assert_close(found, scc_sums(p, t, valid).correlation(), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(shifted_mae(p, hidden[1], valid).total, shifted_mae(p, t, valid).total)


def test_equal_images_are_ideal() -> None:
    t = drawn(0, 2, 12, 12)
    one = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(ssim(t, t, data_range=1.0).value(), one)
    torch.testing.assert_close(uqi(t, t).value(), one)
    torch.testing.assert_close(scc_sums(t, t).correlation(), one)
    assert shifted_mae(t, t).value().amin() == 0


def test_one_window_by_hand() -> None:
    p, t = (x.double() for x in pair(4, 1, 7, 7))
    a, b = p.flatten(), t.flatten()
    covariance = torch.cov(torch.stack([a, b]))
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    luminance = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
    expected = luminance * (2 * covariance[0, 1] + c2) / (covariance[0, 0] + covariance[1, 1] + c2)
    found = ssim(p, t, data_range=2.0, window=uniform_window(7, unbiased=True))
    assert found.value().item() == pytest.approx(expected.item())


def test_constant_windows_have_the_quality_of_their_means() -> None:
    t = torch.full((1, 8, 8), 0.3)
    assert uqi(2 * t, t).value().item() == pytest.approx(2 * 2 / (1 + 4))
    assert uqi(0 * t, 0 * t).value() == 1


def test_a_window_with_a_hole_does_not_count() -> None:
    p, t = pair(0, 2, 9, 9)
    p[0, 4, 4] = torch.nan
    assert ssim(p, t, data_range=1.0, window=uniform_window(5)).count.tolist() == [0, 25]
    assert scc_sums(p, t).count.tolist() == [49 - 9, 49]


def test_a_shift_is_found() -> None:
    t = drawn(0, 2, 12, 13)
    found = shifted_mae(t.roll((1, -2), (1, 2)), t, border=2).value()
    assert found.argmin() == 5 * (2 - 1) + (2 + 2)
    assert found.min() == 0


def test_windows_that_do_not_fit_are_refused() -> None:
    p, t = pair(0, 1, 10, 20)
    with pytest.raises(InputError, match="smaller than a window of 11"):
        ssim(p, t, data_range=1.0)
    with pytest.raises(InputError, match="data range"):
        ssim(p, t, data_range=-1.0)
    with pytest.raises(InputError, match="at least 2 pixels"):
        uniform_window(1)
    with pytest.raises(InputError, match="sigma"):
        gaussian_window(5, 0.0)
    with pytest.raises(InputError, match="3 x 3"):
        scc_sums(p[:, :2], t[:, :2])
    with pytest.raises(InputError, match="leaves nothing"):
        shifted_mae(p, t, border=5)
