"""The published inference: which bands and days come out, and how its tiles differ from the whole image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.methods.tamrfsits.reference import predict_series, predict_tiled
from sitsfusion.series import Series
from sitsfusion.weights.config import BandInput, SensorInput
from tests.nets.small import images, small_net


def bands(count: int, mtf: float) -> SensorInput:
    values = {"scale": 1.0, "resolution": 30.0, "mtf": mtf, "mean": 0.2, "std": 0.1}
    return SensorInput(sensor="any", bands=tuple(BandInput(key=f"B{i}", **values) for i in range(count)))


NET = small_net(3)
STATS = bands(NET.config.lr_bands, 0.3), bands(NET.config.hr_bands, 1.0)
LR = Series(images(1, 2, 3, NET.config.lr_bands, 8, 10).abs(), torch.tensor([[3, 40, 90], [1, 2, 400]]))
HR = Series(images(2, 2, 2, NET.config.hr_bands, 24, 30).abs(), torch.tensor([[0.5, 70], [-8, 9]]))
COARSE_DAYS, FINE_DAYS = torch.tensor([[5, 6, 7], [5, 6, 7]]), torch.tensor([[7], [7]])


def values(series: Series | None) -> Tensor:
    assert series is not None
    return series.values


def test_each_sensor_at_its_own_days() -> None:
    coarse, fine = predict_series(NET, STATS, (LR, HR), (COARSE_DAYS, FINE_DAYS))
    assert values(coarse).shape == (2, 3, NET.config.lr_bands, 24, 30)
    assert values(fine).shape == (2, 1, NET.config.hr_bands, 24, 30)
    only, nothing = predict_series(NET, STATS, (LR, HR), (COARSE_DAYS, None))
    assert nothing is None
    torch.testing.assert_close(values(only), values(coarse))
    with pytest.raises(InputError, match="no query days"):
        predict_series(NET, STATS, (LR, HR), (None, None))


def test_masks_are_ignored_and_one_sensor_may_be_absent() -> None:
    masked = Series(LR.values, LR.days, torch.zeros(2, 3, 8, 10, dtype=torch.bool))
    with_mask, _ = predict_series(NET, STATS, (masked, None), (COARSE_DAYS, None))
    without, _ = predict_series(NET, STATS, (LR, None), (COARSE_DAYS, None))
    torch.testing.assert_close(values(with_mask), values(without))


def test_downscaled() -> None:
    """Coarse bands on their own grid; fine bands without blur (MTF 1) as they are."""
    coarse, fine = predict_series(NET, STATS, (LR, HR), (COARSE_DAYS, FINE_DAYS), downscale=True)
    _, sharp = predict_series(NET, STATS, (LR, HR), (COARSE_DAYS, FINE_DAYS))
    assert values(coarse).shape[-2:] == (8, 10)
    torch.testing.assert_close(values(fine), values(sharp))


def test_published_tiles() -> None:
    whole, _ = predict_series(NET, STATS, (LR, HR), (COARSE_DAYS, None))
    tiled, _ = predict_tiled(NET, STATS, (LR, HR), (COARSE_DAYS, None), tile=18, margin=6)
    assert values(tiled).shape[-2:] == (36, 36)  # not cut to the image
    assert not torch.allclose(values(tiled)[..., :24, :30], values(whole), atol=1e-4)  # zeros around the image
