"""Sequences of images as U-TILISE takes them, before any gap is simulated; and the steps that change a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sitsfusion.datasets.utilise_detection import Run, longest_consecutive, longest_invalid, longest_within
from sitsfusion.datasets.utilise_gaps import Draws, occlude_above
from sitsfusion.datasets.utilise_options import CropSettings, FilterSettings, SampleSettings
from sitsfusion.errors import InputError

Array = NDArray[Any]
_IMAGES = ("optical", "cloud_mask", "cloud_probability", "scene_class", "sar", "gaps")
_LISTS = ("valid", "frames", "dates", "sar_dates")


@dataclass(frozen=True, eq=False)
class GapSequence:
    """Images of one place at t dates; every array has t frames of h x w pixels.

    Attributes:
        optical: [t, c, h, w] in [0, 1]; never NaN.
        cloud_mask: [t, 1, h, w], 1 where the image is cloudy or missing.
        dates: of the optical images.
        valid: [t] bool, frames that are good enough to be a target.
        frames: [t] int64, indices of the frames in the whole sequence.
        cloud_probability: [t, 1, h, w] in [0, 1]; scene_class: [t, 1, h, w], 0 to 11; None where there is none.
        sar, sar_dates: [t, 2, h, w] in [0, 1], and its dates; None where there is none.
        gaps: [t, 1, h, w], gaps that were simulated before; None where there are none.

    Raises:
        InputError: the parts differ in their number of frames, or in height and width.
    """

    optical: Array
    cloud_mask: Array
    dates: tuple[date, ...]
    valid: Array
    frames: Array
    cloud_probability: Array | None = None
    scene_class: Array | None = None
    sar: Array | None = None
    sar_dates: tuple[date, ...] | None = None
    gaps: Array | None = None

    def __post_init__(self) -> None:
        for name in (*_IMAGES, *_LISTS):
            found = getattr(self, name)
            if found is not None and len(found) != len(self):
                raise InputError(
                    f"a sequence has {len(self)} images, but {name} has {len(found)} entries: the file is "
                    "damaged, or its parts are of different sequences; convert the data again"
                )
            if found is not None and name in _IMAGES and found.shape[-2:] != self.size:
                raise InputError(
                    f"images of {self.size} pixels have {name} of {found.shape[-2:]} pixels; bring them to one grid"
                )

    def __len__(self) -> int:
        return len(self.optical)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.optical.shape[-2:]
        return int(height), int(width)

    def each(self, change: Callable[[Array], Array]) -> GapSequence:
        """The sequence with every image array changed alike."""
        return replace(self, **self._images(change))

    def _images(self, change: Callable[[Array], Array]) -> dict[str, Any]:
        return {name: change(found) for name in _IMAGES if (found := getattr(self, name)) is not None}

    def take(self, chosen: Sequence[int] | Array) -> GapSequence:
        """Only these frames."""
        taken: dict[str, Any] = {"valid": self.valid[chosen], "frames": self.frames[chosen]}
        taken |= {name: tuple(found[t] for t in chosen) for name in _LISTS[2:] if (found := getattr(self, name))}
        return replace(self, **taken, **self._images(lambda images: images[chosen]))


@dataclass(frozen=True)
class OpticalBands:
    """The bands of a sequence: `stored`, their indices in the file; `rgb` and `nir`, indices of these bands among them,
    None where they are missing.
    """

    stored: tuple[int, ...]
    rgb: tuple[int, ...] | None
    nir: int | None

    @classmethod
    def of(cls, stored: Sequence[int], rgb: Sequence[int], nir: int) -> OpticalBands:
        """`rgb` and `nir`: which of the file's bands these are."""
        stored = tuple(stored)
        colours = tuple(stored.index(band) for band in rgb) if set(rgb) <= set(stored) else None
        return cls(stored, colours, stored.index(nir) if nir in stored else None)

    def __len__(self) -> int:
        return len(self.stored)


class Sequences(Protocol):
    """What samples are made of: a data set of sequences. Must be picklable: loaders read in other processes.

    `names`: of the sequences that can be used, in order. `bands`: of the optical images. `sar`: whether sequences have
    SAR images.
    """

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def bands(self) -> OpticalBands: ...
    @property
    def sar(self) -> bool: ...

    def read(self, name: str) -> GapSequence:
        """The whole sequence of that name."""
        ...

    def clouds(self, name: str) -> Array:
        """Its cloud masks [t, 1, h, w], from which gaps are drawn."""
        ...

    def tile(self, name: str) -> str:
        """The tile it belongs to: gaps are drawn among sequences of one tile."""
        ...


@dataclass(frozen=True)
class Place:
    """How a sample lies in its sequence: quarter turns counter-clockwise, mirrored or not, and which pixels."""

    turns: int = 0
    upside_down: bool = False
    mirrored: bool = False
    top: int = 0
    left: int = 0
    shape: tuple[int, int] | None = None

    def cut(self, images: Array) -> Array:
        """These pixels of images [..., h, w]."""
        images = np.rot90(images, self.turns, (-2, -1))
        images = images[..., ::-1, :] if self.upside_down else images
        images = images[..., ::-1] if self.mirrored else images
        if self.shape is None:
            return images
        height, width = self.shape
        return images[..., self.top : self.top + height, self.left : self.left + width]


def draw_place(size: tuple[int, int], crop: CropSettings | None, augment: bool, draws: Draws) -> Place:
    """Where a sample lies in images of `size` (height, width): turned and mirrored if `augment`, cropped if so set.

    Images that are not square are turned by half turns only, so that all samples keep one size.

    Raises:
        InputError: the crop is larger than the images.
    """
    place = Place()
    if augment:
        turns, flips = int(draws.numpy.randint(4)), draws.numpy.random_sample(2) < 0.5
        place = Place(turns if size[0] == size[1] else turns // 2 * 2, bool(flips[0]), bool(flips[1]))
    if crop is None or not crop.enabled:
        return place
    room = (size[0] - crop.shape[0], size[1] - crop.shape[1])
    if min(room) < 0:
        raise InputError(f"crop_settings.shape {crop.shape} is larger than the images of {size[0]} x {size[1]} pixels")
    top, left = (draws.numpy.randint(n + 1) if crop.type == "random" else n // 2 for n in room)
    return replace(place, top=int(top), left=int(left), shape=crop.shape)


def good_run(valid: Array, dates: Sequence[date], settings: FilterSettings) -> Run | None:
    """The run of good frames that a filter restricts a sequence to; None: it is not restricted."""
    good = np.flatnonzero(valid).tolist()
    if settings.type == "cloud-free_consecutive":
        return longest_consecutive(good)
    if settings.type == "cloud-free" and settings.max_t_sampling is not None:
        return longest_within(good, dates, settings.max_t_sampling)
    return None


def long_enough(valid: Array, dates: Sequence[date], settings: FilterSettings) -> bool:
    """Whether a sequence passes the filter; `valid` [t] says which frames are good, `dates` may be empty without
    `max_t_sampling`.
    """
    if settings.type is None:
        return True
    run = good_run(valid, dates, settings)
    most = settings.max_num_consec_invalid
    gap_fits = most is None or settings.type != "cloud-free" or longest_invalid(valid) <= most
    enough = run is None or run.length >= settings.min_length
    return bool(gap_fits and enough and np.count_nonzero(valid) >= settings.min_length)


def usable(valid: Array, dates: Sequence[date], settings: FilterSettings) -> NDArray[np.bool_]:
    """Frames [t] that a filter keeps."""
    if settings.type is None:
        return np.ones(len(valid), bool)
    kept = np.asarray(valid).astype(bool)
    run = good_run(kept, dates, settings)
    if run is not None:
        at = np.arange(len(kept))
        kept = kept & (at >= run.start) & (at <= run.end)
    return kept


def prepared(sequence: GapSequence, settings: SampleSettings, draws: Draws) -> GapSequence:
    """The sequence filtered and trimmed, its cloudiest frames marked as cloudy everywhere; `valid` as filtered.

    Raises:
        InputError: no frame is left.
    """
    rule = settings.filter()
    kept = usable(sequence.valid, sequence.dates, rule)
    chosen = np.flatnonzero(kept) if rule.return_valid_obs_only else np.arange(len(kept))
    if not kept.any():
        raise InputError(
            f"none of {len(kept)} frames passes the filter {rule.type} (min_length {rule.min_length}): leave this "
            "sequence out, or filter less"
        )
    most = settings.max_seq_length
    if most is not None and len(chosen) > most:
        start = int(draws.numpy.choice(np.arange(len(chosen) - most + 1)))
        chosen = chosen[start : start + most]
    taken = replace(sequence, valid=kept).take(chosen)
    return replace(taken, cloud_mask=occlude_above(taken.cloud_mask, settings.render_occluded_above_p))
