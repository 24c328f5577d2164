"""Sequences with simulated gaps in a file: made once for validation and test, and read back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sitsfusion.datasets.utilise_gaps import Chosen, Draws, sample_fully
from sitsfusion.datasets.utilise_hdf5 import (
    Hdf5Reader,
    frame_indices,
    groups_holding,
    new_file,
    open_file,
    write_array,
    write_dates,
    write_texts,
)
from sitsfusion.datasets.utilise_options import DataSettings, MaskSettings
from sitsfusion.datasets.utilise_samples import by_tile, draw_gaps
from sitsfusion.datasets.utilise_sequences import GapSequence, OpticalBands, Sequences, draw_place, prepared
from sitsfusion.errors import InputError, ReadError, WriteError

if TYPE_CHECKING:
    import h5py

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """How a data set names its arrays: field of `GapSequence` -> (name, type), field -> name for dates."""

    arrays: Mapping[str, tuple[str, str]]
    dates: Mapping[str, str]


EARTHNET2021 = Layout(
    {
        "optical": ("frames_target", "float16"),
        "cloud_mask": ("cloud_mask", "int8"),
        "cloud_probability": ("cloud_prob", "float16"),
        "scene_class": ("classification", "int8"),
    },
    {"dates": "dates"},
)
SEN12MSCRTS = Layout(
    {
        "optical": ("S2/S2", "float32"),
        "cloud_mask": ("S2/cloud_mask", "int8"),
        "cloud_probability": ("S2/cloud_prob", "float32"),
        "sar": ("S1/S1", "float32"),
    },
    {"dates": "S2/S2_dates", "sar_dates": "S1/S1_dates"},
)
LAYOUTS = {"earthnet2021": EARTHNET2021, "greenearthnet": EARTHNET2021, "sen12mscrts": SEN12MSCRTS}


@dataclass(frozen=True)
class SimulatedFile:
    """What was written: the file, the group of its masks, and the number of sequences."""

    file: Path
    group: str
    samples: int


def simulate_gaps(
    sequences: Sequences, data: DataSettings, masks: MaskSettings, destination: Path, *, seed: int = 0
) -> SimulatedFile:
    """Write sequences with simulated gaps, drawn in the published order from legacy generators seeded once.

    Into a file that exists, masks of other ratios, or of another type, are added: the frames stay the same, and so do
    the frames with a gap where their ratio does.

    Args:
        sequences: what to simulate gaps in, with all bands.
        data: filter, crop and length of the sequences.
        masks: how gaps are simulated.
        destination: the HDF5 file.
        seed: of the generators.

    Raises:
        InputError: the file holds these masks already, or frames of other data. WriteError: it cannot be written.
        ReadError: the data are damaged.
    """
    draws, tiles = Draws(seed), by_tile(sequences)
    listed = "path_samples" if data.dataset == "sen12mscrts" else f"path_samples_{data.part}"
    with _written(destination) as file:
        for name in sequences.names:
            sequence = sequences.read(name)
            place = draw_place(sequence.size, data.crop_settings, False, draws)
            group, sequence = file.require_group(name), sequence.each(place.cut)
            sequence = _as_before(group, sequence, data) or prepared(sequence, data, draws)
            source = (sequences, tiles[sequences.tile(name)])
            chosen = _masked_before(group, sequence, masks, draws)
            gaps, chosen = draw_gaps(sequence, masks, data, source, draws, chosen)
            if "t_sampled" not in group:
                _write_sequence(group, sequence, LAYOUTS[data.dataset])
            _write_gaps(group, masks, gaps, chosen)
        write_texts(file, listed, list(sequences.names))
    return SimulatedFile(destination, masks.group(), len(sequences.names))


@contextmanager
def _written(path: Path) -> Iterator[h5py.File]:
    """A new file, or a copy of the one that is there; it gets its name when it is complete."""
    if not path.exists():
        with new_file(path) as file:
            yield file
        return
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        shutil.copy2(path, part)
        with open_file(part, "r+") as file:
            yield file
        part.replace(path)
    except shutil.Error as error:
        raise WriteError(f"{path} cannot be added to ({error})") from error
    finally:
        part.unlink(missing_ok=True)


def _as_before(group: h5py.Group, sequence: GapSequence, data: DataSettings) -> GapSequence | None:
    """The frames that the file has of this sequence already; None where it has none."""
    if "t_sampled" not in group:
        return None
    taken = sequence.take(group["t_sampled"][()].astype(np.int64))
    name, dtype = LAYOUTS[data.dataset].arrays["optical"]
    if not np.array_equal(group[name][()], taken.optical.astype(dtype)):
        raise InputError(f"{group.file.filename}: images of {group.name} are not those of the data; name another file")
    return taken


def _masked_before(group: h5py.Group, sequence: GapSequence, masks: MaskSettings, draws: Draws) -> Chosen | None:
    """Frames that have a gap of the same ratio already; of these, those hidden whole are drawn."""
    same = MaskSettings(ratio_masked_frames=masks.ratio_masked_frames).group()
    found = [key for key in group if key == same or key.startswith(f"{same}_fully")]
    if not found or masks.mask_type == "real_clouds" or "t_masked" not in group[found[0]]:
        return None
    masked = group[found[0]]["t_masked"][()].astype(np.int64)
    count = min(int(len(masked) / max(masks.ratio_masked_frames, 1e-9) + 1e-9), len(sequence))
    return Chosen(masked, sample_fully(masked, count, masks, draws))


def _write_sequence(group: h5py.Group, sequence: GapSequence, layout: Layout) -> None:
    for field, (name, dtype) in layout.arrays.items():
        values = getattr(sequence, field)
        if values is not None:
            write_array(group, name, values.astype(dtype))
    for field, name in layout.dates.items():
        dates = getattr(sequence, field)
        if dates is not None:
            write_dates(group, name, dates)
    write_array(group, "t_sampled", frame_indices(sequence.frames, int(sequence.frames.max()) + 1))


def _write_gaps(group: h5py.Group, masks: MaskSettings, gaps: Array, chosen: Chosen) -> None:
    target, name = group.require_group(masks.group()), f"masks_{masks.mask_type}"
    if name in target:
        raise InputError(f"{group.file.filename} holds {target.name}/{name} already: remove the file, or name another")
    write_array(target, name, gaps.astype(np.int8))
    if masks.mask_type == "real_clouds":
        return
    lists = {"t_masked": chosen.masked}
    if masks.ratio_fully_masked_frames > 0:
        lists["t_fully_masked"] = chosen.fully
    for key, frames in lists.items():
        if key not in target:
            write_array(target, key, frame_indices(frames, len(gaps)))


class SimulatedSequences:
    """Sequences of a file of `simulate_gaps`, with their gaps; see `utilise_sequences.Sequences`.

    Args:
        file: the HDF5 file.
        settings: data set, split, channels and SAR.
        masks: whose ratios and type name the gaps; None: without gaps.
        bands: the wanted ones, of all.

    Raises:
        ReadError: the file is missing, damaged, or holds no sequence.
    """

    def __init__(self, file: Path, settings: DataSettings, masks: MaskSettings | None, bands: OpticalBands) -> None:
        self.reader, self.masks, self.bands = Hdf5Reader(file), masks, bands
        self.layout, self.sar = LAYOUTS[settings.dataset], settings.include_s1
        self.names = self._names(settings.part)
        if not self.names:
            raise ReadError(f"{file} holds no sequence with simulated gaps: write it with sitsfusion simulate-gaps")

    def _names(self, part: str) -> list[str]:
        # the published files of the test splits lack an underscore
        for listed in (f"path_samples_{part}", f"path_samples{part}", "path_samples"):
            if self.reader.has(listed):
                return self.reader.texts(listed)
        return groups_holding(self.reader.file["/"], self.layout.arrays["optical"][0])

    def read(self, name: str) -> GapSequence:
        optical = self._array(name, "optical")
        if max(self.bands.stored) >= optical.shape[1]:
            raise ReadError(f"{self.reader.path}: {name} lacks bands {self.bands.stored}; simulate gaps again")
        if self.sar and not self.reader.has(f"{name}/{self.layout.arrays['sar'][0]}"):
            raise ReadError(f"{self.reader.path}: {name} has no SAR images: simulate gaps with include_S1: true")
        return GapSequence(
            optical=optical[:, list(self.bands.stored)].astype(np.float32),
            cloud_mask=self._array(name, "cloud_mask").astype(np.float32),
            dates=self.reader.dates(f"{name}/{self.layout.dates['dates']}"),
            valid=np.ones(len(optical), bool),
            frames=self.reader.array(f"{name}/t_sampled").astype(np.int64),
            cloud_probability=self._if_there(name, "cloud_probability"),
            scene_class=self._if_there(name, "scene_class"),
            sar=self._array(name, "sar") if self.sar else None,
            sar_dates=self.reader.dates(f"{name}/{self.layout.dates['sar_dates']}") if self.sar else None,
            gaps=self._gaps(name, optical),
        )

    def _array(self, name: str, field: str) -> Array:
        return self.reader.array(f"{name}/{self.layout.arrays[field][0]}")

    def _if_there(self, name: str, field: str) -> Array | None:
        there = field in self.layout.arrays and self.reader.has(f"{name}/{self.layout.arrays[field][0]}")
        return self._array(name, field) if there else None

    def _gaps(self, name: str, optical: Array) -> Array:
        if self.masks is None:
            return np.zeros((len(optical), 1, *optical.shape[-2:]), np.int8)
        path = f"{name}/{self.masks.group()}/masks_{self.masks.mask_type}"
        if not self.reader.has(path):
            there = [key for key in self.reader.file[name] if key.startswith("ratio_masked_")]
            raise ReadError(
                f"{self.reader.path}: there is no {path}, but {there}; set the ratios of the mask section so"
            )
        return self.reader.array(path)

    def clouds(self, name: str) -> Array:
        return self.reader.array(f"{name}/{self.layout.arrays['cloud_mask'][0]}")

    def tile(self, name: str) -> str:
        return name.rpartition("/")[0]
