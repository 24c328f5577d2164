"""Resizing, distances in time, and the recorder of the fusion survey."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.metrics import stf_survey
from sitsfusion.metrics.imresize import imresize
from sitsfusion.metrics.temporal import clear_rate, closest_distance, density
from tests.metrics.images import drawn, mask


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30))
def test_resizing_keeps_constants_and_the_same_size(side: int, count: int) -> None:
    torch.testing.assert_close(imresize(torch.full((side, 3), 0.7), (count, 5)), torch.full((count, 5), 0.7))
    x = drawn(0, 2, side, 4)
    torch.testing.assert_close(imresize(x, (side, 4)), x)


def test_resizing_mirrors_with_the_image() -> None:
    x = drawn(0, 12, 9)
    torch.testing.assert_close(imresize(x.flip(0), (6, 4)), imresize(x, (6, 4)).flip(0))
    with pytest.raises(InputError, match="must be positive"):
        imresize(x, (0, 4))


def test_distances_and_densities() -> None:
    found = closest_distance(torch.tensor([0.0, 10.5, 400.0]), torch.tensor([380, 10, -3]))
    assert found.tolist() == [3.0, 0.5, 20.0]
    assert density(found).tolist() == pytest.approx([math.exp(-0.09), math.exp(-0.0025), math.exp(-4)])
    nothing = closest_distance(torch.tensor([1, 2]), torch.empty(0))
    assert nothing.isnan().all()
    assert density(nothing).isnan().all()


def test_clear_rates_add_up() -> None:
    valid = mask(0, 3, 8, 9)
    parts = clear_rate(valid[:, :5]) + clear_rate(valid[:, 5:])
    torch.testing.assert_close(parts.value(), valid.double().mean((1, 2)))


def test_the_recorder_drops_outliers_once_ten_values_are_kept() -> None:
    values = [30.0 + 0.1 * i for i in range(10)]
    assert stf_survey.recorded([*values, 45.0], "PSNR") == values
    assert stf_survey.recorded([*values[:9], 45.0], "PSNR") == [*values[:9], 45.0]
    assert stf_survey.recorded([math.nan, 101.0, -1.0, 20.0], "PSNR") == [20.0]
    with pytest.raises(InputError, match="'LPIPS'"):
        stf_survey.recorded([1.0], "LPIPS")


def test_survey_metrics_of_equal_images() -> None:
    t = drawn(0, 3, 24, 20)
    ideal = {
        "MAE": 0,
        "SAM": 0,
        "RMSE": 0,
        "ERGAS": 0,
        "PSNR": math.inf,
        "SSIM": 1,
        "RASE": 0,
        "SCC": 1,
        "CC": 1,
        "R2": 1,
    }
    for name, value in ideal.items():
        assert stf_survey.METRICS[name](t, t).item() == pytest.approx(value, abs=1e-6), name
