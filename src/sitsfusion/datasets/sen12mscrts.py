"""SEN12MS-CR-TS: 30 Sentinel-2 and Sentinel-1 images of 2018, 256 x 256 pixels of 10 m, in U-TILISE's HDF5 layout.

Sentinel-2: 13 bands, digital numbers, clipped to [0, 10000] and divided by 10000. Sentinel-1: VV and VH in dB, clipped
to [-25, 0] and brought to [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.datasets.utilise_hdf5 import Hdf5Reader, groups_holding
from sitsfusion.datasets.utilise_options import DataSettings, FilterSettings
from sitsfusion.datasets.utilise_sequences import GapSequence, OpticalBands, long_enough
from sitsfusion.errors import ReadError

Array = NDArray[Any]
CHANNELS = {"bgr": (1, 2, 3), "bgr-nir": (1, 2, 3, 7), "all": tuple(range(13))}  # of the 13 of Sentinel-2
TILES: Mapping[str, tuple[int, ...]] = {
    "ROIs1158": (106,),
    "ROIs1868": (17, 36, 56, 73, 85, 100, 114, 119, 121, 126, 127, 139, 142, 143),
    "ROIs1970": (
        *(20, 21, 35, 40, 57, 65, 71, 82, 83, 91, 112),
        *(116, 119, 128, 132, 133, 135, 139, 142, 144, 149),
    ),
    "ROIs2017": (8, 22, 25, 32, 49, 61, 63, 69, 75, 103, 108, 115, 116, 117, 130, 140, 146),
}
TEST_TILES: Mapping[str, tuple[int, ...]] = {
    "ROIs1158": (106,),
    "ROIs1868": (73, 100, 119, 142),
    "ROIs1970": (20, 132, 139),
    "ROIs2017": (32, 63, 103, 108, 140),
}
VALIDATION_TILES: Mapping[str, tuple[int, ...]] = {"ROIs1868": (17, 127), "ROIs1970": (65,), "ROIs2017": (22, 117)}


def split_tiles(split: str) -> dict[str, tuple[int, ...]]:
    """Tiles of each ROI in split train, val or test, increasing."""
    held_out = {"test": TEST_TILES, "val": VALIDATION_TILES}
    if split in held_out:
        return dict(held_out[split])
    unseen = {roi: {*TEST_TILES.get(roi, ()), *VALIDATION_TILES.get(roi, ())} for roi in TILES}
    return {roi: kept for roi, tiles in TILES.items() if (kept := tuple(t for t in tiles if t not in unseen[roi]))}


def scaled_optical(numbers: Array) -> NDArray[np.float32]:
    """Digital numbers of Sentinel-2 as [0, 1]."""
    return np.clip(numbers.astype(np.float32), 0, 10_000) / np.float32(10_000)


def scaled_sar(decibel: Array) -> NDArray[np.float32]:
    """Backscatter in dB as [0, 1]; missing values are the lowest."""
    return (np.clip(np.nan_to_num(decibel.astype(np.float32), nan=-25), -25, 0) + np.float32(25)) / np.float32(25)


def bands(channels: str) -> OpticalBands:
    """The bands of `bgr`, `bgr-nir` or `all`."""
    return OpticalBands.of(CHANNELS[channels], rgb=(3, 2, 1), nir=7)


class Sen12MsCrTsSequences:
    """Sequences of a converted file; see `utilise_sequences.Sequences`.

    Args:
        file: HDF5 file of `convert_sen12mscrts`, with its cloudy frames detected.
        settings: split, channels, SAR and filter.

    Raises:
        ReadError: the file is missing or damaged, clouds were not detected, or no sequence passes the filter.
    """

    def __init__(self, file: Path, settings: DataSettings) -> None:
        self.reader = Hdf5Reader(file)
        self.bands, self.sar = bands(settings.bands), settings.include_s1
        self.names = self._names(settings)
        if not self.names:
            with_sar = " and has SAR images" if self.sar else ""
            raise ReadError(f"{file} holds no sequence that passes the filter {settings.filter()}{with_sar}")

    def _names(self, settings: DataSettings) -> list[str]:
        rule, clean = settings.filter(), settings.ignore_seq_with_black_images
        cloud_free = rule.type == "cloud-free"
        prepared = f"path_samples_max_t_sampling_{rule.max_t_sampling}_wo_black_images"
        if cloud_free and rule.max_t_sampling and clean and self.reader.has(prepared):
            return self.reader.texts(prepared)
        listed = cloud_free and self.reader.has("path_samples")
        names = self.reader.texts("path_samples") if listed else groups_holding(self.reader.file["/"], "S2")
        if not listed or settings.split == "train":
            names = [name for name in names if self._passes(name, rule)]
        return [name for name in names if not clean or not self.has_black_frame(name)]

    def _passes(self, name: str, rule: FilterSettings) -> bool:
        has_sar = not self.sar or self.reader.has(f"{name}/S1/S1")
        if rule.type is None:
            return has_sar
        dates = self.reader.dates(f"{name}/S2/S2_dates")
        return has_sar and long_enough(self._valid(name), dates, rule)

    def has_black_frame(self, name: str) -> bool:
        """Whether a Sentinel-2 image of the sequence is 0 everywhere."""
        frames = self.reader.array(f"{name}/S2/S2")
        return bool((~frames.any(axis=(1, 2, 3))).any())

    def _valid(self, name: str) -> Array:
        if not self.reader.has(f"{name}/valid_obs"):
            raise ReadError(
                f"{self.reader.path}: cloudy frames of {name} are not known: run sitsfusion detect-clouds on the file"
            )
        return self.reader.array(f"{name}/valid_obs").astype(bool)

    def read(self, name: str) -> GapSequence:
        valid, optical = self._valid(name), self.reader.array(f"{name}/S2/S2")
        if optical.ndim != 4 or optical.shape[1] != 13:
            raise ReadError(f"{self.reader.path}: {name}/S2/S2 has shape {optical.shape}, expected (t, 13, h, w)")
        if self.sar and not self.reader.has(f"{name}/S1/S1"):
            raise ReadError(
                f"{self.reader.path}: {name} has no SAR images: convert it with them, or set include_S1: false"
            )
        return GapSequence(
            optical=scaled_optical(optical[:, list(self.bands.stored)]),
            cloud_mask=self.clouds(name).astype(np.float32),
            dates=self.reader.dates(f"{name}/S2/S2_dates"),
            valid=valid,
            frames=np.arange(len(optical)),
            cloud_probability=self.reader.array(f"{name}/S2/cloud_prob").astype(np.float32),
            sar=scaled_sar(self.reader.array(f"{name}/S1/S1")) if self.sar else None,
            sar_dates=self.reader.dates(f"{name}/S1/S1_dates") if self.sar else None,
        )

    def clouds(self, name: str) -> Array:
        return self.reader.array(f"{name}/S2/cloud_mask")

    def tile(self, name: str) -> str:
        return name.rpartition("/")[0]
