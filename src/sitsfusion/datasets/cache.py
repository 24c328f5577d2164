"""A folder of samples that were cut out of images once, so that the next epoch reads them back in one go."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sitsfusion.errors import ReadError, WriteError

Tensors = dict[str, Tensor]


def digest(*parts: str) -> str:
    """A short name for what a sample depends on."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def fetch(file: Path, make: Callable[[], Mapping[str, Tensor]]) -> Tensors:
    """The tensors of `file`; where it does not exist they are made, and written under another name, then renamed.

    Several processes may ask for the same file: each finds it complete or makes it.

    Raises:
        ReadError: the file exists, but is not readable.
        WriteError: it cannot be written; nothing of it is left.
    """
    if file.exists():
        return _load(file)
    tensors = {name: tensor.contiguous() for name, tensor in make().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{uuid4().hex}.part")
    try:
        save_file(tensors, part)
        part.replace(file)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise WriteError(f"sample {file} cannot be cached ({error}); free some space, or name another cache") from error
    return tensors


def _load(file: Path) -> Tensors:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ReadError(f"cached sample {file} cannot be read ({error}); delete it to have it made again") from error
