"""Windows in time, and what is copied without a network."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.methods.utilise.frames import nearest_dates
from sitsfusion.methods.utilise.sequence import SequenceOptions, impute, join_windows, windows_in_time
from sitsfusion.methods.utilise.trivial import fill_trivially, source_dates
from tests.fake.utilise import small_net


@given(coverage=st.lists(st.floats(0, 1), min_size=1, max_size=60), length=st.integers(4, 12))
def test_windows_go_forward_and_cover_everything(coverage: list[float], length: int) -> None:
    windows = windows_in_time(torch.tensor(coverage), length)
    assert windows[0][0] == 0
    assert windows[-1][1] == len(coverage)
    for (first, last), (following, end) in pairwise(windows):
        assert first < following <= last
        assert end - following == length


def test_short_windows_are_refused() -> None:
    with pytest.raises(InputError, match="4 or more"):
        windows_in_time(torch.zeros(9), 3)
    assert windows_in_time(torch.zeros(9), None) == [(0, 9)]


def test_the_later_window_takes_over_where_both_agree() -> None:
    def predict(first: int, last: int) -> Tensor:
        return (torch.arange(first, last) + (0.0 if first == 0 else 0.5) * (torch.arange(first, last) != 4)).view(
            1, -1, 1, 1, 1
        )

    series, switches = join_windows(predict, [(0, 6), (3, 9)])
    assert switches == (4,)
    assert series.flatten().tolist() == [0, 1, 2, 3, 4, 5.5, 6.5, 7.5, 8.5]


@settings(max_examples=5, deadline=None)
@given(frames=st.integers(1, 9), chunk=st.integers(1, 5), seed=st.integers(0, 9))
def test_frames_encoded_once_give_what_whole_windows_give(frames: int, chunk: int, seed: int) -> None:
    net, rng = small_net(), torch.Generator().manual_seed(seed)
    x = torch.rand(1, frames, 4, 8, 8, generator=rng)
    masks = (torch.rand(1, frames, 1, 8, 8, generator=rng) < 0.4).float()
    days = 5.0 * torch.arange(1, frames + 1)[None]
    found = impute(net, x, days, masks, SequenceOptions(4, frames=chunk, attention=True))
    with torch.no_grad():
        windows = windows_in_time(masks.mean((0, 2, 3, 4)), 4)
        plain, switches = join_windows(lambda a, b: net(x[:, a:b], days[:, a:b]).images, windows)
    torch.testing.assert_close(found.images, plain)
    assert (found.windows, found.switches) == (tuple(windows), switches)
    assert len(found.attention) == len(windows)


def test_bfloat16_is_close_and_comes_back_as_float32() -> None:
    net, x, masks = small_net(), torch.rand(1, 6, 4, 8, 8), torch.zeros(1, 6, 1, 8, 8)
    exact, low = (
        impute(net, x, None, masks, SequenceOptions(4, dtype)).images for dtype in (torch.float32, torch.bfloat16)
    )
    assert low.dtype == torch.float32
    assert 0 < float((exact - low).abs().max()) < 0.05


def test_masks_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="masks have shape"):
        impute(small_net(), torch.rand(1, 3, 4, 8, 8), None, torch.zeros(1, 2, 1, 8, 8))
    with pytest.raises(InputError, match="masks have shape"):
        fill_trivially(torch.rand(1, 3, 4, 2, 2), torch.zeros(1, 2, 1, 2, 2), None, "last")
    with pytest.raises(InputError, match="needs the days"):
        fill_trivially(torch.rand(1, 2, 4, 2, 2), torch.zeros(1, 2, 1, 2, 2), None, "closest")


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=8))
def test_copies_come_from_where_they_should(frames: list[tuple[int, bool]]) -> None:
    """One pixel, by brute force."""
    days = torch.tensor([float(sum(step for step, _ in frames[: i + 1])) for i in range(len(frames))])
    hidden = torch.tensor([float(h) for _, h in frames])
    values, t = torch.arange(1.0, len(frames) + 1), range(len(frames))
    clear = [i for i in t if not hidden[i]]
    images, masks = values.view(1, -1, 1, 1, 1), hidden.view(1, -1, 1, 1, 1)
    for mode in ("last", "next", "closest"):
        found = fill_trivially(images, masks, days[None], mode)
        for i in t:
            before, after = [c for c in clear if c <= i], [c for c in clear if c >= i]
            choices = {"last": before[-1:], "next": after[:1]}.get(mode, before[-1:] + after[:1])
            best = min(choices, key=lambda c: (abs(float(days[c] - days[i])), c), default=None)
            value = float(found[0, i])
            assert value == float(values[best]) if best is not None else value != value
    source = source_dates(masks, days[None], "closest")
    assert bool(source.isnan().all()) == (not clear)


def test_nearest_dates_are_within_reach() -> None:
    days = [date(2020, 1, d) for d in (1, 5, 20)]
    others = [date(2020, 1, d) for d in (3, 7)]
    assert nearest_dates(days, others, 3) == {days[0]: others[0], days[1]: others[0]}
    assert nearest_dates(days, [], 3) == {}
