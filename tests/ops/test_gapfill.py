"""Linear gap filling against `numpy.interp`, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.ops.gapfill import linear_gapfill, observation_quality

DAY = st.one_of(st.integers(-400, 800), st.integers(-1600, 3200).map(lambda n: n / 4))


@st.composite
def cases(draw):
    """Values, valid, days, targets of random sizes; what is masked is NaN."""
    days = draw(st.lists(DAY, min_size=1, max_size=9, unique_by=float))
    targets = draw(st.lists(st.one_of(DAY, st.sampled_from(days)), min_size=1, max_size=6))
    t, c, h, w = len(days), draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    valid = rng.random((t, h, w)) < draw(st.sampled_from([0.1, 0.5, 0.9, 1.0]))
    values = np.where(valid[:, None], rng.normal(size=(t, c, h, w)), np.nan)
    return (
        torch.from_numpy(values.astype(np.float32)),
        torch.from_numpy(valid),
        torch.tensor(days, dtype=torch.float64),
        torch.tensor(targets, dtype=torch.float64),
    )


def interp(values, valid, days, targets):
    """`numpy.interp` over the clear observations of every pixel and channel."""
    c, h, w = values.shape[1:]
    out = np.full((len(targets), c, h, w), np.nan)
    order = np.argsort(days.numpy())
    for i, j in np.ndindex(h, w):
        clear = order[valid.numpy()[order, i, j]]
        for k in range(c):
            if len(clear):
                out[:, k, i, j] = np.interp(targets.numpy(), days.numpy()[clear], values.numpy()[clear, k, i, j])
    return out


@given(cases())
@settings(deadline=None)
def test_equals_numpy_interp_for_every_pixel(case):
    np.testing.assert_allclose(linear_gapfill(*case), interp(*case), rtol=1e-5, atol=1e-6)


@given(cases())
@settings(deadline=None)
def test_no_mask_is_the_same_as_all_clear(case):
    values, _, days, targets = case
    values = values.nan_to_num(0.25)
    everywhere = torch.ones(len(days), *values.shape[-2:]).bool()
    assert torch.equal(linear_gapfill(values, None, days, targets), linear_gapfill(values, everywhere, days, targets))


@given(cases(), st.integers(1, 4000))
@settings(deadline=None)
def test_any_chunk_and_any_window_give_the_same_bits(case, work_bytes):
    values, valid, days, targets = case
    whole = linear_gapfill(values, valid, days, targets)
    chunked = linear_gapfill(values, valid, days, targets, work_bytes)
    window = linear_gapfill(values[..., 1:, :2], valid[..., 1:, :2], days, targets)
    one_band = linear_gapfill(values[:, -1:], valid, days, targets)
    assert torch.equal(whole.nan_to_num(9.0), chunked.nan_to_num(9.0))
    assert torch.equal(whole[..., 1:, :2].nan_to_num(9.0), window.nan_to_num(9.0))
    assert torch.equal(whole[:, -1:].nan_to_num(9.0), one_band.nan_to_num(9.0))


@given(cases(), st.randoms())
@settings(deadline=None)
def test_order_of_dates_and_targets_does_not_matter(case, random):
    values, valid, days, targets = case
    dates, queries = list(range(len(days))), list(range(len(targets)))
    random.shuffle(dates)
    random.shuffle(queries)
    shuffled = linear_gapfill(values[dates], valid[dates], days[dates], targets[queries])
    assert torch.equal(linear_gapfill(*case)[queries].nan_to_num(9.0), shuffled.nan_to_num(9.0))


def test_exact_day_returns_the_observation_unchanged_whatever_lies_beside_it():
    values = torch.tensor([torch.inf, 0.1, torch.nan]).reshape(3, 1, 1, 1)
    days = torch.tensor([0, 10, 20])
    assert linear_gapfill(values, None, days, torch.tensor([10])).item() == values[1].item()
    clear = torch.tensor([True, True, False]).reshape(3, 1, 1)
    assert linear_gapfill(values, clear, days, torch.tensor([15])).item() == values[1].item()


def test_first_of_two_observations_of_one_day_wins():
    values = torch.tensor([3.0, 1.0, 2.0]).reshape(3, 1, 1, 1)
    days = torch.tensor([8, 5, 5])
    assert linear_gapfill(values, None, days, torch.tensor([5])).item() == 1.0
    clear = torch.tensor([True, False, True]).reshape(3, 1, 1)
    assert linear_gapfill(values, clear, days, torch.tensor([5])).item() == 2.0


def test_pixel_never_clear_is_nan_and_others_are_not():
    values, days = torch.ones(2, 1, 1, 2), torch.tensor([0, 5])
    valid = torch.tensor([[[False, True]], [[False, False]]])
    out = linear_gapfill(values, valid, days, torch.tensor([-3, 2, 9]))
    assert out[..., 0].isnan().all()
    assert (out[..., 1] == 1).all()


def test_no_date_at_all_gives_nan():
    out = linear_gapfill(torch.ones(0, 2, 3, 3), None, torch.zeros(0), torch.tensor([1.0, 2.0]))
    assert out.shape == (2, 2, 3, 3)
    assert out.isnan().all()


def test_gradient_reaches_clear_observations_only():
    values = torch.rand(4, 2, 3, 3, dtype=torch.float64)
    valid = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(1)) > 0.5
    valid[:, 0, 0] = False
    values = values.masked_fill(~valid[:, None], torch.nan).requires_grad_()
    out = linear_gapfill(
        values, valid, torch.tensor([0, 3, 7, 9]), torch.tensor([-1.0, 3.0, 5.0, 12.0]), work_bytes=2000
    )
    out[..., valid.any(0)].sum().backward()
    assert values.grad is not None
    assert (values.grad[~valid[:, None].expand_as(values)] == 0).all()
    per_pixel = values.grad.sum((0, 1))  # weights of every target sum to 1 over the dates
    torch.testing.assert_close(per_pixel, 8.0 * valid.any(0).double())


def test_gradient_is_right():
    values = torch.rand(4, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([True, False, True, True])[:, None, None].expand(4, 2, 2)
    days, targets = torch.tensor([0, 3, 7, 9]), torch.tensor([-1.0, 3.0, 8.0])
    assert torch.autograd.gradcheck(lambda v: linear_gapfill(v, valid, days, targets), values)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (torch.int16, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_output_dtype(stored, expected):
    values = torch.tensor([100, 200]).reshape(2, 1, 1, 1).to(stored)
    out = linear_gapfill(values, None, torch.tensor([0, 4]), torch.tensor([1]))
    assert out.dtype == expected
    assert out.item() == 125


def test_large_day_numbers_keep_their_fractions():
    days = torch.tensor([20000.0, 20000.5], dtype=torch.float64)
    values = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    out = linear_gapfill(values, None, days, torch.tensor([20000.0001], dtype=torch.float64))
    assert out.item() == pytest.approx(2e-4, rel=1e-5)


@given(cases())
@settings(deadline=None)
def test_quality_counts_clear_dates_and_measures_days(case):
    _, valid, days, targets = case
    found = observation_quality(valid, days, targets, work_bytes=500)
    assert torch.equal(found.clear_count, valid.sum(0).int())
    distance = (targets[:, None] - days[None]).abs()[:, :, None, None].expand(-1, -1, *valid.shape[1:])
    expected = distance.masked_fill(~valid[None], torch.inf).amin(1)
    torch.testing.assert_close(found.nearest_days, expected.float())


@pytest.mark.parametrize(
    ("values", "valid", "days", "targets", "found"),
    [
        (torch.zeros(2, 1, 3), None, torch.zeros(2), torch.zeros(1), r"\(2, 1, 3\)"),
        (torch.zeros(2, 1, 3, 3), None, torch.zeros(3), torch.zeros(1), r"\(3,\)"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, 3), torch.zeros(2), torch.zeros(1), "float32"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, 4).bool(), torch.zeros(2), torch.zeros(1), r"\(2, 3, 4\)"),
        (torch.zeros(2, 1, 3, 3), None, torch.tensor([0, torch.nan]), torch.zeros(1), "nan"),
    ],
)
def test_malformed_input_is_refused(values, valid, days, targets, found):
    with pytest.raises(InputError, match=found):
        linear_gapfill(values, valid, days, targets)
