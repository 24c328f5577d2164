"""Spreading residuals in time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.ops.residuals import CloudLook, disagreement, noise_of_missed_clouds, spread_residuals

PIXELS = ((0, 0, 0), (1, 2, 1))


def case(seed: int, t: int, c: int = 2, side: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    valid = torch.rand(t, c, side, side, generator=rng) < 0.6
    days = torch.randint(-40, 80, (t,), generator=rng).double()
    return torch.randn(t, c, side, side, generator=rng).double(), valid, days


def kriged(values: Tensor, days: Tensor, targets: Tensor, decay: float, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance by the textbook: a dense system of one pixel."""
    between = torch.exp(-(days[:, None] - days[None]).abs() / decay) + torch.diag(noise)
    towards = torch.exp(-(targets[:, None] - days[None]).abs() / decay)
    solved = torch.linalg.solve(between, torch.cat([values[:, None], towards.T], 1))
    return towards @ solved[:, 0], 1 - (towards * solved[:, 1:].T).sum(1)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), t=st.integers(0, 8), decay=st.floats(0.5, 200), noise=st.floats(1e-2, 10))
def test_against_dense_kriging(seed: int, t: int, decay: float, noise: float) -> None:
    residuals, valid, days = case(seed, t)
    targets = torch.tensor([700.0, -3.0, 10.5, *days[:2].tolist()]).double()
    found = spread_residuals(residuals, valid, days, targets, decay, noise)
    for c, y, x in PIXELS:
        seen = valid[:, c, y, x]
        own = torch.full((int(seen.sum()),), noise).double()
        expected, _ = kriged(residuals[seen, c, y, x], days[seen], targets, decay, own)
        torch.testing.assert_close(found[:, c, y, x], expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), t=st.integers(1, 7))
def test_disagreement_against_dense_kriging_without_the_observation(seed: int, t: int) -> None:
    residuals, valid, days = case(seed, t)
    noise = 0.1 + torch.rand(t, 2, 3, 3, generator=torch.Generator().manual_seed(seed)).double()
    found, variance = disagreement(residuals, valid, days, 20.0, noise)
    for c, y, x in PIXELS:
        seen = valid[:, c, y, x]
        for i in torch.nonzero(seen)[:, 0].tolist():
            others = seen.clone()
            others[i] = False
            values, own = residuals[others, c, y, x], noise[others, c, y, x]
            mean, spread = kriged(values, days[others], days[i : i + 1], 20.0, own)
            assert float(found[i, c, y, x]) == pytest.approx(float(residuals[i, c, y, x] - mean[0]), abs=1e-4)
            assert float(variance[i, c, y, x]) == pytest.approx(float(spread[0] + noise[i, c, y, x]), abs=1e-4)


def test_little_noise_and_long_memory_is_linear_interpolation() -> None:
    days, values = torch.tensor([0.0, 10.0, 40.0]).double(), torch.tensor([1.0, 3.0, -2.0]).double()
    found = spread_residuals(
        values[:, None, None, None], torch.ones(3, 1, 1, 1).bool(), days, torch.tensor([4.0, 10.0, 25.0]), 1e4, 1e-6
    )
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([1.8, 3.0, 0.5]).double(), atol=0.02, rtol=0)


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


def test_one_mask_for_all_bands_and_any_order() -> None:
    residuals, valid, days = case(2, 4)
    one = valid[:, :1]
    same = spread_residuals(residuals, one.expand_as(residuals), days, days, 8.0, 0.1)
    torch.testing.assert_close(spread_residuals(residuals, one, days, days, 8.0, 0.1), same)
    order = torch.tensor([2, 0, 3, 1])
    mixed = spread_residuals(residuals[order], one[order], days[order], days[order], 8.0, 0.1)
    torch.testing.assert_close(mixed, same[order])


def series_with(day: int, change: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Ten quiet days of four bands (blue, green, red, short-wave infrared), with a change on one."""
    residuals = 0.02 * torch.randn(10, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    residuals[day] += torch.tensor(change)[:, None, None]
    return residuals, torch.ones(10, 1, 2, 2).bool(), 5.0 * torch.arange(10)


LOOK = CloudLook((0, 1, 2), (3,), 1.0)


@pytest.mark.parametrize("day", [0, 4, 9])
def test_a_missed_cloud_is_distrusted_and_snow_or_a_harvest_is_not(day: int) -> None:
    cloud, snow, harvest = [3.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, -1.0], [0.05, 0.3, 0.8, 1.0]
    residuals, valid, days = series_with(day, cloud)
    noise = noise_of_missed_clouds(residuals, valid, days, 20.0, 0.2, LOOK)
    assert noise.shape == (10, 1, 2, 2)
    assert (noise[day] > 1.0).all()
    others = [i for i in range(10) if i != day]
    assert (noise[others] < 0.25).all()
    with_cloud, without = (spread_residuals(residuals, valid, days, days, 20.0, n)[day] for n in (0.2, noise))
    assert (without.abs() < 0.6 * with_cloud.abs()).all()
    for change in (snow, harvest):
        kept = noise_of_missed_clouds(series_with(day, change)[0], valid, days, 20.0, 0.2, LOOK)
        assert (kept[day] < 0.25).all()


def test_an_infrared_band_that_was_not_observed_says_nothing() -> None:
    residuals, valid, days = series_with(4, [3.0, 3.0, 3.0, 2.0])
    unknown = valid.repeat(1, 4, 1, 1)
    unknown[:, 3] = False
    assert (noise_of_missed_clouds(residuals, unknown, days, 20.0, 0.2, LOOK)[4] > 1.0).all()
    nothing = noise_of_missed_clouds(residuals, unknown & False, days, 20.0, 0.2, LOOK)
    torch.testing.assert_close(nothing, torch.full_like(nothing, 0.2))


def test_bad_input() -> None:
    residuals, valid, days = case(3, 4)
    with pytest.raises(InputError, match="decay 0"):
        spread_residuals(residuals, valid, days, days, 0.0, 0.1)
    with pytest.raises(InputError, match="noise"):
        spread_residuals(residuals, valid, days, days, 8.0, torch.zeros(4, 1, 3, 3))
    with pytest.raises(InputError, match="disagree"):
        spread_residuals(residuals, valid[:2], days, days, 8.0, 0.1)
    with pytest.raises(InputError, match="disagree"):
        spread_residuals(residuals, valid, days[:2], days, 8.0, 0.1)
