"""A TAMRFSITS training run. The groups are those that users of the reference know: `location`, `datamodule`,
`training_module`, `hr_encoder`, `lr_encoder`, `decoder`, `positional_encoding`, `callbacks`, `loggers`, `trainer`,
`experiments`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig
from sitsfusion.training.config import LoaderConfig, OptimiserConfig, RunConfig, Strict, checked
from sitsfusion.weights.config import (
    DayOrigin,
    SensorInput,
    TamrfsitsWeights,
    TemporalCompensation,
    sensor_input,
    standardised_inputs,
)


class Statistics(Strict):
    """Standardisation per band, in network order: scaled values (reflectance, kelvin / 1000).

    `lr_fill` and `hr_fill` are what the network is fed where nothing was observed; None for the published -1.
    """

    lr_mean: tuple[float, ...]
    lr_std: tuple[float, ...]
    hr_mean: tuple[float, ...]
    hr_std: tuple[float, ...]
    lr_fill: tuple[float, ...] | None = None
    hr_fill: tuple[float, ...] | None = None


class DatamoduleConfig(Strict):
    """The data: their kind, their options together with the loader's, and what the network must know of them.

    Attributes:
        kind: ls2s2 (sites on disk) or simulated (drawn on the fly, with truth); see `data.KINDS`.
        standardisation: a named set of statistics (see `weights/tamrfsits.yaml`), or the statistics.
        optional_bands: keys of LR bands and of HR bands that training takes away at random.
        config: options of the data set, and those of `LoaderConfig`.
    """

    kind: Literal["ls2s2", "simulated"]
    standardisation: str | Statistics
    optional_bands: dict[Literal["lr", "hr"], tuple[str, ...]] = Field(default_factory=dict)
    config: dict[str, Any]

    @property
    def day_origin(self) -> DayOrigin:
        """Day 0 of every place: the option `dt_orig`, a date or "local_year", else the first valid HR date."""
        said = self.config.get("dt_orig")
        if said == "local_year":
            return "local_year"
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


class NetworkConfig(Strict):
    """The part of the architecture that has no group of its own; see `TamrfsitsConfig`."""

    latent: PositiveInt
    sensor_token: NonNegativeInt
    heads: PositiveInt
    layers: NonNegativeInt
    feedforward: PositiveInt
    decoder_heads: PositiveInt
    decoder_feedforward: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class LpipsFiles(Strict):
    """Weights of the perceptual loss; see `losses.lpips.load_lpips`."""

    vgg: Path
    linear: Path


class TrainingModuleConfig(Strict):
    """What is trained, and towards what.

    Attributes:
        objective: "tamrfsits" (from the series alone) or "supervised" (against the truth of simulated series).
        objective_config: its options: `losses.tamrfsits.ObjectiveConfig` or `supervised.SupervisedConfig`.
        lpips_files: needed where the objective compares by LPIPS.
        draw: which dates the tamrfsits objective hides: `strategies.TrainingPool`.
        cloudy, compensation, missed_clouds: as in `TamrfsitsWeights`.
        validation_metrics: errors at hidden and at given dates (`validation.ValidationMetrics`); for the tamrfsits
            objective. The network runs once more on each validation batch.
        start_from_checkpoint: weights to start from (our folder, or a checkpoint of the same architecture).
    """

    network: NetworkConfig
    objective: Literal["tamrfsits", "supervised"]
    objective_config: dict[str, Any] = Field(default_factory=dict)
    lpips_files: LpipsFiles | None = None
    draw: dict[str, Any] = Field(default_factory=dict)
    cloudy: Literal["seen", "hidden"] = "seen"
    compensation: TemporalCompensation | None = None
    missed_clouds: PositiveFloat | None = None
    optimiser: OptimiserConfig
    validation_metrics: bool = False
    start_from_checkpoint: Path | None = None


class Config(RunConfig):
    """One run."""

    family: ClassVar[str] = "tamrfsits"

    datamodule: DatamoduleConfig
    training_module: TrainingModuleConfig
    hr_encoder: dict[str, Any]
    lr_encoder: dict[str, Any]
    decoder: dict[str, Any]
    positional_encoding: dict[str, Any]

    def describe(self) -> str:
        return self.architecture().describe()

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
            missed_clouds=self.training_module.missed_clouds,
        )
