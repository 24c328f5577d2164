"""Our weights format, and what every family's reader of published files shares.

A set of weights is one folder holding two files:

    weights.safetensors   the tensors, under the names of the network's state dict
    config.json           what the tensors are: architecture, bands, units, origin, licence

Reading is strict: names and shapes must be exactly those of the network, and files that could run code are refused.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sitsfusion.errors import CheckpointError, ReadError

WEIGHTS_FILE = "weights.safetensors"
CONFIG_FILE = "config.json"
SHOWN = 5  # entries listed per group of a difference

Model = TypeVar("Model", bound=BaseModel)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_file(path: Path) -> Path:
    """The tensors' file of a set of weights, given its folder or that file; ReadError if absent."""
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if not file.is_file():
        raise ReadError(f"no weights at {path}: expected a folder holding {WEIGHTS_FILE} and {CONFIG_FILE}")
    return file


def save_weights(folder: Path, state: Mapping[str, Tensor], config: BaseModel) -> str:
    """Write a set of weights into `folder` (made if need be, files replaced) and return the tensors' SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    partial = folder / (WEIGHTS_FILE + ".part")
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n")
    return digest(folder / WEIGHTS_FILE)


def load_weights(path: Path, config_type: type[Model]) -> tuple[dict[str, Tensor], Model]:
    """Read a set of weights from its folder, or from the tensors' file with the config beside it.

    Raises ReadError for an absent or damaged file, CheckpointError for a config of another kind.
    """
    file = weights_file(path)
    return read_safetensors(file), read_config(file.parent / CONFIG_FILE, config_type)


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Tensors on the CPU; ReadError if the file is damaged or something else."""
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ReadError(f"{file} is not a complete safetensors file ({error}): copy or download it again") from error


def read_config(file: Path, config_type: type[Model]) -> Model:
    """The config beside the tensors, checked key by key."""
    if not file.is_file():
        raise ReadError(f"{file} is missing: a set of weights is {WEIGHTS_FILE} with {CONFIG_FILE} beside it")
    try:
        return config_type.model_validate_json(file.read_bytes())
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors()[:SHOWN]]
        raise CheckpointError(f"{file} is not a {config_type.__name__}:\n" + "\n".join(lines)) from error


def read_torch(path: Path) -> dict[str, Any]:
    """A file written by torch.save that holds tensors and plain values only.

    Raises ReadError if it is absent or damaged, CheckpointError if reading it would run code
    (pickled objects) or if it holds no dictionary.
    """
    if not path.is_file():
        raise ReadError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects besides tensors, or is damaged; reading it could run arbitrary code, so it "
            "is refused. Where you trust its origin, load it once with torch.load(path, weights_only=False) in an "
            "environment that you can throw away, and save only its 'state_dict' with torch.save; "
            f"then give that file. The loader said: {_first_line(error)}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ReadError(f"{path} cannot be read as a checkpoint ({_first_line(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dictionary of tensors")
    return content


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name to shape."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def difference(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Lines that say what is missing, extra or of another shape; no line if nothing is."""
    missing = [f"{name} {expected[name]}" for name in expected if name not in found]
    extra = [f"{name} {found[name]}" for name in found if name not in expected]
    other = [
        f"{name}: found {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    return [*_group("missing", missing), *_group("extra", extra), *_group("of another shape", other)]


def _group(title: str, entries: Iterable[str]) -> list[str]:
    entries = list(entries)
    if not entries:
        return []
    more = [f"    ... and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else []
    return [f"  {len(entries)} {title}:", *(f"    {entry}" for entry in entries[:SHOWN]), *more]


def require_same(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], architecture: str, source: str
) -> None:
    """CheckpointError with a readable difference unless names and shapes are exactly the expected ones."""
    lines = difference(expected, found)
    if lines:
        raise CheckpointError(
            f"the weights in {source} are not those of the network expected here ({architecture}):\n"
            + "\n".join(lines)
            + "\n  Give weights of this architecture, or the config that belongs to these weights."
        )


def load_into(net: nn.Module, state: Mapping[str, Tensor], architecture: str, source: str) -> None:
    """Copy a state dict into a network, strictly; `architecture` and `source` are for the message."""
    require_same(shapes(net.state_dict()), shapes(state), architecture, source)
    net.load_state_dict(dict(state))
