"""The Lightning module of TAMRFSITS: samples in physical units to one optimisation step (Michel and Inglada)."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sitsfusion.errors import CheckpointError, MissingExtraError, RunError
from sitsfusion.methods.tamrfsits.radiometry import standardise
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.samples import Sample
from sitsfusion.series import Series
from sitsfusion.training.config import OptimiserConfig
from sitsfusion.training.export import WEIGHTS_ENTRY
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights

try:
    from lightning.pytorch import LightningModule
except ImportError as error:
    raise MissingExtraError("training", "train") from error

NAN_BATCH = "nan_batch.pt"
SKIPPED_ENTRY = "skipped_steps"

VALIDATION_SEED = 42
MAX_SKIPPED = 10  # steps in a row without a finite gradient
Terms = dict[str, Tensor]


class DivergedError(RunError):
    """The loss, or the gradient of step after step, is NaN or infinite; the batch and the weights are saved."""


class Task(Protocol):
    """What is trained (`training.tasks`): standardised samples, one generator per sample -> terms of the loss."""

    def __call__(self, net: TamrfsitsNet, sample: Sample, draws: Sequence[random.Random], /) -> Terms | None: ...


def learning_rate(step: int, options: OptimiserConfig) -> float:
    """The learning rate of a step: linear warm-up, then cosine with warm restarts (Loshchilov and Hutter 2017, eq. 5).

    The first cosine lasts `restart_period` steps, each next one `restart_factor` times as long.
    """
    top, low = options.learning_rate, options.minimum
    if step < options.warmup_steps:
        start = options.warmup_start
        return top * (start + (1 - start) * step / options.warmup_steps)
    step, period = step - options.warmup_steps, options.restart_period
    while step >= period:
        step, period = step - period, period * options.restart_factor
    return low + (top - low) * (1 + math.cos(math.pi * step / period)) / 2


def standardised(sample: Sample, weights: TamrfsitsWeights) -> Sample:
    """Physical units to network units, float32; what was never observed is filled (`radiometry.standardise`).

    So is what is masked, for weights to which it is hidden; the masks stay.
    """

    def truth(series: Series, bands: SensorInput) -> Series:
        return replace(series, values=standardise(series.values, bands))

    def image(series: Series, bands: SensorInput) -> Series:
        if weights.cloudy == "seen":
            return truth(series, bands)
        clear = torch.where(series.usable()[:, :, None], series.values, torch.nan)
        return replace(series, values=standardise(clear, bands))

    truths = None if sample.truth is None else (truth(sample.truth[0], weights.lr), truth(sample.truth[1], weights.hr))
    return Sample(image(sample.lr, weights.lr), image(sample.hr, weights.hr), truths)


class TamrfsitsModule(LightningModule):
    """Trains a `TamrfsitsNet`.

    A step whose loss is finite and whose gradient is not changes nothing; such steps are counted
    (`train/skipped_steps`).

    Everything random in a training step follows from (seed, step, process), so that a resumed run repeats nothing
    and skips nothing. The split of a sample follows from its place in the run, whatever the number of processes.

    Args:
        weights: architecture and both sensors, as they will be exported.
        task: what is trained.
        optimiser: rate and schedule.
        seed: of all draws.
        folder: of the run; a batch that makes the loss NaN is saved there.

    Raises:
        DivergedError: while training, a loss that is not finite, or ten gradients in a row that are not.
    """

    def __init__(
        self,
        weights: TamrfsitsWeights,
        task: Task,
        optimiser: OptimiserConfig,
        *,
        seed: int,
        folder: Path,
    ) -> None:
        super().__init__()
        self.weights, self.task, self.options = weights, task, optimiser
        self.seed, self.folder = seed, folder
        self.net = TamrfsitsNet(weights.architecture)
        self._validation_draws = random.Random(VALIDATION_SEED)  # noqa: S311  (not a secret)
        self._skipped, self._skipped_in_a_row = 0, 0
        self._judged: tuple[Sample, Terms] | None = None  # of the step under way

    def configure_optimizers(self) -> Any:
        options = self.options
        trained = [p for p in self.net.parameters() if p.requires_grad]
        adam = Adam(trained, options.learning_rate, options.betas, weight_decay=options.weight_decay)
        schedule = LambdaLR(adam, lambda step: learning_rate(step, options) / options.learning_rate)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Sample, index: int) -> Tensor | None:
        _seed(f"{self.seed}/{self.global_step}/{self.global_rank}")
        first = (self.global_step * self.trainer.world_size + self.global_rank) * len(batch)
        draws = [random.Random(f"{self.seed}/{first + i}") for i in range(len(batch))]  # noqa: S311
        terms = self._terms(batch, draws)
        if terms is None:
            # One process skips the step: no gradient, no change. Several must all exchange gradients.
            return None if self.trainer.world_size == 1 else self._zero()
        if not bool(torch.isfinite(terms["total_loss"])):
            self._stop(f"the loss of step {self.global_step} is not finite", batch, terms)
        self._log("train", terms, len(batch))
        self._judged = batch, terms
        return terms["total_loss"]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        if not gradients or bool(torch.stack([g.isfinite().all() for g in gradients]).all()):
            self._skipped_in_a_row = 0
        else:
            # None, not 0: with a gradient of 0, Adam would still move by its momentum.
            optimizer.zero_grad(set_to_none=True)
            self._skipped, self._skipped_in_a_row = self._skipped + 1, self._skipped_in_a_row + 1
            if self._skipped_in_a_row == MAX_SKIPPED and self._judged is not None:
                what = f"the gradients of the last {MAX_SKIPPED} steps are not finite though their losses are"
                self._stop(f"{what}; the last is step {self.global_step}", *self._judged)
        self._judged = None
        self.log("train/skipped_steps", float(self._skipped))

    def on_validation_epoch_start(self) -> None:
        # The same splits at every validation.
        self._validation_draws = random.Random(VALIDATION_SEED)  # noqa: S311

    def validation_step(self, batch: Sample, index: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(VALIDATION_SEED + index)
            terms = self._terms(batch, [self._validation_draws] * len(batch))
        if terms is not None:
            self._log("validation", terms, len(batch))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[WEIGHTS_ENTRY] = self.weights.model_dump_json()
        checkpoint[SKIPPED_ENTRY] = self._skipped

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        found = TamrfsitsWeights.model_validate_json(checkpoint[WEIGHTS_ENTRY])
        require_same_network(found, self.weights, "the checkpoint")
        self._skipped = checkpoint.get(SKIPPED_ENTRY, 0)

    def _terms(self, batch: Sample, draws: Sequence[random.Random]) -> Terms | None:
        return self.task(self.net, standardised(batch, self.weights), draws)

    def _log(self, context: str, terms: Terms, size: int) -> None:
        logged = {f"{context}/{name}": value.detach() for name, value in terms.items()}
        # Processes need not have the same terms, so that only what all of them have can be averaged over them.
        total = {f"{context}/total_loss": logged.pop(f"{context}/total_loss")}
        self.log_dict(total, batch_size=size, prog_bar=True, sync_dist=context == "validation")
        self.log_dict(logged, batch_size=size)

    def _zero(self) -> Tensor:
        return torch.stack([p.sum() for p in self.net.parameters() if p.requires_grad]).sum() * 0

    def _stop(self, what: str, batch: Sample, terms: Terms) -> None:
        series = {"lr": batch.lr, "hr": batch.hr} | dict(zip(("lr_truth", "hr_truth"), batch.truth or (), strict=False))
        file = self.folder / NAN_BATCH
        content: dict[str, Any] = {
            "step": self.global_step,
            "rank": self.global_rank,
            "seed": self.seed,
            "terms": {name: value.detach().cpu() for name, value in terms.items()},
            "batch": {name: _tensors(one.to("cpu")) for name, one in series.items()},
            "state_dict": self.net.state_dict(),
        }
        torch.save(content, file)
        found = ", ".join(f"{name} {value.item():g}" for name, value in content["terms"].items())
        raise DivergedError(
            f"{what} ({found}); its batch and the weights are in {file}. "
            "Look for wrong units or unmasked no-data in the batch, or lower the learning rate "
            "(training_module.optimiser.learning_rate), clip gradients, or use precision 32-true"
        )


def _seed(key: str) -> None:
    """Seed every global generator that a step may draw from; dropout draws from torch's."""
    seed = random.Random(key).getrandbits(32)  # noqa: S311
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def require_same_network(found: TamrfsitsWeights, expected: TamrfsitsWeights, source: str) -> None:
    """CheckpointError that lists every difference in architecture, bands, standardisation or day origin."""
    ignored = {"name", "licence", "source"}
    one, other = (_flat(weights.model_dump(mode="json", exclude=ignored)) for weights in (found, expected))
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    if keys:
        lines = [f"  {key}: {source} has {one.get(key)}, the configuration {other.get(key)}" for key in keys[:8]]
        more = [f"  ... and {len(keys) - 8} more"] if len(keys) > 8 else []
        raise CheckpointError("\n".join([f"{source} belongs to another configuration:", *lines, *more]))


def _flat(values: Any, path: str = "") -> dict[str, Any]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else None
    if items is None:
        return {path: values}
    return {k: v for key, value in items for k, v in _flat(value, f"{path}.{key}" if path else str(key)).items()}


def _tensors(series: Series) -> dict[str, Tensor]:
    return {"values": series.values, "days": series.days, "valid": series.usable()}
