"""Losses of Deep-Harmonization and DSTFN: what they are zero for, and that their gradients are usable."""

from __future__ import annotations

import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.losses.deepharmo import gaussian_nll, gradient_magnitude, high_pass, mixed_gradient, ssim_loss
from sitsfusion.losses.dstfn import constrained, degradation


def test_equal_images_cost_nothing() -> None:
    x = torch.rand(2, 3, 12, 15)
    assert float(ssim_loss(x, x)) == pytest.approx(0, abs=1e-6)
    assert [float(mixed_gradient(x, x, form=f)) for f in ("mse", "rmse", "mae")] == [0, 0, 0]


def test_gradients_are_those_of_each_band_and_finite_on_flat_images() -> None:
    x = torch.rand(1, 2, 9, 9)
    alone = torch.cat([gradient_magnitude(x[:, :1]), gradient_magnitude(x[:, 1:])], dim=1)
    torch.testing.assert_close(gradient_magnitude(x), alone)
    flat = torch.zeros(1, 2, 9, 9, requires_grad=True)
    mixed_gradient(flat, x).backward()
    assert flat.grad is not None
    assert bool(flat.grad.isfinite().all())


def test_the_least_variance_is_invisible_to_the_gradient() -> None:
    mean, target = torch.zeros(4), torch.full((4,), 0.1)
    variance = torch.full((4,), -0.5, requires_grad=True)
    gaussian_nll(mean, variance, target, eps=1e-2).backward()
    assert variance.grad is not None
    assert float(variance.grad.abs().min()) > 0
    ours = gaussian_nll(mean, torch.full((4,), 0.2), target, full=True)
    torch.testing.assert_close(ours, torch.nn.GaussianNLLLoss(full=True)(mean, target, torch.full((4,), 0.2)))


def test_the_high_pass_is_of_one_band() -> None:
    assert float(high_pass(torch.ones(1, 1, 5, 5))[0, 0, 2, 2]) == 0
    with pytest.raises(InputError, match="found 2"):
        high_pass(torch.rand(1, 2, 5, 5))


def test_the_degradation_constraint_sees_only_coarse_pixels() -> None:
    coarse = torch.full((1, 2, 6, 6), 0.3)
    fine = torch.full((1, 2, 18, 18), 0.3)
    assert float(degradation(fine, coarse, factor=3, mtf=[0.3, 0.3])) == pytest.approx(0, abs=1e-6)
    terms = constrained(fine + 0.1, fine, coarse, alpha=2.0, factor=3, mtf=[0.3, 0.3])
    assert float(terms["total_loss"]) == pytest.approx(0.1 + 2 * 0.1, abs=1e-5)
