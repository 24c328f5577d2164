"""A U-TILISE training run: `datamodule`, `network`, `training_module` and the groups that all families share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from sitsfusion.checkpoints.utilise import trained_bands
from sitsfusion.datasets.utilise_options import DataSettings, MaskSettings
from sitsfusion.losses.utilise import UtiliseLossConfig
from sitsfusion.nets.utilise_config import UtiliseConfig
from sitsfusion.training.config import Fraction, LoaderConfig, OptimiserConfig, RunConfig, Strict
from sitsfusion.weights.utilise import SAR_BANDS, UtiliseWeights


class FilesConfig(LoaderConfig):
    """A public data set, and the options of the loader.

    Attributes:
        data: the `data` section of published files.
        mask: the `mask` section.
        source: folder with the archives as distributed; the HDF5 files that are missing in `data.root` are made of
            them first. None: all files are there.
        clouds: SEN12MS-CR-TS: folder with cloud probabilities for archives without (`sitsfusion detect-clouds`);
            None: run an installed s2cloudless.
    """

    kind: Literal["files"]
    data: DataSettings
    mask: MaskSettings = MaskSettings()
    source: Path | None = None
    clouds: Path | None = None

    def border(self) -> dict[str, Any]:
        """What `UtiliseWeights` says of the data."""
        sensor, bands = trained_bands(self.data.dataset, self.data.channels, "datamodule.data")
        return {
            "sensor": sensor,
            "bands": bands,
            "mask_channel": self.data.mask_channel,
            "sar_bands": SAR_BANDS if self.data.include_s1 else (),
            "positions": self.data.pe_strategy,
            "window": self.data.max_seq_length,
            "fill_value": self.mask.fill_value,
        }


class SimulatedConfig(LoaderConfig):
    """Sequences of simulated scenes (`sitsfusion.simulate`), of which the truth is known, and the loader's options.

    Scene number i has the seed `first_seed + i`; validation and test scenes are others.

    Attributes:
        scenes: for training; `validation_scenes` and `test_scenes`: others, which training never sees.
        samples_per_scene: samples of each scene in an epoch.
        seed: of crops, gaps and everything else drawn per sample.
        size: side of a scene in 10 m pixels, a multiple of 3; crop: side of a sample.
        bands: Sentinel-2 bands, at 10 m.
        length: frames of a sample, at most.
        min_clear_share: images with less are left out.
        hidden: probability that a frame is hidden whole, as a wanted day without an image is.
        more_clouds: probability that a frame is hidden further, by the clouds of another day.
        cache: folder for simulated scenes; None: the last few are kept in memory.
    """

    kind: Literal["simulated"]
    scenes: PositiveInt = 256
    validation_scenes: PositiveInt = 8
    test_scenes: PositiveInt = 16
    samples_per_scene: PositiveInt = 8
    first_seed: NonNegativeInt = 0
    seed: int = 42
    size: int = Field(48, ge=24, multiple_of=3)
    crop: PositiveInt = 32
    bands: tuple[str, ...] = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    length: int = Field(10, ge=4)
    min_clear_share: float = Field(0.2, ge=0, le=1)
    hidden: float = Field(0.15, ge=0, lt=1)
    more_clouds: float = Field(0.3, ge=0, le=1)
    cache: Path | None = None

    def border(self) -> dict[str, Any]:
        """What `UtiliseWeights` says of the data."""
        return {"sensor": "sentinel-2-l2a", "bands": self.bands, "window": self.length}


class ScheduleConfig(Strict):
    """How the learning rate changes.

    Attributes:
        name: per epoch: MultiStepLR (published), StepLR, ExponentialLR, CosineAnnealingLR, ReduceLROnPlateau (of the
            validation loss); per step: warm_restarts; constant.
        milestones: epochs of MultiStepLR; step_size: of StepLR; t_max: epochs of CosineAnnealingLR.
        gamma: factor of MultiStepLR, StepLR, ExponentialLR and ReduceLROnPlateau; patience: epochs of the last.
        warmup_steps, restart_period, minimum: of warm_restarts, in steps (`OptimiserConfig`).
    """

    name: Literal[
        "MultiStepLR", "StepLR", "ExponentialLR", "CosineAnnealingLR", "ReduceLROnPlateau", "warm_restarts", "constant"
    ] = "MultiStepLR"
    milestones: tuple[PositiveInt, ...] = (50, 100, 150, 200, 250)
    gamma: PositiveFloat = 0.5
    step_size: PositiveInt = 50
    t_max: PositiveInt = 1000
    patience: NonNegativeInt = 10
    warmup_steps: NonNegativeInt = 0
    restart_period: PositiveInt = 1000
    minimum: Annotated[float, Field(ge=0)] = 0.0


class TrainingConfig(Strict):
    """What is minimised, and how.

    Attributes:
        start_from_checkpoint: weights to start from: a run, one of its checkpoints, a weights folder, a published .pth.
        optimiser: Adam, or SGD with momentum.
        schedule: of the learning rate.
        loss: its terms, as in published files.
        published_initialisation: biases N(0, 1) and Xavier-normal weights; False: PyTorch's own.
        score_at_end: fill the test samples with the trained network and the trivial fillers; the table is written to
            the run's folder.
        score_samples: at most this many test samples in that table; None: all.
    """

    start_from_checkpoint: Path | None = None
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: PositiveFloat = 2e-4
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: ScheduleConfig = ScheduleConfig()
    loss: UtiliseLossConfig = UtiliseLossConfig()
    published_initialisation: bool = True
    score_at_end: bool = True
    score_samples: PositiveInt | None = None

    def options(self) -> OptimiserConfig:
        """As all families have it."""
        return OptimiserConfig(
            learning_rate=self.learning_rate,
            betas=self.betas,
            weight_decay=self.weight_decay,
            warmup_steps=self.schedule.warmup_steps,
            restart_period=self.schedule.restart_period,
            minimum=self.schedule.minimum,
        )


class Config(RunConfig):
    """One run. `network` holds the options of `UtiliseConfig`; channels follow from the data."""

    family: ClassVar[str] = "utilise"

    datamodule: Annotated[FilesConfig | SimulatedConfig, Field(discriminator="kind")]
    network: dict[str, Any]
    training_module: TrainingConfig

    def weights(self) -> UtiliseWeights:
        """What the trained weights will say of themselves.

        Raises:
            InputError: options that do not make a network.
        """
        border = self.datamodule.border()
        optical = len(border["bands"])
        inputs = optical + border.get("mask_channel", False) + len(border.get("sar_bands", ()))
        return UtiliseWeights(
            name=self.name,
            architecture=UtiliseConfig.from_dict({**self.network, "input_dim": inputs, "output_dim": optical}),
            licence="not stated",
            source=f"sitsfusion train, run {self.name}, seed {self.seed}",
            **border,
        )

    def describe(self) -> str:
        data = self.datamodule
        what = f"{data.scenes} simulated scenes" if isinstance(data, SimulatedConfig) else str(data.data.root)
        return f"U-TILISE of widths {self.network.get('encoder_widths')} on {what}"
