"""Pixels that xarray holds or reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sitsfusion.cube import Stored
from sitsfusion.grid import Window
from sitsfusion.sensors import Encoding, QualityRule


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """A band: an array (time, y, x), or layer `index` of one with a dimension band."""

    array: xr.DataArray
    index: int | None
    encoding: Encoding


@dataclass(frozen=True, eq=False)
class Flags:
    """A quality layer with its rule; or, without a rule, True (not 0) where usable."""

    array: xr.DataArray
    index: int | None
    rule: QualityRule | None

    def clear(self, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
        numbers = np.asarray(stored, np.float64)
        known = np.isfinite(numbers)
        numbers = np.where(known, numbers, 0)
        return known & (numbers != 0 if self.rule is None else self.rule.clear(numbers.astype(np.int64)))


@dataclass(frozen=True, eq=False)
class XarraySource:
    """Layers of xarray arrays with dimensions time, y, x and perhaps band, in any order; reads the window asked for.

    `flipped`: their rows run from south to north. `files` identify the store, where there is one; else the pixels are
    hashed. `first`: their date that is date 0 of this source.
    """

    layers: tuple[StoredLayer, ...]
    flags: tuple[Flags, ...]
    flipped: bool
    files: tuple[Mapping[str, object], ...]
    first: int = 0

    def only(self, t: int) -> XarraySource:
        """The source whose date 0 is date `t`."""
        return replace(self, first=self.first + t)

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        wanted = [self.layers[i] for i in bands]
        parts = self._read(t, [(layer.array, layer.index) for layer in wanted], window)
        clear = self._read(t, [(flag.array, flag.index) for flag in self.flags], window)
        usable = [flag.clear(stored) for flag, stored in zip(self.flags, clear, strict=True)]
        encodings = tuple(layer.encoding for layer in wanted)
        return Stored(np.stack(parts), encodings, np.logical_and.reduce(usable) if usable else None)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        encodings = [layer.encoding.model_dump() for layer in self.layers]
        if self.files:
            return {"files": [dict(file) for file in self.files], "date": self.first + t, "encodings": encodings}
        digest = hashlib.sha256()
        parts = [(layer.array, layer.index) for layer in self.layers] + [(f.array, f.index) for f in self.flags]
        for array, index in parts:
            digest.update(np.ascontiguousarray(self._at(array, t, index).values).tobytes())
        return {"array": digest.hexdigest(), "encodings": encodings}

    def _read(
        self, t: int, parts: Sequence[tuple[xr.DataArray, int | None]], window: Window
    ) -> list[NDArray[np.generic]]:
        """[h, w] of each part; what lies in one array is read at once."""
        found: dict[tuple[int, int | None], NDArray[np.generic]] = {}
        for array in {id(array): array for array, _ in parts}.values():
            indices = [index for other, index in parts if other is array]
            layers = [i for i in indices if i is not None]
            stored = self._window(self._at(array, t, layers or None), window)
            stack = stored if layers else stored[None]
            found |= {(id(array), index): layer for index, layer in zip(indices, stack, strict=True)}
        return [found[id(array), index] for array, index in parts]

    def _at(self, array: xr.DataArray, t: int, index: int | list[int] | None) -> xr.DataArray:
        at: dict[str, int | list[int]] = {"time": self.first + t}
        return array.isel(at if index is None else at | {"band": index})

    def _window(self, image: xr.DataArray, window: Window) -> NDArray[np.generic]:
        """Pixels [(c,) h, w] of one date, rows from north to south."""
        rows, cols = window.slices
        if self.flipped:
            height = image.sizes["y"]
            rows = slice(height - rows.stop, height - rows.start)
        part = image.isel(y=rows, x=cols).transpose(..., "y", "x").values
        return np.asarray(part[..., ::-1, :] if self.flipped else part)
