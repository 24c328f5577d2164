"""What happens along a run: checkpoints that survive, requeueing on a cluster, pictures."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sitsfusion.errors import MissingExtraError, RunError, WriteError
from sitsfusion.io.png import write_png
from sitsfusion.training.config import CallbacksConfig, LoggersConfig
from sitsfusion.training.module import TrainedModule

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import (
        Checkpoint,
        EMAWeightAveraging,
        LearningRateMonitor,
        ModelCheckpoint,
        ModelSummary,
    )
    from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
    from lightning.pytorch.plugins.io import TorchCheckpointIO
except ImportError as error:
    raise MissingExtraError("training", "train") from error

CHECKPOINTS, LAST, PICTURES = "checkpoints", "last.ckpt", "pictures"


class Requeued(RunError):  # noqa: N818  (not a failure)
    """The cluster asked the job to stop: its state is saved and the job is in the queue again."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the place it is for and renames it, so that what was there survives a failure."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save to a local path. Raises WriteError; the file that was at `path` is then as it was."""
        target = Path(path)
        partial = target.with_name(target.name + ".part")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise WriteError(
                f"the checkpoint {target} cannot be written ({error}); earlier checkpoints are untouched. "
                "Make room, then go on with --resume"
            ) from error


class KeepLast(Checkpoint):
    """Replaces `last.ckpt` every n steps, at the last step, and when a cluster asks the job to end.

    It acts between two steps only, so that the saved state is always that of a whole number of steps. (Lightning's own
    requeueing saves wherever the signal finds it, possibly in the middle of a step.)

    Args:
        file: the checkpoint.
        every: steps.
        requeue: on SIGUSR1 save, ask SLURM to queue the job again, and raise `Requeued`.
    """

    def __init__(self, file: Path, every: int, requeue: bool) -> None:
        self.file, self.every, self.requeue = file, every, requeue
        self._asked = False
        self._before: Any = None  # what SIGUSR1 did before training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.requeue:
            self._before = signal.signal(signal.SIGUSR1, self._ask)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.requeue and self._before is not None:
            signal.signal(signal.SIGUSR1, self._before)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        asked = self.requeue and trainer.strategy.reduce_boolean_decision(self._asked, all=False)
        if asked or trainer.global_step % self.every == 0 or _at_end(trainer, batch_idx):
            trainer.save_checkpoint(self.file, weights_only=False)
        if asked:
            if trainer.is_global_zero:
                _requeue()
            raise Requeued(f"step {trainer.global_step} is saved in {self.file}, and the job is queued again")

    def _ask(self, *_: Any) -> None:
        self._asked = True


def _at_end(trainer: Trainer, batch_idx: int) -> bool:
    last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    return trainer.global_step == trainer.max_steps or (last_epoch and batch_idx + 1 == trainer.num_training_batches)


def _requeue() -> None:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    found = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise RunError(
            f"the state is saved, but SLURM did not queue job {job} again ({found.stderr.strip()}): "
            "submit it with --resume"
        )


class Pictures(Callback):
    """Every n epochs, at validation: the picture that the module makes of the first batch (`TrainedModule.picture`)."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self._drawn = -1

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        epoch = trainer.current_epoch
        due = batch_idx == 0 and epoch % self.every == 0 and epoch != self._drawn
        if not due or not trainer.is_global_zero or not isinstance(pl_module, TrainedModule):
            return
        self._drawn = epoch
        with torch.no_grad():
            shown = pl_module.picture(batch)
        if shown is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_png(self.folder / f"epoch_{epoch:04d}_step_{trainer.global_step:07d}.png", shown)


def callbacks(config: CallbacksConfig, folder: Path, requeue: bool, own: Sequence[Callback] = ()) -> list[Callback]:
    """The callbacks of a run in `folder`, `own` those of its family; those that save come last."""
    checkpoints = folder / CHECKPOINTS
    found: list[Callback] = [LearningRateMonitor("step"), ModelSummary(max_depth=3), *own]
    if config.ema_decay is not None:
        found.append(EMAWeightAveraging(decay=config.ema_decay))
    if config.pictures_every_n_epochs is not None:
        found.append(Pictures(folder / PICTURES, config.pictures_every_n_epochs))
    name = "{epoch:04d}-{step:07d}"
    if config.save_top_k:
        # saved whenever validation ends
        top, mode = config.save_top_k, config.monitor_mode
        found.append(ModelCheckpoint(checkpoints, f"best-{name}", config.monitor, mode=mode, save_top_k=top))
    if config.permanent_every_n_epochs is not None:
        every = config.permanent_every_n_epochs
        found.append(
            ModelCheckpoint(
                checkpoints, f"epoch-{name}", save_top_k=-1, every_n_epochs=every, save_on_train_epoch_end=True
            )
        )
    return [*found, KeepLast(checkpoints / LAST, config.last_every_n_steps, requeue)]


def logger(config: LoggersConfig, folder: Path, name: str) -> Logger:
    """Where the numbers of a run go, below its folder. Raises MissingExtraError."""
    make: dict[str, Callable[[], Logger]] = {
        "csv": lambda: CSVLogger(folder, name="csv"),
        "tensorboard": lambda: TensorBoardLogger(folder, name="tensorboard"),
        "wandb": lambda: WandbLogger(name, save_dir=folder, project=config.project, offline=config.offline),
    }
    try:
        return make[config.kind]()
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"logging to {config.kind}", "log") from error
