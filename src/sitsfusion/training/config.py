"""What a training run is made of, as pydantic models. Hydra composes the values (`compose`), these check them.

The groups are those that users of the reference know: `location`, `datamodule`, `training_module`, `hr_encoder`,
`lr_encoder`, `decoder`, `positional_encoding`, `callbacks`, `loggers`, `trainer`, `experiments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from sitsfusion.errors import InputError
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig
from sitsfusion.weights.config import (
    DayOrigin,
    SensorInput,
    TamrfsitsWeights,
    TemporalCompensation,
    sensor_input,
    standardised_inputs,
)

Model = TypeVar("Model", bound=BaseModel)
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LocationConfig(_Strict):
    """Where things are on this machine.

    Attributes:
        data: folder that the data set's sites are in.
        cache: folder for samples already read, on a fast disk; None for no cache.
        runs: folder that run folders are made in.
    """

    data: Path
    cache: Path | None = None
    runs: Path


class Statistics(_Strict):
    """Standardisation per band, in network order: scaled values (reflectance, kelvin / 1000).

    `lr_fill` and `hr_fill` are what the network is fed where nothing was observed; None for the published -1.
    """

    lr_mean: tuple[float, ...]
    lr_std: tuple[float, ...]
    hr_mean: tuple[float, ...]
    hr_std: tuple[float, ...]
    lr_fill: tuple[float, ...] | None = None
    hr_fill: tuple[float, ...] | None = None


class LoaderConfig(_Strict):
    """How batches are loaded.

    Attributes:
        batch_size: samples per step and process.
        testing_validation_batch_size: the same in validation.
        num_workers: processes that read; 0 reads in the training process.
        prefetch_factor: batches each of them reads ahead; None for PyTorch's choice.
    """

    batch_size: PositiveInt = 1
    testing_validation_batch_size: PositiveInt = 1
    num_workers: NonNegativeInt = 0
    prefetch_factor: PositiveInt | None = None


class DatamoduleConfig(_Strict):
    """The data: their kind, their options together with the loader's, and what the network must know of them.

    Attributes:
        kind: ls2s2 (sites on disk) or simulated (drawn on the fly, with truth); see `data.KINDS`.
        standardisation: a named set of statistics (see `weights/tamrfsits.yaml`), or the statistics.
        optional_bands: keys of LR bands and of HR bands that training takes away at random.
        config: options of the data set, and those of `LoaderConfig`.
    """

    kind: Literal["ls2s2", "simulated"]
    standardisation: str | Statistics
    optional_bands: dict[Literal["lr", "hr"], tuple[str, ...]] = {}
    config: dict[str, Any]

    @property
    def day_origin(self) -> DayOrigin:
        """Day 0 of every place: the option `dt_orig`, else the first valid HR date."""
        said = self.config.get("dt_orig")
        return date.fromisoformat(str(said)) if said else "first_valid_hr"

    def loader(self) -> LoaderConfig:
        """The part of `config` that is about loading."""
        own = {key: value for key, value in self.config.items() if key in LoaderConfig.model_fields}
        return checked(LoaderConfig, own, "datamodule.config")

    def options(self) -> dict[str, Any]:
        """The other part."""
        return {key: value for key, value in self.config.items() if key not in LoaderConfig.model_fields}

    def inputs(self) -> tuple[SensorInput, SensorInput]:
        """Both sensors at the network's border, LR first."""
        lr, hr = _inputs(self.standardisation)
        return (
            SensorInput.model_validate(lr.model_dump() | {"optional_bands": self.optional_bands.get("lr", ())}),
            SensorInput.model_validate(hr.model_dump() | {"optional_bands": self.optional_bands.get("hr", ())}),
        )


def _inputs(found: str | Statistics) -> tuple[SensorInput, SensorInput]:
    if isinstance(found, str):
        return standardised_inputs(found)
    lr_fill, hr_fill = ({} if fill is None else {"fill": fill} for fill in (found.lr_fill, found.hr_fill))
    return (
        sensor_input("lr", found.lr_mean, found.lr_std, **lr_fill),
        sensor_input("hr", found.hr_mean, found.hr_std, **hr_fill),
    )


class OptimiserConfig(_Strict):
    """Adam, linear warm-up, then cosine with warm restarts, all counted in steps.

    Attributes:
        learning_rate: after warm-up and after each restart.
        warmup_steps: length of the warm-up; 0 for none.
        warmup_start: fraction of the learning rate that it starts from.
        restart_period: steps of the first cosine; each next one is `restart_factor` times longer.
        minimum: the rate that each cosine ends at.
    """

    learning_rate: PositiveFloat
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: NonNegativeInt
    warmup_start: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    restart_period: PositiveInt
    restart_factor: PositiveInt = 2
    minimum: Annotated[float, Field(ge=0)]


class NetworkConfig(_Strict):
    """The part of the architecture that has no group of its own; see `TamrfsitsConfig`."""

    latent: PositiveInt
    sensor_token: NonNegativeInt
    heads: PositiveInt
    layers: NonNegativeInt
    feedforward: PositiveInt
    decoder_heads: PositiveInt
    decoder_feedforward: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class LpipsFiles(_Strict):
    """Weights of the perceptual loss; see `losses.lpips.load_lpips`."""

    vgg: Path
    linear: Path


class TrainingModuleConfig(_Strict):
    """What is trained, and towards what.

    Attributes:
        objective: "tamrfsits" (from the series alone) or "supervised" (against the truth of simulated series).
        objective_config: its options: `losses.tamrfsits.ObjectiveConfig` or `losses.supervised.SupervisedConfig`.
        lpips_files: needed where the objective compares by LPIPS.
        draw: which dates the tamrfsits objective hides: `strategies.TrainingPool`.
        cloudy, compensation: as in `TamrfsitsWeights`.
        start_from_checkpoint: weights to start from (our folder, or a checkpoint of the same architecture).
    """

    network: NetworkConfig
    objective: Literal["tamrfsits", "supervised"]
    objective_config: dict[str, Any] = {}
    lpips_files: LpipsFiles | None = None
    draw: dict[str, Any] = {}
    cloudy: Literal["seen", "hidden"] = "seen"
    compensation: TemporalCompensation | None = None
    optimiser: OptimiserConfig
    start_from_checkpoint: Path | None = None


class CallbacksConfig(_Strict):
    """What is saved and shown along the way.

    Attributes:
        save_top_k: number of best checkpoints kept, by `validation/total_loss`.
        last_every_n_steps: how often `last.ckpt`, from which a run resumes, is replaced.
        permanent_every_n_epochs: a checkpoint that stays; None for none.
        pictures_every_n_epochs: validation pictures; None for none.
        validation_metrics: errors at hidden and at given dates (`callbacks.ValidationMetrics`); for the tamrfsits
            objective. The network runs once more on each validation batch.
        ema_decay: decay of the moving average of the weights, which is then what is validated and exported; None: off.
        progress_bar: shown in the terminal.
    """

    save_top_k: NonNegativeInt = 5
    last_every_n_steps: PositiveInt = 500
    permanent_every_n_epochs: PositiveInt | None = 10
    pictures_every_n_epochs: PositiveInt | None = None
    validation_metrics: bool = False
    ema_decay: Fraction | None = None
    progress_bar: bool = True


class LoggersConfig(_Strict):
    """Where numbers go. `project` and `offline` are for wandb."""

    kind: Literal["csv", "tensorboard", "wandb"]
    project: str = "sitsfusion"
    offline: bool = False


class TrainerConfig(_Strict):
    """How long, and on what.

    Attributes:
        accelerator: gpu (an error where there is none) or cpu.
        precision: as Lightning names it; dates, norms and softmax stay float32 in bf16-mixed.
        matmul_precision: of float32 products: highest (no TF32), high, medium.
        gradient_clip_val: largest norm of the gradient; None for no clipping.
        val_check_interval: training steps between validations, whatever the epoch.
        limit_val_batches: at most this many batches per validation; None for all.
        threads: CPU threads of PyTorch; None leaves them.
    """

    accelerator: Literal["gpu", "cpu"]
    devices: PositiveInt = 1
    num_nodes: PositiveInt = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    gradient_clip_val: PositiveFloat | None = None
    max_epochs: PositiveInt = 1000
    max_steps: PositiveInt
    val_check_interval: PositiveInt
    limit_val_batches: PositiveInt | None = None
    log_every_n_steps: PositiveInt = 50
    threads: PositiveInt | None = None


class TrainConfig(_Strict):
    """One run."""

    name: str
    seed: int = 42
    location: LocationConfig
    datamodule: DatamoduleConfig
    training_module: TrainingModuleConfig
    hr_encoder: dict[str, Any]
    lr_encoder: dict[str, Any]
    decoder: dict[str, Any]
    positional_encoding: dict[str, Any]
    callbacks: CallbacksConfig
    loggers: LoggersConfig
    trainer: TrainerConfig

    def architecture(self) -> TamrfsitsConfig:
        """The network; InputError names what does not fit."""
        groups = {"hr_encoder": self.hr_encoder, "lr_encoder": self.lr_encoder, "decoder": self.decoder}
        return TamrfsitsConfig.from_dict(self.training_module.network.model_dump() | groups | self.positional_encoding)

    def weights(self) -> TamrfsitsWeights:
        """What the trained weights will say of themselves."""
        lr, hr = self.datamodule.inputs()
        return TamrfsitsWeights(
            name=self.name,
            architecture=self.architecture(),
            lr=lr,
            hr=hr,
            day_origin=self.datamodule.day_origin,
            licence="not stated",
            source=f"sitsfusion train, run {self.name}",
            cloudy=self.training_module.cloudy,
            compensation=self.training_module.compensation,
        )


def checked(model: type[Model], values: Mapping[str, Any], path: str = "") -> Model:
    """`values` as a `model`; InputError with the full path (below `path`) of every unknown key and unfit value."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [
            f"  {'.'.join([*([path] if path else []), *map(str, e['loc'])])}: {_said(e['type'], e['msg'])} "
            f"(found {e['input']!r:.80})"
            for e in error.errors()
        ]
        raise InputError("\n".join(["this training configuration cannot be used:", *lines])) from error


def _said(kind: str, message: str) -> str:
    return "there is no such key" if kind == "extra_forbidden" else message
