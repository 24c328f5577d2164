"""The loss against the truth, and that training and use compensate alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sitsfusion import Scene, fuse
from sitsfusion.checkpoints.tamrfsits import load_tamrfsits
from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.errors import InputError
from sitsfusion.samples import Sample, collate_samples
from sitsfusion.series import Series
from sitsfusion.simulate import simulate_scene
from sitsfusion.training.tamrfsits.module import standardised
from sitsfusion.training.tamrfsits.supervised import SupervisedConfig, SupervisedObjective
from tests.fake.weights import seeded_weights

HOW = {"decay_days": 6.0, "noise": 0.2}
KEYS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "LST")


@pytest.fixture(scope="module")
def scene() -> Scene:
    made = simulate_scene(36, seed=8, cloudiness=0.3).scene
    return made.select({"fine": made["fine"].dates[::9], "coarse": made["coarse"].dates[::8]})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeded_weights(tmp_path_factory.mktemp("weights"), optional=KEYS, cloudy="hidden", compensation=HOW)


def series(cube: Cube, origin: object) -> Series:
    values, valid = cube.to_numpy()
    days = torch.from_numpy(days_since(cube.dates, origin))  # type: ignore[arg-type]
    return Series(torch.from_numpy(values)[None], days[None].float(), torch.from_numpy(valid)[None])


def test_training_predicts_what_fuse_predicts(scene: Scene, weights: Path) -> None:
    days = [scene["fine"].dates[2], scene["coarse"].dates[3]]
    found = fuse(scene, days, "tamrfsits", weights=str(weights), min_clear_share=1e-6, check=False)
    net, config = load_tamrfsits(weights)
    fine = scene["fine"]
    origin = next(day for t, day in enumerate(fine.dates) if fine.frame(t).valid.any())  # the rule of the weights
    sample = standardised(Sample(series(scene["coarse"], origin), series(fine, origin)), config)
    objective = SupervisedObjective(SupervisedConfig(), config)
    asked = torch.from_numpy(days_since(sorted(days), origin)).float()
    with torch.no_grad():
        _, compensated = objective.predict(net.eval(), sample.lr, sample.hr, asked)
    for role, part, given in (("coarse", slice(0, 8), config.lr), ("fine", slice(8, 18), config.hr)):
        mean, std, scale = (
            np.array([getattr(band, name) for band in given.bands])[:, None, None] for name in ("mean", "std", "scale")
        )
        ours = (found[role].to_numpy()[0] * scale - mean) / std
        np.testing.assert_allclose(ours, compensated[:, part].numpy(), rtol=1e-4, atol=2e-4)


def test_the_loss_is_that_of_the_truth_and_learns(scene: Scene, weights: Path) -> None:
    net, config = load_tamrfsits(weights)
    origin = scene["fine"].dates[0]
    lr, hr = series(scene["coarse"], origin), series(scene["fine"], origin)
    days = torch.tensor([[10.0, 200.0]])
    truth = (Series(torch.full((1, 2, 8, 36, 36), 0.2), days), Series(torch.full((1, 2, 10, 36, 36), 0.2), days))
    truth[0].values[:, :, 7] = 290.0
    sample = standardised(Sample(lr, hr, truth), config)
    assert sample.truth is not None
    objective = SupervisedObjective(SupervisedConfig(), config)
    terms = objective(net, sample.lr, sample.hr, sample.truth)
    assert terms.keys() == {"total_loss", "compensated_loss", "network_loss"}
    expected = terms["compensated_loss"] + 0.3 * terms["network_loss"]
    torch.testing.assert_close(terms["total_loss"], expected)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(8):
        optimiser.zero_grad()
        loss = objective(net, sample.lr, sample.hr, sample.truth)["total_loss"]
        loss.backward()
        optimiser.step()
    assert loss < 0.8 * terms["total_loss"]


def test_a_batch_is_the_mean_of_its_places_whatever_was_padded(scene: Scene, weights: Path) -> None:
    net, config = load_tamrfsits(weights)
    net.eval()
    origin = scene["fine"].dates[0]
    lr, hr = series(scene["coarse"], origin), series(scene["fine"], origin)
    days = torch.tensor([[50.0]])
    truth = (Series(torch.full((1, 1, 8, 36, 36), 0.2), days), Series(torch.full((1, 1, 10, 36, 36), 0.2), days))
    one = standardised(Sample(lr, hr, truth), config)
    fewer = replace(one, hr=Series(one.hr.values[:, :4], one.hr.days[:, :4], one.hr.usable()[:, :4]))
    objective = SupervisedObjective(SupervisedConfig(), config)

    def loss(sample: Sample) -> torch.Tensor:
        assert sample.truth is not None
        return objective(net, sample.lr, sample.hr, sample.truth)["total_loss"].detach()

    together = loss(collate_samples([one, fewer]))
    torch.testing.assert_close(together, (loss(one) + loss(fewer)) / 2, rtol=1e-4, atol=1e-5)


def test_truths_of_different_days_are_refused(scene: Scene, weights: Path) -> None:
    net, config = load_tamrfsits(weights)
    empty = Series(torch.zeros(1, 0, 8, 12, 12), torch.zeros(1, 0))
    truth = tuple(Series(torch.zeros(1, 1, c, 36, 36), torch.tensor([[d]])) for c, d in ((8, 1.0), (10, 2.0)))
    with pytest.raises(InputError, match="different days"):
        SupervisedObjective(SupervisedConfig(), config)(net, empty, empty, truth)  # type: ignore[arg-type]
