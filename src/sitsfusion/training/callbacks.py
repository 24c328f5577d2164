"""What happens along a run: checkpoints that survive, requeueing on a cluster, pictures."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sitsfusion.errors import InputError, MissingExtraError, RunError, WriteError
from sitsfusion.losses.tamrfsits import TASKS, Judged
from sitsfusion.methods.tamrfsits.radiometry import physical
from sitsfusion.samples import Sample
from sitsfusion.simulate.gallery import write_png
from sitsfusion.training.config import CallbacksConfig, LoggersConfig
from sitsfusion.training.tamrfsits import VALIDATION_SEED, TamrfsitsModule, standardised
from sitsfusion.training.tasks import HiddenDates
from sitsfusion.weights.config import SensorInput

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
MONITORED = "validation/total_loss"
PICTURE_DATES, BRIGHTEST = 4, 0.3  # dates per picture; reflectance shown as white
RGB = ("B04", "B03", "B02")


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
    """Every n epochs, at validation: observed images (above) and what the network makes of the other dates (below).

    Every second date of the first validation sample is hidden; up to four hidden ones are shown, in natural colours.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self._drawn = -1

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        epoch = trainer.current_epoch
        due = batch_idx == 0 and epoch % self.every == 0 and epoch != self._drawn
        if not due or not trainer.is_global_zero or not isinstance(pl_module, TamrfsitsModule):
            return
        self._drawn = epoch
        self.folder.mkdir(parents=True, exist_ok=True)
        write_png(self.folder / f"epoch_{epoch:04d}_step_{trainer.global_step:07d}.png", picture(pl_module, batch))


@torch.no_grad()
def picture(module: TamrfsitsModule, batch: Sample) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Hidden images of the first sample above their predictions: `[2 H, n W, 3]`, 0 to 255."""
    sample = standardised(batch, module.weights)
    lr, hr = sample.lr, sample.hr
    given, shown = slice(0, None, 2), slice(1, 2 * PICTURE_DATES, 2)
    if hr.days.shape[1] < 2:
        shown = slice(0, 1)
    days = hr.days[:1, shown]
    out = module.net(lr.values[:1], lr.days[:1], hr.values[:1, given], hr.days[:1, given], days)[0]
    bands = module.weights.hr
    observed, predicted = (_rgb(one, bands) for one in (hr.values[0, shown], out[:, module.net.config.lr_bands :]))
    return np.concatenate([observed, predicted])


def _rgb(images: Tensor, bands: SensorInput) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Network units `[t c H W]` to one row of natural colours `[H, t W, 3]`."""
    channels = [bands.keys.index(key) for key in RGB]
    shown = (physical(images[:, channels], bands, channels) / BRIGHTEST).clamp(0, 1) * 255
    row = torch.cat(list(shown.nan_to_num().byte()), dim=2)  # [3 H tW]
    return row.permute(1, 2, 0).cpu().numpy()


class ValidationMetrics(Callback):
    """At validation, the error of each date and band over its clear pixels, averaged per native resolution.

    Logged as `validation/rmse_{lr,hr}_{mae,clr}_{resolution}m`: root mean squared difference between an image and the
    prediction as its sensor would see it, without the border, in reflectance or kelvin; mae are hidden dates, clr given
    ones. The splits are those of the validation loss. Dates without a clear pixel do not count.

    Raises:
        InputError: another objective than tamrfsits, which hides no dates.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        _hidden_dates(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draws = random.Random(VALIDATION_SEED)  # noqa: S311  (not a secret)
        module, _ = _hidden_dates(pl_module)
        sensors = (("lr", module.weights.lr), ("hr", module.weights.hr))
        names = [
            f"validation/rmse_{role}_{task}_{resolution:g}m"
            for role, bands in sensors
            for task in ("mae", "clr")
            for resolution in dict.fromkeys(band.resolution for band in bands.bands)
        ]
        self._sums = {name: torch.zeros(2, dtype=torch.float64, device=module.device) for name in names}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        module, task = _hidden_dates(pl_module)
        sample = standardised(batch, module.weights)
        splits = task.splits(sample, [self._draws] * len(sample))
        for place in task.objective.judged(module.net, sample.lr, sample.hr, splits):
            for role, judged in place.items():
                self._add(role, judged, module.weights.lr if role == "lr" else module.weights.hr)

    def _add(self, role: str, judged: Judged, bands: SensorInput) -> None:
        for task in TASKS:
            errors = rmse_per_date(judged.of(task), bands)  # [t c]
            for i, band in enumerate(bands.bands):
                known = errors[:, i][errors[:, i].isfinite()].double()
                self._sums[f"validation/rmse_{role}_{task}_{band.resolution:g}m"] += torch.stack(
                    [known.sum(), known.new_tensor(len(known))]
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, sums in self._sums.items():
            total, count = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
            if count:
                pl_module.log(name, total / count, sync_dist=True)  # the same in all processes


def rmse_per_date(judged: Judged, bands: SensorInput) -> Tensor:
    """Root mean squared difference of each date and band over its valid pixels: `[t c]`, physical units, else NaN."""
    valid = judged.valid[:, None]  # [t 1 h w]
    squares = torch.where(valid, judged.prediction - judged.target, 0).square().sum((2, 3))  # [t c]
    unit = [band.std / band.scale for band in bands.bands]
    return (squares / valid.sum((2, 3))).sqrt() * squares.new_tensor(unit)


def _hidden_dates(module: LightningModule) -> tuple[TamrfsitsModule, HiddenDates]:
    if isinstance(module, TamrfsitsModule) and isinstance(module.task, HiddenDates):
        return module, module.task
    raise InputError(
        "callbacks.validation_metrics compares hidden and given dates, which this training_module does not have: "
        "choose the objective tamrfsits, or callbacks.validation_metrics=false"
    )


def callbacks(config: CallbacksConfig, folder: Path, requeue: bool) -> list[Callback]:
    """The callbacks of a run in `folder`; those that save come last."""
    checkpoints = folder / CHECKPOINTS
    found: list[Callback] = [LearningRateMonitor("step"), ModelSummary(max_depth=3)]
    if config.ema_decay is not None:
        found.append(EMAWeightAveraging(decay=config.ema_decay))
    if config.pictures_every_n_epochs is not None:
        found.append(Pictures(folder / PICTURES, config.pictures_every_n_epochs))
    if config.validation_metrics:
        found.append(ValidationMetrics())
    name = "{epoch:04d}-{step:07d}"
    if config.save_top_k:
        # saved whenever validation ends
        found.append(ModelCheckpoint(checkpoints, f"best-{name}", MONITORED, save_top_k=config.save_top_k))
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
