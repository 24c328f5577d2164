"""The joint Gaussian process: against the textbook formula, and that the second sensor helps."""

from __future__ import annotations

import numpy as np
import torch

from sitsfusion.methods.temporal.coregionalisation import JITTER, Kernel, Observed, fitted, predicted, start


def test_prediction_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    times = torch.from_numpy(np.sort(rng.uniform(0, 200, 9)))
    series = torch.tensor([0, 1, 0, 0, 1, 1, 0, 1, 0])
    valid = torch.from_numpy(rng.random((3, 9)) < 0.7)
    values = torch.where(valid, torch.from_numpy(rng.normal(size=(3, 9))), 0.0)
    kernel, targets = Kernel.of(start()), torch.tensor([10.0, 300.0], dtype=torch.float64)
    mean, sigma = predicted(kernel, Observed(values, valid, times, series), targets)
    fine = torch.zeros(2, dtype=torch.long)
    for n in range(3):
        t, p, y = times[valid[n]], series[valid[n]], values[n, valid[n]]
        covariance = kernel.covariance((t, t), (p, p)) + torch.diag(kernel.noise[p] + JITTER)
        cross = kernel.covariance((t, targets), (p, fine))
        solved = torch.linalg.solve(covariance, cross)
        prior = kernel.mixing[:, 0, 0].sum() + kernel.noise[0]
        np.testing.assert_allclose(mean[:, n], solved.T @ y, atol=1e-9)
        np.testing.assert_allclose(sigma[:, n] ** 2, prior - (cross * solved).sum(0), atol=1e-9)


def test_a_second_sensor_narrows_a_gap_of_the_first() -> None:
    days = torch.arange(0, 120, 6, dtype=torch.float64)
    times, series = torch.cat([days, days + 1]), (torch.arange(40) >= 20).long()
    values = torch.sin(times / 20).repeat(4, 1) + 0.02 * torch.randn(4, 40, generator=torch.Generator().manual_seed(0))
    gap = (times > 40) & (times < 80) & (series == 0)
    both = Observed(torch.where(gap, 0.0, values).double(), (~gap).expand(4, -1), times, series)
    alone = Observed(both.values, both.valid & (series == 0), times, series)
    kernel, target = Kernel.of(fitted(both)), torch.tensor([60.0], dtype=torch.float64)
    (near, sure), (_, unsure) = (predicted(kernel, data, target) for data in (both, alone))
    assert (near - np.sin(3.0)).abs().max() < 0.1
    assert (sure < unsure / 1.5).all()


def test_without_observations_the_start_values_stay() -> None:
    nothing = Observed(
        torch.zeros(2, 5, dtype=torch.float64),
        torch.zeros(2, 5, dtype=torch.bool),
        torch.arange(5).double(),
        torch.zeros(5, dtype=torch.long),
    )
    np.testing.assert_allclose(fitted(nothing), start())
