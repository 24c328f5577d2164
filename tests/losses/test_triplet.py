from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sitsfusion.losses.triplet import triplet
from tests.nets.small import images


def literal(prediction: Tensor, target: Tensor, valid: Tensor, days: Tensor, limit: float, margin: float) -> Tensor:
    """The definition, pixel by pixel."""
    t, _, h, w = target.shape
    values = []
    for i in range(t):
        for y in range(h):
            for x in range(w):
                clear = [(abs(float(days[j] - days[i])), j) for j in range(t) if valid[j, y, x]]
                if valid[i, y, x] or not clear or min(clear)[0] >= limit:
                    continue
                a, n, p = prediction[i, :, y, x], target[i, :, y, x], target[min(clear)[1], :, y, x]
                d_an = torch.minimum((a - n + 1e-6).abs(), (p - n + 1e-6).abs())
                values.append(((a - p + 1e-6).abs() - d_an + margin).clamp(min=0))
    return torch.cat(values).mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_its_definition(seed: int) -> None:
    prediction, target = images(seed, 6, 2, 4, 5), images(seed + 9, 6, 2, 4, 5)
    valid = images(seed + 20, 6, 4, 5) > 0.5
    days = torch.tensor([0, 5, 10, 10, 33, 90]) if seed else torch.tensor([40.5, -3.0, 0.25, 20.5, 300.0, 45.0])
    value = triplet(prediction, target, valid, days, max_days=20, margin=0.1)
    torch.testing.assert_close(value, literal(prediction, target, valid, days, 20, 0.1))


def test_the_prediction_is_drawn_to_the_clear_image() -> None:
    target = torch.tensor([0.0, 5.0]).reshape(2, 1, 1, 1)
    valid = torch.tensor([True, False]).reshape(2, 1, 1)
    prediction = torch.tensor([0.0, 3.0]).reshape(2, 1, 1, 1).requires_grad_()
    value = triplet(prediction, target, valid, torch.tensor([1, 8]))
    assert value is not None
    value.backward()
    assert prediction.grad is not None
    assert prediction.grad[0] == 0
    assert prediction.grad[1] > 0


def test_without_a_near_clear_date_there_is_no_loss() -> None:
    x, valid = images(0, 2, 1, 2, 2), torch.ones(2, 2, 2, dtype=torch.bool)
    assert triplet(x, x, valid, torch.tensor([0, 5])) is None
    valid[1] = False
    assert triplet(x, x, valid, torch.tensor([0, 20])) is None
    assert triplet(x, x, valid, torch.tensor([0, 19])) is not None
    assert triplet(x[:0], x[:0], valid[:0], torch.zeros(0)) is None


def test_nan_under_a_cloud_is_nothing_to_keep_away_from() -> None:
    prediction, target = images(0, 2, 2, 3, 3), images(1, 2, 2, 3, 3)
    valid = torch.ones(2, 3, 3, dtype=torch.bool)
    valid[1] = False
    target[1, 0, 0, 0] = torch.nan
    prediction.requires_grad_()
    value = triplet(prediction, target, valid, torch.tensor([0, 1]))
    assert value is not None
    value.backward()
    assert value.isfinite()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert not prediction.grad[1, :, 0, 0].any()
