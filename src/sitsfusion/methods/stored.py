"""Weights that a method runs: found, read once, and named in the provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import nn

from sitsfusion.checkpoints.common import digest, weights_file
from sitsfusion.fetch import resolve


class Described(Protocol):
    """What every set of weights says about itself."""

    @property
    def name(self) -> str: ...

    @property
    def licence(self) -> str: ...


Net = TypeVar("Net", bound=nn.Module)
Weights = TypeVar("Weights", bound=Described)


@dataclass(frozen=True)
class Stored(Generic[Net, Weights]):
    """A set of weights: where it lies, its network on the CPU, and what it says about itself.

    The network is shared by all methods of the process: whoever wants another number type loads one of their own.
    """

    path: Path
    net: Net
    weights: Weights


def stored(reference: str, load: Callable[[Path], tuple[Net, Weights]]) -> Stored[Net, Weights]:
    """Weights by shipped or fetched name, folder or file; read again only if their file has changed.

    Raises:
        ReadError, CheckpointError: they cannot be found, or read by `load`.
    """
    path = resolve(reference)
    read: Callable[..., Stored[Net, Weights]] = _read
    return read(path, load, _stamp(path))


def provenance(*used: Stored[Any, Any]) -> dict[str, Any]:
    """Names, digests, licences and number of parameters, as `Method.provenance` gives them."""
    return {
        "weights": ", ".join(one.weights.name for one in used),
        "weights_sha256": ", ".join(_digest(one.path, _stamp(one.path)) for one in used),
        "licence": ", ".join(sorted({one.weights.licence for one in used})),
        "parameters": sum(parameters(one.net) for one in used),
    }


def parameters(net: nn.Module) -> int:
    """Number of parameters of a network."""
    return sum(one.numel() for one in net.parameters())


def _stamp(path: Path) -> int:
    return weights_file(path).stat().st_mtime_ns


@cache
def _read(path: Path, load: Callable[[Path], tuple[Any, Any]], stamp: int) -> Stored[Any, Any]:
    return Stored(path, *load(path))


@cache
def _digest(path: Path, stamp: int) -> str:
    return digest(weights_file(path))
