"""What the Lightning modules of all families share: schedule, seeds, guards against NaN, what a checkpoint says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sitsfusion.errors import CheckpointError, MissingExtraError, RunError
from sitsfusion.training.config import AdamConfig
from sitsfusion.training.export import FAMILY_ENTRY, WEIGHTS_ENTRY, is_run_checkpoint, read_trained

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


class TrainedModule(LightningModule):
    """The base of every family's module: derive from it, give `training_step` and `validation_step`.

    Everything random in a training step must follow from (seed, step, process), so that a resumed run repeats nothing
    and skips nothing: a training step begins with `seed_step`, a validation step runs inside `seeded_validation`.
    It logs its terms with `log_terms`, and calls `require_finite` before it returns the loss.

    A step whose loss is finite and whose gradient is not changes nothing; such steps are counted
    (`train/skipped_steps`).

    Args:
        net: what is trained and exported.
        weights: what the trained network will say of itself; also what a checkpoint must have in common with the run.
        optimiser: rate and schedule.
        seed: of all draws.
        folder: of the run; a batch that makes the loss NaN is saved there.

    Attributes:
        family: the family's name.
        steps_per_batch: optimiser steps that one batch makes (several networks trained in turn: several).

    Raises:
        DivergedError: while training, a loss that is not finite, or ten gradients in a row that are not.
    """

    family: ClassVar[str]
    steps_per_batch: int = 1

    def __init__(self, net: nn.Module, weights: BaseModel, optimiser: AdamConfig, *, seed: int, folder: Path) -> None:
        super().__init__()
        self.net, self.weights, self.options = net, weights, optimiser
        self.seed, self.folder = seed, folder
        self._skipped, self._skipped_in_a_row = 0, 0
        self._judged: tuple[Any, Terms] | None = None  # of the step under way

    @property
    def batches_done(self) -> int:
        """Training batches since the beginning of the run."""
        return self.global_step // self.steps_per_batch

    def configure_optimizers(self) -> Any:
        adam = self.adam(self.net)
        schedule = LambdaLR(adam, lambda step: self.options.rate(step) / self.options.learning_rate)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def adam(self, net: nn.Module) -> Adam:
        """Adam over the trainable parameters of a network, with the run's options."""
        options = self.options
        trained = [p for p in net.parameters() if p.requires_grad]
        return Adam(trained, options.learning_rate, options.betas, weight_decay=options.weight_decay)

    def seed_step(self) -> None:
        """Seed every global generator that a training step may draw from; dropout draws from torch's."""
        seed = random.Random(f"{self.seed}/{self.batches_done}/{self.global_rank}").getrandbits(32)  # noqa: S311
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)

    def first_sample(self, size: int) -> int:
        """Number of this step's first sample in the run, whatever the number of processes, with `size` per process."""
        return (self.batches_done * self.trainer.world_size + self.global_rank) * size

    def picture(self, batch: Any) -> NDArray[np.uint8] | None:
        """What to show of a validation batch, `[H, W, 3]`; None for nothing."""
        return None

    def saved_batch(self, batch: Any) -> dict[str, Any]:
        """A batch as tensors, for the file left when training diverges."""
        return {"batch": batch}

    def log_terms(self, context: str, terms: Terms, size: int) -> None:
        """Log the terms of a loss, among them `total_loss`, as `context/name`."""
        logged = {f"{context}/{name}": value.detach() for name, value in terms.items()}
        # Processes need not have the same terms, so that only what all of them have can be averaged over them.
        total = {f"{context}/total_loss": logged.pop(f"{context}/total_loss")}
        self.log_dict(total, batch_size=size, prog_bar=True, sync_dist=context == "validation")
        self.log_dict(logged, batch_size=size)

    def require_finite(self, terms: Terms, batch: Any) -> None:
        """DivergedError, with the batch saved, if `total_loss` is not finite; keeps both for the guard of gradients."""
        if not bool(torch.isfinite(terms["total_loss"])):
            self._stop(f"the loss of step {self.global_step} is not finite", batch, terms)
        self._judged = batch, terms

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
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

    def start_from(self, path: Path | None, load: Callable[[Path], tuple[nn.Module, BaseModel]]) -> Self:
        """Go on from the weights of another run, or from those that `load` reads; None: from those that are there.

        Raises:
            ReadError, CheckpointError: they cannot be read, or are of another network.
        """
        if path is not None:
            net, found = read_trained(path) if is_run_checkpoint(path) else load(path)
            require_same_network(found, self.weights, str(path))
            self.net.load_state_dict(net.state_dict())
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[FAMILY_ENTRY] = self.family
        checkpoint[WEIGHTS_ENTRY] = self.weights.model_dump_json()
        checkpoint[SKIPPED_ENTRY] = self._skipped

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        found = type(self.weights).model_validate_json(checkpoint[WEIGHTS_ENTRY])
        require_same_network(found, self.weights, "the checkpoint")
        self._skipped = checkpoint.get(SKIPPED_ENTRY, 0)

    def _stop(self, what: str, batch: Any, terms: Terms) -> None:
        file = self.folder / NAN_BATCH
        content: dict[str, Any] = {
            "step": self.global_step,
            "rank": self.global_rank,
            "seed": self.seed,
            "terms": {name: value.detach().cpu() for name, value in terms.items()},
            **self.saved_batch(batch),
            "state_dict": self.net.state_dict(),
        }
        torch.save(content, file)
        found = ", ".join(f"{name} {value.item():g}" for name, value in content["terms"].items())
        raise DivergedError(
            f"{what} ({found}); its batch and the weights are in {file}. "
            "Look for wrong units or unmasked no-data in the batch, or lower the learning rate, clip gradients "
            "(trainer.gradient_clip_val), or use precision 32-true"
        )


@contextmanager
def seeded_validation(index: int) -> Iterator[None]:
    """In this context torch draws the same for batch `index` of every validation; training's generator is untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(VALIDATION_SEED + index)
        yield


def require_same_network(found: BaseModel, expected: BaseModel, source: str) -> None:
    """CheckpointError that lists every difference between two weights configs, name, licence and source aside."""
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
