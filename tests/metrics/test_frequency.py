from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.metrics.frequency import attenuation, frr, profile, ring_centres
from tests.metrics.images import drawn


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(8, 23))
def test_profile_against_the_direct_formulation(seed: int, n: int) -> None:
    image = drawn(seed, n, n)
    f = torch.fft.fftfreq(2 * n, d=0.5)
    r = (f[:, None] ** 2 + f[None, :] ** 2).double().sqrt().float()
    amplitude = torch.fft.fft2(image, s=(2 * n, 2 * n)).abs().double()
    rings = [(r > f[2 * j]) & (r < f[2 * j + 1]) for j in range(n // 2)]
    expected = torch.stack([amplitude[ring].mean() for ring in rings])
    found = profile(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    assert found[0].isnan()
    assert len(ring_centres(n)) == len(found)


def test_equal_and_brighter_images_are_restored_exactly() -> None:
    t = drawn(0, 2, 20, 20)
    assert (frr(t, t).frr == 0).all()
    torch.testing.assert_close(frr(3 * t, t).frr, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-4)


def test_a_blurred_image_has_lost_high_frequencies() -> None:
    t = drawn(0, 1, 32, 32)
    found = frr(F.avg_pool2d(t, 3, 1, 1), t)
    assert found.frr < -2
    assert found.prediction.shape == found.target.shape == (1, len(found.frequencies))
    assert found.frequencies[0] == pytest.approx(2.5 / 32)


def test_patches_are_averaged() -> None:
    t = drawn(0, 3, 16, 24)
    corners = [t[:, y : y + 8, x : x + 8] for y in (0, 8) for x in (0, 8, 16)]
    expected = torch.stack([profile(corner) for corner in corners]).mean(0)
    torch.testing.assert_close(profile(t, patch=8), expected, equal_nan=True)
    assert torch.equal(attenuation(profile(t, patch=99)), attenuation(profile(t)))


def test_nan_is_zero_and_a_black_image_has_no_value() -> None:
    t = drawn(0, 16, 16)
    holes = t.clone()
    holes[3:5, 3:5] = torch.nan
    assert torch.equal(frr(holes, t).frr, frr(holes.nan_to_num(nan=0.0), t).frr)
    assert frr(t, 0 * t).frr.isnan()
    assert frr(t[:7, :7], t[:7, :7]).frr.isnan()  # no ring between the first and the last


def test_bad_sizes_are_refused() -> None:
    t = drawn(0, 16, 16)
    with pytest.raises(InputError, match="on one grid"):
        frr(t, t[:8])
    for image, patch in ((t[:3, :3], None), (t, 3), (t[0], None)):
        with pytest.raises(InputError, match="spectrum profile needs"):
            profile(image, patch)
