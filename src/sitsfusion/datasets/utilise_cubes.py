"""The user's own images as U-TILISE sequences: square patches of cubes (GeoTIFF folders, products, simulations)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.datasets.utilise_options import FilterSettings
from sitsfusion.datasets.utilise_sequences import GapSequence, OpticalBands, long_enough
from sitsfusion.errors import InputError
from sitsfusion.grid import Window

Array = NDArray[Any]
_COLOURS, _NIR = ("red", "green", "blue"), ("nir08", "nir")


class CubeSequences:
    """Sequences cut out of cubes of reflectance; see `utilise_sequences.Sequences`.

    Values are clipped to [0, 1]; pixels never observed are 0 and cloudy. Every frame of every cube is read once at the
    start: `Cube.load` cubes that are read slowly. Gaps are drawn among patches of one cube.

    Args:
        cubes: by name, with the same bands.
        size: side of the patches in pixels; what does not fill a patch is left out.
        max_cloudy: share of unusable pixels of a frame that is still good.
        filter_settings: which sequences are used; None: all.

    Raises:
        InputError: cubes differ in bands, hold no reflectance, are smaller than a patch, or no patch passes the filter.
    """

    sar = False

    def __init__(
        self,
        cubes: Mapping[str, Cube],
        size: int,
        *,
        max_cloudy: float = 0.05,
        filter_settings: FilterSettings | None = None,
    ) -> None:
        self.cubes, self.size = dict(cubes), size
        self.bands = _bands(self.cubes)
        self._valid = {name: _clear_shares(cube, size) >= 1 - max_cloudy for name, cube in self.cubes.items()}
        rule = filter_settings or FilterSettings(type=None, min_length=0)
        self.names = [
            f"{name}/{row}_{column}"
            for name, valid in self._valid.items()
            for row, column in np.ndindex(*valid.shape[1:])
            if long_enough(valid[:, row, column], self.cubes[name].dates, rule)
        ]
        if not self.names:
            raise InputError(f"no patch of {size} pixels in {', '.join(cubes)} passes the filter {rule}")

    def read(self, name: str) -> GapSequence:
        cube, row, column = self._patch(name)
        values, usable = cube.to_numpy()
        return GapSequence(
            optical=np.clip(np.nan_to_num(values, nan=0), 0, 1),
            cloud_mask=(~usable[:, None]).astype(np.float32),
            dates=cube.dates,
            valid=self._valid[self.tile(name)][:, row, column],
            frames=np.arange(len(cube)),
        )

    def clouds(self, name: str) -> Array:
        cube, _, _ = self._patch(name)
        return np.stack([~cube.frame(t).valid for t in range(len(cube))])[:, None].astype(np.float32)

    def tile(self, name: str) -> str:
        return name.rpartition("/")[0]

    def _patch(self, name: str) -> tuple[Cube, int, int]:
        tile, _, place = name.rpartition("/")
        row, column = map(int, place.split("_"))
        window = Window(row * self.size, column * self.size, self.size, self.size)
        return self.cubes[tile].window(window), row, column


def _bands(cubes: Mapping[str, Cube]) -> OpticalBands:
    if len({cube.bands for cube in cubes.values()}) != 1:
        raise InputError(
            f"cubes must have the same bands, found {[cube.bands for cube in cubes.values()]}: select them"
        )
    info = next(iter(cubes.values())).band_info()
    if wrong := [band.key for band in info if band.unit != "reflectance"]:
        raise InputError(f"bands {wrong} are no reflectance, which U-TILISE takes: select other bands of the cube")
    names = [band.common_name for band in info]
    colours = tuple(names.index(colour) for colour in _COLOURS) if set(_COLOURS) <= set(names) else None
    nir = next((names.index(name) for name in _NIR if name in names), None)
    return OpticalBands(tuple(range(len(names))), colours, nir)


def _clear_shares(cube: Cube, size: int) -> Array:
    """Share of usable pixels of each date in each patch [t, rows, columns]."""
    rows, columns = (n // size for n in cube.shape[2:])
    if not (rows and columns and len(cube)):
        raise InputError(f"a cube of shape {cube.shape} holds no sequence of {size} x {size} pixels: ask for less")

    def shares(t: int) -> Array:
        valid = cube.frame(t).valid[: rows * size, : columns * size]
        return np.asarray(valid.reshape(rows, size, columns, size).mean(axis=(1, 3)))

    return np.stack([shares(t) for t in range(len(cube))])
