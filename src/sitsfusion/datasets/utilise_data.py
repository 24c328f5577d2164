"""U-TILISE's data sets by their options: which file, which reader, and the samples of a phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sitsfusion.datasets import earthnet2021, greenearthnet, sen12mscrts
from sitsfusion.datasets.utilise_options import DataSettings, MaskSettings, Phase
from sitsfusion.datasets.utilise_samples import GapSamples
from sitsfusion.datasets.utilise_sequences import Sequences
from sitsfusion.datasets.utilise_simulation import SimulatedFile, SimulatedSequences, simulate_gaps


def gap_samples(data: DataSettings, masks: MaskSettings | None, phase: Phase, *, seed: int = 0) -> GapSamples:
    """Samples of a phase of training: its file and part of the data set; turned and mirrored in phase train only.

    Args:
        data: as in a YAML file; mode (EarthNet2021) or split (SEN12MS-CR-TS) are set from the phase.
        masks: how gaps are simulated, or which stored ones are meant.
        phase: train, val or test.
        seed: of what is drawn.

    Raises:
        ReadError: the file is missing, damaged, or holds no such sequence.
    """
    here = data.of_phase(phase)
    sequences = open_sequences(here, masks, here.file(phase))
    augment = here.augment and phase == "train"
    return GapSamples(sequences, here, masks, augment=augment, mask_channel=here.mask_channel, seed=seed)


def open_sequences(data: DataSettings, masks: MaskSettings | None, file: Path) -> Sequences:
    """Sequences of a file: with stored gaps if `data.preprocessed` says so, except for training."""
    if data.reads_simulated:
        bands = (sen12mscrts if data.dataset == "sen12mscrts" else earthnet2021).bands(data.bands)
        return SimulatedSequences(file, data, masks, bands)
    readers: Mapping[str, Callable[[Path, DataSettings], Sequences]] = {
        "earthnet2021": earthnet2021.EarthNet2021Sequences,
        "sen12mscrts": sen12mscrts.Sen12MsCrTsSequences,
        "greenearthnet": greenearthnet.GreenEarthNetSequences,
    }
    return readers[data.dataset](file, data)


def simulate_file(data: DataSettings, masks: MaskSettings, destination: Path, *, seed: int = 0) -> SimulatedFile:
    """Write the sequences of a converted file with simulated gaps and all their bands; see `simulate_gaps`."""
    every = "all" if data.dataset == "sen12mscrts" else "bgr-nir"
    raw = data.model_copy(update={"preprocessed": False, "channels": every})
    return simulate_gaps(open_sequences(raw, masks, raw.file(raw.phase)), raw, masks, destination, seed=seed)
