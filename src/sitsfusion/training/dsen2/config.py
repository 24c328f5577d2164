"""A DSen2 training run: `datamodule`, `network`, `training_module` and the groups that all families share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from sitsfusion.training.config import LoaderConfig, RunConfig, Strict
from sitsfusion.training.image_module import ImageTrainingConfig
from sitsfusion.training.simulated_places import PlacesConfig
from sitsfusion.weights.dsen2 import SIXTY, TEN, TWENTY, Dsen2Weights


class SimulatedConfig(PlacesConfig):
    """Simulated places; `crop` counts 20 m pixels. They have no 60 m bands."""

    kind: Literal["simulated"]


class ImagesConfig(LoaderConfig):
    """The user's own images: products or folders that `sitsfusion` reads, as Sentinel-2 `fine` images.

    Attributes:
        images: places for training; validation: others.
        reader: of all of them; None: recognised.
        sensor: of all of them; goes into the weights' config.
        options: of the reader (baseline, offset ...).
        samples_per_place: samples of each image in an epoch (the authors: 8000, of 32 pixels; 500 of 96 for 60 m).
        validation_samples_per_place: the same in validation.
        crop: side of a sample in pixels of the last group.
        seed: of crops and turns.
        min_clear_share: images with fewer usable pixels are left out.
    """

    kind: Literal["images"]
    images: tuple[Path, ...]
    validation: tuple[Path, ...]
    reader: str | None = None
    sensor: str = "sentinel-2-l2a"
    options: dict[str, Any] = Field(default_factory=dict)
    samples_per_place: PositiveInt = 8000
    validation_samples_per_place: PositiveInt = 800
    crop: PositiveInt = 32
    seed: int = 42
    min_clear_share: float = Field(0.95, ge=0, le=1)


class NetworkConfig(Strict):
    """The network: which bands it sharpens, its size, and how coarser bands are brought to its grid.

    Attributes:
        zero_start: the last convolution begins at 0, so that the first prediction is the interpolation; False: drawn,
            as published.
    """

    target: Literal["20m", "60m"] = "20m"
    blocks: PositiveInt = 6
    features: PositiveInt = 128
    interpolation: Literal["bilinear", "cubic"] = "bilinear"
    zero_start: bool = False


class Config(RunConfig):
    """One run."""

    family: ClassVar[str] = "dsen2"

    datamodule: Annotated[SimulatedConfig | ImagesConfig, Field(discriminator="kind")]
    network: NetworkConfig
    training_module: ImageTrainingConfig

    @model_validator(mode="after")
    def _has_bands(self) -> Config:
        if isinstance(self.datamodule, SimulatedConfig) and self.network.target == "60m":
            raise ValueError(
                "simulated places have no 60 m bands: train the 60 m network on images (datamodule=images)"
            )
        return self

    def weights(self) -> Dsen2Weights:
        """What the trained weights will say of themselves."""
        sixty = self.network.target == "60m"
        return Dsen2Weights(
            name=self.name,
            groups=(TEN, TWENTY, SIXTY) if sixty else (TEN, TWENTY),
            factor=6 if sixty else 2,
            blocks=self.network.blocks,
            features=self.network.features,
            interpolation=self.network.interpolation,
            sensor=getattr(self.datamodule, "sensor", "sentinel-2-l2a"),
            licence="not stated",
            source=f"sitsfusion train, run {self.name}, seed {self.seed}",
        )

    def describe(self) -> str:
        data = self.datamodule
        what = f"{data.places} simulated places" if isinstance(data, SimulatedConfig) else f"{len(data.images)} images"
        return f"{self.weights().describe()} on {what}"
