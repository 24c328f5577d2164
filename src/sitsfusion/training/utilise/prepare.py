"""From the archives as distributed to the files that training reads: what is missing is made, the rest left alone."""

from __future__ import annotations

from sitsfusion.datasets.earthnet2021_convert import convert_earthnet2021
from sitsfusion.datasets.sen12mscrts_clouds import CloudFiles, S2Cloudless, detect_clouds
from sitsfusion.datasets.sen12mscrts_convert import convert_sen12mscrts
from sitsfusion.datasets.utilise_data import simulate_file
from sitsfusion.datasets.utilise_options import DataSettings, Phase
from sitsfusion.errors import InputError
from sitsfusion.training.utilise.config import FilesConfig

_PHASES: tuple[Phase, ...] = ("train", "val", "test")


def prepare(config: FilesConfig, seed: int = 0) -> None:
    """Convert, list cloudy frames, and simulate the gaps of validation and test, where `source` names archives.

    A file with simulated gaps is made of the converted file with the data set's own name (`train.hdf5`, ...), the test
    sequences without limit of length.

    Raises:
        InputError: there is no such conversion. ReadError: an archive is damaged or missing.
    """
    if config.source is None:
        return
    data = config.data
    data.root.mkdir(parents=True, exist_ok=True)
    for phase in _PHASES:
        part = data.of_phase(phase)
        wanted = part.file(phase)
        plain = part.model_copy(update={"hdf5_file": None, "preprocessed": False})
        if wanted.exists():
            continue
        if not plain.file(phase).exists():
            _convert(config, part)
        if part.reads_simulated:
            whole = plain.model_copy(update={"max_seq_length": None if phase == "test" else data.max_seq_length})
            simulate_file(whole, config.mask, wanted, seed=seed)


def _convert(config: FilesConfig, part: DataSettings) -> None:
    """Make the converted file of a part of the data set."""
    source, root = config.source, config.data.root
    if source is None or part.dataset == "greenearthnet":
        raise InputError(f"{part.file(part.phase)} does not exist, and there is no conversion of {part.dataset}")
    if part.dataset == "earthnet2021":
        if part.split == "train":
            convert_earthnet2021(source, root, "train", "train")
            convert_earthnet2021(source, root, "train", "val")
        else:
            convert_earthnet2021(source, root, part.split)  # type: ignore[arg-type]
        return
    convert_sen12mscrts(source, root, part.split, sar=part.include_s1)  # type: ignore[arg-type]
    detector = CloudFiles(config.clouds) if config.clouds is not None else S2Cloudless()
    detect_clouds(root / f"{part.split}.hdf5", detector)
