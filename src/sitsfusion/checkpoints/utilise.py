"""U-TILISE weights: our own format, and the authors' .pth files.

A published file is a dictionary; its `model_state_dict` holds the network under the names that ours has, beside the
state of the optimiser and of a scheduler. The three published files are known by name; the options of others are
those of the `config.yaml` of their training run, which lies beside the file or above its folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sitsfusion.checkpoints.common import load_into, load_weights, read_torch, save_weights
from sitsfusion.datasets.utilise_config import read_sections
from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.nets.utilise_config import UtiliseConfig
from sitsfusion.weights.utilise import EARTHNET_BANDS, L1C_BANDS, PUBLISHED_WEIGHTS, SAR_BANDS, UtiliseWeights

PUBLISHED_SUFFIXES = (".pth", ".pt", ".ckpt")
_SENSORS = {"earthnet2021": "sentinel-2-l2a", "greenearthnet": "sentinel-2-l2a", "sen12mscrts": "sentinel-2-l1c"}
_CHANNELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "rgb": {"": ("B04", "B03", "B02")},
    "bgr": {"": ("B02", "B03", "B04")},
    "bgr-nir": {"": EARTHNET_BANDS, "sen12mscrts": ("B02", "B03", "B04", "B08")},
    "all": {"sen12mscrts": L1C_BANDS},
}


def save_utilise(folder: Path, net: UTILISE, config: UtiliseWeights) -> str:
    """Write weights and config into a folder (see `common`); returns the SHA-256 of the weights."""
    if config.architecture != net.config:
        raise InputError(
            "the config describes another architecture than the network's: set config.architecture = net.config"
        )
    return save_weights(folder, net.state_dict(), config)


def load_utilise(path: Path) -> tuple[UTILISE, UtiliseWeights]:
    """The network, in evaluation mode, and its config.

    `path` is a folder written by `save_utilise`, its .safetensors file, or a published .pth file (as `read_published`
    with no further argument).
    """
    if path.suffix in PUBLISHED_SUFFIXES:
        return read_published(path)
    state, config = load_weights(path, UtiliseWeights)
    return _network(state, config, path), config


def read_published(path: Path, config: UtiliseWeights | Path | None = None) -> tuple[UTILISE, UtiliseWeights]:
    """Read a checkpoint of the authors' layout, strictly; the network is in evaluation mode.

    Args:
        path: the .pth file.
        config: what the weights are, or the `config.yaml` of their training run. By default it is told by the name of
            the file, or by the `config.yaml` beside it or in the folder above.

    Raises:
        CheckpointError: unsafe content, or missing, extra or misshapen entries; nothing tells what the weights are.
        InputError: a training configuration with unknown options or data.
    """
    with torch.serialization.safe_globals([Counter]):  # a scheduler's milestones
        content = read_torch(path)
    state = content.get("model_state_dict", content)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} has no model_state_dict that holds tensors, so it is no U-TILISE checkpoint")
    if not isinstance(config, UtiliseWeights):
        config = _described(path, config, state)
    return _network(state, config, path), config


def trained_bands(dataset: str, channels: str, source: str) -> tuple[str, tuple[str, ...]]:
    """Sensor and bands of a training data set; InputError (naming `source`) if there is no such one."""
    choices = _CHANNELS.get(channels.removesuffix("-mask"), {})
    bands = choices.get(dataset, choices.get(""))
    if dataset not in _SENSORS or bands is None:
        raise InputError(f"{source}: dataset {dataset!r} with channels {channels!r}: these bands are not known")
    return _SENSORS[dataset], bands


def _network(state: Mapping[str, Tensor], config: UtiliseWeights, path: Path) -> UTILISE:
    net = UTILISE(config.architecture)
    load_into(net, state, f"{config.name}: U-TILISE of widths {config.architecture.encoder_widths}", str(path))
    return net.eval()


def _described(path: Path, given: Path | None, state: Mapping[str, Tensor]) -> UtiliseWeights:
    """What the weights are, by the name of the file or the training configuration."""
    beside = (path.parent / "config.yaml", path.parent.parent / "config.yaml")
    file = given or next((f for f in beside if f.is_file()), None)
    if given is None and path.stem in PUBLISHED_WEIGHTS:
        return PUBLISHED_WEIGHTS[path.stem]
    if file is None:
        known = ", ".join(f"{name}.pth" for name in PUBLISHED_WEIGHTS)
        raise CheckpointError(
            f"nothing tells what the weights in {path} are: give the config.yaml of their training run (beside the "
            f"file or above its folder), or name the file as it was published ({known})"
        )
    return _from_training(path.stem, read_sections(file), state, file)


def _from_training(name: str, run: Mapping[str, Any], state: Mapping[str, Tensor], file: Path) -> UtiliseWeights:
    data, options = run.get("data", {}), dict(run.get("utilise", {}))
    sensor, bands = trained_bands(str(data.get("dataset")), str(data.get("channels")), str(file))
    for key in ("input_dim", "output_dim"):
        options.pop(key, None)  # the weights know better
    options.setdefault("pad_value", run.get("method", {}).get("pad_value", 0))
    try:
        inputs = state["in_conv.conv.conv.0.weight"].shape[1]
    except KeyError as error:
        raise CheckpointError(
            f"the weights of {name} have no entry {error}, so they are not those of U-TILISE"
        ) from None
    return UtiliseWeights(
        name=name,
        architecture=UtiliseConfig.from_dict(options | {"input_dim": inputs, "output_dim": len(bands)}),
        sensor=sensor,
        bands=bands,
        mask_channel=str(data.get("channels")).endswith("-mask"),
        sar_bands=SAR_BANDS if data.get("include_S1") else (),
        positions=data.get("pe_strategy", "day-of-year"),
        window=data.get("max_seq_length"),
        fill_value=run.get("mask", {}).get("fill_value", 1.0),
        licence="not stated",
        source=f"training run of {file}",
    )
