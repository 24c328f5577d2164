"""Training runs of the deep fusion models on fabricated copies: complete outputs, named errors."""

from __future__ import annotations

import csv
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sitsfusion import methods
from sitsfusion.datasets import stf_fabricate, stf_sets
from sitsfusion.errors import DateError, InputError
from sitsfusion.nets.stf import registry
from sitsfusion.training import compose, run
from sitsfusion.training.export import read_trained
from sitsfusion.training.stf import family, scores
from sitsfusion.training.stf.average import averaged, decay
from sitsfusion.training.stf.data import datamodule

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "stf_own_model.py"
SMALL = {
    "swinstfm": ["+training.network.width=32"],
    "srsfgan": ["+training.network.width=16"],
    "stfdiff": ["+training.network.dim=8", "+training.network.multipliers=[1,2]", "training.sampling_steps=2"],
    "ganstfm": ["training.pretraining_epochs=1", "trainer.max_epochs=2"],
    "edcstfn": ["training.pretraining_epochs=1", "trainer.max_epochs=2"],
    "ecpwstfn": ["training.pretraining_epochs=0"],
}


def overrides(folder: Path, model: str, key: str, *more: str) -> list[str]:
    short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.val_check_interval=2", "data.batch_size=4"]
    quiet = ["callbacks.progress_bar=false", "callbacks.pictures_every_n_epochs=1", "trainer.log_every_n_steps=1"]
    where = [f"location.data={folder}", "data.tile=32"]
    return [f"experiment=stf-{model}", f"data={key.lower()}", *short, *quiet, *where, *SMALL.get(model, []), *more]


def trained(folder: Path, model: str, key: str, *more: str) -> Path:
    """A finished run on a fabricated copy."""
    stf_fabricate.fabricate(stf_sets.get(key), folder, dates=5)
    run.train(compose.compose(overrides(folder, model, key, *more)), folder / "run")
    return folder / "run"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("model", "key"), list(zip((*registry.BUILT_IN, "mlffgan"), stf_sets.SETS, strict=True)))
def test_one_epoch_has_complete_outputs(model: str, key: str, tmp_path: Path) -> None:
    folder = trained(tmp_path, model, key)
    [*_, last] = rows(folder / "metrics.csv")
    assert len(last) == 23
    assert all(math.isfinite(float(last[f"val/{name}_{what}"])) for name in scores.NAMES for what in ("mean", "std"))
    [tested] = rows(folder / "test.csv")
    assert tested["epoch"] == "testing-1"
    assert all(math.isfinite(float(tested[f"test/{name}_mean"])) for name in (*scores.NAMES, "Time"))
    assert list((folder / "pictures").glob("*.png"))
    assert {p.name for p in (folder / "test-pictures").iterdir()} == {"pred", "gt", "LR_t1", "LR_t2", "HR_t1", "err"}
    assert list((folder / "checkpoints").glob("best-*.ckpt"))
    net, weights = read_trained(folder)
    assert (weights.model, weights.wiring) == (model, "corrected")
    assert len(weights.bands) == len(stf_sets.get(key).bands)
    assert all(bool(p.isfinite().all()) for p in net.parameters())


def test_the_published_way_and_a_test_of_a_checkpoint(tmp_path: Path) -> None:
    published = ["data.split=published", "data.coverage=published", "data.values=published", "data.augment=false"]
    more = ["training.published=true", "training.metrics=published", "training.test_at_end=false", *published]
    more += ["data.batch_size=2", "trainer.val_check_interval=1"]
    described = stf_sets.get("BC")
    folder = trained(tmp_path, "ecpwstfn", "BC", *more)
    assert read_trained(folder)[1].wiring == "published"
    assert not (folder / "test.csv").exists()
    config = compose.compose(overrides(tmp_path, "ecpwstfn", "BC", *more))
    found = run.assess(config, folder / "checkpoints" / "last.ckpt", "test", folder)
    assert len(rows(folder / "test.csv")) == 5 - described.train_dates - 1
    assert found["test/PSNR"] > 0


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def composed(model: str, *more: str) -> Any:
        return compose.compose(overrides(tmp_path, model, "WH", *more)).weights()  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="multiples of 32"):
        composed("mlffgan", "data.tile=40")
    with pytest.raises(InputError, match="auto-encoder"):
        composed("ganstfm", "training.pretraining_epochs=0")
    with pytest.raises(InputError, match="cannot be built"):
        registry.get("edcstfn").build(3, {"depth": 2})
    with pytest.raises(InputError, match="unknown spatiotemporal fusion model"):
        composed("plain", "training.model=other")
    stf_fabricate.fabricate(stf_sets.get("WH"), tmp_path, dates=3)
    with pytest.raises(DateError, match="4 or more"):
        datamodule(compose.compose(overrides(tmp_path, "edcstfn", "WH")))  # type: ignore[arg-type]
    twice = compose.compose(overrides(tmp_path, "stfdiff", "WH", "training.published_average=true"))
    with pytest.raises(InputError, match="two averages"):
        family.callbacks(twice, tmp_path)  # type: ignore[arg-type]
    stf_fabricate.fabricate(stf_sets.get("IC"), tmp_path, dates=5)
    with pytest.raises(InputError, match=r"set data\.tile"):
        datamodule(compose.compose(overrides(tmp_path, "edcstfn", "IC", "data.tile=64")))  # type: ignore[arg-type]


def test_your_own_model_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    monkeypatch.setattr(methods, "_REGISTERED", dict(methods._REGISTERED))  # what it registers is forgotten
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    made = methods.make("mynet", {"weights": str(tmp_path / "weights")})
    assert made.provenance()["weights"] == "mynet-WH"


def test_sums_of_tiles_are_those_of_the_image() -> None:
    torch.manual_seed(0)
    target = torch.rand(4, 40, 30)
    prediction = target + 0.1 * torch.randn_like(target)
    whole = scores.image_sums(prediction, target, None).values(0.06)
    parts = [scores.image_sums(prediction[:, rows], target[:, rows], None) for rows in (slice(0, 20), slice(20, 40))]
    both = (parts[0] + parts[1]).values(0.06)
    exact = ("MAE", "RMSE", "PSNR", "SAM", "ERGAS", "RASE", "CC", "R2")
    assert {k: both[k] for k in exact} == pytest.approx({k: whole[k] for k in exact})


def test_the_published_average_copies_first() -> None:
    assert decay(1) == decay(101) == 0
    assert decay(102) == pytest.approx(1 - 2 ** (-2 / 3))
    assert decay(500) == pytest.approx(0.9816, abs=1e-4)
    current, average = torch.ones(2), torch.zeros(2)
    torch.testing.assert_close(averaged(average, current, 0), current)
    torch.testing.assert_close(averaged(average, current, 101), current * 2 ** (-2 / 3))
