"""The border between cubes (NumPy) and methods (torch)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.methods.base import Block


def stack(cube: Cube) -> tuple[Tensor, Tensor]:
    """All dates of a loaded cube: values [t, c, h, w] float32 (NaN where never observed) and valid [t, h, w] bool."""
    values, valid = cube.to_numpy()
    return torch.from_numpy(values), torch.from_numpy(valid)


def block(values: Tensor, valid: Tensor | None = None) -> Block:
    """A block of torch results; without `valid`, a pixel is valid where all its bands are finite."""
    array = values.float().cpu().numpy()
    seen = np.asarray(np.isfinite(array).all(axis=1)) if valid is None else valid.cpu().numpy()
    return Block(np.ascontiguousarray(array), np.ascontiguousarray(seen))
