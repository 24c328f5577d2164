"""What the engine hands to a method in each process: device, precision, batch, cached networks, random numbers."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sitsfusion.errors import InputError
from sitsfusion.grid import Window

_T = TypeVar("_T")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Side of the squares in which random numbers are drawn, in output pixels.
_NOISE_BLOCK = 64


@dataclass
class Runtime:
    """One per process.

    Attributes:
        device: where networks compute.
        dtype: precision of the heavy parts; float32 means no TF32 (bf16 is asked for, never assumed).
        batch: how many frames or pixel chunks a method may process together; halved when a GPU runs out of memory.
        seed: of the job; random numbers depend on it, on their purpose and on the absolute position only.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    batch: int = 1
    seed: int = 0
    _networks: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def create(
        cls, device: str = "auto", dtype: str = "float32", batch: int = 1, seed: int = 0, threads: int | None = None
    ) -> Runtime:
        """A runtime from plain settings.

        `threads` is the number of CPU threads of this process (default: leave torch's choice, which follows
        OMP_NUM_THREADS, or TORCH_NUM_THREADS when set).

        Raises:
            InputError: an unknown device or dtype, or a GPU that is not there.
        """
        if dtype not in _DTYPES:
            raise InputError(f"unknown dtype {dtype!r}; expected one of {', '.join(_DTYPES)}")
        wanted = threads or int(os.environ.get("TORCH_NUM_THREADS", "0"))
        if wanted:
            torch.set_num_threads(wanted)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        return cls(_device(device), _DTYPES[dtype], batch, seed)

    def network(self, reference: str, build: Callable[[], _T]) -> _T:
        """The network of a weights reference, built on first use and kept."""
        if reference not in self._networks:
            self._networks[reference] = build()
        found: _T = self._networks[reference]
        return found

    def noise(self, purpose: str, window: Window, channels: int = 1) -> NDArray[np.float32]:
        """Standard normal numbers [channels, height, width] for a window of output pixels of the *whole* image.

        The number at a position depends on the job's seed, the purpose, the channel and the position alone, so any
        tiling draws the same.
        """
        rows, cols = _blocks(window.row, window.height), _blocks(window.col, window.width)
        field_ = np.concatenate(
            [np.concatenate([self._noise_block(purpose, r, c, channels) for c in cols], axis=2) for r in rows], axis=1
        )
        top, left = window.row - rows[0] * _NOISE_BLOCK, window.col - cols[0] * _NOISE_BLOCK
        return np.ascontiguousarray(field_[:, top : top + window.height, left : left + window.width])

    def _noise_block(self, purpose: str, row: int, col: int, channels: int) -> NDArray[np.float32]:
        key = [self.seed, zlib.crc32(purpose.encode()), row, col]
        # one stream per channel: asking for more channels changes none of the first ones
        draws = [np.random.default_rng([*key, c]) for c in range(channels)]
        return np.stack([d.standard_normal((_NOISE_BLOCK, _NOISE_BLOCK), np.float32) for d in draws])

    def halve_batch(self) -> bool:
        """Make batches smaller after an out-of-memory error; False when they cannot be smaller."""
        torch.cuda.empty_cache()
        if self.batch <= 1:
            return False
        self.batch //= 2
        return True


def _blocks(start: int, length: int) -> range:
    return range(start // _NOISE_BLOCK, (start + length - 1) // _NOISE_BLOCK + 1)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name} was asked for, but this torch finds no GPU; use --device cpu")
    return device
