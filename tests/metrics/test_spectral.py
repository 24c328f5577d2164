from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.metrics.spectral import ndvi_sums, sam
from tests.metrics.images import drawn, mask, pair


def test_angles_of_known_spectra() -> None:
    t = torch.tensor([1.0, 0.0]).view(2, 1, 1).expand(2, 1, 3)
    p = torch.tensor([[3.0, 1.0, -2.0], [0.0, 1.0, 0.0]]).view(2, 1, 3)
    for published in (False, True):
        found = sam(p, t, published=published)
        assert found.count == 3
        assert found.value().item() == pytest.approx((0 + math.pi / 4 + math.pi) / 3, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.1, 10))
def test_brightness_alone_is_no_angle(seed: int, gain: float) -> None:
    t = drawn(seed, 4, 5, 6)
    assert sam(t, t).total == 0
    assert sam(gain * t, t).value() < 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 7))
def test_tiles_add_up_and_masks_hide(seed: int, cut: int) -> None:
    p, t = pair(seed, 4, 8, 9)
    valid = mask(seed, 8, 9)
    whole = sam(p, t, valid)
    parts = sam(p[:, :cut], t[:, :cut], valid[:cut]) + sam(p[:, cut:], t[:, cut:], valid[cut:])
    torch.testing.assert_close(parts.value(), whole.value())
    hidden = sam(p.masked_fill(~valid, torch.nan), t.masked_fill(~valid, torch.nan), valid)
    assert torch.equal(hidden.value(), whole.value())


def test_spectra_without_angle_do_not_count_but_a_nan_target_shows() -> None:
    p, t = pair(0, 3, 2, 2)
    p[:, 0, 0], p[1, 0, 1] = 0.0, torch.nan
    assert sam(p, t).count == 2
    assert sam(p, t).value().isfinite()
    t[0, 1, 1] = torch.nan
    assert sam(p, t).value().isnan()


def test_ndvi_error() -> None:
    t = torch.tensor([0.1, 0.3]).view(2, 1, 1).expand(2, 2, 2)
    p = torch.tensor([0.2, 0.3]).view(2, 1, 1).repeat(1, 2, 2)
    p[:, 0, 0] = torch.tensor([-0.1, 0.1])  # no index
    p[0, 0, 1] = torch.nan
    found = ndvi_sums(p, t, red=0, nir=1)
    assert found.count.tolist() == [2]
    assert found.bias().item() == pytest.approx(0.2 - 0.5, rel=1e-6)
    assert ndvi_sums(t, t, 0, 1).rmse() == 0
    hidden = torch.tensor([[False, False], [True, True]])
    assert torch.equal(ndvi_sums(p.masked_fill(~hidden, torch.nan), t, 0, 1, hidden).rmse(), found.rmse())
    with pytest.raises(InputError, match="among 2 bands"):
        ndvi_sums(p, t, 0, 2)
