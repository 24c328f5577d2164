"""Options of U-TILISE's data: the `data` and `mask` sections of its published YAML files, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from sitsfusion.datasets.utilise_positions import PositionStrategy
from sitsfusion.errors import InputError

MaskType = Literal["random_clouds", "real_clouds"]
FillType = Literal["fill_value", "mean", "white_noise"]
Channels = Literal["rgb", "bgr", "bgr-nir", "all", "bgr-mask", "bgr-nir-mask", "all-mask"]
Phase = Literal["train", "val", "test"]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FilterSettings(_Section):
    """Which frames and which sequences are used.

    Attributes:
        type: all frames; frames that are neither cloudy nor missing; or their longest run of consecutive ones.
        min_length: frames that a sequence must have left.
        return_valid_obs_only: give the usable frames only, else all frames, of which `masks_valid_obs` tells.
        max_num_consec_invalid: longest stretch of unusable frames of a sequence.
        max_t_sampling: days between neighbouring usable frames, at most (SEN12MS-CR-TS).
    """

    type: Literal["cloud-free", "cloud-free_consecutive"] | None = "cloud-free"
    min_length: NonNegativeInt = 5
    return_valid_obs_only: bool = True
    max_num_consec_invalid: NonNegativeInt | None = None
    max_t_sampling: PositiveInt | None = None


class CropSettings(_Section):
    """A part of the images: at random, drawn per sample, or in the centre; `shape` is height, width in pixels."""

    enabled: bool = False
    type: Literal["random", "center"] = "random"
    shape: tuple[PositiveInt, PositiveInt] = (64, 64)


class MaskSettings(_Section):
    """How gaps are simulated.

    Attributes:
        mask_type: clouds of other dates of the same tile, or the frames' own clouds.
        ratio_masked_frames: share of the frames that get a gap, rounded up.
        ratio_fully_masked_frames: share of the frames that are hidden whole, among the ones with a gap.
        fixed_masking_ratio: False draws the number of frames that the ratios are of, from 1 to all.
        non_masked_frames: positions that never get a gap, counted from the end where negative.
        intersect_real_cloud_masks: hide the frames' own clouds as well (a union, in spite of its name).
        dilate_cloud_masks: grow the gaps by one pixel.
        fill_type: what masked pixels hold: `fill_value`, the mean of the clear pixels of the band, or noise.
        fill_value: for that fill type.
    """

    mask_type: MaskType = "random_clouds"
    ratio_masked_frames: Share = 0.5
    ratio_fully_masked_frames: Share = 0.0
    fixed_masking_ratio: bool = False
    non_masked_frames: Annotated[tuple[int, ...], BeforeValidator(lambda value: () if value is None else value)] = ()
    intersect_real_cloud_masks: bool = False
    dilate_cloud_masks: bool = False
    fill_type: FillType = "fill_value"
    fill_value: float = 1.0

    @model_validator(mode="after")
    def _check_ratios(self) -> MaskSettings:
        if self.ratio_fully_masked_frames > self.ratio_masked_frames:
            raise ValueError(
                f"ratio_fully_masked_frames {self.ratio_fully_masked_frames} is more than ratio_masked_frames "
                f"{self.ratio_masked_frames}, of which they are a part"
            )
        return self

    def group(self) -> str:
        """Name of the HDF5 group that holds masks of these ratios."""
        name = f"ratio_masked_{float(self.ratio_masked_frames)}"
        full = float(self.ratio_fully_masked_frames)
        return f"{name}_fully_masked_{full}" if full > 0 else name


class SampleSettings(_Section):
    """What is made of a sequence, whatever file it comes from.

    Attributes:
        filter_settings, crop_settings: frames and pixels that are used; None: all.
        pe_strategy: how dates become positions.
        max_seq_length: frames of a sequence, at most; None: all.
        render_occluded_above_p: a frame cloudier than this share counts as cloudy everywhere; 0 or None: never.
        return_cloud_prob, return_class_map, return_cloud_mask: what else a sample holds, where the data have it.
        return_acquisition_dates: samples hold `S2_dates`, and with SAR `S1_dates`.
    """

    filter_settings: FilterSettings | None = None
    crop_settings: CropSettings | None = None
    pe_strategy: PositionStrategy = "day-of-year"
    max_seq_length: PositiveInt | None = None
    render_occluded_above_p: Share | None = None
    return_cloud_prob: bool = False
    return_class_map: bool = False
    return_cloud_mask: bool = True
    return_acquisition_dates: bool = False

    def filter(self) -> FilterSettings:
        """The filter; one that keeps everything if there is none."""
        return self.filter_settings or FilterSettings(type=None, min_length=0)


@dataclass(frozen=True)
class _DataSet:
    """What a data set has: splits, channels without mask, options that not every data set has, the split of a phase."""

    splits: tuple[str, ...]
    channels: tuple[str, ...]
    options: tuple[str, ...]
    phases: Mapping[Phase, str]


_DATA_SETS: Mapping[str, _DataSet] = {
    "earthnet2021": _DataSet(
        ("train", "iid", "ood", "extreme", "seasonal"),
        ("rgb", "bgr", "bgr-nir"),
        ("mode", "return_cloud_prob", "return_class_map"),
        {"train": "train", "val": "train", "test": "iid"},
    ),
    "sen12mscrts": _DataSet(
        ("train", "val", "test"),
        ("bgr", "bgr-nir", "all"),
        ("include_s1", "ignore_seq_with_black_images", "return_cloud_prob"),
        {"train": "train", "val": "val", "test": "test"},
    ),
    "greenearthnet": _DataSet(
        (
            *("train", "iid", "ood", "extreme", "seasonal"),
            *("val_chopped", "iid_chopped", "ood-t_chopped", "ood-s_chopped", "ood-st_chopped"),
        ),
        ("rgb", "bgr", "bgr-nir"),
        ("cloud_layer", "return_class_map"),
        {"train": "train", "val": "val_chopped", "test": "ood-t_chopped"},
    ),
}


class DataSettings(SampleSettings):
    """One data set in use.

    Attributes:
        dataset: its layout.
        root: folder of the file, or of the splits (GreenEarthNet).
        hdf5_file: its name; by phase (train, val, test) if there are several; None: after the split.
        preprocessed: read a file of `sitsfusion simulate-gaps`, with its masks; not for training.
        split: as the data set names them, such as train, iid (EarthNet2021), val (SEN12MS-CR-TS).
        mode: train, val or all, of EarthNet2021's split train.
        channels: rgb, bgr, bgr-nir, or all (SEN12MS-CR-TS); with `-mask` the gaps are a channel of the input.
        include_s1: (`include_S1` in files) SAR channels in the input (SEN12MS-CR-TS).
        ignore_seq_with_black_images: leave out sequences with an all-zero frame (SEN12MS-CR-TS).
        cloud_layer: which layer of a minicube tells clouds (GreenEarthNet).
        augment: turn and mirror at random, in training.
    """

    dataset: Literal["earthnet2021", "sen12mscrts", "greenearthnet"]
    root: Path
    hdf5_file: str | dict[Phase, str] | None = None
    preprocessed: bool = False
    split: str = "train"
    mode: Literal["train", "val", "all"] | None = None
    # no default: the band order must be known
    channels: Channels
    include_s1: bool = Field(False, alias="include_S1")
    ignore_seq_with_black_images: bool = False
    cloud_layer: Literal["s2_dlmask", "s2_mask"] = "s2_dlmask"
    augment: bool = True

    @model_validator(mode="after")
    def _check_dataset(self) -> DataSettings:
        own = _DATA_SETS[self.dataset]
        if self.split not in own.splits:
            raise ValueError(f"split {self.split!r} of {self.dataset} is not one of {', '.join(own.splits)}")
        if self.bands not in own.channels:
            raise ValueError(
                f"channels {self.channels!r} of {self.dataset}: expected {', '.join(own.channels)} or -mask"
            )
        others = {option for each in _DATA_SETS.values() for option in each.options} - set(own.options)
        wrong = sorted(option for option in others if getattr(self, option) != type(self).model_fields[option].default)
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not an option of {self.dataset}")
        if (
            self.dataset == "earthnet2021"
            and self.split != "train"
            and (self.return_class_map or self.return_cloud_prob)
        ):
            raise ValueError("return_class_map, return_cloud_prob: of EarthNet2021 only the split train has these")
        return self

    @property
    def bands(self) -> str:
        """The optical channels, without the mask."""
        return self.channels.removesuffix("-mask")

    @property
    def mask_channel(self) -> bool:
        """Whether the gaps are a channel of the input."""
        return self.channels.endswith("-mask")

    @property
    def part(self) -> str:
        """Name of this part of the data set in files: of EarthNet2021 train, val, all or `<split>_test_split`."""
        if self.dataset != "earthnet2021":
            return self.split
        return (self.mode or "train") if self.split == "train" else f"{self.split}_test_split"

    @property
    def phase(self) -> Phase:
        """The phase of training that this part is for."""
        if self.mode == "val" or self.split in ("val", "val_chopped"):
            return "val" if self.split in ("train", "val", "val_chopped") else "test"
        return "train" if self.split == "train" else "test"

    @property
    def reads_simulated(self) -> bool:
        """Whether stored gaps are read: never for training, where they are drawn anew."""
        return self.preprocessed and self.phase != "train"

    def of_phase(self, phase: Phase) -> DataSettings:
        """These settings for a phase; a split for tests stays if it is set, else it is the data set's first."""
        split = self.split if phase == "test" == self.phase else _DATA_SETS[self.dataset].phases[phase]
        mode = phase if self.dataset == "earthnet2021" and phase != "test" else None
        return self.model_copy(update={"split": split, "mode": mode})

    def file(self, phase: Phase) -> Path:
        """The HDF5 file of a phase; of GreenEarthNet without simulated gaps, the folder of the split.

        Raises:
            InputError: `hdf5_file` names files by phase, but none for this one.
        """
        if self.dataset == "greenearthnet" and not self.reads_simulated:
            return self.root / self.split
        if isinstance(self.hdf5_file, dict) and phase not in self.hdf5_file:
            raise InputError(f"data.hdf5_file names files for {sorted(self.hdf5_file)}, none for {phase}: add one")
        name = self.hdf5_file[phase] if isinstance(self.hdf5_file, dict) else self.hdf5_file
        if name is None:
            test = self.dataset == "earthnet2021" and self.split != "train"
            name = f"{self.split}_test_split.hdf5" if test else f"{self.split}.hdf5"
        return self.root / name
