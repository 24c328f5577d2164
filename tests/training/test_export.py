"""Trained weights leave training: in our format, in half precision, as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from sitsfusion.checkpoints.tamrfsits import load_tamrfsits
from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.training.export import export_onnx, export_safetensors, read_trained
from sitsfusion.weights.config import TamrfsitsWeights

from .tiny import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TamrfsitsNet, TamrfsitsWeights]:
    """A network whose entries are all drawn (the default query token would be zero)."""
    # networks whose symbolic sizes the exporter works out in seconds
    encoders = {"hr_encoder": {"name": "mlp", "hidden": [4]}, "lr_encoder": {"name": "linear"}}
    config = tiny(folder=tmp_path_factory.mktemp("runs")).model_copy(update=encoders)
    weights = config.weights()
    torch.manual_seed(0)
    net = TamrfsitsNet(weights.architecture)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net.eval(), weights


def inputs(batch: int, lr_dates: int, hr_dates: int, queries: int, h: int, w: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(h)
    return {
        "lr": torch.randn(batch, lr_dates, 8, h, w, generator=rng),
        "lr_days": 400 * torch.rand(batch, lr_dates, generator=rng),
        "hr": torch.randn(batch, hr_dates, 10, 3 * h, 3 * w, generator=rng),
        "hr_days": 400 * torch.rand(batch, hr_dates, generator=rng) - 20,
        "query_days": 400 * torch.rand(batch, queries, generator=rng),
    }


def test_onnx_gives_what_torch_gives(trained: tuple[TamrfsitsNet, TamrfsitsWeights], tmp_path: Path) -> None:
    net, weights = trained
    export_onnx(net, weights, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    for sizes in ((1, 2, 5, 3, 4, 6), (2, 6, 1, 1, 5, 3)):
        given = inputs(*sizes)
        (found,) = session.run(None, {name: value.numpy() for name, value in given.items()})
        with torch.no_grad():
            expected = net(*given.values()).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert TamrfsitsWeights.model_validate_json((tmp_path / "net.json").read_text()) == weights
    assert {file.name for file in tmp_path.iterdir()} == {"net.onnx", "net.json"}


def test_onnx_needs_its_suffix(trained: tuple[TamrfsitsNet, TamrfsitsWeights], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"should end in \.onnx"):
        export_onnx(*trained, tmp_path / "net")


@pytest.mark.parametrize(("half", "tolerance"), [(False, 0), (True, 1e-3)])
def test_our_format(
    half: bool, tolerance: float, trained: tuple[TamrfsitsNet, TamrfsitsWeights], tmp_path: Path
) -> None:
    net, weights = trained
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    export_safetensors(net, weights, tmp_path, half=half)
    found, config = load_tamrfsits(tmp_path)
    assert config == weights
    for name, value in found.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name], rtol=tolerance, atol=tolerance)
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())


def test_only_checkpoints_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no checkpoint at"):
        read_trained(tmp_path)
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="was not written by `sitsfusion train`"):
        read_trained(tmp_path / "other.ckpt")
