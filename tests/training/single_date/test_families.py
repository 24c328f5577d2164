"""DSen2, DSTFN and Deep-Harmonization as families: data, every loss, a short run, resume and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sitsfusion.checkpoints.deepharmo import load_deepharmo
from sitsfusion.checkpoints.dsen2 import load_dsen2
from sitsfusion.checkpoints.dstfn import load_dstfn
from sitsfusion.errors import InputError
from sitsfusion.io import Opening
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.training import families, simulated_places
from sitsfusion.training.compose import compose
from sitsfusion.training.dsen2.data import native_groups, pair
from sitsfusion.training.export import export_safetensors, read_trained
from sitsfusion.training.image_pairs import PairSamples
from sitsfusion.training.run import train
from sitsfusion.weights.dsen2 import SIXTY, TEN, TWENTY, Dsen2Weights
from tests.fake.geotiffs import write_stacks

RUN = [
    "trainer=cpu", "trainer.max_steps=4", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1",
    "callbacks.progress_bar=false", "callbacks.last_every_n_steps=1", "callbacks.ema_decay=null",
    "datamodule=simulated", "datamodule.places=2", "datamodule.validation_places=1", "datamodule.size=48",
    "datamodule.samples_per_place=4", "datamodule.batch_size=2", "datamodule.testing_validation_batch_size=2",
]  # fmt: skip
SMALL = {
    "dsen2": ["experiment=dsen2-simulated", "network.blocks=1", "network.features=4", "datamodule.crop=8"],
    "dstfn": ["experiment=dstfn-small", "network.layers=1", "datamodule.crop=4"],
    "deepharmo": ["experiment=deepharmo-small", "network.depth=2", "network.growth_factor=2", "datamodule.crop=4"],
}
LOADERS = {"dsen2": load_dsen2, "dstfn": load_dstfn, "deepharmo": load_deepharmo}


def smooth_place(size: int, days: int, seed: int) -> dict[str, torch.Tensor]:
    """What `simulated_places` would simulate, drawn at once."""
    x = torch.linspace(0, 6, size)
    waves = 0.2 + 0.1 * torch.sin(x[:, None] * (1 + seed % 5)) * torch.cos(x[None] * 3)
    stack = torch.stack([waves * (1 + 0.1 * t) for t in range(days)])[:, None]
    return {n: (stack.expand(-1, c, -1, -1) * 10_000).to(torch.int16) for n, c in (("fine", 10), ("coarse", 6))}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_places, "_simulated", smooth_place)


def config_of(family: str, *overrides: str) -> Any:
    return compose([*SMALL[family], *RUN, *overrides])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("family", SMALL)
def test_a_run_resumes_and_is_exported(family: str, tmp_path: Path) -> None:
    config = config_of(family, f"location.runs={tmp_path}")
    last = train(config)
    folder = last.parent.parent
    net, weights = read_trained(folder)
    export_safetensors(net, weights, tmp_path / "weights")
    loaded, found = LOADERS[family](tmp_path / "weights")
    assert found == weights
    for name, value in net.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)
    logged = (folder / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "validation/trivial_mae" in logged
    longer = config.model_copy(update={"trainer": config.trainer.model_copy(update={"max_steps": 6})})
    again = train(longer, resume=True)
    assert torch.load(again, weights_only=False)["global_step"] == 6


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("loss", "head"),
    [*((name, "plain") for name in ("l1", "ssim", "mixed_gradient", "l1_ssim", "l1_gradient")),
     ("gaussian_mse", "gaussian"), ("gaussian_mae", "gaussian")],
)  # fmt: skip
def test_every_loss_of_deepharmo_has_a_gradient(loss: str, head: str, tmp_path: Path) -> None:
    config = config_of("deepharmo", f"training_module.loss={loss}", f"network.head={head}")
    module, data = families.get("deepharmo").module(config, tmp_path), families.get("deepharmo").data(config)
    batch = data.collate([data.train[0], data.train[1]])  # type: ignore[attr-defined]
    terms = module.terms(batch, module.predicted(batch))  # type: ignore[attr-defined]
    terms["total_loss"].backward()
    gradients = [p.grad for p in module.net.down[0].parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert max(float(g.abs().max()) for g in gradients) > 0


def test_configurations_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="head"):
        config_of("deepharmo", "training_module.loss=gaussian_mse")
    with pytest.raises(InputError, match="60 m bands"):
        config_of("dsen2", "network.target=60m")
    with pytest.raises(InputError, match="net1"):
        config_of("dstfn", "network.kind=net1")


@pytest.mark.usefixtures("quick")
def test_published_optimisers(tmp_path: Path) -> None:
    config = compose(["experiment=dsen2-20m", *RUN, "network.blocks=1", "network.features=4"])
    made = families.get("dsen2").module(config, tmp_path).configure_optimizers()
    assert type(made["optimizer"]).__name__ == "NAdam"
    assert made["lr_scheduler"]["scheduler"].factor == 0.5
    constant = compose(["experiment=deepharmo-5depth-upsample", *RUN, "network.growth_factor=2"])
    made = families.get("deepharmo").module(constant, tmp_path).configure_optimizers()
    assert made["optimizer"].param_groups[0]["lr"] == 1e-5
    assert "lr_scheduler" not in made


def test_samples_follow_from_seed_epoch_and_index() -> None:
    place = {"fine": torch.rand(3, 2, 24, 24), "coarse": torch.rand(3, 1, 8, 8)}
    made = [
        PairSamples(lambda _: place, 2, per_place=3, crop=4, seed=seed, augment=True, other_day={"other": "fine"})
        for seed in (1, 1, 2)
    ]
    samples = [one[4] for one in made]
    assert samples[0]["fine"].shape == (2, 12, 12)
    assert samples[0]["coarse"].shape == (1, 4, 4)
    assert all(torch.equal(samples[0][name], samples[1][name]) for name in samples[0])
    assert not torch.equal(samples[0]["fine"], samples[2]["fine"])
    assert not torch.equal(samples[0]["fine"], samples[0]["other"])
    made[0].set_epoch(1)
    assert not torch.equal(made[0][4]["fine"], samples[0]["fine"])
    with pytest.raises(InputError, match="does not fit"):
        PairSamples(lambda _: place, 1, per_place=1, crop=9, seed=0, augment=False)[0]
    one_day = {name: x[:1] for name, x in place.items()}
    lonely = PairSamples(lambda _: one_day, 1, per_place=1, crop=4, seed=0, augment=False, other_day={"o": "fine"})
    with pytest.raises(InputError, match="one day only"):
        lonely[0]


@pytest.mark.parametrize("factor", [2, 6])
def test_pairs_by_degradation_have_the_native_bands_as_target(factor: int) -> None:
    groups = [torch.rand(4, 72, 84), torch.rand(6, 36, 42)] + ([torch.rand(2, 12, 14)] if factor == 6 else [])
    names = (TEN, TWENTY, SIXTY)[: len(groups)]
    said: dict[str, Any] = {"licence": "none", "source": "test", "name": "test"}
    weights = Dsen2Weights(groups=names, factor=factor, unit=0.2, **said)
    made = pair(groups, weights)
    size = (36, 42) if factor == 2 else (12, 12)
    assert all(x.shape[-2:] == size for x in made.values())
    torch.testing.assert_close(made["target"], groups[-1][..., : size[0], : size[1]] / 0.2)
    net = Dsen2Net(weights.counts, 1, 4)
    assert net(*(made[f"group{i}"][None] for i in range(len(groups)))).shape[-2:] == size


def test_native_bands_of_the_users_images(tmp_path: Path) -> None:
    numbers = write_stacks(tmp_path, ["20220105"], size=24, bands=(*TEN, *TWENTY))["20220105"]
    opening = Opening(sensor="sentinel-2-l2a", options={"offset": 0.0})
    (image,) = native_groups(tmp_path, (TEN, TWENTY), 0.5, opening)
    assert [tuple(x.shape) for x in image] == [(4, 24, 24), (6, 12, 12)]
    np.testing.assert_allclose(image[0].numpy(), numbers[:4] / 10_000, atol=1e-6)
    averaged = numbers[4:].reshape(6, 12, 2, 12, 2).mean((2, 4)) / 10_000
    np.testing.assert_allclose(image[1].numpy(), averaged, atol=1e-6)
    with pytest.raises(InputError, match="min_clear_share"):
        native_groups(tmp_path, (TEN, TWENTY), 1.5, opening)
