"""The border between cubes (NumPy) and methods (torch)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

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


def usable(cube: Cube, day: date, bands: Sequence[str]) -> Tensor:
    """One image of a loaded cube: [b h w] float32, NaN where the pixel is not valid. A band may come repeatedly."""
    unique = list(dict.fromkeys(bands))
    frame = cube.select(bands=unique, dates=[day]).frame(0)
    values = np.where(frame.valid, frame.values, np.float32(np.nan))
    return torch.from_numpy(values[[unique.index(key) for key in bands]])
