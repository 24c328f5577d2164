"""Deep-Harmonization weights: our own format, the folders of the Hugging Face hub, and training checkpoints.

from sitsfusion.checkpoints.deepharmo import from_pretrained
net = from_pretrained("6depth-upsample")     # or a repository, or a folder
fine = net(ms, pan)                          # reflectance on the 10 m grid
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sitsfusion.checkpoints.common import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    read_config,
    read_safetensors,
    require_same,
    save_weights,
    shapes,
)
from sitsfusion.checkpoints.deepharmo_names import infer_config, renaming
from sitsfusion.checkpoints.hub import download
from sitsfusion.checkpoints.inert import read_inert, state_dict_of
from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.weights.deepharmo import DeepHarmoWeights, find_published, published

_HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def from_pretrained(
    name_or_folder: str | Path,
    *,
    token: str | None = None,
    revision: str | None = None,
    cache: Path | None = None,
    download_missing: bool = True,
) -> DeepHarmoNet:
    """The network of a folder or of the hub, in evaluation mode: call it as `model(ms, pan)`.

    Args:
        name_or_folder: a folder or file that `load_deepharmo` reads; or a short name (`5depth-upsample` ...) or a
            repository of the Hugging Face hub in its layout.
        token: of a hub account; gated repositories need one (or `hf auth login`).
        revision: branch, tag or commit of the repository.
        cache: where downloads are kept (default: the hub's own cache).
        download_missing: False: only what is in the cache already.

    Raises:
        MissingExtraError: a hub name without huggingface_hub (extra `hub`).
        FetchError: the repository is gated, absent or cannot be reached.
        ReadError, CheckpointError: from `load_deepharmo`.
    """
    path = pretrained_path(
        name_or_folder, token=token, revision=revision, cache=cache, download_missing=download_missing
    )
    return load_deepharmo(path)[0]


def pretrained_path(
    name_or_folder: str | Path,
    *,
    token: str | None = None,
    revision: str | None = None,
    cache: Path | None = None,
    download_missing: bool = True,
) -> Path:
    """The folder or file of `from_pretrained`'s weights on this disk; arguments and errors as there."""
    path = Path(name_or_folder).expanduser()
    if path.exists():
        return path
    name = str(name_or_folder)
    if name not in published() and name.count("/") != 1:
        raise InputError(
            f"{name!r} is neither a file or folder nor a name on the hub; the published ones are "
            + ", ".join(f"{short} ({entry.repository})" for short, entry in published().items())
        )
    repository = published()[name].repository if name in published() else name
    return download(
        repository, _HUB_WEIGHTS, token=token, revision=revision, cache=cache, download_missing=download_missing
    )


def save_deepharmo(folder: Path, net: DeepHarmoNet, config: DeepHarmoWeights) -> str:
    """Write weights and config into a folder (see `common`); returns the SHA-256 of the weights."""
    if config.architecture != net.config:
        raise InputError("the config describes another architecture than the network's: set it to net.config")
    return save_weights(folder, net.state_dict(), config)


def load_deepharmo(path: Path) -> tuple[DeepHarmoNet, DeepHarmoWeights]:
    """The network, in evaluation mode, and its config.

    `path` is a folder of ours, a folder in the hub's layout (config.json with model.safetensors or pytorch_model.bin),
    one of their files, or a training checkpoint (.pth, whose other content is skipped). Published files need no config:
    names and shapes tell the architecture; a config that is there must agree.

    Raises:
        ReadError: an absent or damaged file.
        CheckpointError: other weights, or a config that contradicts them.
    """
    folder = path if path.is_dir() else path.parent
    if path.name == WEIGHTS_FILE or (path.is_dir() and (path / WEIGHTS_FILE).is_file()):
        config = read_config(folder / CONFIG_FILE, DeepHarmoWeights)
        return _network(config.architecture, _single(read_safetensors(folder / WEIGHTS_FILE)), str(path)), config
    file = weights_of(path)
    entries = {name.removeprefix("model."): tensor for name, tensor in _single(_read(file)).items()}
    architecture = infer_config(entries, str(file))
    if file.name in _HUB_WEIGHTS and (folder / CONFIG_FILE).is_file():
        _check_hub_config(folder / CONFIG_FILE, architecture)
    net = _network(architecture, renaming(architecture).ours(entries), str(file))
    return net, _described(architecture, path)


def weights_of(path: Path) -> Path:
    """The tensors' file of a folder (ours or of the hub), or the file itself; ReadError if there is none."""
    if not path.is_dir():
        return path
    for name in (WEIGHTS_FILE, *_HUB_WEIGHTS):
        if (path / name).is_file():
            return path / name
    raise ReadError(f"no weights in {path}: expected {WEIGHTS_FILE}, {' or '.join(_HUB_WEIGHTS)}")


def write_hub_folder(folder: Path, net: DeepHarmoNet) -> None:
    """Write a network in the hub's layout (config.json, model.safetensors), readable by the published class."""
    names = renaming(net.config).published(net.state_dict())
    folder.mkdir(parents=True, exist_ok=True)
    from safetensors.torch import save_file

    save_file({f"model.{n}": t.detach().contiguous() for n, t in names.items()}, folder / "model.safetensors")
    auto = {"AutoConfig": "AUNetConfig.AUNetConfig", "AutoModel": "s2l8hModel.s2l8hModel"}
    fields = net.config.model_dump(exclude={"head", "dropout"})
    config = {"architectures": ["s2l8hModel"], "auto_map": auto, **fields, "interp_mode": "bicubic",
              "model_type": "s2l8h", "torch_dtype": "float32"}  # fmt: skip
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")


def _network(config: DeepHarmoConfig, state: Mapping[str, Tensor], source: str) -> DeepHarmoNet:
    """The network holding these very tensors: the largest would not fit twice."""
    with torch.device("meta"):
        net = DeepHarmoNet(config)
    require_same(shapes(net.state_dict()), shapes(state), config.describe(), source)
    net.load_state_dict(dict(state), assign=True)
    return net.eval().requires_grad_(False)


def _single(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights may be stored in half precision; counters stay integers."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return read_safetensors(file)
    return state_dict_of(read_inert(file), file)


def _check_hub_config(file: Path, found: DeepHarmoConfig) -> None:
    """What a published config.json says of the architecture must be what the tensors are."""
    try:
        said = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ReadError(f"{file} is not JSON ({error}): copy or download it again") from error
    wrong = [
        f"{name}: {said[name]!r}, weights {value!r}"
        for name, value in found.model_dump(exclude={"head", "dropout"}).items()
        if name in said and said[name] != value
    ]
    if wrong:
        raise CheckpointError(f"{file} does not describe the weights beside it: {'; '.join(wrong)}")


def _described(architecture: DeepHarmoConfig, path: Path) -> DeepHarmoWeights:
    """The config of published weights: a set of the paper, when its name is in the path, else what can be said."""
    names = [part.removeprefix("models--").replace("--", "/") for part in path.parts]
    known = [find_published(name) for name in names if name in {e.repository for e in published().values()}]
    short, licence, source = path.stem, "not stated", path.name
    if known:
        short, entry = known[-1]
        licence, source = entry.licence, entry.repository
    fields = {"architecture": architecture, "licence": licence, "source": source, "name": short}
    if architecture.in_channels == 6:
        return DeepHarmoWeights(pan=None, **fields)
    return DeepHarmoWeights(**fields)
