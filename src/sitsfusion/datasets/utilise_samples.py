"""Samples for U-TILISE: a sequence with gaps, and the same without; and batches of them.

A sample is a dictionary of tensors, t frames of h x w pixels (values in [0, 1]):

* `x` [t, c_in, h, w] float32: input, `fill_value` where masked; channels: optical, the mask if asked for, SAR;
* `y` [t, c, h, w] float32: target, the optical images;
* `masks` [t, 1, h, w] float32: 1 where `x` hides `y`; `masks_valid_obs` [t] float32: 1 for a frame to be judged by;
* `position_days` [t]: positions; `days` [t] float32: days since the first frame;
* `cloud_mask` [t, 1, h, w] float32: 1 where `y` itself is cloudy;
* `c_index_rgb` [3] int64, `c_index_nir` [1] int64: bands of `y`; NaN (no dimension) where there is none;
* `sample_index` int, `filepath` str; on demand `cloud_prob`, `classification`, `S2_dates`, `S1_dates`.

Whatever yields `x`, `y`, `masks` and `position_days` can be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.datasets.utilise_gaps import (
    Chosen,
    Draws,
    draw_masks,
    fill,
    final_masks,
    occlude_above,
    place_masks,
    sample_indices,
)
from sitsfusion.datasets.utilise_options import MaskSettings, SampleSettings
from sitsfusion.datasets.utilise_positions import positions
from sitsfusion.datasets.utilise_sequences import GapSequence, Sequences, draw_place, prepared
from sitsfusion.errors import InputError

Array = NDArray[Any]
GapSample = dict[str, Any]
BY_FRAME = ("x", "y", "masks", "cloud_mask", "cloud_prob", "classification", "masks_valid_obs", "position_days", "days")


class GapSamples:
    """Map-style data set: sample i is of sequence i. What is drawn depends on (seed, epoch, i) alone.

    Args:
        sequences: where images come from.
        settings: frames and pixels that are used, and what a sample holds.
        masks: how gaps are simulated; None: there are none, unless the sequences hold simulated ones.
        augment: turn and mirror at random (training).
        mask_channel: give the gaps as a channel of the input as well.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        sequences: Sequences,
        settings: SampleSettings,
        masks: MaskSettings | None,
        *,
        augment: bool = False,
        mask_channel: bool = False,
        seed: int = 0,
    ) -> None:
        self.sequences, self.settings, self.masks = sequences, settings, masks
        self.augment, self.mask_channel, self.seed, self.epoch = augment, mask_channel, seed, 0
        self._tiles = by_tile(sequences)

    def __len__(self) -> int:
        return len(self.sequences.names)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is: gaps, crops and turns are drawn from it."""
        self.epoch = epoch

    @property
    def num_channels(self) -> int:
        """Channels of the input."""
        return len(self.sequences.bands) + int(self.mask_channel) + 2 * int(self.sequences.sar)

    def __getitem__(self, index: int) -> GapSample:
        """One sample.

        Raises:
            ReadError: the file is damaged; InputError: no frame is left, or no clouds are there to be drawn.
        """
        draws = Draws(self.seed, self.epoch, index)
        name = self.sequences.names[index]
        sequence = self.sequences.read(name)
        if sequence.gaps is None:
            place = draw_place(sequence.size, self.settings.crop_settings, self.augment, draws)
            sequence = prepared(sequence.each(place.cut), self.settings, draws)
            gaps = self._gaps(name, sequence, draws)
        else:
            gaps = sequence.gaps.astype(np.float32)
        sample = self.assemble(sequence, gaps, draws)
        return {**sample, "sample_index": index, "filepath": name}

    def _gaps(self, name: str, sequence: GapSequence, draws: Draws) -> Array:
        if self.masks is None:
            return np.zeros((len(sequence), 1, *sequence.size), np.float32)
        tile = self._tiles[self.sequences.tile(name)]
        return draw_gaps(sequence, self.masks, self.settings, (self.sequences, tile), draws)[0]

    def assemble(self, sequence: GapSequence, gaps: Array, draws: Draws) -> GapSample:
        """The sample of a sequence with these gaps [t, 1, h, w]."""
        settings = self.masks or MaskSettings()
        masks = final_masks(gaps, sequence.cloud_mask, settings, self.settings.render_occluded_above_p)
        target = sequence.optical.astype(np.float32)
        hidden = fill(target, masks, settings.fill_type, settings.fill_value, draws, sequence.valid)
        parts = [hidden, masks if self.mask_channel else None, sequence.sar]
        return {
            "x": _tensor(np.concatenate([part.astype(np.float32) for part in parts if part is not None], axis=1)),
            "y": _tensor(target),
            "masks": _tensor(masks.astype(np.float32)),
            "masks_valid_obs": _tensor(sequence.valid.astype(np.float32)),
            "position_days": _tensor(positions(sequence.dates, self.settings.pe_strategy)),
            "days": _tensor(positions(sequence.dates, "day-within-sequence")),
            "c_index_rgb": _index(self.sequences.bands.rgb),
            "c_index_nir": _index(None if (nir := self.sequences.bands.nir) is None else (nir,)),
            **_extras(sequence, self.settings),
        }


def by_tile(sequences: Sequences) -> dict[str, list[str]]:
    """Names of the sequences of each tile, in order."""
    tiles: dict[str, list[str]] = {}
    for name in sequences.names:
        tiles.setdefault(sequences.tile(name), []).append(name)
    return tiles


def draw_gaps(
    sequence: GapSequence,
    masks: MaskSettings,
    settings: SampleSettings,
    source: tuple[Sequences, Sequence[str]],
    draws: Draws,
    chosen: Chosen | None = None,
) -> tuple[Array, Chosen]:
    """Gaps [t, 1, h, w] for a prepared sequence, and the frames that have one.

    Args:
        sequence: after `prepared`.
        masks: how gaps are simulated.
        settings: of the sample.
        source: the data set, and the names whose clouds may be drawn; of cropped ones, another part at each draw.
        draws: where chance comes from.
        chosen: frames with a gap, where they are known already.
    """
    if masks.mask_type == "real_clouds":
        cloudy = np.flatnonzero(sequence.cloud_mask.any(axis=(1, 2, 3)))
        return sequence.cloud_mask.astype(np.float32), Chosen(cloudy, np.zeros(0, np.int64))
    chosen = sample_indices(np.flatnonzero(sequence.valid).tolist(), masks, draws) if chosen is None else chosen
    sequences, names = source

    def clouds(name: str) -> Array:
        found = sequences.clouds(name)
        return draw_place(found.shape[-2:], settings.crop_settings, False, draws).cut(found)

    drawn = draw_masks(len(chosen.masked), names, clouds, draws)
    drawn = occlude_above(drawn, settings.render_occluded_above_p)
    if not len(drawn):
        drawn = np.zeros((0, 1, *sequence.size), np.float32)
    return place_masks(len(sequence), chosen, drawn), chosen


def collate(samples: Sequence[Mapping[str, Any]]) -> GapSample:
    """One batch [b, ...]; sequences of different length are padded with 0 at their end (so `masks_valid_obs` is 0).

    Numbers become a tensor, texts and lists a list.

    Raises:
        InputError: no sample, or samples with different entries or sizes.
    """
    if not samples:
        raise InputError("a batch needs at least one sample, found none")
    if any(set(sample) != set(samples[0]) for sample in samples):
        raise InputError(f"samples of one batch hold different entries: {[sorted(sample) for sample in samples]}")
    return {name: _together(name, [sample[name] for sample in samples]) for name in samples[0]}


def _together(name: str, values: list[Any]) -> Any:
    if isinstance(values[0], int):
        return torch.tensor(values)
    if not isinstance(values[0], Tensor):
        return values
    if name in BY_FRAME:
        longest = max(len(value) for value in values)
        values = [torch.cat([v, v.new_zeros((longest - len(v), *v.shape[1:]))]) for v in values]
    if len({value.shape for value in values}) > 1:
        raise InputError(f"{name} of one batch have sizes {[tuple(v.shape) for v in values]}: crop them to one size")
    return torch.stack(values)


def _extras(sequence: GapSequence, settings: SampleSettings) -> GapSample:
    """What else the settings ask for and the sequence has."""
    images = {
        "cloud_mask": sequence.cloud_mask if settings.return_cloud_mask else None,
        "cloud_prob": sequence.cloud_probability if settings.return_cloud_prob else None,
        "classification": sequence.scene_class if settings.return_class_map else None,
    }
    found: GapSample = {k: _tensor(v.astype(np.float32)) for k, v in images.items() if v is not None}
    if settings.return_acquisition_dates:
        dates = {"S2_dates": sequence.dates, "S1_dates": sequence.sar_dates}
        found |= {name: [str(day) for day in days] for name, days in dates.items() if days is not None}
    return found


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _index(bands: tuple[int, ...] | None) -> Tensor:
    return torch.tensor(torch.nan) if bands is None else torch.tensor(bands)
