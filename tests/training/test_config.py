"""Every experiment composes and builds; what does not fit is named with its full path. No data."""

from __future__ import annotations

from pathlib import Path

import pytest

from sitsfusion.errors import InputError
from sitsfusion.nets.tamrfsits import VARIANTS
from sitsfusion.training import families
from sitsfusion.training.compose import compose, groups, names
from sitsfusion.training.tamrfsits.data import configure
from sitsfusion.training.tamrfsits.family import module as build_module
from sitsfusion.training.tamrfsits.tasks import HiddenDates, KnownTruth

SIZES = {
    "base": 2_329_258,
    "train_ls2s2_all": 2_329_258,
    "train_ls2s2_myww": 2_329_258,
    "ablation_contrastive": 2_329_258,
    "ablation_lpips": 2_329_258,
    "ablation_mae": 2_329_258,
    "ablation_sensor_token": 2_258_458,
    "ablation_s2t3": 3_768_114,
    "ablation_s3t3": 5_206_970,
    "ablation_s1t2": 2_184_162,
    "ablation_s1t1": 2_039_066,
}


def test_the_groups_are_those_of_the_reference() -> None:
    assert groups() == [
        "callbacks", "datamodule", "decoder", "experiments", "hr_encoder", "location", "loggers", "lr_encoder",
        "positional_encoding", "trainer", "training_module",
    ]  # fmt: skip
    assert set(SIZES) < set(names("experiments"))


@pytest.mark.parametrize("name", names("experiments"))
def test_an_experiment_composes_and_builds(name: str, tmp_path: Path) -> None:
    config = compose([f"experiment={name}"])
    options = config.training_module
    if options.objective == "tamrfsits":  # the weights of LPIPS do not come with the library
        plain = options.objective_config | {"lpips": False}
        config = config.model_copy(update={"training_module": options.model_copy(update={"objective_config": plain})})
    if options.start_from_checkpoint is not None:  # goes on from another run, which must have the same network
        first = compose([f"experiment={options.start_from_checkpoint.name}"])
        assert first.architecture() == config.architecture()
        alone = options.model_copy(update={"start_from_checkpoint": None})
        config = config.model_copy(update={"training_module": alone})
    configure(config.datamodule)
    module = build_module(config, tmp_path)
    assert config.name == name
    count = sum(value.numel() for value in module.net.state_dict().values())
    assert count == SIZES.get(name, count)


def test_experiments_say_what_they_change(tmp_path: Path) -> None:
    module = {name: compose([f"experiment={name}"]).training_module for name in SIZES}
    assert module["ablation_contrastive"].objective_config["triplet_weight"] == 0
    assert module["ablation_lpips"].objective_config["regression_weight"] == 0
    assert module["ablation_mae"].draw["strategies"] == ["RANDOM"]
    assert module["base"].optimiser.minimum == 2e-5
    assert compose(["experiment=train_ls2s2_myww"]).trainer.max_steps == 2_018_000
    assert compose(["experiment=ablation_s3t3"]).architecture() == VARIANTS["s3t3"]
    assert compose([]).architecture() == VARIANTS["s1t3"]


@pytest.mark.parametrize("group", ["hr_encoder", "lr_encoder", "decoder", "positional_encoding", "loggers", "location"])
def test_every_choice_of_a_group_is_accepted(group: str) -> None:
    for choice in names(group):
        compose([f"{group}={choice}"]).weights()


def test_overrides_reach_where_they_point() -> None:
    config = compose(["location=cluster", "datamodule.config.num_workers=16", "logger=wandb", "seed=7"])
    assert config.datamodule.loader().num_workers == 16
    assert config.loggers.kind == "wandb"
    assert config.seed == 7
    assert str(config.datamodule.day_origin) == "2022-01-01"
    assert compose(["datamodule=ls2s2_all"]).datamodule.day_origin == "first_valid_hr"


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("datamodule.config.num_worker=16", "datamodule.config.num_worker"),
        ("trainer.steps=1", "trainer.steps"),
        ("+trainer.steps=1", "trainer.steps: there is no such key"),
        ("+training_module.network.width=3", "training_module.network.width: there is no such key"),
        ("+nothing=1", "nothing: there is no such key"),
        ("trainer.devices=0", "trainer.devices"),
        ("experiment=unknown", "experiments/unknown"),
        ("nothing=else", "nothing"),
        ("trainer.devices=[", "trainer.devices=["),
    ],
)
def test_what_does_not_fit_is_named(override: str, path: str) -> None:
    with pytest.raises(InputError) as error:
        compose([override])
    assert path in str(error.value)


def test_options_of_other_rooms_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"datamodule\.config\.patch: there is no such key"):
        configure(compose(["+datamodule.config.patch=1"]).datamodule)
    with pytest.raises(InputError, match=r"training_module\.objective_config\.weight: there is no such key"):
        build_module(compose(["+training_module.objective_config.weight=1"]), tmp_path)
    with pytest.raises(InputError, match=r"training_module\.draw: .*the range of rate"):
        build_module(
            compose(["training_module.objective_config.lpips=false", "training_module.draw.rate=[0.7,0.2]"]), tmp_path
        )
    with pytest.raises(InputError, match="hr_encoder"):
        compose(["+hr_encoder.depth=3"]).architecture()
    with pytest.raises(InputError, match=r"datamodule\.config\.training_sites is missing"):
        configure(compose(["datamodule.config.preset=null"]).datamodule)


def test_lpips_needs_its_files_or_a_word(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lpips_files=.*lpips=false"):
        build_module(compose([]), tmp_path)


def test_the_task_follows_the_training_module(tmp_path: Path) -> None:
    plain = compose(["training_module=temporal_interpolation"])
    assert isinstance(build_module(plain, tmp_path).task, HiddenDates)
    assert isinstance(build_module(compose(["training_module=supervised"]), tmp_path).task, KnownTruth)


def test_own_statistics() -> None:
    lr = "lr_mean:[0,0,0,0,0,0,0,0.3],lr_std:[1,1,1,1,1,1,1,0.01]"
    own = f"{{{lr},hr_mean:{[0.1] * 10},hr_std:{[0.2] * 10},hr_fill:{[0.5] * 10}}}"
    weights = compose([f"datamodule.standardisation={own}", "datamodule.optional_bands.lr=[B01]"]).weights()
    assert weights.hr.bands[3].std == 0.2
    assert weights.hr.bands[3].fill == 0.5
    assert weights.lr.optional_bands == ("B01",)


def test_names_of_experiments_are_unique_over_families() -> None:
    every = [name for family in families.names() for name in families.experiments(family)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("family", families.names())
def test_a_family_offers_what_it_must(family: str) -> None:
    found, written = families.get(family), families.exports(family)
    assert found.Config.family == family
    assert all(callable(getattr(found, name)) for name in ("module", "data", "callbacks"))
    assert callable(written.network)
    assert families.experiments(family)
    assert set(names("trainer", family)) >= {"cpu", "gpu"}
