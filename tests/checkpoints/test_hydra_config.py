from __future__ import annotations

from pathlib import Path

import pytest

from sitsfusion.checkpoints.hydra_config import leaves, lookup, read_hydra_config
from sitsfusion.errors import CheckpointError, ReadError


def read(tmp_path: Path, text: str) -> dict:
    (tmp_path / "config.yaml").write_text(text)
    return read_hydra_config(tmp_path / "config.yaml")


def test_references(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        size: 64
        stats: {mean: [1, 2.5], std: "${.mean}"}
        model:
          width: ${size}
          name: net_${size}_${..size}
          first: ${stats.mean[0]}
          inner: {same: "${..width}", chained: "${model.inner.same}"}
          all: ${stats}
          through: ${model.all.mean}
          items: ["${size}", x]
        """,
    )
    assert config["model"]["width"] == 64
    assert config["model"]["name"] == "net_64_64"
    assert config["model"]["first"] == 1
    assert config["model"]["inner"] == {"same": 64, "chained": 64}
    assert config["model"]["all"] == {"mean": [1, 2.5], "std": [1, 2.5]}
    assert config["model"]["through"] == [1, 2.5]
    assert config["model"]["items"] == [64, "x"]


def test_what_cannot_be_resolved_stays_as_text(tmp_path: Path) -> None:
    config = read(tmp_path, "a: ${oc.env:HOME}/x\nb: ${nothing.here}\nc: ${hydra:runtime.cwd}")
    assert config == {"a": "${oc.env:HOME}/x", "b": "${nothing.here}", "c": "${hydra:runtime.cwd}"}


def test_a_circle(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="refers to itself"):
        read(tmp_path, "a: ${b}\nb: ${c.d}\nc: {d: '${a}'}")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "a: !!python/object/apply:os.getcwd []"])
def test_not_a_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(ReadError):
        read(tmp_path, text)
    with pytest.raises(ReadError):
        read_hydra_config(tmp_path / "absent.yaml")


def test_lookup_and_leaves() -> None:
    tree = {"a": {"b": [1, {"c": 2}]}, "d": 3}
    assert lookup(tree, "a.b.1.c") == 2
    assert leaves(tree) == {"a.b": [1, {"c": 2}], "d": 3}
    with pytest.raises(KeyError):
        lookup(tree, "a.x")
