"""Operations on series against loops over batch, dates and pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.ops import mtf, resample, series_ops
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.series import Series


def make(days: list[list[float]], seed: int, masked: bool = True, channels: int = 2, side: int = 4) -> Series:
    draw = torch.Generator().manual_seed(seed)
    b, t = len(days), len(days[0])
    values = torch.rand(b, t, channels, side, side, generator=draw)
    share = torch.rand(b, t, 1, 1, generator=draw)  # some dates are all clear, some all cloudy
    valid = torch.rand(b, t, side, side, generator=draw) * 1.6 - 0.3 > share if masked else None
    return Series(values, torch.tensor(days), valid)


def days_of(batch: int, dates: int) -> st.SearchStrategy[list[list[int]]]:
    one = st.lists(st.integers(-20, 40), min_size=dates, max_size=dates, unique=True)
    return st.lists(one, min_size=batch, max_size=batch)


@st.composite
def a_series(draw, batch: int | None = None, masked: bool | None = None) -> Series:
    b, t = batch or draw(st.integers(1, 3)), draw(st.integers(1, 5))
    has_mask = draw(st.booleans()) if masked is None else masked
    return make(draw(days_of(b, t)), draw(st.integers(0, 999)), has_mask)


targets_of = st.lists(st.integers(-25, 45), min_size=1, max_size=5)


# --- dates ---------------------------------------------------------------------------------------------------------


@given(a_series(), targets_of, st.booleans())
@settings(deadline=None)
def test_subset_copies_present_days_and_fills_the_others(series, targets, own):
    wanted = torch.tensor([targets[::-1] if own and i else targets for i in range(len(series.days))])
    found = series_ops.subset(series, wanted if own else wanted[0], fill=-5.0)
    assert found.days.tolist() == wanted.tolist()
    for i, row in enumerate(wanted.tolist()):
        for j, day in enumerate(row):
            source = series.days[i].tolist()
            if day in source:
                assert torch.equal(found.values[i, j], series.values[i, source.index(day)])
                assert torch.equal(found.usable()[i, j], series.usable()[i, source.index(day)])
            else:
                assert (found.values[i, j] == -5).all()
                assert not found.usable()[i, j].any()


@given(a_series())
@settings(deadline=None)
def test_subset_without_targets_is_the_union_of_the_batch(series):
    found = series_ops.subset(series)
    expected = sorted({day for row in series.days.tolist() for day in row})
    assert found.days.tolist() == [expected] * len(series.days)


def test_subset_of_fractional_days_and_of_nothing():
    series = make([[1.5, 2.0]], 0, masked=False)
    found = series_ops.subset(series, torch.tensor([2, 1.5, 1]))
    assert found.usable().all(-1).all(-1).tolist() == [[True, True, False]]
    empty = Series(series.values[:, :0], series.days[:, :0])
    assert not series_ops.subset(empty, torch.tensor([1, 2])).usable().any()
    with pytest.raises(InputError, match="batch of 1"):
        series_ops.subset(series, torch.zeros(2, 3))


@given(days_of(2, 3), days_of(2, 4))
def test_unique_days_is_the_union_per_element(first, second):
    days, exists = series_ops.unique_days(torch.tensor(first), torch.tensor(second))
    unions = [sorted({*a, *b}) for a, b in zip(first, second, strict=True)]
    assert days.shape[1] == max(len(u) for u in unions)
    for i, union in enumerate(unions):
        assert days[i].tolist() == union + [0] * (days.shape[1] - len(union))
        assert exists[i].tolist() == [True] * len(union) + [False] * (days.shape[1] - len(union))


@given(days_of(2, 3), days_of(1, 4))
def test_common_and_uncommon_days_share_out_the_second_list(first, second):
    a, b = torch.tensor(first), torch.tensor(second)
    ours = {day for row in first for day in row}
    assert series_ops.common_days(a, b).tolist() == sorted(set(second[0]) & ours)
    assert series_ops.uncommon_days(a, b).tolist() == sorted(set(second[0]) - ours)
    assert series_ops.common_days(a.double(), b).tolist() == sorted(set(second[0]) & ours)
    assert series_ops.union_days(a, b).tolist() == sorted(set(second[0]) | ours)


@given(a_series(), targets_of, st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans())
@settings(deadline=None)
def test_closest_is_the_nearest_usable_date_of_each_element(series, targets, rate, same_day):
    found = series_ops.closest(series, torch.tensor(targets), rate, same_day)
    _, exists = series_ops.closest_dates(series, torch.tensor(targets), rate, same_day)
    for i, days in enumerate(series.days.tolist()):
        masked = (~series.usable()[i]).float().mean((1, 2)).tolist()
        usable = [k for k in range(len(days)) if masked[k] <= rate]
        for j, target in enumerate(targets):
            candidates = [k for k in usable if same_day or days[k] != target]
            assert exists[i, j].item() == bool(candidates)
            if candidates:
                best = min(candidates, key=lambda k: abs(days[k] - target))  # the first of equals
                assert found.days[i, j].item() == days[best]
                assert torch.equal(found.values[i, j], series.values[i, best])
                assert torch.equal(found.usable()[i, j], series.usable()[i, best])
            else:
                assert not found.usable()[i, j].any()


def test_closest_without_dates_is_refused():
    empty = Series(torch.zeros(1, 0, 1, 2, 2), torch.zeros(1, 0))
    with pytest.raises(InputError, match="without dates"):
        series_ops.closest(empty, torch.tensor([3]))


@given(a_series(masked=True))
@settings(deadline=None)
def test_trim_keeps_all_valid_dates_in_order(series):
    trimmed = series_ops.trim(series)
    has_clear = series.usable().any(-1).any(-1)
    assert trimmed.days.shape[1] == int(has_clear.sum(1).max())
    for i in range(len(series.days)):
        n = int(has_clear[i].sum())
        assert torch.equal(trimmed.days[i, :n], series.days[i][has_clear[i]])
        assert torch.equal(trimmed.values[i, :n], series.values[i][has_clear[i]])
        assert torch.equal(trimmed.usable()[i, :n], series.usable()[i][has_clear[i]])
        assert not trimmed.usable()[i, n:].any()


def test_trim_without_mask_keeps_everything():
    series = make([[3, 1]], 0, masked=False)
    assert torch.equal(series_ops.trim(series).values, series.values)


def test_mask_dates():
    plain = make([[3, 1, 2]], 0, masked=False)
    keep = torch.tensor([[True, False, True]])
    found = series_ops.mask_dates(plain, keep)
    assert found.usable().all(-1).all(-1).tolist() == keep.tolist()
    with pytest.raises(InputError, match="float32"):
        series_ops.mask_dates(plain, keep.float())


def test_take_dates_refuses_positions_outside():
    with pytest.raises(InputError, match=r"0\.\.1"):
        series_ops.take_dates(make([[3, 1]], 0), torch.tensor([[2]]))


# --- two series ----------------------------------------------------------------------------------------------------


@given(days_of(2, 3), days_of(2, 4), st.integers(0, 999), st.booleans())
@settings(deadline=None)
def test_combine_averages_what_both_see(first, second, seed, masked):
    a, b = make(first, seed), make(second, seed + 1, masked)
    a = Series(a.values.masked_fill(~a.usable()[:, :, None], torch.nan), a.days, a.valid)  # must not leak
    found = series_ops.combine(a, b)
    for i in range(2):
        union = sorted({*first[i], *second[i]})
        assert found.days[i, : len(union)].tolist() == union
        assert not found.usable()[i, len(union) :].any()
        for j, day in enumerate(union):
            seen = [
                (s.values[i, s.days[i].tolist().index(day)], s.usable()[i, s.days[i].tolist().index(day)])
                for s in (a, b)
                if day in s.days[i].tolist()
            ]
            count = sum(valid.float() for _, valid in seen)
            total = sum(torch.where(valid, values, 0.0) for values, valid in seen)
            torch.testing.assert_close(found.values[i, j], total / count.clamp(min=1))
            assert torch.equal(found.usable()[i, j], count > 0)
    assert found.values.isfinite().all()


def test_combine_refuses_different_images():
    with pytest.raises(InputError, match="besides dates"):
        series_ops.combine(make([[1]], 0), make([[1]], 0, side=5))


@given(days_of(2, 3), st.integers(0, 999))
@settings(deadline=None)
def test_where_takes_the_second_only_in_gaps_of_the_first(days, seed):
    a, b = make(days, seed), make(days, seed + 1)
    found = series_ops.where(a, b)
    assert torch.equal(found.usable(), a.usable() | b.usable())
    for c in range(2):
        assert torch.equal(found.values[:, :, c][a.usable()], a.values[:, :, c][a.usable()])
        only_b = b.usable() & ~a.usable()
        assert torch.equal(found.values[:, :, c][only_b], b.values[:, :, c][only_b])
    plain = Series(a.values, a.days)
    assert series_ops.where(plain, b).valid is None


def test_where_refuses_other_shapes_and_days():
    with pytest.raises(InputError, match="shapes"):
        series_ops.where(make([[1]], 0), make([[1, 2]], 0))
    with pytest.raises(InputError, match="days"):
        series_ops.where(make([[1]], 0), make([[2]], 0))


# --- radiometry ----------------------------------------------------------------------------------------------------


def test_standardise_and_back():
    series = make([[1, 2]], 0)
    stored = Series((series.values * 10000).to(torch.int16), series.days, series.valid)
    mean, std = torch.tensor([0.1, 0.2]), torch.tensor([0.5, 2.0])
    scaled = series_ops.standardise(stored, mean, std, 10000.0)
    assert scaled.values.dtype == torch.float32
    expected = (stored.values[:, :, 1] / 10000 - 0.2) / 2.0
    torch.testing.assert_close(scaled.values[:, :, 1], expected)
    back = series_ops.unstandardise(scaled, mean, std, 10000.0)
    torch.testing.assert_close(back.values, stored.values.float(), rtol=1e-5, atol=1e-2)
    assert torch.equal(back.usable(), series.usable())


def test_clip_applies_before_centring():
    series = Series(torch.tensor([-1.0, 0.5, 3.0]).reshape(1, 1, 1, 1, 3), torch.zeros(1, 1))
    scaled = series_ops.standardise(series, torch.tensor([0.5]), torch.tensor([2.0]), 1.0, clip=(-0.2, 1.0))
    torch.testing.assert_close(scaled.values.flatten(), torch.tensor([-0.35, 0.0, 0.25]))


def test_statistics_of_other_channels_are_refused():
    with pytest.raises(InputError, match=r"expected \(2,\)"):
        series_ops.standardise(make([[1]], 0), torch.zeros(3), torch.ones(3), 1.0)


def test_ndvi_is_computed_in_reflectance():
    series = make([[1, 2]], 3)
    mean, std = torch.tensor([0.1, 0.2]), torch.tensor([0.5, 2.0])
    scaled = series_ops.standardise(series, mean, std, 1.0)
    found = series_ops.append_ndvi(scaled, mean, std, red=0, nir=1)
    red, nir = series.values[:, :, 0], series.values[:, :, 1]
    torch.testing.assert_close(found.values[:, :, 2], (nir - red) / (nir + red + 1e-6))
    assert torch.equal(found.values[:, :, :2], scaled.values)
    with pytest.raises(InputError, match="below 2"):
        series_ops.append_ndvi(scaled, mean, std, red=0, nir=2)


# --- images --------------------------------------------------------------------------------------------------------


def test_resampled_and_degraded_take_the_mask_along():
    series = make([[1, 2], [3, 4]], 5, side=12)
    taps = mtf.psf_taps(10.0, [20.0, 30.0], [0.3, 0.4])
    coarse = series_ops.degraded(series, taps, 3)
    assert torch.equal(coarse.values, mtf.degrade(series.values, taps, 3))
    assert torch.equal(coarse.usable(), series.usable()[..., ::3, ::3])
    fine = series_ops.resampled(series, 0.5, "bilinear")
    assert torch.equal(fine.values, resample.bilinear(series.values, 0.5))
    assert torch.equal(fine.usable(), resample.nearest(series.usable(), 0.5))
    assert series_ops.resampled(Series(series.values, series.days), 3).valid is None
    with pytest.raises(InputError, match="'cubic'"):
        series_ops.resampled(series, 3, "cubic")


@given(a_series(), targets_of)
@settings(deadline=None)
def test_gapfilled_treats_each_element_alone(series, targets):
    wanted = torch.tensor([[day + i for day in targets] for i in range(len(series.days))])
    found = series_ops.gapfilled(series, wanted)
    assert found.valid is None
    assert torch.equal(found.days, wanted)
    for i in range(len(series.days)):
        valid = None if series.valid is None else series.valid[i]
        alone = linear_gapfill(series.values[i], valid, series.days[i], wanted[i])
        assert torch.equal(found.values[i].nan_to_num(9.0), alone.nan_to_num(9.0))
