"""What a training run of deep spatiotemporal fusion is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from sitsfusion.datasets import stf_sets
from sitsfusion.errors import InputError
from sitsfusion.nets.stf import registry
from sitsfusion.training.config import LoaderConfig, RunConfig, Strict
from sitsfusion.weights.stf import StfWeights


class DataConfig(LoaderConfig):
    """Where the images come from, and how they are cut.

    Attributes:
        set: key of one of the eight data sets, or "simulated".
        tile: side of a sample in pixels; stride: between tiles, None for no overlap but at the border.
        split: "chronological", or "published" (validation and test are the same dates; files are paired by order).
        coverage: "full", or "published" (no incomplete tile: the rest at the right and bottom is left out).
        values: "masked" (what was not observed counts nowhere), or "published" (it is reflectance 0).
        pairing: training pairs: "consecutive" dates as published, or "all" ordered pairs of training dates.
        augment: turn and mirror training samples.
        max_gap: days at most between the two images of a pair.
        divisor: of stored numbers, instead of the data set's.
        nodata: stored number of what was never observed, besides negative ones.
        scenes, validation_scenes, samples_per_scene, size, ratio: of simulated places: how many, samples of each in
            an epoch, side in pixels, coarse pixel in fine pixels.
        cache: folder for simulated places; None: in memory.
    """

    set: str
    tile: Annotated[int, Field(ge=32)] = 512
    stride: PositiveInt | None = None
    split: Literal["chronological", "published"] = "chronological"
    coverage: Literal["full", "published"] = "full"
    values: Literal["masked", "published"] = "masked"
    pairing: Literal["consecutive", "all"] = "consecutive"
    augment: bool = True
    max_gap: NonNegativeInt = 0
    divisor: PositiveFloat | None = None
    nodata: float | None = None
    scenes: PositiveInt = 48
    validation_scenes: PositiveInt = 6
    samples_per_scene: PositiveInt = 12
    size: PositiveInt = 210
    ratio: PositiveInt = 3
    cache: Path | None = None

    @property
    def simulated(self) -> bool:
        """Whether the images are made up."""
        return self.set == "simulated"


class TrainingConfig(Strict):
    """What is trained, and how.

    Attributes:
        model: name in `nets.stf.registry`.
        published: the survey's procedure and wiring, slips included (`training.stf.recipes`).
        network: options of the network's constructor.
        pretraining_epochs: of the auto-encoder, for the models whose loss needs one.
        auto_encoder: GAN-STFM's published auto-encoder, instead of training one.
        learning_rate: instead of the recipe's.
        network_range: what reflectances 0 and 1 become.
        sampling_steps: of diffusion models, in validation and test and in the exported weights.
        metrics: "literature", or "published" (windows, units and outlier filter of the survey).
        published_average: of the weights, once per epoch (STFDiff); `callbacks.ema_decay` averages every step.
        test_at_end: score the test samples when training ends, with the best checkpoint of the validation.
        start_from_checkpoint: a run or weights to begin with.
    """

    model: str
    published: bool = False
    network: Mapping[str, Any] = {}
    pretraining_epochs: NonNegativeInt = 0
    auto_encoder: Path | None = None
    learning_rate: PositiveFloat | None = None
    network_range: tuple[float, float] = (0.0, 1.0)
    sampling_steps: PositiveInt = 50
    metrics: Literal["literature", "published"] = "literature"
    published_average: bool = False
    test_at_end: bool = True
    start_from_checkpoint: Path | None = None


class Config(RunConfig):
    """One run."""

    family: ClassVar[str] = "stf"

    data: DataConfig
    training: TrainingConfig

    def describe(self) -> str:
        wiring = "published" if self.training.published else "corrected"
        return f"{registry.get(self.training.model).title} ({wiring}) on {self.data.set}, tiles of {self.data.tile}"

    def weights(self) -> StfWeights:
        """What the trained network will say of itself.

        Raises:
            InputError: a tile that the model cannot take; an auto-encoder that is missing.
        """
        options, model = self.training, registry.get(self.training.model)
        self._check(model)
        described = None if self.data.simulated else stf_sets.get(self.data.set)
        divisor = 1.0 if described is None else described.divisor
        network = {**(model.published if options.published else {}), **options.network}
        network |= {"size": self.data.tile} if model.whole_size else {}
        return StfWeights(
            name=self.name,
            model=model.name,
            bands=stf_sets.SIX if described is None else described.bands,
            fine="sentinel-2-l2a" if described is None else described.fine,
            coarse="landsat-8-9-c2-l2" if described is None else described.coarse,
            options=network,
            patch=self.data.tile,
            network_range=options.network_range,
            sampling_steps=options.sampling_steps,
            licence="that of whoever trained them",
            source=f"sitsfusion train, {self.describe()}" + (", 8-bit numbers / 255" if divisor == 255 else ""),
        )

    def _check(self, model: registry.StfModel) -> None:
        if self.data.tile % model.multiple:
            raise InputError(
                f"{model.title} takes tiles of multiples of {model.multiple} pixels, found {self.data.tile}"
            )
        needs = model.name == "ganstfm" and not self.training.published
        if needs and not self.training.pretraining_epochs and self.training.auto_encoder is None:
            raise InputError(
                "GAN-STFM's loss needs a trained auto-encoder: set training.pretraining_epochs, or give the published "
                "file as training.auto_encoder"
            )
