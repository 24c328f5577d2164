"""Spreading residuals in time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.ops.residuals import TAIL, kernel, spread_residuals


def case(seed: int, t: int, c: int = 2, side: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    valid = torch.rand(t, c, side, side, generator=rng) < 0.6
    return torch.randn(t, c, side, side, generator=rng), valid, torch.randint(-400, 800, (t,), generator=rng).float()


@settings(deadline=None)
@given(seed=st.integers(0, 1000), t=st.integers(0, 6), decay=st.floats(0.5, 50), shrink=st.floats(1e-3, 10))
def test_against_a_loop(seed: int, t: int, decay: float, shrink: float) -> None:
    residuals, valid, days = case(seed, t)
    targets = torch.tensor([-3.0, 10.5, 700.0])
    found = spread_residuals(residuals, valid, days, targets, decay, shrink)
    for q in range(3):
        for c, y, x in ((0, 0, 0), (1, 2, 1)):
            total, weight = 0.0, shrink
            for i in range(t):
                if valid[i, c, y, x]:
                    lag = abs(float(targets[q] - days[i])) / decay
                    k = 2.718281828459045**-lag + TAIL / (1 + lag)
                    total, weight = total + k * float(residuals[i, c, y, x]), weight + k
            assert float(found[q, c, y, x]) == pytest.approx(total / weight, rel=1e-4, abs=1e-5)


def test_what_is_masked_never_leaks_and_gradients_flow() -> None:
    residuals, valid, days = case(1, 5)
    residuals[~valid] = torch.nan
    residuals.requires_grad_()
    found = spread_residuals(residuals, valid, days, days, 8.0, 0.1)
    assert found.isfinite().all()
    found.sum().backward()
    assert residuals.grad is not None
    assert (residuals.grad[~valid] == 0).all()
    assert (residuals.grad[valid] > 0).all()


def test_a_constant_is_kept_where_it_was_seen_and_fades_towards_the_prediction() -> None:
    ones, day = torch.ones(1, 1, 2, 2), torch.zeros(1)
    found = spread_residuals(ones, ones.bool(), day, torch.tensor([0.0, 10.0, 1000.0]), 10.0, 0.01)[:, 0, 0, 0]
    assert found[0] > 0.98
    assert (found.diff() < 0).all()
    assert (spread_residuals(ones, ~ones.bool(), day, day, 10.0, 0.01) == 0).all()


def test_one_mask_for_all_bands() -> None:
    residuals, valid, days = case(2, 4)
    one = valid[:, :1]
    same = spread_residuals(residuals, one.expand_as(residuals), days, days, 8.0, 0.1)
    torch.testing.assert_close(spread_residuals(residuals, one, days, days, 8.0, 0.1), same)


def test_bad_input() -> None:
    residuals, valid, days = case(3, 4)
    with pytest.raises(InputError, match="decay 0"):
        spread_residuals(residuals, valid, days, days, 0.0, 0.1)
    with pytest.raises(InputError, match="disagree"):
        spread_residuals(residuals, valid[:2], days, days, 8.0, 0.1)
    with pytest.raises(InputError, match="disagree"):
        spread_residuals(residuals, valid, days[:2], days, 8.0, 0.1)


def test_the_kernel_falls_with_the_lag() -> None:
    weights = kernel(torch.zeros(1), torch.tensor([0.0, 1.0, -5.0, 90.0]), 8.0)[0]
    assert weights[0] == pytest.approx(1 + TAIL)
    assert (weights.diff() < 0).all()
