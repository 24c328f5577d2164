"""GreenEarthNet (EarthNet2021x): minicubes of 150 days in NetCDF, read as U-TILISE sequences.

`<root>/<split>/<tile>/<cube>.nc`: 128 x 128 pixels of 20 m; Sentinel-2 on every fifth day from the fifth on. A pixel is
clear where `s2_dlmask` is 0 and the scene class is dark, vegetation, bare, water or unclassified (the rule of the
paper), or where `s2_mask` is 0 (that of the first toolkit). Needs the extra `netcdf`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sitsfusion.datasets.earthnet2021 import bands
from sitsfusion.datasets.utilise_detection import impaired_frames
from sitsfusion.datasets.utilise_options import DataSettings, FilterSettings
from sitsfusion.datasets.utilise_sequences import GapSequence, long_enough
from sitsfusion.dates import parse_day
from sitsfusion.errors import MissingExtraError, ReadError

Array = NDArray[Any]
_BANDS = ("s2_B02", "s2_B03", "s2_B04", "s2_B8A")
_CLEAR_CLASSES = (1, 2, 4, 5, 6, 7)
_FIRST, _STEP = 4, 5  # days with a Sentinel-2 image


class GreenEarthNetSequences:
    """Sequences of a split; see `utilise_sequences.Sequences`.

    With a filter, the masks of all minicubes are read once at the start.

    Args:
        folder: of the split.
        settings: channels, filter, and which layer tells clouds.

    Raises:
        ReadError: the folder or a minicube is missing or damaged, or no sequence passes the filter.
        MissingExtraError: h5netcdf is not installed.
    """

    sar = False

    def __init__(self, folder: Path, settings: DataSettings) -> None:
        if find_spec("h5netcdf") is None:
            raise MissingExtraError(f"reading minicubes in {folder}", "netcdf")
        self.folder, self.bands, self.layer = folder, bands(settings.bands), settings.cloud_layer
        found = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.nc"))
        rule = settings.filter()
        self.names = [name for name in found if rule.type is None or self._passes(name, rule)]
        if not self.names:
            raise ReadError(f"{folder} holds {len(found)} minicubes TILE/CUBE.nc, none of which passes {rule}")

    def _passes(self, name: str, rule: FilterSettings) -> bool:
        sequence = self.read(name)
        return long_enough(sequence.valid, sequence.dates, rule)

    def read(self, name: str) -> GapSequence:
        with self._opened(name) as cube:
            images = np.stack([_values(cube, band, self.folder) for band in _BANDS], axis=1)
            cloudy = self._cloudy(cube)[:, None]
            days = tuple(parse_day(day) for day in cube["time"].to_numpy().astype("datetime64[D]"))
            scene = _values(cube, "s2_SCL", self.folder)[:, None] if "s2_SCL" in cube else None
        return GapSequence(
            optical=np.clip(np.nan_to_num(images[:, list(self.bands.stored)], nan=0), 0, 1).astype(np.float32),
            cloud_mask=np.maximum(cloudy, np.isnan(images).any(axis=1, keepdims=True)).astype(np.float32),
            dates=days,
            valid=~impaired_frames(images, cloudy.astype(np.float32)),
            frames=np.arange(len(images)),
            scene_class=None if scene is None else np.nan_to_num(scene),
        )

    def clouds(self, name: str) -> Array:
        with self._opened(name) as cube:
            return self._cloudy(cube)[:, None].astype(np.float32)

    def tile(self, name: str) -> str:
        return name.rpartition("/")[0]

    def _opened(self, name: str) -> xr.Dataset:
        path = self.folder / f"{name}.nc"
        try:
            return xr.open_dataset(path, engine="h5netcdf").isel(time=slice(_FIRST, None, _STEP))
        except (OSError, ValueError) as error:
            raise ReadError(f"{path} cannot be read as a minicube ({error}): download it again") from error

    def _cloudy(self, cube: xr.Dataset) -> NDArray[np.bool_]:
        """Pixels [t, h, w] that are not clear; those without a mask value are not."""
        mask = _values(cube, self.layer, self.folder)
        clear = mask < 1
        if self.layer == "s2_dlmask":
            clear &= np.isin(_values(cube, "s2_SCL", self.folder), _CLEAR_CLASSES)
        return np.asarray(~clear)


def _values(cube: xr.Dataset, name: str, folder: Path) -> Array:
    if name not in cube:
        raise ReadError(f"a minicube of {folder} lacks {name}, it holds {sorted(map(str, cube.data_vars))}")
    return np.asarray(cube[name].transpose("time", "lat", "lon").to_numpy())
