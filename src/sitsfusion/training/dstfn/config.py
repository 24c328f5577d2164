"""A DSTFN training run: `datamodule`, `network`, `training_module` and the groups that all families share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sitsfusion.nets.dstfn_config import DstfnConfig
from sitsfusion.training.config import RunConfig
from sitsfusion.training.image_module import ImageTrainingConfig
from sitsfusion.training.simulated_places import PlacesConfig
from sitsfusion.weights.dstfn import DstfnWeights


class SimulatedConfig(PlacesConfig):
    """Simulated places; `crop` counts 30 m pixels. The fine image is of another day."""

    kind: Literal["simulated"]
    days: int = Field(3, ge=2)


class TrainingConfig(ImageTrainingConfig):
    """`alpha`: weight of the degradation constraint (the published one is not known to us)."""

    alpha: Annotated[float, Field(ge=0)] = 1.0


class Config(RunConfig):
    """One run."""

    family: ClassVar[str] = "dstfn"

    datamodule: SimulatedConfig
    network: DstfnConfig
    training_module: TrainingConfig

    @model_validator(mode="after")
    def _of_landsat(self) -> Config:
        if self.network.kind == "net1":
            raise ValueError("net1 sharpens one sensor; these data are of two: network.kind is net2 or slfnt1")
        return self

    def weights(self) -> DstfnWeights:
        """What the trained weights will say of themselves."""
        return DstfnWeights(
            name=self.name,
            architecture=self.network,
            licence="not stated",
            source=f"sitsfusion train, run {self.name}, seed {self.seed}",
        )

    def describe(self) -> str:
        return f"{self.network.describe()} on {self.datamodule.places} simulated places"
