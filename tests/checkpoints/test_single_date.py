"""Weights of DSen2, DSTFN and Deep-Harmonization: own format, published layouts, damaged and hostile files."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import errors as hub_errors
from torch import Tensor, nn

from sitsfusion.checkpoints import deepharmo, deepharmo_names, dsen2, dstfn, dstfn_names
from sitsfusion.errors import CheckpointError, FetchError, InputError, ReadError
from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.nets.dstfn_config import DstfnConfig
from tests.methods.single_date import places


def small(**options: Any) -> DeepHarmoNet:
    torch.manual_seed(1)
    return DeepHarmoNet(DeepHarmoConfig(**{"depth": 3, "growth_factor": 2, **options})).eval()


def published_state(net: DeepHarmoNet) -> dict[str, Tensor]:
    return deepharmo_names.renaming(net.config).published(net.state_dict())


def image(channels: int = 7) -> Tensor:
    return torch.rand(1, channels, 12, 16, generator=torch.Generator().manual_seed(3))


def plain(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("mode", ["upsample", "upconv", "shuffle"])
@pytest.mark.parametrize("attention", ["None", "standard", "modified"])
def test_every_architecture_is_told_by_its_tensors(mode: str, attention: str) -> None:
    for extra in ({}, {"ca_layer": True}, {"head": "gaussian"}, {"in_channels": 6}):
        config = DeepHarmoConfig(depth=3, growth_factor=3, up_mode=mode, spatial_attention=attention, **extra)
        net = DeepHarmoNet(config)
        state = published_state(net)
        assert deepharmo_names.infer_config(state, "test") == config
        assert set(deepharmo_names.renaming(config).ours(state)) == set(net.state_dict())


def test_own_folder_in_single_and_half_precision(tmp_path: Path) -> None:
    folder = Path(places.deepharmo_weights())
    net, config = deepharmo.load_deepharmo(folder)
    assert config.name == "seeded-0"
    from sitsfusion.training.export import export_safetensors

    export_safetensors(net, config, tmp_path, half=True)
    half, _ = deepharmo.load_deepharmo(tmp_path)
    torch.testing.assert_close(half(image()), net(image()), rtol=1e-2, atol=1e-2)
    assert next(half.parameters()).dtype == torch.float32


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_hub_folder(tmp_path: Path, form: str) -> None:
    net = small(up_mode="shuffle")
    deepharmo.write_hub_folder(tmp_path, net)
    if form == "bin":
        (tmp_path / "model.safetensors").unlink()
        state = OrderedDict((f"model.{name}", t) for name, t in published_state(net).items())
        torch.save(state, tmp_path / "pytorch_model.bin")
    model = deepharmo.from_pretrained(tmp_path)
    x = image()
    torch.testing.assert_close(model(x[:, :6], x[:, 6:]), net(x))
    config = json.loads((tmp_path / "config.json").read_text())
    config["depth"] = 5
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="depth: 5, weights 3"):
        deepharmo.from_pretrained(tmp_path)


class Criterion(nn.Module):
    """A loss object of somebody else's code."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))


def test_training_checkpoint_with_a_pickled_loss(tmp_path: Path) -> None:
    net = small()
    content = {"epoch": 3, "model_state_dict": published_state(net), "optimizer_state_dict": {}, "loss": Criterion()}
    torch.save(content, tmp_path / "best.pth")
    found, _ = deepharmo.load_deepharmo(tmp_path / "best.pth")
    torch.testing.assert_close(found(image()), net(image()))


class Hostile:
    """Runs code when unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"model_state_dict": published_state(small()), "loss": Hostile(trace)}, tmp_path / "evil.pth")
    deepharmo.load_deepharmo(tmp_path / "evil.pth")
    assert not trace.exists()
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Hostile(trace)))
    with pytest.raises((ReadError, CheckpointError)):
        deepharmo.load_deepharmo(tmp_path / "evil.bin")
    assert not trace.exists()


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    net = small()
    deepharmo.write_hub_folder(tmp_path, net)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ReadError, match="not a complete"):
        deepharmo.from_pretrained(tmp_path)
    torch.save(published_state(net), tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes((tmp_path / "x.pth").read_bytes()[:500])
    with pytest.raises(ReadError, match="cannot be read"):
        deepharmo.load_deepharmo(tmp_path / "x.pth")
    torch.save({"a": torch.ones(2)}, tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="encoding_module"):
        deepharmo.load_deepharmo(tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="DSTFN"):
        dstfn.load_dstfn(tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="DSen2"):
        dsen2.load_dsen2(tmp_path / "y.pth")
    with pytest.raises(ReadError, match="no weights"):
        dsen2.load_dsen2(tmp_path / "absent.pt")
    with pytest.raises(InputError, match="6depth-shuffle"):
        deepharmo.from_pretrained("7depth")


def refused(kind: type[Exception]) -> Any:
    def download(*_: Any, **__: Any) -> str:
        if issubclass(kind, hub_errors.HfHubHTTPError):
            raise kind("no", response=SimpleNamespace(headers={}, status_code=403, request=None))
        raise kind("no")

    return download


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (hub_errors.GatedRepoError, "accept its conditions"),
        (hub_errors.RepositoryNotFoundError, "no repository"),
        (hub_errors.LocalEntryNotFoundError, "could not be downloaded"),
        (hub_errors.EntryNotFoundError, "has no config.json"),
        (ConnectionError, "could not be downloaded"),
    ],
)
def test_what_the_hub_refuses_is_said(monkeypatch: pytest.MonkeyPatch, kind: type[Exception], said: str) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refused(kind))
    with pytest.raises(FetchError, match=said):
        deepharmo.from_pretrained("5depth-upsample", token="hf_x")


def test_a_job_downloads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[bool] = []

    def download(*_: Any, local_files_only: bool, **__: Any) -> str:
        asked.append(local_files_only)
        raise hub_errors.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(FetchError, match="hf download venkatesh-thiru"):
        deepharmo.pretrained_path("6depth-upsample", download_missing=False)
    assert set(asked) == {True}


def test_hub_names_are_loaded_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    net = small()
    deepharmo.write_hub_folder(tmp_path, net)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, name, **__: str(tmp_path / name))
    torch.testing.assert_close(deepharmo.from_pretrained("6depth-upsample")(image()), net(image()))


# --- DSTFN -----------------------------------------------------------------------------------------------------------


class NET2(nn.Module):
    """Stands for the authors' class: a pickled module with the published names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in state.items():
            *path, last = name.split(".")
            here: nn.Module = self
            for part in path:
                if part not in here._modules:
                    here.add_module(part, nn.Module())
                here = here._modules[part]  # type: ignore[assignment]
            here.register_parameter(last, nn.Parameter(tensor))


@pytest.mark.parametrize("kind", ["net2", "slfnt1"])
def test_pickled_dstfn_module(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(2)
    net = DstfnNet(DstfnConfig(kind=kind, features=32, layers=3, growth=8, ratio=8)).eval()
    state = dstfn_names.renaming(kind).published(net.state_dict())
    torch.save(NET2(state), tmp_path / "model_100.pth")
    found, config = dstfn.load_dstfn(tmp_path / "model_100.pth")
    assert config.architecture == net.config
    assert config.licence == "not stated"
    x = torch.rand(1, 6, 12, 12), torch.rand(1, 6, 4, 4), torch.rand(1, 1, 8, 8)
    inputs = x if kind == "net2" else x[:2]
    torch.testing.assert_close(found(*inputs), net(*inputs))
    own, _ = dstfn.load_dstfn(Path(places.dstfn_weights(kind=kind)))
    assert own.config.kind == kind


def test_net1_is_not_a_fusion_network(tmp_path: Path) -> None:
    net = DstfnNet(DstfnConfig(kind="net1", fine_bands=4, features=16, layers=1, growth=4))
    torch.save(dstfn_names.renaming("net1").published(net.state_dict()), tmp_path / "net1.pth")
    with pytest.raises(CheckpointError, match="net1"):
        dstfn.load_dstfn(tmp_path / "net1.pth")


# --- DSen2 -----------------------------------------------------------------------------------------------------------


def sharpener(groups: tuple[int, ...] = (4, 6)) -> Dsen2Net:
    torch.manual_seed(4)
    return Dsen2Net(groups, 2, 8).eval()


@pytest.mark.parametrize("groups", [(4, 6), (4, 6, 2)])
@pytest.mark.parametrize("whole", [True, False])
def test_keras_files(tmp_path: Path, groups: tuple[int, ...], whole: bool) -> None:
    net = sharpener(groups)
    write_keras(tmp_path / "s2_032.hdf5", net, whole)
    found, config = dsen2.load_dsen2(tmp_path / "s2_032.hdf5")
    images = [torch.rand(1, c, 9, 10) for c in groups]
    torch.testing.assert_close(found(*images), net(*images))
    assert config.sensor == "sentinel-2-l1c"
    assert config.factor == (2 if groups == (4, 6) else 6)


def write_keras(file: Path, net: Dsen2Net, whole: bool) -> None:
    """Layers named so that their alphabetical order is not theirs."""
    convolutions = [net.conv1, *net.layers, net.conv2]
    with h5py.File(file, "w") as content:
        root = content.create_group("model_weights") if whole else content
        names = [f"conv2d_{10 - i}" for i in range(len(convolutions))]
        root.attrs["layer_names"] = np.array([n.encode() for n in ["input_1", *names]])
        root.create_group("input_1").attrs["weight_names"] = np.array([], dtype="S1")
        for name, layer in zip(names, convolutions, strict=True):
            group = root.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()])
            kernel = layer.weight.detach().permute(2, 3, 1, 0).numpy()  # type: ignore[union-attr]
            group[f"{name}/kernel:0"], group[f"{name}/bias:0"] = kernel, layer.bias.detach().numpy()  # type: ignore[union-attr]


class Scripted(nn.Module):
    """A form that published TorchScript files have: joined inputs, the residual alone or the image."""

    def __init__(self, net: Dsen2Net, residual: bool, factor: float = 1.0) -> None:
        super().__init__()
        self.a, self.b, self.c = net.conv1, nn.ModuleList(net.layers), net.conv2
        self.residual, self.factor = residual, factor

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        for first, second in zip(self.b[::2], self.b[1::2], strict=True):
            y = y + 0.1 * second(torch.relu(first(y)))
        out = self.c(y) * self.factor
        return out if self.residual else out + x[:, 4:10]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("residual", [True, False])
def test_torchscript_files_are_checked_on_a_probe(tmp_path: Path, residual: bool) -> None:
    net = sharpener()
    traced = torch.jit.trace(Scripted(net, residual), torch.rand(1, 10, 8, 8))
    traced.save(tmp_path / "L2A20M.pt")
    found, config = dsen2.load_dsen2(tmp_path / "L2A20M.pt")
    images = [torch.rand(1, c, 9, 10) for c in (4, 6)]
    torch.testing.assert_close(found(*images), net(*images))
    assert config.sensor == "sentinel-2-l2a"
    torch.jit.trace(Scripted(net, residual, 2.0), torch.rand(1, 10, 8, 8)).save(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="does not compute"):
        dsen2.load_dsen2(tmp_path / "other.pt")


def test_state_dict_and_own_folder(tmp_path: Path) -> None:
    net = sharpener()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    found, _ = dsen2.load_dsen2(tmp_path / "net.pt")
    images = [torch.rand(1, c, 9, 10) for c in (4, 6)]
    torch.testing.assert_close(found(*images), net(*images))
    own, config = dsen2.load_dsen2(Path(places.dsen2_weights()))
    assert config.counts == own.groups == (4, 6)
