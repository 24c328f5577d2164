"""A folder of samples that were cut out of images once, so that the next epoch reads them back in one go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sitsfusion.errors import ReadError

Tensors = dict[str, Tensor]


def digest(*parts: str) -> str:
    """A short name for what a sample depends on."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def fetch(file: Path, make: Callable[[], Mapping[str, Tensor]]) -> Tensors:
    """The tensors of `file`; where it does not exist they are made, and written under another name, then renamed.

    Several processes may ask for the same file: each finds it complete or makes it.

    Raises:
        ReadError: the file exists, but is not readable.
    """
    if file.exists():
        return _load(file)
    tensors = {name: tensor.contiguous() for name, tensor in make().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    save_file(tensors, part)
    part.replace(file)
    return tensors


def _load(file: Path) -> Tensors:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ReadError(f"cached sample {file} cannot be read ({error}); delete it to have it made again") from error
