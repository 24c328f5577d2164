from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.losses.fidelity import smooth_l1
from sitsfusion.losses.lpips import MaskedLpips
from sitsfusion.losses.regression import RegressionOptions, regression_loss, ridge_fit
from tests.losses.vgg import random_lpips
from tests.nets.small import images

PLAIN = RegressionOptions()


def full(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def linear_case(noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """A prediction `[3 2 16 18]` that is a linear function of the reference `[3 3 16 18]`, another at each date."""
    reference = images(0, 3, 3, 16, 18)
    slopes = images(1, 3, 2, 3)
    prediction = torch.einsum("tck,tkhw->tchw", slopes, reference) + images(2, 3, 2, 1, 1)
    return prediction + noise * images(3, 3, 2, 16, 18), reference, images(4, 3, 16, 18) > -1.2


def test_a_linear_relation_is_found_and_costs_nothing() -> None:
    prediction, reference, valid = linear_case()
    torch.testing.assert_close(ridge_fit(prediction, reference, valid), prediction, rtol=1e-3, atol=1e-3)
    value = regression_loss(prediction, reference, valid, PLAIN, smooth_l1)
    assert value is not None
    assert float(value) < 1e-4


@pytest.mark.parametrize("per_date", [True, False])
def test_the_fit_is_least_squares_with_intercept(per_date: bool) -> None:
    prediction, reference, valid = linear_case(noise=0.5)
    fit = ridge_fit(prediction, reference, valid, per_date)
    for group in [[0], [1], [2]] if per_date else [[0, 1, 2]]:
        x, y = (v[group].movedim(1, -1).double() for v in (reference, prediction))
        x = torch.cat([x, torch.ones_like(x[..., :1])], -1)
        used = valid[group]
        coefficients = torch.linalg.lstsq(x[used], y[used]).solution
        torch.testing.assert_close(fit[group].movedim(1, -1).double(), x @ coefficients, rtol=1e-3, atol=1e-3)


def test_a_date_that_cannot_be_fitted_is_left_out() -> None:
    prediction, reference, valid = linear_case(noise=0.5)
    expected = regression_loss(prediction[1:], reference[1:], valid[1:], PLAIN, smooth_l1)
    reference[0, 1] = 0
    assert ridge_fit(prediction, reference, valid)[0].isnan().all()
    prediction.requires_grad_()
    value = regression_loss(prediction, reference, valid, PLAIN, smooth_l1)
    assert value is not None
    torch.testing.assert_close(value.detach(), expected)
    value.backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert regression_loss(prediction[:1], reference[:1], valid[:1], PLAIN, smooth_l1) is None


def test_a_constant_prediction_has_finite_gradients() -> None:
    _, reference, valid = linear_case()
    prediction = torch.zeros(3, 2, 16, 18, requires_grad=True)
    assert regression_loss(prediction, reference, valid, PLAIN, smooth_l1) is None
    shifted = torch.cat([prediction[:, :1], linear_case()[0][:, :1]], 1)
    value = regression_loss(shifted, reference, valid, PLAIN, smooth_l1)
    assert value is not None
    (gradient,) = torch.autograd.grad(value, prediction)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("high_pass", ["NO", "PRE", "POST"])
def test_nan_that_is_not_valid_never_matters(high_pass: str) -> None:
    prediction, reference, valid = linear_case(noise=0.5)
    options = RegressionOptions(high_pass=high_pass)  # type: ignore[arg-type]
    zero = torch.where(valid[:, None], reference, 0)
    expected = regression_loss(prediction, zero, valid, options, smooth_l1)
    nan = torch.where(valid[:, None], reference, torch.nan)
    prediction.requires_grad_()
    value = regression_loss(prediction, nan, valid, options, smooth_l1)
    assert value is not None
    torch.testing.assert_close(value.detach(), expected)
    value.backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_cloudy_dates_and_small_patches_give_nothing() -> None:
    prediction, reference, valid = linear_case(noise=0.5)
    valid = full(3, 16, 18)
    valid[1:, :5] = False  # 11/16 clear, less than 3/4
    expected = regression_loss(prediction[:1], reference[:1], valid[:1], PLAIN, smooth_l1)
    torch.testing.assert_close(regression_loss(prediction, reference, valid, PLAIN, smooth_l1), expected)
    assert regression_loss(prediction[1:], reference[1:], valid[1:], PLAIN, smooth_l1) is None
    # 10 * 2 * 3 pixels are not more than 60
    assert regression_loss(prediction[..., :6, :10], reference[..., :6, :10], full(3, 6, 10), PLAIN, smooth_l1) is None
    assert regression_loss(prediction[..., :6, :11], reference[..., :6, :11], full(3, 6, 11), PLAIN, smooth_l1)


def test_a_failed_fit_is_dropped() -> None:
    prediction, reference, valid = linear_case(noise=0.5)
    large: Callable[[Tensor, Tensor], Tensor] = lambda a, b: 0 * a.mean() + 10.1  # noqa: E731
    missing: Callable[[Tensor, Tensor], Tensor] = lambda a, b: a.mean() * torch.nan  # noqa: E731
    assert regression_loss(prediction, reference, valid, PLAIN, large) is None
    assert regression_loss(prediction, reference, valid, PLAIN, missing) is None


def test_the_high_pass_mode_may_be_written_in_any_case() -> None:
    assert RegressionOptions.model_validate({"high_pass": "pre"}).high_pass == "PRE"
    with pytest.raises(ValidationError, match="high_pass"):
        RegressionOptions.model_validate({"high_pass": "before"})


@pytest.mark.parametrize("response", [0.3, None])
def test_high_pass_ignores_an_offset(response: float | None) -> None:
    """A fit of another overall level costs nothing once only detail is compared."""
    prediction, reference, valid = linear_case(noise=0.5)
    values = {
        mode: regression_loss(
            prediction,
            reference,
            valid,
            RegressionOptions(high_pass=mode, high_pass_mtf=response),
            smooth_l1,
        )
        for mode in ("NO", "PRE", "POST")
    }
    assert len({round(float(v), 5) for v in values.values() if v is not None}) == 3


def test_under_lpips_the_fit_has_no_gradient() -> None:
    """The gradient is that of the distance to a fixed image."""
    lpips: MaskedLpips = random_lpips()
    prediction, reference, valid = linear_case(noise=0.5)
    prediction.requires_grad_()
    value = regression_loss(prediction, reference, valid, PLAIN, lpips)
    fit = ridge_fit(prediction.detach(), reference, valid)
    masks = valid[:, None].expand(-1, 2, -1, -1).flatten(0, 1)
    expected = lpips(prediction.flatten(0, 1)[:, None], fit.flatten(0, 1)[:, None], masks)
    torch.testing.assert_close(value, expected)
    ours, theirs = (torch.autograd.grad(v, prediction)[0] for v in (value, expected))
    torch.testing.assert_close(ours, theirs)


def test_shapes_must_match() -> None:
    prediction, reference, valid = linear_case()
    with pytest.raises(InputError, match="must be"):
        regression_loss(prediction, reference[:2], valid, PLAIN, smooth_l1)
