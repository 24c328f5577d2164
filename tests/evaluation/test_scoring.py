from __future__ import annotations

import numpy as np
import pytest
import torch

from sitsfusion import sensors
from sitsfusion.cube import Frame
from sitsfusion.errors import GridError, InputError
from sitsfusion.evaluation import scoring
from sitsfusion.evaluation.settings import Settings
from sitsfusion.metrics.scoring import score_dates
from sitsfusion.ops.mtf import convolve, psf_kernel

NO_MARGIN = Settings(margin=0)

LANDSAT = tuple(sensors.get("landsat-8-9-c2-l2").band(key) for key in ("B04", "B05", "LST"))
SENTINEL = tuple(sensors.get("sentinel-2-l2a").band(key) for key in ("B02", "B04", "B05", "B08"))


def frame(bands: int, side: int, seed: int, clear: float = 0.7) -> Frame:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 0.5, (bands, side, side)).astype(np.float32)
    return Frame(values, rng.random((side, side)) < clear)


def scored(predicted: Frame, target: Frame, eye: scoring.Eye) -> dict[str, np.ndarray]:
    """Columns of one date."""
    columns = score_dates([scoring.pair(0, predicted, target, eye)], eye.sensor, None).columns
    return {name: values[0].numpy() for name, values in columns.items()}


def direct_rmse(seen: np.ndarray, target: np.ndarray, valid: np.ndarray) -> np.ndarray:
    difference = (seen - target)[:, valid].astype(np.float64)
    return np.sqrt((difference**2).mean(1))


def test_coarse_images_are_compared_with_what_the_sensor_would_see() -> None:
    predicted, target = frame(3, 36, 0), frame(3, 12, 1)
    eye = scoring.observed_eye(LANDSAT, 10, 3, Settings(margin=2))
    found = scored(predicted, target, eye)
    kernel = psf_kernel(10, [30, 30, 90], [0.3, 0.3, 0.2])
    seen = convolve(torch.from_numpy(predicted.values), kernel)[:, 1::3, 1::3].numpy()
    valid = target.valid & predicted.valid[::3, ::3]
    valid[:2], valid[-2:], valid[:, :2], valid[:, -2:] = False, False, False, False
    np.testing.assert_allclose(found["rmse"], direct_rmse(seen, target.values, valid), rtol=1e-5)
    assert found["count"].tolist() == [valid.sum()] * 3
    assert np.isnan(found["psnr"][2])
    assert np.isfinite(found["psnr"][:2]).all()


def test_fine_images_are_compared_with_their_own_optics_whatever_the_method_says_of_validity() -> None:
    predicted, target = frame(4, 20, 2), frame(4, 20, 3)
    found = scored(predicted, target, scoring.observed_eye(SENTINEL, 10, 1, Settings(margin=3)))
    kernel = psf_kernel(10, [10, 10, 20, 10], [1, 1, 0.3, 1])
    seen = convolve(torch.from_numpy(predicted.values), kernel).numpy()
    valid = target.valid.copy()
    valid[:3], valid[-3:], valid[:, :3], valid[:, -3:] = False, False, False, False
    np.testing.assert_allclose(found["rmse"], direct_rmse(seen, target.values, valid), rtol=1e-5)
    assert {"sam", "ndvi_rmse", "ergas"} <= set(found)


def test_the_truth_is_compared_as_it_is() -> None:
    predicted, target = frame(4, 20, 2), frame(4, 20, 3)
    found = scored(predicted, scoring.truth_frame(target.values), scoring.truth_eye(SENTINEL, 10, NO_MARGIN))
    everywhere = np.ones((20, 20), bool)
    expected = direct_rmse(predicted.values, target.values, everywhere)
    np.testing.assert_allclose(found["rmse"], expected, rtol=1e-6)
    assert found["coverage"].tolist() == [1.0] * 4


def test_pixels_without_prediction_do_not_count_and_show_in_the_coverage() -> None:
    target = scoring.truth_frame(frame(4, 20, 3).values)
    values = target.values + np.float32(0.01)
    values[0, :10] = np.nan
    found = scored(Frame(values, np.ones((20, 20), bool)), target, scoring.truth_eye(SENTINEL, 10, NO_MARGIN))
    assert found["coverage"].tolist() == [0.45, 1.0, 1.0, 1.0]  # the filter's support, one pixel, is lost too
    np.testing.assert_allclose(found["rmse"], 0.01, rtol=1e-4)


def test_nothing_to_score_gives_no_number() -> None:
    predicted, target = frame(4, 20, 2), frame(4, 20, 3, clear=0)
    found = scored(predicted, target, scoring.observed_eye(SENTINEL, 10, 1, Settings(margin=0)))
    assert np.isnan(found["rmse"]).all()
    assert np.isnan(found["coverage"]).all()
    assert not found["count"].any()


def test_unobserved_pixels_of_the_target_change_no_score_of_the_others() -> None:
    predicted, target = frame(4, 20, 2), frame(4, 20, 3, clear=1)
    eye = scoring.observed_eye(SENTINEL, 10, 1, Settings(margin=0))
    valid = np.ones((20, 20), bool)
    valid[5:7, 5:7] = False
    holes = target.values.copy()
    holes[:, ~valid] = np.nan
    whole, found = (scored(predicted, Frame(v, valid), eye) for v in (target.values, holes))
    np.testing.assert_array_equal(whole["rmse"], found["rmse"])
    assert np.isfinite(found["sam"])


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="margin of 10"):
        scored(frame(4, 20, 2), frame(4, 20, 3), scoring.observed_eye(SENTINEL, 10, 1, Settings(margin=10)))
    with pytest.raises(GridError, match="35 pixels wide as predicted and 10"):
        scoring.whole_factor(35, 10, "coarse")
