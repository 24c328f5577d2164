"""Samples of simulated places."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from sitsfusion.training.stf.config import DataConfig
from sitsfusion.training.stf.simulated import simulated_place, simulated_samples


def test_samples_are_pairs_of_one_place(tmp_path: Path) -> None:
    options = DataConfig(
        set="simulated", tile=33, size=48, scenes=1, validation_scenes=1, samples_per_scene=3, cache=tmp_path
    )
    train, validation, _ = simulated_samples(options, (2.0, -1.0), seed=4)
    assert (len(train), len(validation)) == (3, 3)
    sample = train[1]
    images = (*sample.images, sample.target)
    assert all(x.shape == (1, 6, 33, 33) for x in images)
    assert all(bool(x.isfinite().all()) and float(x.min()) >= -1.2 for x in images)
    for coarse, fine in ((sample.coarse_ref, sample.fine_ref), (sample.coarse, sample.target)):
        apart = F.avg_pool2d(coarse - fine, 11).abs().mean()
        assert float(apart) < 0.1  # of two sensors with similar bands
        assert float(fine.diff(dim=-1).abs().mean()) > float(coarse.diff(dim=-1).abs().mean())
    torch.testing.assert_close(train[1].target, sample.target)
    train.set_epoch(1)
    assert not torch.equal(train[1].target, sample.target)
    validation.set_epoch(1)
    again = simulated_samples(options, (2.0, -1.0), seed=4)[1]
    torch.testing.assert_close(validation[0].target, again[0].target)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert validation.date(0) == "place 1000000"


def test_a_cache_holds_the_places_as_they_are(tmp_path: Path) -> None:
    """Written, read back, and without a cache: the same; and a spectrum is one of plants and soil."""
    options = DataConfig(
        set="simulated", tile=33, size=48, scenes=1, validation_scenes=1, samples_per_scene=3, augment=False
    )
    made, written, read = (
        simulated_samples(options.model_copy(update={"cache": cache}), (1.0, 0.0), seed=4)[0][0]
        for cache in (None, tmp_path, tmp_path)
    )
    for name in ("coarse_ref", "fine_ref", "coarse", "target"):
        for other in (written, read):
            torch.testing.assert_close(getattr(other, name), getattr(made, name), rtol=0, atol=0)
    place = simulated_place(0, 48)["fine"].float()
    visible, infrared = place[:, :3].mean((1, 2, 3)), place[:, 3].mean((1, 2))
    assert bool((infrared > visible).float().mean() > 0.5)  # in most months: bands are bands, days are days
