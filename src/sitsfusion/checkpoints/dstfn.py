"""DSTFN weights: our own format, and published files (a pickled module, or a state dict)."""

from __future__ import annotations

from pathlib import Path

import torch

from sitsfusion.checkpoints.common import load_into, load_weights, save_weights
from sitsfusion.checkpoints.dstfn_names import infer_config, renaming
from sitsfusion.checkpoints.inert import read_inert, state_dict_of
from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.weights.dstfn import DstfnWeights

_PUBLISHED = (".pth", ".pt", ".ckpt", ".bin")


def save_dstfn(folder: Path, net: DstfnNet, config: DstfnWeights) -> str:
    """Write weights and config into a folder (see `common`); returns the SHA-256 of the weights."""
    if config.architecture != net.config:
        raise InputError("the config describes another architecture than the network's: set it to net.config")
    return save_weights(folder, net.state_dict(), config)


def load_dstfn(path: Path) -> tuple[DstfnNet, DstfnWeights]:
    """The network, in evaluation mode, and its config.

    `path` is a folder of ours or its .safetensors file; or a published .pth file, whose pickled module is never run:
    only its tensors are taken, and the architecture is read off their shapes.

    Raises:
        ReadError: an absent or damaged file.
        CheckpointError: other weights.
    """
    if path.suffix not in _PUBLISHED:
        state, config = load_weights(path, DstfnWeights)
        net = DstfnNet(config.architecture)
        load_into(net, state, config.architecture.describe(), str(path))
        return net.eval().requires_grad_(False), config
    state = {name.removeprefix("module."): t.float() for name, t in state_dict_of(read_inert(path), path).items()}
    architecture = infer_config(state, str(path))
    if architecture.kind == "net1":
        raise CheckpointError(f"{path} holds net1, which sharpens one sensor; expected net2 or slfnt1")
    with torch.device("meta"):
        net = DstfnNet(architecture)
    load_into(net.to_empty(device="cpu"), renaming(architecture.kind).ours(state), architecture.describe(), str(path))
    config = DstfnWeights(name=path.stem, architecture=architecture, licence="not stated", source=path.name)
    return net.eval().requires_grad_(False), config
