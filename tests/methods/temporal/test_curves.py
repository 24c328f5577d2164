"""Curves in time against SciPy and plain linear algebra, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import interpolate, signal

from sitsfusion.errors import InputError
from sitsfusion.methods.temporal import double_logistic, harmonic, linear, savgol, spline, whittaker
from sitsfusion.methods.temporal.base import Pixels, pixels_of

Array = NDArray[np.float64]
TARGETS = np.linspace(-30, 430, 24)


def observed(dates: int, seed: int, pixels: int = 6) -> tuple[Pixels, Array, Array, NDArray[np.bool_]]:
    """Pixels with gaps under which NaN is stored; days, values [t 2 n] and valid [t n]."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(400, dates, replace=False)).astype(float)
    values = rng.normal(size=(dates, 2, pixels))
    valid = rng.random((dates, pixels)) < 0.6
    stored = torch.from_numpy(np.where(valid[:, None], values, np.nan))
    return pixels_of(stored, torch.from_numpy(valid), torch.from_numpy(days), torch.device("cpu")), days, values, valid


SPLINES: dict[str, Callable[[Array, Array], Callable[[Array], Array]]] = {
    "cubic": interpolate.CubicSpline,
    "akima": interpolate.Akima1DInterpolator,
    "pchip": interpolate.PchipInterpolator,
}


@settings(max_examples=20, deadline=None)
@given(dates=st.integers(1, 14), seed=st.integers(0, 999), kind=st.sampled_from(sorted(SPLINES)))
def test_splines_are_those_of_scipy(dates: int, seed: int, kind: str) -> None:
    pixels, days, values, valid = observed(dates, seed)
    found = spline.interpolate(pixels, torch.from_numpy(TARGETS), kind).numpy()  # type: ignore[arg-type]
    for n in range(valid.shape[1]):
        x = days[valid[:, n]]
        for c in range(2):
            y = values[valid[:, n], c, n]
            if len(x) == 0:
                assert np.isnan(found[:, c, n]).all()
                continue
            expected = np.full(len(TARGETS), y[0])
            if len(x) > 1:
                expected = SPLINES[kind](x, y)(np.clip(TARGETS, x[0], x[-1]))
            np.testing.assert_allclose(found[:, c, n], expected, atol=1e-8)


@settings(max_examples=15, deadline=None)
@given(dates=st.integers(4, 12), order=st.integers(1, 3), seed=st.integers(0, 99), penalty=st.floats(0.1, 1e4))
def test_whittaker_solves_its_equations(dates: int, order: int, seed: int, penalty: float) -> None:
    _, days, values, valid = observed(dates, seed)
    nodes, weights = torch.from_numpy(days), torch.from_numpy(valid[:, None].astype(float))
    found = whittaker.smooth(torch.from_numpy(values), weights, nodes, penalty, order)
    matrix = whittaker.differences(torch.eye(len(nodes)), nodes, order).numpy()
    for n in range(valid.shape[1]):
        if valid[:, n].sum() < order:
            assert found[:, :, n].isnan().all()
            continue
        system = np.diag(valid[:, n].astype(float)) + penalty * matrix.T @ matrix
        right = valid[:, n, None] * values[:, :, n]
        residual = system @ found[:, :, n].numpy() - right
        np.testing.assert_allclose(residual, 0, atol=1e-6 * max(1.0, np.abs(system).max()))


def test_differences_of_days_one_apart_are_the_ordinary_ones() -> None:
    nodes = torch.arange(8, dtype=torch.float64)
    for order in (1, 2, 3):
        expected = np.diff(np.eye(8), order, axis=0)
        np.testing.assert_allclose(whittaker.differences(torch.eye(8), nodes, order), expected)


def test_the_v_curve_smooths_noise_more_than_a_smooth_curve() -> None:
    rng = np.random.default_rng(0)
    days = torch.arange(100, dtype=torch.float64)
    smooth = torch.sin(days / 15)[:, None, None]
    noisy = smooth + torch.from_numpy(rng.normal(scale=0.5, size=(100, 1, 1)))
    weights = torch.ones(100, 1, 1, dtype=torch.float64)
    chosen = [whittaker.v_curve_penalty(y, weights, days).item() for y in (smooth, noisy)]
    assert chosen[1] > chosen[0]
    curve = whittaker.smooth(noisy, weights, days, chosen[1])
    assert (curve - smooth).square().mean() < (noisy - smooth).square().mean() / 3


@settings(max_examples=15, deadline=None)
@given(count=st.integers(5, 40), half=st.integers(1, 6), degree=st.integers(0, 4), seed=st.integers(0, 99))
def test_savitzky_golay_is_that_of_scipy(count: int, half: int, degree: int, seed: int) -> None:
    window = 2 * half + 1
    y = np.random.default_rng(seed).normal(size=count)
    if window > count or degree >= window:
        with pytest.raises(InputError, match="the window must be odd, larger than the degree"):
            savgol.filter_weights(torch.arange(count), count, window, degree)
        return
    expected = signal.savgol_filter(y, window, degree, mode="interp")
    weights, at = savgol.filter_weights(torch.arange(count), count, window, degree)
    np.testing.assert_allclose((weights.numpy() * y[at.numpy()]).sum(1), expected, atol=1e-8)


def test_harmonics_and_their_standard_error_are_those_of_least_squares() -> None:
    pixels, days, values, valid = observed(20, 3)
    waves, targets = harmonic.Waves(2, trend=True), torch.from_numpy(TARGETS)
    found = harmonic.fit(pixels, targets, waves)
    design, new = waves.design(torch.from_numpy(days)).numpy(), waves.design(targets).numpy()
    for n in range(valid.shape[1]):
        x, y = design[valid[:, n]], values[valid[:, n], 1, n]
        if len(y) < waves.terms:
            assert found.values[:, :, n].isnan().all()
            continue
        beta, *_ = np.linalg.lstsq(x, y, rcond=None)
        np.testing.assert_allclose(found.values[:, 1, n], new @ beta, atol=1e-6)
        if len(y) > waves.terms:
            variance = ((y - x @ beta) ** 2).sum() / (len(y) - waves.terms)
            leverage = np.einsum("qi,ij,qj->q", new, np.linalg.inv(x.T @ x), new)
            assert found.sigma is not None
            np.testing.assert_allclose(found.sigma[:, 1, n], np.sqrt(variance * (1 + leverage)), rtol=1e-5)


def test_huber_weights_forget_a_missed_cloud() -> None:
    days = torch.arange(0, 365, 15, dtype=torch.float64)
    truth = 0.3 + 0.1 * torch.cos(2 * torch.pi * days / harmonic.YEAR)
    cloudy = truth.clone()
    cloudy[8] += 0.6
    pixels = Pixels(cloudy[:, None, None], torch.ones(len(days), 1, dtype=torch.bool), days)
    errors = [
        (harmonic.fit(pixels, days, harmonic.Waves(1), rounds).values[:, 0, 0] - truth).abs().max()
        for rounds in (0, 10)
    ]
    assert errors[1] < errors[0] / 5


def test_a_double_logistic_season_is_found_again() -> None:
    days = torch.arange(0, 365, 8, dtype=torch.float64)
    season = torch.tensor([[0.1], [0.8], [110.0], [260.0], [np.log(0.08)], [np.log(0.05)]], dtype=torch.float64)
    values = double_logistic.double_logistic(season, days)
    found = double_logistic.fit(values, torch.ones_like(values, dtype=torch.bool), days)
    np.testing.assert_allclose(double_logistic.double_logistic(found, days), values, atol=1e-4)


def test_derivatives_of_the_double_logistic() -> None:
    days = torch.linspace(0, 365, 9, dtype=torch.float64)
    season = torch.tensor([0.1, 0.8, 110.0, 260.0, np.log(0.08), np.log(0.05)], dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(
        lambda p: double_logistic.double_logistic(p[:, None], days)[:, 0], season
    )
    np.testing.assert_allclose(double_logistic._derivatives(season[:, None], days)[:, :, 0], expected, atol=1e-9)


@pytest.mark.parametrize(("kind", "expected"), [("previous", [1, 1, 5]), ("next", [1, 5, 5]), ("nearest", [1, 1, 5])])
def test_the_previous_next_and_nearest_observation(kind: linear.Kind, expected: list[float]) -> None:
    values = torch.tensor([1.0, torch.nan, 5.0], dtype=torch.float64)[:, None, None]
    valid = torch.tensor([True, False, True])[:, None]
    pixels = pixels_of(values, valid, torch.tensor([0.0, 1.0, 8.0]), torch.device("cpu"))
    found = linear.step_or_line(pixels, torch.tensor([0.0, 4.0, 8.0]), kind)[:, 0, 0]
    assert found.tolist() == expected


def test_there_is_nothing_before_the_first_observation() -> None:
    pixels, *_ = observed(6, 0)
    before, after = torch.tensor([-100.0]), torch.tensor([1000.0])
    assert linear.step_or_line(pixels, before, "previous").isnan().all()
    assert linear.step_or_line(pixels, after, "next").isnan().all()
