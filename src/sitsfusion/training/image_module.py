"""The Lightning module of networks that turn images of one day into one image, and its options."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import NAdam, lr_scheduler

from sitsfusion.metrics.sums import band_sums
from sitsfusion.training.config import Fraction, OptimiserConfig, Strict
from sitsfusion.training.image_pairs import Tensors
from sitsfusion.training.module import Terms, TrainedModule


class ScheduleConfig(Strict):
    """How the learning rate changes.

    Attributes:
        name: constant; plateau: times `factor` after `patience` epochs without a lower validation loss, then none for
            `cooldown` epochs; warm_restarts: per step, see `OptimiserConfig`.
        minimum: the rate does not fall below it.
    """

    name: Literal["constant", "plateau", "warm_restarts"] = "constant"
    factor: Fraction = 0.5
    patience: NonNegativeInt = 5
    threshold: Annotated[float, Field(ge=0)] = 1e-6
    cooldown: NonNegativeInt = 20
    minimum: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: NonNegativeInt = 0
    restart_period: PositiveInt = 10_000


class ImageTrainingConfig(Strict):
    """What is minimised, and how.

    Attributes:
        start_from_checkpoint: weights to start from: a run, one of its checkpoints, a weights folder, a published file.
        optimiser: adam, or nadam (Adam with Nesterov's momentum, as DSen2 was trained with).
        schedule: of the learning rate.
    """

    start_from_checkpoint: Path | None = None
    optimiser: Literal["adam", "nadam"] = "adam"
    learning_rate: PositiveFloat = 1e-4
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: ScheduleConfig = ScheduleConfig()

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


class ImageModule(TrainedModule):
    """Training on batches of images by name, one of them `target`; see `TrainedModule`.

    A family says how an image is made of a batch (`predicted`), what it costs (`terms`) and what the trivial answer is
    (`trivial`). Validation logs the mean absolute error of both.
    """

    def __init__(
        self, net: nn.Module, weights: BaseModel, training: ImageTrainingConfig, *, seed: int, folder: Path
    ) -> None:
        super().__init__(net, weights, training.options(), seed=seed, folder=folder)
        self.training_options = training

    @abstractmethod
    def predicted(self, batch: Tensors) -> Any:
        """What the network makes of a batch."""

    @abstractmethod
    def terms(self, batch: Tensors, predicted: Any) -> Terms:
        """The loss, among its terms `total_loss`."""

    @abstractmethod
    def trivial(self, batch: Tensors) -> Tensor:
        """The image without a network: an interpolation, in the unit of `image`."""

    def image(self, predicted: Any) -> Tensor:
        """The image `[n, c, h, w]` of a prediction."""
        found: Tensor = predicted[0] if isinstance(predicted, tuple) else predicted
        return found

    def target(self, batch: Tensors) -> Tensor:
        """What the image should be, in its unit."""
        return batch["target"]

    def training_step(self, batch: Tensors, index: int) -> Tensor:
        self.seed_step()
        terms = self.terms(batch, self.predicted(batch))
        self.log_terms("train", terms, len(batch["target"]))
        self.require_finite(terms, batch)
        return terms["total_loss"]

    def validation_step(self, batch: Tensors, index: int) -> None:
        predicted, target = self.predicted(batch), self.target(batch)
        self.log_terms("validation", self.terms(batch, predicted), len(target))
        ours = band_sums(self.image(predicted).float(), target).pooled().pooled()
        trivial = band_sums(self.trivial(batch), target).pooled().pooled()
        scores = {"mae": ours.mae(), "nrmse": ours.nrmse(), "trivial_mae": trivial.mae()}
        named = {f"validation/{name}": value.float() for name, value in scores.items()}
        self.log_dict(named, batch_size=len(target))

    def picture(self, batch: Tensors) -> NDArray[np.uint8]:
        """Trivial answer, prediction and target of the first sample side by side: first three bands, blue first."""
        images = (self.trivial(batch), self.image(self.predicted(batch)), self.target(batch))
        shown = [x[0, [2, 1, 0]].float().cpu().numpy().transpose(1, 2, 0) for x in images]
        top = max(float(np.percentile(shown[-1], 98)), 1e-6)
        return (255 * np.concatenate(shown, axis=1).clip(0, top) / top).astype(np.uint8)

    def saved_batch(self, batch: Tensors) -> dict[str, Any]:
        return dict(batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        options = self.training_options
        if options.schedule.name == "warm_restarts" and options.optimiser == "adam":
            return super().configure_optimizers()  # type: ignore[no-any-return]
        optimiser = self._optimiser()
        if options.schedule.name != "plateau":
            return {"optimizer": optimiser}
        one = options.schedule
        plateau = lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=one.factor, patience=one.patience, threshold=one.threshold, threshold_mode="abs",
            cooldown=one.cooldown, min_lr=one.minimum,
        )  # fmt: skip
        # an epoch without a validation leaves the rate alone
        watched = {"scheduler": plateau, "monitor": "validation/total_loss", "strict": False, "interval": "epoch"}
        return {"optimizer": optimiser, "lr_scheduler": watched}  # type: ignore[return-value]

    def _optimiser(self) -> Any:
        options = self.training_options
        if options.optimiser == "adam":
            return self.adam(self.net)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        return NAdam(trained, options.learning_rate, options.betas, weight_decay=options.weight_decay)
