"""`train` and `export` on the command line: they parse, call and print."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sitsfusion.checkpoints.tamrfsits import load_tamrfsits
from sitsfusion.cli import train as _registers  # noqa: F401
from sitsfusion.cli.app import app
from sitsfusion.errors import InputError
from tests.training import tiny


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_print_config_is_yaml_and_trains_nothing() -> None:
    shown = yaml.safe_load(call("train", "experiment=ablation_s1t1", "trainer=cpu", "--print-config"))
    assert shown["name"] == "ablation_s1t1"
    assert shown["training_module"]["network"]["layers"] == 1
    assert shown["trainer"]["accelerator"] == "cpu"


def test_list_names_groups_and_choices() -> None:
    shown = call("train", "--list")
    assert "loggers: csv, tensorboard, wandb" in shown
    assert "ablation_sensor_token" in shown


def test_train_resume_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.use(monkeypatch)
    options = [*tiny.RUN, *tiny.NETWORK, *tiny.OBJECTIVE]
    run, weights = str(tmp_path / "run"), tmp_path / "weights"
    assert "1 transformer layers" in call("train", *options, "trainer.max_steps=1", "--out", run)
    call("train", *options, "trainer.max_steps=2", "--out", run, "--resume")
    assert tiny.losses(Path(run)).keys() == {0, 1}
    call("export", run, str(weights), "--half")
    assert load_tamrfsits(weights)[1].name == "base"
    with pytest.raises(InputError, match="--half is for safetensors"):
        call("export", run, str(tmp_path / "net.onnx"), "--format", "onnx", "--half")
