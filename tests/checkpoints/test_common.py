from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from sitsfusion.checkpoints.common import (
    difference,
    digest,
    load_into,
    load_weights,
    read_torch,
    require_same,
    save_weights,
)
from sitsfusion.errors import CheckpointError, ReadError


class Config(BaseModel):
    name: str


class Harmful:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harm"),))


def test_round_trip_keeps_names_values_and_types(tmp_path: Path) -> None:
    state = {"a.weight": torch.rand(3, 2).T, "scale": torch.tensor(0.2), "half": torch.ones(2, dtype=torch.bfloat16)}
    sha = save_weights(tmp_path / "new" / "set", state, Config(name="x"))
    loaded, config = load_weights(tmp_path / "new" / "set", Config)
    torch.testing.assert_close(loaded, state, rtol=0, atol=0)
    assert config == Config(name="x")
    assert sha == hashlib.sha256((tmp_path / "new" / "set" / "weights.safetensors").read_bytes()).hexdigest()
    assert sorted(p.name for p in (tmp_path / "new" / "set").iterdir()) == ["config.json", "weights.safetensors"]


def test_digest_depends_on_content_only(tmp_path: Path) -> None:
    state = {"a": torch.ones(3)}
    assert save_weights(tmp_path / "1", state, Config(name="x")) == save_weights(
        tmp_path / "2", state, Config(name="y")
    )
    (tmp_path / "other").write_bytes(b"abc")
    assert digest(tmp_path / "other") == hashlib.sha256(b"abc").hexdigest()


def test_missing_config(tmp_path: Path) -> None:
    save_weights(tmp_path, {"a": torch.ones(3)}, Config(name="x"))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ReadError, match=r"config\.json"):
        load_weights(tmp_path, Config)


def test_config_of_another_kind(tmp_path: Path) -> None:
    save_weights(tmp_path, {"a": torch.ones(3)}, Config(name="x"))
    (tmp_path / "config.json").write_text('{"title": "x"}')
    with pytest.raises(CheckpointError, match="name: Field required"):
        load_weights(tmp_path, Config)


def test_truncated_weights(tmp_path: Path) -> None:
    save_weights(tmp_path, {"a": torch.ones(300)}, Config(name="x"))
    file = tmp_path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ReadError, match="not a complete safetensors file"):
        load_weights(tmp_path, Config)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "hyper_parameters": Harmful()}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"could run arbitrary code.*save only its 'state_dict'"):
        read_torch(tmp_path / "x.ckpt")
    assert not (tmp_path / "harm").exists()


def test_unreadable_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no checkpoint"):
        read_torch(tmp_path / "absent.ckpt")
    torch.save({"a": torch.ones(1000)}, tmp_path / "x.ckpt")
    (tmp_path / "x.ckpt").write_bytes((tmp_path / "x.ckpt").read_bytes()[:-500])
    with pytest.raises(ReadError, match="cannot be read"):
        read_torch(tmp_path / "x.ckpt")
    (tmp_path / "x.ckpt").write_bytes(b"")
    with pytest.raises(ReadError, match="cannot be read"):
        read_torch(tmp_path / "x.ckpt")
    torch.save(torch.ones(2), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="holds a Tensor"):
        read_torch(tmp_path / "tensor.pt")


def test_difference_groups_and_shortens() -> None:
    expected = {f"layer.{i}": (2, 2) for i in range(30)} | {"odd": (1,)}
    found = {"odd": (2,)} | {f"more.{i}": (1,) for i in range(30)}
    lines = difference(expected, found)
    assert len(lines) <= 20
    assert "  30 missing:" in lines
    assert "  30 extra:" in lines
    assert "    ... and 25 more" in lines
    assert "    odd: found (2,), expected (1,)" in lines
    assert difference(expected, dict(expected)) == []


def test_load_into_is_strict() -> None:
    net = torch.nn.Linear(2, 3)
    state = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    load_into(net, state, "a linear layer", "memory")
    assert net.weight.eq(1).all()
    with pytest.raises(CheckpointError, match=r"(?s)in memory .*\(a linear layer\).*1 missing:\n    bias \(3,\)"):
        load_into(net, {"weight": torch.ones(3, 2)}, "a linear layer", "memory")
    require_same({"a": (1,)}, {"a": (1,)}, "same", "memory")
