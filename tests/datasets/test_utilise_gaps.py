"""Cloudy frames, and simulated gaps: rules, order of draws, bounds."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sitsfusion.datasets.utilise_detection import (
    Run,
    impaired_frames,
    longest_consecutive,
    longest_invalid,
    longest_within,
    missing_frames,
)
from sitsfusion.datasets.utilise_gaps import (
    Draws,
    dilate,
    draw_masks,
    fill,
    final_masks,
    occlude_above,
    place_masks,
    sample_indices,
)
from sitsfusion.datasets.utilise_options import MaskSettings
from sitsfusion.datasets.utilise_positions import positions
from sitsfusion.errors import InputError

START = date(2019, 12, 25)


def test_a_frame_is_missing_if_all_of_it_is_nan_and_integers_never_are() -> None:
    seq = np.zeros((3, 2, 4, 4), np.float32)
    seq[0] = np.nan
    seq[1, 0] = np.nan
    assert missing_frames(seq).tolist() == [True, False, False]
    assert not missing_frames(np.zeros((2, 1, 2, 2), np.uint16)).any()
    assert impaired_frames(seq, np.zeros((3, 1, 4, 4))).tolist() == [True, False, False]


def test_more_cloudy_pixels_than_float16_can_count_are_cloudy() -> None:
    mask = np.ones((1, 1, 256, 260), np.float16)
    assert impaired_frames(np.zeros_like(mask), mask).tolist() == [True]


def test_mask_and_images_must_belong_together() -> None:
    with pytest.raises(InputError, match="do not belong together"):
        impaired_frames(np.zeros((3, 2, 4, 4)), np.zeros((2, 1, 4, 4)))
    with pytest.raises(InputError, match="do not belong together"):
        impaired_frames(np.zeros((3, 2, 4, 4)), np.zeros((3, 1, 4, 4)), np.zeros((3, 1, 4, 5)))


def test_longest_runs() -> None:
    assert longest_consecutive([0, 2, 3, 5, 6, 8]) == Run(2, 2, 3)  # the first of two
    assert longest_consecutive([0, 2, 4]) == Run(0, 0, 0)  # isolated frames are no run
    assert longest_consecutive([]) == Run()
    dates = [START + timedelta(days=n) for n in (0, 10, 39, 49, 59, 100)]
    assert longest_within([0, 1, 2, 3, 4, 5], dates, 28) == Run(3, 2, 4)
    assert longest_within([0, 2, 4], dates, 39) == Run(3, 0, 4)
    assert longest_invalid(np.array([1, 0, 0, 1, 0])) == 2
    assert longest_invalid(np.ones(3)) == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), max_size=40))
def test_the_longest_run_is_one_and_none_is_longer(valid: list[bool]) -> None:
    good = [n for n, is_good in enumerate(valid) if is_good]
    run = longest_consecutive(good)
    stretches = "".join("x" if v else " " for v in valid).split()
    longest = max(map(len, stretches), default=0)
    assert run.length == (longest if longest > 1 else 0)
    if run.length:
        assert all(valid[run.start : run.end + 1])
        assert run.end - run.start + 1 == run.length


def test_positions_over_the_turn_of_the_year() -> None:
    dates = [START, date(2020, 1, 1), date(2020, 12, 31)]
    assert positions(dates, "day-of-year").tolist() == [358, 0, 365]
    assert positions(dates, "day-within-sequence").tolist() == [0, 7, 372]
    assert positions([date(2015, 6, 23)], "absolute").tolist() == [0]
    assert positions(dates, "enumeration").dtype == np.int64
    with pytest.raises(InputError, match="day-of-month"):
        positions(dates, "day-of-month")  # type: ignore[arg-type]


# -- which frames ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 25),
    ratio=st.floats(0, 1),
    full=st.floats(0, 1),
    fixed=st.booleans(),
    protected=st.lists(st.integers(-4, 6), max_size=3),
    seed=st.integers(0, 1000),
)
def test_frames_with_a_gap(count: int, ratio: float, full: float, fixed: bool, protected: list[int], seed: int) -> None:
    rule = MaskSettings(
        ratio_masked_frames=ratio,
        ratio_fully_masked_frames=min(ratio, full),
        fixed_masking_ratio=fixed,
        non_masked_frames=tuple(protected),
    )
    valid = list(range(0, 3 * count, 3))
    chosen = sample_indices(valid, rule, Draws(seed))
    assert set(chosen.masked.tolist()) <= set(valid)
    assert len(set(chosen.masked.tolist())) == len(chosen.masked) <= np.ceil(ratio * count)
    assert set(chosen.fully.tolist()) <= set(chosen.masked.tolist())
    again = sample_indices(valid, rule, Draws(seed))
    assert again.masked.tolist() == chosen.masked.tolist()


def test_protected_frames_never_get_a_gap() -> None:
    everything = {"ratio_masked_frames": 1, "fixed_masking_ratio": True}
    valid = [4, 5, 7, 9]
    first = sample_indices(valid, MaskSettings(non_masked_frames=(0, -1), **everything), Draws(0))
    assert sorted(first.masked) == [4, 5, 7]  # with a negative one, 0 is frame 0, which is not valid
    second = sample_indices(valid, MaskSettings(non_masked_frames=(0,), **everything), Draws(0))
    assert sorted(second.masked) == [5, 7, 9]
    none = sample_indices(valid, MaskSettings(non_masked_frames=(), **everything), Draws(0))
    assert sorted(none.masked) == valid
    assert sorted(sample_indices([], MaskSettings(), Draws(0)).masked) == []


def test_ratios_must_agree() -> None:
    with pytest.raises(ValidationError, match="ratio_fully_masked_frames"):
        MaskSettings(ratio_masked_frames=0.2, ratio_fully_masked_frames=0.3)


# -- which masks -------------------------------------------------------------------------------------------------------


def test_drawn_masks_cover_enough() -> None:
    covers = np.array([0, 0.05, 0.1, 0.6])
    masks = (np.arange(100) < covers[:, None] * 100).reshape(4, 1, 10, 10).astype(np.float32)
    drawn = draw_masks(30, ["a"], lambda _: masks, Draws(0))
    assert set(np.round(drawn.mean(axis=(1, 2, 3)), 3)) == {np.float32(0.1), np.float32(0.6)}


def test_a_tile_without_clouds_is_given_up() -> None:
    with pytest.raises(InputError, match="covers 10% of a frame"):
        draw_masks(1, ["tile/a", "tile/b"], lambda _: np.zeros((3, 1, 4, 4)), Draws(0))


def test_frames_hidden_whole_are_hidden_whole() -> None:
    rule = MaskSettings(ratio_masked_frames=0.5, ratio_fully_masked_frames=0.25, fixed_masking_ratio=True)
    chosen = sample_indices(range(8), rule, Draws(3))
    masks = place_masks(8, chosen, np.full((4, 1, 2, 2), 0.0, np.float32))
    assert sorted(np.flatnonzero(masks.all(axis=(1, 2, 3)))) == sorted(chosen.fully)
    assert len(chosen.fully) == 2


def test_occluded_above() -> None:
    masks = np.zeros((2, 1, 2, 2), np.float32)
    masks[0, 0, 0] = 1
    masks[1, 0, 0, 0] = 1
    assert occlude_above(masks, 0.4).mean(axis=(1, 2, 3)).tolist() == [1, 0.25]
    assert occlude_above(masks, 0) is masks
    assert occlude_above(masks, None) is masks


def test_dilation_is_a_plus_and_ends_at_the_image() -> None:
    masks = np.zeros((1, 1, 4, 5), np.int8)
    masks[0, 0, 0, 0] = masks[0, 0, 2, 3] = 1
    expected = [[1, 1, 0, 0, 0], [1, 0, 0, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 1, 0]]
    assert dilate(masks)[0, 0].tolist() == expected
    assert masks.sum() == 2


def test_the_union_with_the_frames_own_clouds() -> None:
    drawn, own = np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.float32)
    drawn[..., 0, 0], own[..., 1, 1] = 1, 1
    union = MaskSettings(intersect_real_cloud_masks=True)
    assert final_masks(drawn, own, union)[0, 0].tolist() == [[1, 0], [0, 1]]
    assert final_masks(drawn, own, union, above=0.4).all()
    assert final_masks(drawn, own, MaskSettings()).sum() == 1
    assert final_masks(own, own, MaskSettings(mask_type="real_clouds", intersect_real_cloud_masks=True)).sum() == 1


# -- what hidden pixels hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fill_value", "mean", "white_noise"])
def test_nothing_of_the_hidden_value_is_left(kind: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.random((3, 2, 6, 5)).astype(np.float32)
    masks = (rng.random((3, 1, 6, 5)) < 0.4).astype(np.float32)
    hidden = np.broadcast_to(masks > 0, images.shape)
    others = np.where(hidden, rng.random(images.shape).astype(np.float32), images)
    found = fill(images, masks, kind, 1, Draws(0))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, fill(others, masks, kind, 1, Draws(0)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[~hidden], images[~hidden])
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_mean_of_no_pixel_is_zero() -> None:
    images = np.ones((2, 1, 2, 2), np.float32)
    assert fill(images, images, "mean", 1, Draws(0)).max() == 0


def test_seeds() -> None:
    assert Draws(1, 2, 3).python.random() == Draws(1, 2, 3).python.random() != Draws(1, 3, 2).python.random()
    with pytest.raises(InputError, match="-1"):
        Draws(-1)
