from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.losses.fidelity import as_observed, crop, fidelity, smooth_l1
from sitsfusion.ops.mtf import degrade, psf_taps
from tests.nets.small import images


def full(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def test_smooth_l1_is_quadratic_then_linear() -> None:
    found = smooth_l1(torch.tensor([0.05]), torch.zeros(1)), smooth_l1(torch.tensor([-2.0]), torch.zeros(1))
    torch.testing.assert_close(torch.stack(found), torch.tensor([5 * 0.05**2, 1.95]))


@given(st.integers(0, 3), st.integers(8, 13), st.integers(8, 13))
def test_crop_keeps_the_middle(margin: int, h: int, w: int) -> None:
    x = images(0, 2, h, w)
    torch.testing.assert_close(crop(x, margin), x[:, margin : h - margin, margin : w - margin])


def test_margin_0_changes_nothing_and_too_large_ones_are_refused() -> None:
    x = images(0, 2, 8, 8)
    assert crop(x, 0) is x
    for margin in (-1, 4):
        with pytest.raises(InputError, match="at least 2 must remain"):
            crop(x, margin)


def test_as_observed_counts_the_margin_in_pixels_of_the_sensor() -> None:
    x, taps = images(0, 2, 1, 24, 27), psf_taps(10.0, [30.0], [0.3])
    torch.testing.assert_close(as_observed(x, taps, 3, 5), degrade(x, taps, 3)[..., 1:-1, 1:-1])


def test_only_valid_samples_count() -> None:
    prediction, target = images(0, 2, 3, 6, 6), images(1, 2, 3, 6, 6)
    valid = full(2, 6, 6)
    valid[0, :2] = False
    target[0, :, :2] = torch.nan
    prediction.requires_grad_()
    value = fidelity(prediction, target, valid)
    assert value is not None
    picked = torch.cat([prediction[0, :, 2:].flatten(), prediction[1].flatten()])
    torch.testing.assert_close(value, smooth_l1(picked, torch.cat([target[0, :, 2:].flatten(), target[1].flatten()])))
    value.backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert not prediction.grad[0, :, :2].any()


def test_a_date_needs_half_of_its_pixels() -> None:
    prediction, target, valid = images(0, 2, 1, 4, 4), images(1, 2, 1, 4, 4), full(2, 4, 4)
    valid[0, :2] = False  # exactly half
    both = fidelity(prediction, target, valid)
    valid[0, 2, 0] = False
    assert both is not None
    torch.testing.assert_close(fidelity(prediction, target, valid), smooth_l1(prediction[1], target[1]))
    valid[1] = False
    assert fidelity(prediction, target, valid) is None


def test_outliers_are_left_out() -> None:
    target = torch.zeros(1, 1, 2, 2)
    prediction = torch.tensor([[[[0.5, 3.0], [-0.5, -1.0]]]])
    value = fidelity(prediction, target, full(1, 2, 2), max_difference=1.0)
    torch.testing.assert_close(value, torch.tensor((0.45 + 0.45 + 0.95) / 3))
    assert fidelity(prediction, target, full(1, 2, 2), max_difference=0.1) is None


def test_shapes_must_match() -> None:
    with pytest.raises(InputError, match="must be"):
        fidelity(images(0, 1, 2, 4, 4), images(0, 1, 2, 4, 4), full(2, 4, 4))
    assert fidelity(images(0, 0, 2, 4, 4), images(0, 0, 2, 4, 4), full(0, 4, 4)) is None
