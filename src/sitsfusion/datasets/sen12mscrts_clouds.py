"""Clouds of SEN12MS-CR-TS: probabilities and masks from the user's files or a detector, and the lists of good frames.

The published masks come from s2cloudless (threshold 0.4, averaging radius 4, dilation radius 2). Its licence is
CC BY-SA, so it is never installed with this library: install it yourself, or give probabilities as files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sitsfusion.datasets.sen12mscrts_convert import read_image
from sitsfusion.datasets.utilise_detection import impaired_frames, longest_within, missing_frames
from sitsfusion.datasets.utilise_hdf5 import (
    MIN_GOOD,
    groups_holding,
    open_file,
    read_dates,
    write_array,
    write_frame_lists,
    write_texts,
)
from sitsfusion.errors import InputError, ReadError

if TYPE_CHECKING:
    import h5py

Array = NDArray[Any]
Clouds = tuple[Array, Array]  # probability [t, 1, h, w] in [0, 1], mask [t, 1, h, w] of 0 and 1
Detector = Callable[[str, Array], Clouds]  # of a patch's name and its images [t, 13, h, w], digital numbers
THRESHOLD, AVERAGED_OVER, DILATED_BY = 0.4, 4, 2
_MAX_DAYS = 42


@dataclass(frozen=True)
class Detected:
    """What was found: number of patches, of usable ones, and of those that had no cloud masks before."""

    samples: int
    usable: int
    new_masks: int


def detect_clouds(file: Path, detector: Detector | None = None, *, max_days: int | None = None) -> Detected:
    """List cloudy and good frames of every patch of a converted file, in the file.

    Args:
        file: HDF5 file of `convert_sen12mscrts`.
        detector: gives probabilities and masks to patches that have none.
        max_days: also list the sequences without an all-zero frame of which five good frames are at most so many days
            apart, which spares loaders the search (`ignore_seq_with_black_images`).

    Raises:
        ReadError: the file is missing or damaged. InputError: a patch has no cloud mask and there is no detector.
    """
    good: list[str] = []
    strict: list[str] = []
    new = 0
    with open_file(file, "r+") as content:
        regions = [key for key in content if "ROIs" in key]
        names = [name for region in regions for name in groups_holding(content[region], "S2")]
        for name in names:
            new += _add_clouds(content[name], detector)
            dates = read_dates(content[name]["S2/S2_dates"])
            frames = _list_frames(content[name])
            if len(frames) >= MIN_GOOD and longest_within(frames, dates, _MAX_DAYS).length >= MIN_GOOD:
                good.append(name)
            if max_days is not None and longest_within(frames, dates, max_days).length >= MIN_GOOD:
                strict += [name] if content[name]["S2/S2"][()].any(axis=(1, 2, 3)).all() else []
        write_texts(content, "path_samples", good)
        if max_days is not None:
            write_texts(content, f"path_samples_max_t_sampling_{max_days}_wo_black_images", strict)
    return Detected(len(names), len(good), new)


def _list_frames(patch: h5py.Group) -> list[int]:
    """Write the lists of frames of a patch; the indices of its good ones."""
    images, mask = patch["S2/S2"][()], patch["S2/cloud_mask"][()]
    impaired = impaired_frames(images, mask, patch["S2/cloud_prob"][()] * 100, strict=True)
    write_frame_lists(patch, impaired, missing_frames(images))
    good: list[int] = np.flatnonzero(~impaired).tolist()
    return good


def _add_clouds(patch: h5py.Group, detector: Detector | None) -> int:
    """Give a patch its clouds if it has none; 1 if it had none."""
    if "cloud_prob" in patch["S2"] and "cloud_mask" in patch["S2"]:
        return 0
    if detector is None:
        raise InputError(
            f"{patch.file.filename}: {patch.name} has no cloud mask: give a folder of cloud probabilities (--clouds), "
            "or install s2cloudless and say --s2cloudless"
        )
    probability, mask = detector(str(patch.name), patch["S2/S2"][()])
    clouds: dict[str, Array] = {"cloud_prob": probability.astype(np.float32), "cloud_mask": mask.astype(np.int8)}
    for name, values in clouds.items():
        if name in patch["S2"]:
            del patch["S2"][name]
        write_array(patch["S2"], name, values)
    return 1


class CloudFiles:
    """Detector that reads what the user has: `<folder>/<ROI>/<tile>/S2/<time>/*_patch_<n>.tif`, time from 0.

    Band 1 is the cloud probability: whole numbers are percent, other numbers shares. Band 2, if there is one, is the
    mask (0, 1); without it the mask follows from the probability (`mask_of`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, images: Array) -> Clouds:
        """Probabilities and masks of a patch. Raises ReadError where a file is missing or does not fit."""
        found = [self._one(name, time, images.shape[-2:]) for time in range(len(images))]
        probability = np.stack([each[0] for each in found])[:, None]
        given = [each[1] for each in found if each[1] is not None]
        return probability, np.stack(given)[:, None] if len(given) == len(found) else mask_of(probability)

    def _one(self, name: str, time: int, size: tuple[int, ...]) -> tuple[Array, Array | None]:
        _, roi, tile, patch = name.split("/")
        folder = self.folder / roi / tile / "S2" / str(time)
        files = sorted(folder.glob(f"*_patch_{patch.rpartition('_')[2]}.tif"))
        if len(files) != 1:
            raise ReadError(f"{folder} holds {len(files)} cloud files of {patch}, expected one *_patch_N.tif")
        stored = read_image(files[0], None)
        probability = stored[0] / np.float32(100) if np.issubdtype(stored.dtype, np.integer) else stored[0]
        if stored.shape[-2:] != size or not (probability.min() >= 0 and probability.max() <= 1):
            raise ReadError(
                f"{files[0]}: {stored.shape[-2:]} pixels from {stored[0].min()} to {stored[0].max()}; expected {size}, "
                "a probability from 0 to 1, or in percent as whole numbers"
            )
        return probability.astype(np.float32), stored[1] > 0 if len(stored) > 1 else None


class S2Cloudless:
    """Detector that runs the user's own installation of s2cloudless on all 13 bands."""

    def __init__(self) -> None:
        try:
            s2cloudless = import_module("s2cloudless")
        except ImportError as error:
            raise InputError(
                "s2cloudless is not installed. It is not part of this library (licence CC BY-SA 4.0): install it "
                "yourself with pip install s2cloudless, or give cloud probabilities as files (--clouds)"
            ) from error
        self.detector = s2cloudless.S2PixelCloudDetector(
            threshold=THRESHOLD, average_over=AVERAGED_OVER, dilation_size=DILATED_BY, all_bands=True
        )

    def __call__(self, name: str, images: Array) -> Clouds:
        """Probabilities and masks of a patch."""
        reflectance = np.clip(images, 0, 10_000).astype(np.float32).transpose(0, 2, 3, 1) / 10_000
        probability = np.asarray(self.detector.get_cloud_probability_maps(reflectance))
        mask = np.asarray(self.detector.get_mask_from_prob(probability))
        return probability[:, None], mask[:, None]


def mask_of(probability: Array) -> Array:
    """Cloud mask [t, 1, h, w] of probabilities in [0, 1]: averaged over a disk, thresholded, dilated by a disk."""
    values = torch.from_numpy(np.ascontiguousarray(probability, np.float32))
    disk = _disk(AVERAGED_OVER)
    padded = functional.pad(values, [AVERAGED_OVER] * 4, mode="reflect")
    cloudy = functional.conv2d(padded, disk / disk.sum()) > THRESHOLD
    grown = functional.conv2d(cloudy.float(), _disk(DILATED_BY), padding=DILATED_BY) > 0.5
    return grown.numpy().astype(np.int8)


def _disk(radius: int) -> torch.Tensor:
    """Kernel [1, 1, n, n], 1 within the radius."""
    at = torch.arange(-radius, radius + 1)
    return ((at[:, None] ** 2 + at**2) <= radius**2).float()[None, None]
