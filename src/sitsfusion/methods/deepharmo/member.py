"""Networks on a desk that holds one at a time: the largest of the family takes a gigabyte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sitsfusion.checkpoints.common import digest
from sitsfusion.checkpoints.deepharmo import load_deepharmo, pretrained_path, weights_of
from sitsfusion.errors import InputError
from sitsfusion.fetch import resolve
from sitsfusion.fetch.store import shipped
from sitsfusion.methods.stored import parameters
from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.weights.deepharmo import DeepHarmoWeights, published


@cache
def located(reference: str) -> Path:
    """Weights by folder, file, shipped name, or name on the hub; a hub name must have been downloaded before."""
    if reference in published() or (reference.count("/") == 1 and not Path(reference).exists()):
        return pretrained_path(reference, download_missing=False)
    if Path(reference).exists() or reference in shipped():
        return resolve(reference)
    return pretrained_path(reference)  # says which names there are


@cache
def described(path: Path) -> DeepHarmoWeights:
    """What weights say about themselves, or what their names and shapes tell."""
    return load_deepharmo(path)[1]


@cache
def sha256(path: Path) -> str:
    """Digest of the tensors' file."""
    return digest(weights_of(path))


def parameters_of(weights: DeepHarmoWeights) -> int:
    """Number of parameters of the network that weights are for; it is not read."""
    with torch.device("meta"):
        return parameters(DeepHarmoNet(weights.architecture))


@dataclass
class Desk:
    """The network in use, and which one it is."""

    key: tuple[Any, ...] = ()
    network: DeepHarmoNet | None = field(default=None, repr=False)

    def take(self, path: Path, device: torch.device, dtype: torch.dtype, dropout: float = 0.0) -> DeepHarmoNet:
        """A network in evaluation mode; the one before is put away first. `dropout` adds it to every block."""
        key = (path, device, dtype, dropout)
        if key != self.key or self.network is None:
            self.key, self.network = (), None
            net = load_deepharmo(path)[0]
            if dropout:
                net = _with_dropout(net, dropout)
            net = net.to(device=device, dtype=dtype)
            self.network = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.key = key
        return self.network


DESK = Desk()


@torch.inference_mode()
def run_members(paths: Sequence[Path], x: Tensor, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """The output of every network for `x [1, c, h, w]`, float32 on the CPU, in the order given.

    The one that is on the desk goes first, so that the next tile needs one load less.
    """
    images = x.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    found: dict[int, Tensor] = {}
    for i in sorted(range(len(paths)), key=lambda i: paths[i] != next(iter(DESK.key), None)):
        out = DESK.take(paths[i], device, dtype)(images)
        if isinstance(out, tuple):
            raise InputError(f"{paths[i]} has a Gaussian head; an ensemble takes networks of one output")
        found[i] = out.float().cpu().contiguous()
    return [found[i] for i in range(len(paths))]


def _with_dropout(net: DeepHarmoNet, p: float) -> DeepHarmoNet:
    with torch.device("meta"):
        dropping = DeepHarmoNet(net.config.model_copy(update={"dropout": p}))
    dropping.load_state_dict(net.state_dict(), assign=True)
    return dropping.eval().requires_grad_(False)
