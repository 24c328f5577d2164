"""Weights of deep spatiotemporal fusion: our own format, and published checkpoints.

Published are Lightning checkpoints of the survey's code (their tensors say which model they hold; the published
wiring is selected), and SwinSTFM's bare state dict. Buffers that only depend on the image size or on the schedule are
rebuilt, so that SwinSTFM weights move between sizes of 256 pixels and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sitsfusion.checkpoints.common import load_into, load_weights, read_torch, save_weights
from sitsfusion.errors import CheckpointError
from sitsfusion.nets.stf import registry
from sitsfusion.weights.stf import StfWeights

PUBLISHED_SUFFIXES = (".ckpt", ".pth", ".pt")

# An entry that only this model has, in the survey's layout, and the prefix of the network that predicts.
_LAYOUTS = {
    "ecpwstfn": ("model.Landsat_encoder.0.1.weight", "model."),
    "edcstfn": ("model.residual.0.1.weight", "model."),
    "ganstfm": ("generator.encoder.0.transform.0.1.weight", "generator."),
    "mlffgan": ("generator.LSNet.conv1.0.weight", "generator."),
    "srsfgan": ("generator.Maxpool.weight", "generator."),
    "stfdiff": ("ema.ema_model.model.final_conv.weight", "ema.ema_model."),
    "swinstfm": ("model.coarse_down.inc.proj.weight", "model."),
}
_BARE_SWIN = "coarse_down.inc.proj.weight"
_REBUILT = ("attn_mask", "relative_position_index")
_SIX = ("blue", "green", "red", "nir08", "swir16", "swir22")
_FOUR = ("blue", "green", "red", "nir")


def save_stf(folder: Path, net: nn.Module, config: StfWeights) -> str:
    """Write weights and config into a folder (see `common`); returns the SHA-256 of the weights."""
    return save_weights(folder, net.state_dict(), config)


def network(config: StfWeights) -> nn.Module:
    """The network that a config describes, untrained."""
    return config.described.build(len(config.bands), config.options)


def load_stf(path: Path) -> tuple[nn.Module, StfWeights]:
    """The network, in evaluation mode, and its config.

    `path` is a folder written by `save_stf`, its .safetensors file, or a published file (as `read_published` with no
    further argument).
    """
    if path.suffix in PUBLISHED_SUFFIXES:
        return read_published(path)
    state, config = load_weights(path, StfWeights)
    return _loaded(state, config, path), config


def read_published(path: Path, config: StfWeights | None = None) -> tuple[nn.Module, StfWeights]:
    """Read a checkpoint of the survey's layout, or SwinSTFM's, strictly; the network is in evaluation mode.

    Args:
        path: the file.
        config: what the weights are. By default it is told from the tensors: 6 bands are blue to shortwave infrared
            of Landsat and MODIS, 4 are blue to near infrared of Sentinel-2 and Sentinel-3; reflectances are taken as
            they are, but from -1 to 1 for SwinSTFM's own file; patches are 512 pixels, 256 for that file.

    Raises:
        ReadError: no such file, or a damaged one. CheckpointError: it holds something else, or would run code.
    """
    content = read_torch(path)
    state: dict[str, Tensor] = content.get("state_dict", content)
    model, prefix = _recognised(state, path)
    found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    found = {k: v for k, v in found.items() if k.rpartition(".")[2] not in _REBUILT}
    if model == "stfdiff":
        found = {k: v for k, v in found.items() if k.startswith("model.")}  # without the buffers of the schedule
    config = config or _described(model, found, path, bare=not prefix)
    return _loaded(found, config, path), config


def read_auto_encoder(path: Path) -> dict[str, Tensor]:
    """The state dict of GAN-STFM's published auto-encoder (autoencoder.pth, 6 bands).

    Raises:
        ReadError: no such file. CheckpointError: it holds something else.
    """
    content = read_torch(path)
    state: dict[str, Tensor] = content.get("state_dict", content)
    if "conv8.weight" not in state:
        raise CheckpointError(f"{path} holds no auto-encoder of GAN-STFM: there is no conv8.weight")
    return state


def _recognised(state: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """Model, and prefix of the names of the network that predicts."""
    for model, (entry, prefix) in _LAYOUTS.items():
        if entry in state:
            return model, prefix
    if _BARE_SWIN in state:
        return "swinstfm", ""
    raise CheckpointError(
        f"{path} holds none of the models {', '.join(_LAYOUTS)} in a published layout; its first entries: "
        f"{', '.join(list(state)[:3])}. Weights of `sitsfusion train` are read from what `sitsfusion export` writes"
    )


def _described(model: str, state: Mapping[str, Tensor], path: Path, *, bare: bool) -> StfWeights:
    bands = _bands(model, state)
    known = {4: _FOUR, 6: _SIX}
    if bands not in known:
        raise CheckpointError(f"{path} has {bands} bands; published are 4 or 6: give a config that names them")
    described = registry.get(model)
    patch = 256 if bare else 512
    six = bands == 6
    return StfWeights(
        name=path.stem,
        model=model,
        bands=known[bands],
        fine="landsat-8-9-c2-l2" if six else "sentinel-2-l2a",
        coarse="modis-mod09" if six else "sentinel-3-syn",
        options={**described.published, **({"size": patch} if described.whole_size else {})},
        patch=patch,
        network_range=(-1.0, 1.0) if bare else (0.0, 1.0),
        licence="not stated (the survey's code is MIT)",
        source=f"published checkpoint {path.name}; survey arXiv 2504.00901",
    )


# Where the number of bands is the number of inputs of a convolution.
_FIRST = {
    "ecpwstfn": "Landsat_encoder.0.1.weight",
    "edcstfn": "encoder.0.1.weight",
    "ganstfm": "encoder.0.transform.0.1.weight",
    "mlffgan": "LSNet.conv1.0.weight",
    "srsfgan": "head1.weight",
    "stfdiff": "model.fine_init_conv.weight",
    "swinstfm": "coarse_down.inc.proj.weight",
}


def _bands(model: str, state: Mapping[str, Tensor]) -> int:
    return state[_FIRST[model]].shape[1]


def _loaded(state: Mapping[str, Tensor], config: StfWeights, path: Path) -> nn.Module:
    net = network(config)
    load_into(net, state, f"{config.described.title}, {len(config.bands)} bands", str(path))
    return net.eval()
