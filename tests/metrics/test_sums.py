from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.metrics.sums import BandSums, band_sums
from tests.metrics.images import drawn, mask, pair

METRICS = ("bias", "mae", "mse", "rmse", "nrmse", "r2", "correlation", "uqi", "rase")


def values(sums: BandSums) -> dict[str, torch.Tensor]:
    found = {name: getattr(sums, name)() for name in METRICS}
    return found | {"psnr": sums.psnr(1.0), "ergas": sums.ergas(30 / 500)}


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99), h=st.integers(4, 12), w=st.integers(4, 12), row=st.integers(1, 3), column=st.integers(1, 3)
)
def test_tiles_add_up_to_the_whole(seed: int, h: int, w: int, row: int, column: int) -> None:
    p, t = pair(seed, 3, h, w)
    valid = mask(seed, h, w)
    tiles = [
        band_sums(p[:, y, x], t[:, y, x], valid[y, x])
        for y in (slice(0, row), slice(row, h))
        for x in (slice(0, column), slice(column, w))
    ]
    whole = values(band_sums(p, t, valid))
    for name, value in values(tiles[0] + tiles[1] + tiles[2] + tiles[3]).items():
        torch.testing.assert_close(value, whole[name], equal_nan=True, msg=name)


def test_dates_add_up_to_the_stack() -> None:
    p, t = pair(0, 4, 3, 6, 5)
    valid = mask(1, 4, 6, 5)
    pooled = band_sums(p, t, valid).pooled()
    first, second = band_sums(p[:1], t[:1], valid[:1]).pooled(), band_sums(p[1:], t[1:], valid[1:]).pooled()
    torch.testing.assert_close((first + second).rmse(), pooled.rmse())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99))
def test_what_is_masked_never_matters(seed: int) -> None:
    p, t = pair(seed, 2, 9, 8)
    valid = mask(seed, 9, 8, share=0.6)
    expected = values(band_sums(p, t, valid))
    for filler in (torch.nan, torch.inf, 1e30):
        found = band_sums(p.masked_fill(~valid, filler), t.masked_fill(~valid, filler), valid)
        for name, value in values(found).items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


def test_values_against_numpy() -> None:
    p, t = pair(3, 1, 20, 21)
    sums, a, b = band_sums(p, t), p.double().numpy().ravel(), t.double().numpy().ravel()
    e = a - b
    expected = {
        "bias": e.mean(),
        "mae": abs(e).mean(),
        "rmse": np.sqrt((e**2).mean()),
        "nrmse": np.linalg.norm(e) / np.linalg.norm(b),
        "r2": 1 - (e**2).sum() / ((b - b.mean()) ** 2).sum(),
        "correlation": np.corrcoef(a, b)[0, 1],
        "rase": 100 * np.sqrt((e**2).mean()) / b.mean(),
    }
    for name, value in expected.items():
        assert getattr(sums, name)().item() == pytest.approx(value, rel=1e-9), name
    assert sums.psnr(2.0).item() == pytest.approx(10 * np.log10(4 / (e**2).mean()))
    assert sums.ergas(0.06).item() == pytest.approx(6 * np.sqrt((e**2).mean()) / b.mean())


def test_equal_images_are_ideal() -> None:
    t = drawn(0, 3, 7, 7)
    found = values(band_sums(t, t))
    for name in ("bias", "mae", "rmse", "nrmse", "ergas", "rase"):
        assert (found[name] == 0).all(), name
    assert (found["psnr"] == torch.inf).all()
    for name in ("r2", "correlation", "uqi"):
        torch.testing.assert_close(found[name], torch.ones(3, dtype=torch.float64))


def test_kelvin_keeps_its_digits() -> None:
    p, t = (300 + x for x in pair(5, 1, 50, 50))
    expected = np.corrcoef(p.double().numpy().ravel(), t.double().numpy().ravel())[0, 1]
    assert band_sums(p, t).correlation().item() == pytest.approx(expected, rel=1e-6)


def test_what_is_not_defined_is_nan() -> None:
    t = torch.full((1, 4, 4), 0.3)
    constant, nothing = band_sums(t + 0.1, t), band_sums(t, t, torch.zeros(4, 4, dtype=torch.bool))
    assert constant.correlation().isnan()
    assert constant.r2().isnan()
    assert constant.uqi().isnan()
    assert all(value.isnan().all() for value in values(nothing).values())
    assert band_sums(t, 0 * t).nrmse().isnan()


def test_a_nan_prediction_is_left_out_of_its_band_and_a_nan_target_shows() -> None:
    p, t = pair(0, 2, 5, 5)
    p[0, 1, 2] = torch.nan
    sums = band_sums(p, t)
    assert sums.count.tolist() == [24, 25]
    assert sums.rmse().isfinite().all()
    t[1, 0, 0] = torch.nan
    assert band_sums(p, t).rmse().isnan().tolist() == [False, True]


def test_bad_shapes_and_ranges_are_refused() -> None:
    p, t = pair(0, 2, 5, 5)
    with pytest.raises(InputError, match="of one shape"):
        band_sums(p[:1], t)
    for valid in (torch.ones(2, 5, 5, dtype=torch.bool), torch.ones(5, 5)):
        with pytest.raises(InputError, match="validity must be bool"):
            band_sums(p, t, valid)
    with pytest.raises(InputError, match="data range"):
        band_sums(p, t).psnr(0.0)
    with pytest.raises(InputError, match="ratio of ERGAS"):
        band_sums(p, t).ergas(-1.0)
