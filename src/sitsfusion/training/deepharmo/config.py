"""A Deep-Harmonization training run: `datamodule`, `network`, `training_module` and the shared groups."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.training.config import LoaderConfig, RunConfig
from sitsfusion.training.image_module import ImageTrainingConfig
from sitsfusion.training.simulated_places import PlacesConfig
from sitsfusion.weights.deepharmo import DeepHarmoWeights


class SimulatedConfig(PlacesConfig):
    """Simulated places; `crop` counts 30 m pixels."""

    kind: Literal["simulated"]


class PatchesConfig(LoaderConfig):
    """Patch pairs of the publication (`datasets.s2l8h`).

    Attributes:
        metadata: the CSV table; folder: the HDF5 files, `<folder>/*/*/<patch_id>*`.
        locations, dates, min_fields: filters besides those of the publication.
        scaled: False where reflectance is stored instead of digital numbers.
        augment: turn and mirror training patches (the publication did not).
        seed: of turns.
    """

    kind: Literal["patches"]
    metadata: Path
    folder: Path
    locations: tuple[str, ...] | None = None
    dates: tuple[date, ...] | None = None
    min_fields: PositiveInt | None = None
    scaled: bool = True
    augment: bool = False
    seed: int = 42


class TrainingConfig(ImageTrainingConfig):
    """What is minimised.

    Attributes:
        loss: l1 (published), ssim (1 - SSIM), mixed_gradient (mse of gradient magnitudes, per band), l1_ssim and
            l1_gradient (L1 plus `weight` times the other); of a Gaussian head: gaussian_mse (published), gaussian_mae.
        weight: of the second term.
        full: with the constant of the Gaussian likelihood.
        high_pass: feed the high-pass of the panchromatic band (off in the publication).
    """

    loss: Literal["l1", "ssim", "mixed_gradient", "l1_ssim", "l1_gradient", "gaussian_mse", "gaussian_mae"] = "l1"
    weight: Annotated[float, Field(ge=0)] = 0.1
    full: bool = False
    high_pass: bool = False


class Config(RunConfig):
    """One run."""

    family: ClassVar[str] = "deepharmo"

    datamodule: Annotated[SimulatedConfig | PatchesConfig, Field(discriminator="kind")]
    network: DeepHarmoConfig
    training_module: TrainingConfig

    @model_validator(mode="after")
    def _loss_fits_head(self) -> Config:
        gaussian = self.training_module.loss.startswith("gaussian")
        if gaussian != (self.network.head == "gaussian"):
            raise ValueError(
                f"loss {self.training_module.loss} and network.head {self.network.head} do not fit: the Gaussian "
                "losses are those of head gaussian"
            )
        return self

    def weights(self) -> DeepHarmoWeights:
        """What the trained weights will say of themselves."""
        return DeepHarmoWeights(
            name=self.name,
            architecture=self.network,
            licence="not stated",
            source=f"sitsfusion train, run {self.name}, seed {self.seed}",
        )

    def describe(self) -> str:
        data = self.datamodule
        what = f"{data.places} simulated places" if isinstance(data, SimulatedConfig) else str(data.folder)
        return f"Deep-Harmonization, {self.network.describe()}, on {what}"
