"""The Lightning module: one batch to the steps of its networks, and predictions to tables."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sitsfusion.datasets.stf_batch import StfBatch
from sitsfusion.nets.stf.stfdiff import Stfdiff
from sitsfusion.training.config import AdamConfig
from sitsfusion.training.module import TrainedModule, seeded_validation
from sitsfusion.training.stf import pictures, scores, tables
from sitsfusion.training.stf.config import TrainingConfig
from sitsfusion.training.stf.recipes import Recipe, recipe_of
from sitsfusion.weights.stf import StfWeights

_PICTURES = 20  # of test tiles


class StfModule(TrainedModule):
    """Trains a fusion network by its recipe, with manual optimisation.

    What is validated and tested is always the fusion network, never an auto-encoder.

    Args:
        net: what is trained.
        weights: of the run.
        options: of the training.
        rgb: positions of the bands shown as red, green and blue.
        ratio: fine pixel size / coarse pixel size, for ERGAS.
        epochs: of the run.
        seed, folder: as in `TrainedModule`.
    """

    family = "stf"
    weights: StfWeights

    def __init__(
        self,
        net: nn.Module,
        weights: StfWeights,
        options: TrainingConfig,
        *,
        rgb: tuple[int, int, int],
        ratio: float,
        epochs: int,
        seed: int,
        folder: Path,
    ) -> None:
        rate = AdamConfig(learning_rate=options.learning_rate or 1e-3)
        super().__init__(net, weights, rate, seed=seed, folder=folder)
        self.automatic_optimization = False
        self.training_options, self.rgb, self.ratio, self.epochs = options, rgb, ratio, epochs
        self.recipe: Recipe = recipe_of(options.model)(net, len(weights.bands), options.published)
        self.steps_per_batch = self.recipe.steps_per_batch
        self._rows: list[dict[str, float]] = []
        self._tested: dict[str, list[Any]] = defaultdict(list)
        self._drawn = 0

    def configure_optimizers(self) -> Any:
        return self.recipe.optimisers(self.training_options.learning_rate)

    @property
    def pretraining(self) -> bool:
        """Whether the auto-encoder is trained in this epoch."""
        wanted = self.training_options.pretraining_epochs if self.recipe.has_auto_encoder else 0
        return self.training_options.auto_encoder is None and self.current_epoch < wanted

    def training_step(self, batch: StfBatch, index: int) -> None:
        self.seed_step()
        optimisers: Any = self.optimizers()
        optimisers = optimisers if isinstance(optimisers, list) else [optimisers]
        rates = self.recipe.rates(self.current_epoch, self.epochs, self.training_options.learning_rate)
        for optimiser, rate in zip(optimisers, rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate
        terms = self.recipe.step(batch, optimisers, self.manual_backward, self.pretraining)
        self.require_finite(terms, batch)
        self.log_terms("train", terms, len(batch))

    def predict(self, batch: StfBatch) -> Tensor:
        """The fine images `[n b h w]` in network units."""
        if isinstance(self.net, Stfdiff):
            steps = min(self.weights.sampling_steps, self.net.steps)
            return self.net.sample(batch.images, steps, lambda _: torch.randn_like(batch.fine_ref))
        return self.recipe.predict(batch)

    def validation_step(self, batch: StfBatch, index: int) -> None:
        with seeded_validation(index):
            made = self.predict(batch)
        self.log_terms("validation", {"total_loss": torch.nn.functional.l1_loss(*batch.compared(made))}, len(batch))
        for prediction, target, valid in self._reflectance(batch, made):
            self._rows.append(self._tile(prediction, target, valid, clipped=True))

    def on_validation_epoch_end(self) -> None:
        found = scores.mean_and_spread(self._rows, published=self._published)
        self._rows = []
        self.log_dict({f"validation/{name}": mean for name, (mean, _) in found.items()}, sync_dist=True)
        if self.trainer.is_global_zero and not self.trainer.sanity_checking:
            tables.add_validation(self.folder, found, self.current_epoch)

    def test_step(self, batch: StfBatch, index: int) -> None:
        self.score_test(batch, index)

    def score_test(self, batch: StfBatch, index: int) -> None:
        """Predict a test batch, score it, and draw the first ones."""
        start = time.perf_counter()
        with seeded_validation(index):
            made = self.predict(batch)
        seconds = time.perf_counter() - start
        samples: Any = self.trainer.datamodule.test  # type: ignore[attr-defined]
        for i, (prediction, target, valid) in enumerate(self._reflectance(batch, made)):
            date = samples.date(index * len(batch) + i)
            sums = None if self._published else scores.image_sums(prediction, target, valid)
            row = self._tile(prediction, target, valid, clipped=False) | {"Time": seconds / len(batch)}
            self._tested[date].append((sums, row))
        if self._drawn < _PICTURES:
            pictures.write_test(self.folder / "test-pictures", self._drawn, batch, made, self.rgb)
            self._drawn += 1

    def on_test_epoch_end(self) -> None:
        self.log_dict({f"test/{name}": value for name, value in self.write_test().items()})

    def write_test(self) -> dict[str, float]:
        """Write the table of what was tested; the means over its rows."""
        rows = [(date, self._of_date(found)) for date, found in self._tested.items()]
        self._tested.clear()
        self._drawn = 0
        if self.trainer.is_global_zero:
            tables.write_test(self.folder, rows)
        return {name: sum(row[name] for _, row in rows) / len(rows) for name in rows[0][1]}

    def picture(self, batch: StfBatch) -> NDArray[Any]:
        """See `pictures.mosaic`."""
        with seeded_validation(0):
            return pictures.mosaic(batch, self.predict(batch), self.rgb)

    def saved_batch(self, batch: StfBatch) -> dict[str, Any]:
        moved = batch.to("cpu")
        names = ("coarse_ref", "fine_ref", "coarse", "target", "valid")
        return {"batch": {name: getattr(moved, name) for name in names}}

    @property
    def _published(self) -> bool:
        return self.training_options.metrics == "published"

    def _reflectance(self, batch: StfBatch, made: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Prediction, target and mask of every sample."""
        scale = self.weights.scale
        predictions, targets = (scores.to_reflectance(x, scale) for x in (made, batch.target))
        return list(zip(predictions, targets, scores.masked(batch.valid, targets), strict=True))

    def _tile(self, prediction: Tensor, target: Tensor, valid: Tensor, *, clipped: bool) -> dict[str, float]:
        if self._published:
            return scores.survey_values(prediction, target, clipped=clipped)
        return scores.image_sums(prediction, target, valid).values(self.ratio)

    def _of_date(self, found: list[Any]) -> dict[str, float]:
        """A row of the table of tests: of the whole image, or (published) the mean of its tiles."""
        spread = scores.mean_and_spread([row for _, row in found], published=self._published)
        means = {name: mean for name, (mean, _) in spread.items()}
        if self._published:
            return means
        parts: list[scores.ImageSums] = [sums for sums, _ in found]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.values(self.ratio) | {"Time": means["Time"]}
