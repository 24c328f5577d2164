from __future__ import annotations

import numpy as np
import pytest
import torch

from sitsfusion.losses.decorrelation import decorrelation
from tests.nets.small import images


def test_it_is_the_mean_distance_of_the_covariance_from_identity() -> None:
    tokens = images(0, 2, 150, 5, 3) @ images(1, 3, 3)
    expected = np.abs(np.cov(tokens.reshape(-1, 3).numpy().T) - np.eye(3)).mean()
    value = decorrelation(tokens)
    assert value is not None
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_reduced_precision_is_raised() -> None:
    tokens = images(0, 1, 100, 20, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = decorrelation(tokens)
    expected = decorrelation(tokens.float())
    assert value is not None
    torch.testing.assert_close(value, expected)


def test_few_tokens_have_no_covariance() -> None:
    assert decorrelation(images(0, 1, 333, 3, 2)) is None
    assert decorrelation(images(0, 1, 1000, 1, 2)) is not None
