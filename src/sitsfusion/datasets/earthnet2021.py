"""EarthNet2021: cubes of 30 and more frames, one every five days, 128 x 128 pixels of 20 m, in U-TILISE's HDF5 layout.

Bands blue, green, red, near infrared (B02, B03, B04, B8A), reflectance, clipped to [0, 1]; missing values become 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.datasets.utilise_hdf5 import Hdf5Reader, groups_holding
from sitsfusion.datasets.utilise_options import DataSettings, FilterSettings
from sitsfusion.datasets.utilise_sequences import GapSequence, OpticalBands, long_enough
from sitsfusion.dates import every, parse_day
from sitsfusion.errors import DateError, ReadError

Array = NDArray[Any]
CHANNELS = {"rgb": (2, 1, 0), "bgr": (0, 1, 2), "bgr-nir": (0, 1, 2, 3)}  # of blue, green, red, near infrared
_PROBABILITY, _CLASS, _TRAIN_CHANNELS = 4, 5, 7
_FIRST_FRAME, _STEP = timedelta(days=4), 5


def frame_dates(cube: str) -> tuple[date, ...]:
    """Dates of the frames of a cube, from its name: the first is four days after the start, then every fifth day.

    Raises:
        DateError: the name holds no dates.
    """
    parts = cube.rpartition("/")[2].split("_")
    if len(parts) < 3:
        raise DateError(f"{cube!r} is not the name of an EarthNet2021 cube: expected TILE_START_END_...")
    return every(parse_day(parts[1]) + _FIRST_FRAME, parse_day(parts[2]), _STEP)


@dataclass(frozen=True, eq=False)
class Cube2021:
    """A cube as stored, frames first: float16, NaN where missing.

    `optical` [t, 4, h, w]; `cloud_mask` [t, 1, h, w]; `cloud_probability` [t, 1, h, w] in percent and `scene_class`
    [t, 1, h, w], None in test splits.
    """

    optical: Array
    cloud_mask: Array
    cloud_probability: Array | None
    scene_class: Array | None

    @classmethod
    def of(cls, stored: Array, what: str) -> Cube2021:
        """From `highresdynamic` [h, w, c, t]; `what` names it in errors. Raises ReadError for other shapes."""
        if stored.ndim != 4 or stored.shape[2] not in (5, _TRAIN_CHANNELS):
            raise ReadError(f"{what}: highresdynamic has shape {stored.shape}, expected (h, w, 5 or 7, t)")
        frames = stored.transpose(3, 2, 0, 1)
        train = stored.shape[2] == _TRAIN_CHANNELS
        probability, scene = (frames[:, [n]] if train else None for n in (_PROBABILITY, _CLASS))
        return cls(frames[:, :4], frames[:, [-1]], probability, scene)

    def sequence(self, bands: Sequence[int], dates: Sequence[date], valid: Array) -> GapSequence:
        """The sequence of these bands, as U-TILISE takes it."""
        probability = None
        if self.cloud_probability is not None:
            probability = np.nan_to_num(self.cloud_probability.astype(np.float32), nan=100) / 100
        return GapSequence(
            optical=np.clip(np.nan_to_num(self.optical[:, list(bands)].astype(np.float32), nan=0), 0, 1),
            cloud_mask=np.nan_to_num(self.cloud_mask.astype(np.float32), nan=1),
            dates=tuple(dates),
            valid=np.asarray(valid).astype(bool),
            frames=np.arange(len(self.optical)),
            cloud_probability=probability,
            scene_class=None if self.scene_class is None else np.nan_to_num(self.scene_class.astype(np.float32)),
        )


def bands(channels: str) -> OpticalBands:
    """The bands of `rgb`, `bgr` or `bgr-nir`."""
    return OpticalBands.of(CHANNELS[channels], rgb=(2, 1, 0), nir=3)


class EarthNet2021Sequences:
    """Sequences of a converted file; see `utilise_sequences.Sequences`.

    Args:
        file: HDF5 file of `convert_earthnet2021`.
        settings: split, mode, channels and filter.

    Raises:
        ReadError: the file is missing, damaged, or holds no sequence of that split that passes the filter.
    """

    sar = False

    def __init__(self, file: Path, settings: DataSettings) -> None:
        self.reader = Hdf5Reader(file)
        self.bands = bands(settings.bands)
        self.names = self._names(settings.part, settings.filter())
        if not self.names:
            raise ReadError(f"{file} holds no sequence of {settings.part} that passes the filter {settings.filter()}")

    def _names(self, part: str, rule: FilterSettings) -> list[str]:
        parts = [part] if part != "all" or self.reader.has("all") else ["train", "val"]
        names: list[str] = []
        for each in parts:
            listed = f"path_samples_{each}"
            if rule.type == "cloud-free" and self.reader.has(listed):
                names += self.reader.texts(listed)
            elif self.reader.has(each):
                found = groups_holding(self.reader.file[each], "highresdynamic")
                names += [name for name in found if long_enough(self.reader.array(f"{name}/valid_obs"), (), rule)]
        return names

    def read(self, name: str) -> GapSequence:
        cube = Cube2021.of(self.reader.array(f"{name}/highresdynamic"), f"{self.reader.path}:{name}")
        return cube.sequence(self.bands.stored, frame_dates(name), self.reader.array(f"{name}/valid_obs"))

    def clouds(self, name: str) -> Array:
        stored = self.reader.array(f"{name}/highresdynamic", np.s_[:, :, -1:])
        return stored.transpose(3, 2, 0, 1)

    def tile(self, name: str) -> str:
        return name.rpartition("/")[0]
