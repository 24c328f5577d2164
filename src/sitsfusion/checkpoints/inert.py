"""Read checkpoints that hold pickled Python objects, without running any of their code.

Every class that the file names is replaced by an empty container, but for the few that tensors and plain collections
are made of. The attributes of such containers are kept: a pickled network can be walked for its tensors.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sitsfusion.errors import CheckpointError, ReadError

# What may be built from a file: these rebuild tensors from stored numbers, and nothing else.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}
_STORAGES = ("FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "IntStorage",
             "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage")  # fmt: skip


class Inert:
    """What stands for an object of the file: its attributes, and the name of its class."""

    name: ClassVar[str] = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    # What unpickling may do to an object: call it, fill it. It comes to nothing.

    def __call__(self, *_: Any, **__: Any) -> Inert:
        return Inert()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return getattr(torch, name)
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        return type("Inert", (Inert,), {"name": f"{module}.{name}"})


class _InertPickle:
    """What `torch.load` needs of a pickle module."""

    Unpickler = _Unpickler

    @staticmethod
    def load(file: Any, **arguments: Any) -> Any:
        return _Unpickler(file, **arguments).load()


def read_inert(path: Path) -> Any:
    """The content of a file written by torch.save; objects of classes become `Inert`.

    Raises:
        ReadError: the file is absent or damaged.
    """
    if not path.is_file():
        raise ReadError(f"no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_InertPickle)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, TypeError, AttributeError) as error:
        what = str(error).partition("\n")[0] or type(error).__name__
        raise ReadError(f"{path} cannot be read as a checkpoint ({what}): copy or download it again") from error


def tensors_of(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a pickled network (an `Inert` one), by their names in its state dict."""
    for group in ("_parameters", "_buffers"):
        for name, tensor in _attribute(module, group).items():
            if tensor is not None:
                yield prefix + name, tensor.detach()
    for name, child in _attribute(module, "_modules").items():
        yield from tensors_of(child, f"{prefix}{name}.")


def state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of what `read_inert` found: a pickled network, a state dict, or a dictionary that holds one.

    Raises:
        CheckpointError: no tensor is found.
    """
    if isinstance(content, Inert):
        found = dict(tensors_of(content))
    else:
        inner = content if isinstance(content, Mapping) else {}
        inner = next((inner[key] for key in ("model_state_dict", "state_dict") if key in inner), inner)
        found = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
    if not found:
        what = getattr(content, "name", type(content).__name__)
        raise CheckpointError(f"{path} holds no network: found {what}, expected tensors by name or a pickled module")
    return found


def _attribute(module: Any, name: str) -> Mapping[str, Any]:
    found = getattr(module, name, None)
    return found if isinstance(found, Mapping) else {}
