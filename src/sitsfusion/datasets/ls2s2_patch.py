"""Patches of one sensor of an LS2S2 site: windows of its files, masks, and resampling to one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from torch import Tensor

from sitsfusion.errors import GridError, InputError
from sitsfusion.grid import Window, describe
from sitsfusion.io import rasters
from sitsfusion.io.ls2s2_index import Acquisition
from sitsfusion.ops import mtf, resample

# A corner that lies this share of a pixel before a pixel edge belongs to that edge.
_NEARLY = 0.1


@dataclass(frozen=True)
class PatchReader:
    """Reads square patches of one sensor.

    Attributes:
        dates: what there is to read.
        bands: per index file, bands counted from 0, or None for all.
        patch_size: metres.
        resolution: pixel of what is returned, metres.
        mtf: at Nyquist of `resolution`, where it is coarser than the file.
        mask_snow: snow is not valid either.
    """

    dates: tuple[Acquisition, ...]
    bands: tuple[tuple[int, ...] | None, ...]
    patch_size: float
    resolution: float
    mtf: float
    mask_snow: bool = False

    def __post_init__(self) -> None:
        count = len(self.dates[0].lines)
        if len(self.bands) != count:
            raise InputError(f"{len(self.bands)} band list(s) for {count} index file(s); give one each, None for all")

    def read(self, dates: Sequence[Acquisition], left: float, bottom: float) -> tuple[Tensor, Tensor]:
        """The patch of this corner at some dates: values int16 `[t c h w]` as stored, valid bool `[t h w]`.

        A pixel is not valid where a mask file says so (with `mask_snow` also where a snow mask does), or where one of
        the bands read is 0; with several index files, where any of them says so. Values are brought to `resolution`:
        finer by bicubic interpolation, coarser by a Gaussian point spread function and bicubic sampling, both truncated
        to int16; masks by nearest neighbour.

        Raises:
            ReadError: a file that cannot be read.
            GridError: the patch does not lie inside the images, or they have different grids.
            InputError: index files whose patches have different sizes after resampling; `mask_snow`, but a date
                without snow mask.
        """
        parts = [self._part(dates, at, left, bottom) for at in range(len(self.bands))]
        sizes = {tuple(valid.shape) for _, valid in parts}
        if len(sizes) > 1:
            listed = ", ".join(f"{h} x {w}" for _, h, w in sorted(sizes))
            raise InputError(
                f"the index files give patches of {listed} pixels of {self.resolution:g} m; "
                f"patch_size {self.patch_size:g} must be a whole number of pixels of every file"
            )
        valid = torch.stack([part_valid for _, part_valid in parts]).all(0)
        return torch.cat([values for values, _ in parts], 1), valid

    def band_numbers(self) -> tuple[tuple[int, ...], ...]:
        """The bands of each index file's images that are read, counted from 0."""
        first = self.dates[0]
        return tuple(
            tuple(range(rasters.header(str(first.files(at)[0])).count)) if chosen is None else chosen
            for at, chosen in enumerate(self.bands)
        )

    def _part(self, dates: Sequence[Acquisition], at: int, left: float, bottom: float) -> tuple[Tensor, Tensor]:
        """What one index file adds: values `[t c h w]`, valid `[t h w]`."""
        grid = rasters.header(str(dates[0].files(at)[0])).grid
        window = self._window(grid, left, bottom)
        frames = [_frame(a.files(at)[0], self._masks(a, at), self.bands[at], window, grid) for a in dates]
        values = torch.from_numpy(np.stack([values for values, _ in frames]))
        valid = torch.from_numpy(np.stack([valid for _, valid in frames]))
        return self._resampled(values, valid, self.resolution / grid.affine.a)

    def _masks(self, acquisition: Acquisition, at: int) -> list[Path]:
        """The mask files of one date of index file `at`; the panchromatic one has no snow mask of its own."""
        mask, snow = acquisition.files(at)[1], acquisition.lines[at].snow_mask
        if not self.mask_snow:
            return [mask]
        if all(line.snow_mask is None for line in acquisition.lines):
            raise InputError(
                f"{mask} has no snow mask beside it (sites of LS2S2 1.0.0 have none); read them with mask_snow=False"
            )
        return [mask] if snow is None else [mask, snow]

    def _window(self, grid: GeoBox, left: float, bottom: float) -> Window:
        step = grid.affine.a
        size = ceil(self.patch_size / step - 1e-6)
        row = floor((grid.affine.f - (bottom + self.patch_size)) / step + _NEARLY)
        col = floor((left - grid.affine.c) / step + _NEARLY)
        # Cubes delivered in a neighbouring zone are off by less than a pixel; then the window moves inside.
        moved = Window(_inside(row, size, grid.shape.y), _inside(col, size, grid.shape.x), size, size)
        if max(abs(moved.row - row), abs(moved.col - col)) > 1:
            raise GridError(
                f"a patch of {self.patch_size:g} m with its lower left corner at ({left:.10g}, {bottom:.10g}) does not "
                f"lie inside {describe(grid)}"
            )
        return moved

    def _resampled(self, values: Tensor, valid: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """To pixels `factor` times larger."""
        if factor == 1:
            return values, valid
        if factor < 1:
            return resample.bicubic(values, factor), resample.nearest(valid, factor)
        # The reference's kernel has 7 x 7 taps, for a factor of 2: 1.5 coarse pixels on each side.
        half_width = max(3, ceil(1.5 * factor))
        coarse = mtf.generic_downscale(values.float(), factor, self.mtf, half_width)
        return coarse.to(values.dtype), resample.nearest(valid, factor)


def _inside(start: int, size: int, side: int) -> int:
    return max(0, min(start, side - size))


def _frame(
    bands_file: Path, mask_files: Sequence[Path], bands: Sequence[int] | None, window: Window, grid: GeoBox
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    head = rasters.header(str(bands_file))
    if head.grid != grid:
        raise GridError(f"{bands_file} has {describe(head.grid)}; the sensor's other images have {describe(grid)}")
    if head.dtype != "int16":
        raise InputError(f"{bands_file} holds {head.dtype}; LS2S2 images hold int16 (reflectance x 10000, kelvin x 10)")
    values = rasters.read_window(str(bands_file), bands, window)
    masks = [rasters.read_window(str(file), [0], window)[0] > 0 for file in mask_files]
    return values, ~np.any([*masks, (values == 0).any(axis=0)], axis=0)
