"""Streaming statistics against those of all pixels at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.datasets.statistics import BandStatistics, collect, to_yaml
from sitsfusion.errors import InputError
from sitsfusion.samples import Sample
from sitsfusion.series import Series
from sitsfusion.weights.config import sensor_input


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_both_deviations(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = [rng.normal(rng.normal(0, 3, 2), 0.5, (n, 2)) for n in sizes]
    found = BandStatistics(2)
    for batch in batches:
        found.add(torch.from_numpy(batch))
    filled = [batch for batch in batches if len(batch)]
    pixels = np.concatenate(batches)
    if len(pixels) < 2:
        with pytest.raises(InputError, match="no standard deviation"):
            found.std("overall")
        return
    np.testing.assert_allclose(found.mean, pixels.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.std("overall"), pixels.std(0, ddof=1), rtol=1e-9)
    if len(pixels) > len(filled):
        squares = sum(((batch - batch.mean(0)) ** 2).sum(0) for batch in filled)
        np.testing.assert_allclose(found.std("within"), np.sqrt(squares / (len(pixels) - len(filled))), rtol=1e-9)


def test_large_offset_keeps_its_digits() -> None:
    found = BandStatistics(1)
    for start in range(0, 1000, 10):
        found.add((torch.arange(start, start + 10, dtype=torch.float64) + 1e9)[:, None])
    assert found.mean[0] == 1e9 + 499.5
    np.testing.assert_allclose(found.std("overall"), np.arange(1000).std(ddof=1), rtol=1e-6)


def sample(clear: bool) -> Sample:
    values = torch.linspace(0, 1, 8).reshape(1, 2, 1, 2, 2)
    cloudy = torch.where(torch.tensor(clear), values, torch.nan)
    valid = torch.full((1, 2, 2, 2), clear)
    return Sample(Series(values, torch.zeros(1, 2)), Series(cloudy, torch.zeros(1, 2), valid))


def test_sample_without_clear_pixel_changes_nothing() -> None:
    """In the reference it makes the statistics of the fine sensor NaN."""
    found, without = collect([sample(True), sample(False), sample(True)]), collect([sample(True)] * 2)
    assert (found.hr.batches, found.lr.batches) == (2, 3)
    assert found.hr.std("within") == without.hr.std("within")


def test_scale() -> None:
    found = collect([sample(True)], torch.tensor([0.001]))
    assert found.lr.mean[0] == pytest.approx(0.0005)
    assert found.hr.mean[0] == pytest.approx(0.5)


def test_yaml_standardises_weights() -> None:
    values = torch.rand(1, 3, 18, 4, 4, generator=torch.Generator().manual_seed(0))
    lr, hr = (Series(part, torch.zeros(1, 3)) for part in values.split([8, 10], 2))
    content = yaml.safe_load(to_yaml("here", collect([Sample(lr, hr)]), "within"))["standardisation"]["here"]
    for role in ("lr", "hr"):
        bands = sensor_input(role, content[f"{role}_mean"], content[f"{role}_std"]).bands  # type: ignore[arg-type]
        assert all(abs(band.mean - 0.5) < 0.2 for band in bands)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="at least one sample"):
        collect([])
    with pytest.raises(InputError, match="2 bands"):
        BandStatistics(2).add(torch.zeros(3, 1))
    with pytest.raises(InputError, match="no finite value"):
        BandStatistics(1).add(torch.tensor([[torch.nan]]))
