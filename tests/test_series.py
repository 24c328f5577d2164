"""The container: what it refuses, and that nothing it does changes a mask, a day or its source."""

from __future__ import annotations

import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.series import Series, cat_channels, collate


def a_series(b: int = 2, t: int = 3, c: int = 2, h: int = 6, w: int = 5, masked: bool = True, seed: int = 0) -> Series:
    draw = torch.Generator().manual_seed(seed)
    values = torch.rand(b, t, c, h, w, generator=draw)
    valid = torch.rand(b, t, h, w, generator=draw) > 0.4 if masked else None
    days = torch.arange(b * t).reshape(b, t) * 3
    return Series(values, days, valid)


@pytest.mark.parametrize(
    ("values", "days", "valid", "found"),
    [
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 3), None, r"\(2, 3, 4, 5\)"),
        (torch.zeros(1, 2, 3, 4, 5, dtype=torch.bool), torch.zeros(1, 2), None, "bool"),
        (torch.zeros(1, 2, 3, 4, 5), torch.zeros(2), None, r"\(2,\)"),
        (torch.zeros(1, 2, 3, 4, 5), torch.zeros(1, 3), None, r"\(1, 3\)"),
        (torch.zeros(1, 2, 3, 4, 5), torch.zeros(1, 2), torch.ones(1, 2, 4, 5), "float32"),
        (torch.zeros(1, 2, 3, 4, 5), torch.zeros(1, 2), torch.ones(1, 2, 5, 4).bool(), r"\(1, 2, 5, 4\)"),
        (torch.zeros(1, 2, 3, 4, 5), torch.zeros(1, 2, device="meta"), None, "meta"),
        (torch.zeros(1, 2, 3, 4, 5), torch.zeros(1, 2), torch.ones(1, 2, 4, 5, device="meta").bool(), "meta"),
    ],
)
def test_malformed_series_are_refused_with_what_was_found(values, days, valid, found):
    with pytest.raises(InputError, match=found):
        Series(values, days, valid)


def test_to_casts_values_only():
    series = Series(torch.rand(1, 2, 1, 3, 3), torch.tensor([[257, 1023]]), torch.ones(1, 2, 3, 3).bool())
    cast = series.to(dtype=torch.bfloat16)
    assert cast.values.dtype == torch.bfloat16
    assert cast.valid is not None
    assert cast.valid.dtype == torch.bool
    assert cast.days.tolist() == [[257, 1023]]  # bfloat16 would make them 256 and 1024
    assert series.values.dtype == torch.float32
    fractional = Series(series.values, torch.tensor([[257.5, 1023.25]])).to("cpu", torch.float16)
    assert fractional.days.tolist() == [[257.5, 1023.25]]


def test_to_moves_every_part():
    moved = a_series().to("meta")
    assert {moved.values.device.type, moved.days.device.type, moved.usable().device.type} == {"meta"}


def test_crop_takes_the_inner_pixels_of_image_and_mask():
    series = a_series(h=6, w=7)
    inner = series.crop(2)
    assert torch.equal(inner.values, series.values[..., 2:4, 2:5])
    assert torch.equal(inner.usable(), series.usable()[..., 2:4, 2:5])
    assert torch.equal(inner.days, series.days)


def test_crop_by_zero_changes_nothing():
    series = a_series(h=1, w=1)
    assert torch.equal(series.crop(0).values, series.values)
    assert torch.equal(series.crop(0).usable(), series.usable())


@pytest.mark.parametrize("margin", [-1, 2, 3])
def test_crop_that_leaves_no_image_is_refused(margin):
    with pytest.raises(InputError, match=str(margin)):
        a_series(h=5, w=9).crop(margin)


def test_pad_time_appends_unusable_dates():
    series = a_series(masked=False)
    padded = series.pad_time(5, fill=-1.0, day=-7)
    assert torch.equal(padded.values[:, :3], series.values)
    assert (padded.values[:, 3:] == -1).all()
    assert padded.days[:, 3:].tolist() == [[-7, -7]] * 2
    assert padded.days.dtype == series.days.dtype
    assert padded.usable()[:, :3].all()
    assert not padded.usable()[:, 3:].any()
    with pytest.raises(InputError, match="3 dates cannot be padded to 2"):
        series.pad_time(2)


def test_split_then_cat_channels_gives_the_series_back():
    series = a_series(c=5)
    first, second = series.split(2)
    assert (first.values.shape[2], second.values.shape[2]) == (2, 3)
    joined = cat_channels([first, second])
    assert torch.equal(joined.values, series.values)
    assert torch.equal(joined.usable(), series.usable())
    with pytest.raises(InputError, match="channel 6"):
        series.split(6)


def test_cat_channels_keeps_what_is_valid_everywhere():
    a, b = a_series(seed=1), a_series(seed=2)
    plain = a_series(masked=False)
    assert torch.equal(cat_channels([a, plain, b]).usable(), a.usable() & b.usable())
    assert cat_channels([plain, plain]).valid is None
    with pytest.raises(InputError, match="different days"):
        cat_channels([a, Series(b.values, b.days + 1)])
    with pytest.raises(InputError, match="none"):
        cat_channels([])


def test_collate_pads_to_the_longest():
    long, short = a_series(b=1, t=4), a_series(b=2, t=1, masked=False)
    batch = collate([long, short])
    assert batch.values.shape == (3, 4, 2, 6, 5)
    assert torch.equal(batch.usable()[:1], long.usable())
    assert batch.usable()[1:, :1].all()
    assert not batch.usable()[1:, 1:].any()
    assert torch.equal(batch.values[1:, :1], short.values)


def test_collate_without_masks():
    plain = a_series(masked=False)
    assert collate([plain, plain]).valid is None
    assert collate([plain, a_series()]).usable()[:2].all()
    with pytest.raises(InputError, match="none"):
        collate([])
