"""DSen2 weights: our own format, state dicts, TorchScript files, and the Keras files of the authors.

Published files name no bands: they are those of the 20 m network (4 and 6 bands) or the 60 m one (4, 6 and 2). Some of
them are under the GPL: they may be loaded, not redistributed.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sitsfusion.checkpoints.common import load_into, load_weights, save_weights
from sitsfusion.checkpoints.inert import read_inert, state_dict_of
from sitsfusion.errors import CheckpointError, InputError, MissingExtraError, ReadError
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.weights.dsen2 import SIXTY, TEN, TWENTY, Dsen2Weights

_KERAS = (".hdf5", ".h5", ".keras")
_TORCH = (".pt", ".pth", ".bin")


def save_dsen2(folder: Path, net: Dsen2Net, config: Dsen2Weights) -> str:
    """Write weights and config into a folder (see `common`); returns the SHA-256 of the weights."""
    if build(config).state_dict().keys() != net.state_dict().keys() or config.counts != net.groups:
        raise InputError(f"the config describes another network than this one: {config.describe()}")
    return save_weights(folder, net.state_dict(), config)


def build(config: Dsen2Weights) -> Dsen2Net:
    """The network of a config, initialised."""
    return Dsen2Net(config.counts, config.blocks, config.features)


def load_dsen2(path: Path) -> tuple[Dsen2Net, Dsen2Weights]:
    """The network, in evaluation mode, and its config.

    `path` is a folder of ours or its .safetensors file; a .pt file (TorchScript or state dict, names conv1, layers.*,
    conv2); or a Keras file (.hdf5: whole models or weights alone).

    Raises:
        ReadError: an absent or damaged file.
        CheckpointError: other weights, or a scripted network that computes something else.
        MissingExtraError: a Keras file without h5py.
    """
    if path.suffix not in (*_KERAS, *_TORCH):
        state, config = load_weights(path, Dsen2Weights)
        net = build(config)
        load_into(net, state, config.describe(), str(path))
        return net.eval().requires_grad_(False), config
    if not path.is_file():
        raise ReadError(f"no weights at {path}")
    if path.suffix in _KERAS:
        return from_arrays(dict(_keras_arrays(path)), path)
    scripted = _scripted(path)
    if scripted is None:
        return from_arrays(state_dict_of(read_inert(path), path), path)
    net, config = from_arrays(dict(scripted.state_dict()), path)
    _check_probe(net, scripted, path)
    return net, config


def from_arrays(arrays: Mapping[str, Tensor], path: Path) -> tuple[Dsen2Net, Dsen2Weights]:
    """A network from convolutions in order: kernels `[out, in, 3, 3]` and biases, whatever their names.

    Raises:
        CheckpointError: the shapes are not those of such a network.
    """
    kernels = [t.float() for t in arrays.values() if t.ndim == 4]
    biases = [t.float() for t in arrays.values() if t.ndim == 1]
    config = _infer(kernels, biases, path)
    net = build(config)
    state = dict(zip((n for n in net.state_dict() if n.endswith("weight")), kernels, strict=True))
    state |= dict(zip((n for n in net.state_dict() if n.endswith("bias")), biases, strict=True))
    load_into(net, state, config.describe(), str(path))
    return net.eval().requires_grad_(False), config


def _infer(kernels: list[Tensor], biases: list[Tensor], path: Path) -> Dsen2Weights:
    groups = {(10, 6): (TEN, TWENTY), (12, 2): (TEN, TWENTY, SIXTY)}
    ends = (kernels[0].shape[1], kernels[-1].shape[0]) if kernels else (0, 0)
    if ends not in groups or len(kernels) % 2 or len(kernels) < 4 or len(biases) != len(kernels):
        raise CheckpointError(
            f"{path} holds {len(kernels)} kernels and {len(biases)} biases, {ends[0]} bands to {ends[1]}; expected "
            "a DSen2 network: first and last convolution, two per block, from 10 bands to 6 or from 12 to 2"
        )
    level = "sentinel-2-l1c" if "l1c" in path.name.lower() or path.name.startswith("s2_0") else "sentinel-2-l2a"
    return Dsen2Weights(
        name=path.stem,
        groups=groups[ends],
        factor=2 if ends == (10, 6) else 6,
        blocks=(len(kernels) - 2) // 2,
        features=kernels[0].shape[0],
        sensor=level,
        licence="not stated",
        source=path.name,
    )


def _scripted(path: Path) -> Any | None:
    """The TorchScript module of a file, or None if it is something else. TorchScript holds code: trust its origin."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if not any(name.endswith("/constants.pkl") for name in archive.namelist()):
            return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there is no other way to read such a file
        try:
            return torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ReadError(f"{path} cannot be read as TorchScript: copy or download it again") from error


def _probe(groups: tuple[int, ...], size: int = 16) -> tuple[Tensor, ...]:
    """Fixed inputs between 0 and 3, `[1, c, size, size]` each."""
    generator = torch.Generator().manual_seed(0)
    return tuple(3 * torch.rand(1, c, size, size, generator=generator) for c in groups)


@torch.inference_mode()
def _check_probe(net: Dsen2Net, scripted: Any, path: Path) -> None:
    """The scripted module must compute what our network does: the image, or only what it adds to its last input."""
    images = _probe(net.groups)
    expected = {"image": net(*images), "residual": net.residual(*images)}
    found = []
    for arguments in (images, (torch.cat(images, dim=1),)):
        try:
            found.append(scripted(*arguments))
        except (RuntimeError, TypeError):  # the other of the two published signatures
            continue
    close = [torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a in found for b in expected.values() if a.shape == b.shape]
    if not any(close):
        raise CheckpointError(
            f"{path} does not compute what a DSen2 network of its weights does: tried separate and joined inputs, the "
            "final image and the residual alone. Give the weights in another form (a state dict)"
        )


def _keras_arrays(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The arrays of a Keras file in the order of the layers; kernels (3, 3, in, out) become (out, in, 3, 3)."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("reading Keras weights", "netcdf") from error
    try:
        with h5py.File(path, "r") as content:
            layers = content.get("model_weights", content)
            for layer in layers.attrs["layer_names"]:
                group = layers[_text(layer)]
                for name in group.attrs["weight_names"]:
                    array = torch.from_numpy(np.asarray(group[_text(name)][()], np.float32))
                    yield _text(name), array.permute(3, 2, 0, 1).contiguous() if array.ndim == 4 else array
    except (OSError, KeyError) as error:
        raise ReadError(f"{path} is not a complete Keras HDF5 file ({error}): copy or download it again") from error


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
