"""A training run of cross-sensor super-resolution: groups `location`, `datamodule`, `callbacks`, `loggers`, `trainer`,
`experiments`, and `network` and `training_module`, which an experiment sets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from sitsfusion.datasets.breizhsr_radiometry import Matching
from sitsfusion.nets.misr_config import MisrConfig
from sitsfusion.training.config import AdamConfig, LoaderConfig, RunConfig, Strict
from sitsfusion.weights.misr import BREIZHSR_MAXIMA, MisrBand, MisrWeights

_Sites = tuple[PositiveInt, PositiveInt, PositiveInt]


class MadeUp(Strict):
    """Places that do not exist, in place of BreizhSR: `sites` of the training, validation and test splits, `side` in
    fine pixels.
    """

    sites: _Sites
    side: Annotated[int, Field(ge=32, multiple_of=8)]
    seed: NonNegativeInt = 0


class DatamoduleConfig(LoaderConfig):
    """The data.

    Attributes:
        root: folder of BreizhSR, prepared by `sitsfusion convert breizhsr`; made-up sets are made and prepared there.
        made_up: None for what lies in the folder.
        maxima: reflectance that becomes 1, by band key in channel order.
        matching: how targets are brought to the radiometry of the images that go in.
        crop: side of random crops in training, in pixels of the images that go in; None for whole sites.
    """

    root: Path
    made_up: MadeUp | None = None
    maxima: dict[str, PositiveFloat] = Field(default_factory=lambda: dict(BREIZHSR_MAXIMA))
    matching: Matching = "histogram"
    crop: PositiveInt | None = None


class StepDecayConfig(AdamConfig):
    """Adam at `learning_rate * decay ** (step // decay_every)`, without weight decay."""

    decay_every: PositiveInt
    decay: Annotated[float, Field(gt=0, le=1)]

    def rate(self, step: int) -> float:
        return self.learning_rate * self.decay ** (step // self.decay_every)


class TrainingModuleConfig(Strict):
    """What is trained, and how it is scored.

    Attributes:
        loss: of backbones: l1 or l1_shift; of the noise of a diffusion: l1, l2, ssim or l1_shift.
        optimiser: rate and schedule.
        backbone_weights: trained backbone that conditions a diffusion: a run, its checkpoint, weights of our format, or
            a published checkpoint. Its reference image is taken over.
        start_from_checkpoint: weights of the whole network to start from.
        samples: images drawn of a diffusion when it is scored; of several, the mean, and the spread as a column.
        sampling_steps: of each draw; None for every step of the schedule.
        lpips_files: weights of AlexNet and LPIPS (`metrics.lpips_alex`); None leaves the column out.
        save_png: write the test images into `test-pictures` (`training.misr.pictures`).
        table_at_end: score the test samples, and bicubic enlargement, when training ends.
    """

    loss: Literal["l1", "l2", "ssim", "l1_shift"] = "l1"
    optimiser: StepDecayConfig
    backbone_weights: Path | None = None
    start_from_checkpoint: Path | None = None
    samples: PositiveInt = 1
    sampling_steps: PositiveInt | None = None
    lpips_files: tuple[Path, ...] | None = None
    save_png: bool = False
    table_at_end: bool = True


class Config(RunConfig):
    """One run."""

    family: ClassVar[str] = "misr"

    network: MisrConfig
    datamodule: DatamoduleConfig
    training_module: TrainingModuleConfig

    def weights(self, network: MisrConfig | None = None) -> MisrWeights:
        """What the trained network will say of itself; `network`: where it is not the configured one."""
        bands = tuple(MisrBand(key=key, maximum=most) for key, most in self.datamodule.maxima.items())
        return MisrWeights(
            name=self.name,
            architecture=network or self.network,
            bands=bands,
            licence="not stated",
            source=f"sitsfusion train, run {self.name}",
        )

    def describe(self) -> str:
        return self.network.describe()
