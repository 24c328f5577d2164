"""Every experiment of the family, small: from data to table; two stages; resumed runs; what cannot be trained."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

import pytest
import rasterio
import torch

from sitsfusion.datasets.breizhsr_twin import fabricate_breizhsr
from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.training import families
from sitsfusion.training.compose import compose
from sitsfusion.training.export import export_safetensors, read_trained
from sitsfusion.training.misr.config import Config, StepDecayConfig
from sitsfusion.training.misr.tables import BASELINE, MEANS, RESULTS
from sitsfusion.training.run import assess, train
from tests.fake.misr import seeded_misr, small_config

SITES, SIDE = (4, 1, 2), 40
RRDB = ["network.backbone.features=4", "network.backbone.growth=2", "network.backbone.blocks=2"]
HIGHRES = ["+network.backbone.features=4", "+network.backbone.blocks=1"]
LTAE = ["+network.backbone.heads=2", "+network.backbone.width=8"]
DIFFUSION = ["+network.diffusion.width=4", "+network.diffusion.multipliers=[1,2]", "network.diffusion.steps=20"]
SAMPLING = ["training_module.sampling_steps=2", "training_module.samples=2"]
BACKBONES = {
    "rrdb": RRDB,
    "rrdb_8_blocks": RRDB,
    "highresnet": HIGHRES,
    "misr_pretrain": [*HIGHRES, *LTAE],
    "median_misr_pretrain": [*HIGHRES, *LTAE],
    "rrdb_ltae": [*RRDB, *LTAE],
    "rrdb_highresnet": RRDB,
}
# Second stage: the experiment whose backbone it takes, and its options.
DIFFUSIONS = {
    "diffsr_sat": ("rrdb_8_blocks", RRDB),
    "diffsr_hr_ltae": ("misr_pretrain", [*HIGHRES, *LTAE]),
    "diffsr_highresnet": ("highresnet", HIGHRES),
    "diffsr_rrdb_ltae": ("rrdb_ltae", [*RRDB, *LTAE]),
    "diffsr_no_encoder": (None, []),
}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up archive, prepared by the first run that uses it."""
    return fabricate_breizhsr(tmp_path_factory.mktemp("breizhsr") / "data", sites=SITES, side=SIDE)


def configured(experiment: str, data: Path, runs: Path, *more: str) -> Config:
    run = [
        "trainer=cpu",
        "trainer.gradient_clip_val=null",
        "trainer.max_steps=2",
        "trainer.val_check_interval=2",
        "trainer.log_every_n_steps=1",
        "callbacks.progress_bar=false",
        "callbacks.save_top_k=0",
        "datamodule=made_up",
        f"datamodule.root={data}",
        f"datamodule.made_up={{sites:{list(SITES)},side:{SIDE}}}",
        "datamodule.batch_size=2",
        "datamodule.crop=8",
        f"location.runs={runs}",
    ]
    return cast(Config, compose([f"experiment={experiment}", *run, *more]))


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter=";"))


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of all backbones, by experiment."""
    runs = tmp_path_factory.mktemp("runs")
    return {name: train(configured(name, data, runs, *options)).parents[1] for name, options in BACKBONES.items()}


def test_the_family_has_the_twelve_published_experiments() -> None:
    assert {*BACKBONES, *DIFFUSIONS} <= set(families.experiments("misr"))


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_run_from_data_to_table(name: str, trained: dict[str, Path]) -> None:
    rows, bicubic, means = (table(trained[name] / file) for file in (RESULTS, BASELINE, MEANS))
    assert [row["key"] for row in rows] == [row["key"] for row in bicubic] == ["5", "6"]
    assert [row["method"] for row in means] == ["network", "bicubic"]
    assert float(means[0]["psnr"]) == pytest.approx(sum(float(row["psnr"]) for row in rows) / 2)
    assert float(means[1]["psnr"]) > 10


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_diffusions_run_on_a_trained_backbone(name: str, data: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    first, options = DIFFUSIONS[name]
    weights = [] if first is None else [f"training_module.backbone_weights={trained[first]}"]
    more = [*options, *DIFFUSION, *SAMPLING, *weights, "training_module.save_png=true"]
    folder = train(configured(name, data, tmp_path, *more)).parents[1]
    pictures = folder / "test-pictures"
    assert {path.name for path in pictures.iterdir()} == {"SR", "HR", "UP", "LR"} | ({"RRDB"} if first else set())
    views = sorted(path.stem for path in (pictures / "LR").iterdir())
    assert views == (["5", "6"] if len(views) == 2 else [f"{site}_{v}" for site in (5, 6) for v in range(8)])
    assert all(float(row["spread"]) > 0 for row in table(folder / RESULTS))
    net, told = read_trained(folder)
    if first is not None:
        before, own = read_trained(trained[first])
        for ours, theirs in zip(net.backbone.state_dict().values(), before.state_dict().values(), strict=True):  # type: ignore[union-attr]
            torch.testing.assert_close(ours, theirs)
        assert told.architecture.backbone == own.architecture.backbone


def test_a_killed_run_goes_on_as_if_nothing_happened(data: Path, tmp_path: Path) -> None:
    options = ["trainer.max_steps=4", *RRDB]
    whole = train(configured("rrdb", data, tmp_path, *options), tmp_path / "whole")
    train(configured("rrdb", data, tmp_path, *RRDB), tmp_path / "parts")
    parts = train(configured("rrdb", data, tmp_path, *options), tmp_path / "parts", resume=True)
    first, second = (read_trained(run)[0].state_dict() for run in (whole, parts))
    for name, values in first.items():
        torch.testing.assert_close(second[name], values, rtol=0, atol=0)


def test_scoring_alone_writes_the_same_table(data: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    png = "training_module.save_png=true"
    config = configured("misr_pretrain", data, tmp_path, *BACKBONES["misr_pretrain"], png)
    scores = assess(config, trained["misr_pretrain"] / "checkpoints/last.ckpt", "test", tmp_path / "scored")
    assert table(tmp_path / "scored" / RESULTS) == table(trained["misr_pretrain"] / RESULTS)
    with rasterio.open(tmp_path / "scored/test-pictures/HR/5.png") as file:
        assert (file.count, file.height, file.width) == (3, SIDE, SIDE)
    assert not (trained["misr_pretrain"] / "test-pictures").exists()
    assert scores["test/psnr"] == pytest.approx(float(table(tmp_path / "scored" / MEANS)[0]["psnr"]), rel=1e-5)


def test_trained_weights_run_behind_the_method(trained: dict[str, Path], tmp_path: Path) -> None:
    from sitsfusion import methods

    net, weights = read_trained(trained["highresnet"])
    export_safetensors(net, weights, tmp_path)
    method = methods.make("misr-highresnet", {"weights": str(tmp_path)})
    assert method.provenance()["weights"] == "highresnet"


def test_second_stages_need_the_right_backbone(data: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    def module(*more: str) -> None:
        config = configured("diffsr_sat", data, tmp_path, *RRDB, *DIFFUSION, *more)
        families.get("misr").module(config, tmp_path)

    with pytest.raises(InputError, match="backbone_weights=RUN"):
        module()
    with pytest.raises(CheckpointError, match="asks for SRDiff conditioned by rrdb"):
        module(f"training_module.backbone_weights={trained['highresnet']}")
    published = "datamodule.maxima={B04:0.2058,B03:0.1583,B02:0.1118}"
    with pytest.raises(CheckpointError, match=r"datamodule\.maxima"):
        module(published, f"training_module.backbone_weights={trained['rrdb_8_blocks']}")
    weights = seeded_misr(tmp_path / "diffusion", small_config("rrdb", diffusion=True))
    with pytest.raises(CheckpointError, match="expected a backbone alone"):
        module(f"training_module.backbone_weights={weights}")


def test_losses_that_do_not_belong_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no loss 'ssim'"):
        families.get("misr").module(configured("rrdb", data, tmp_path, *RRDB, "training_module.loss=ssim"), tmp_path)


def test_the_rate_decays_in_steps() -> None:
    options = StepDecayConfig(learning_rate=2e-4, decay_every=10, decay=0.5)
    assert [options.rate(step) for step in (0, 9, 10, 25)] == [2e-4, 2e-4, 1e-4, 0.5e-4]
