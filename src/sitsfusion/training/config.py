"""What every family's training run is made of, as pydantic models. Hydra composes the values (`compose`), these check
them. A family (`families`) adds its own groups in a class derived from `RunConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from sitsfusion.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    """Frozen, and no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LocationConfig(Strict):
    """Where things are on this machine.

    Attributes:
        data: folder that the data set's sites are in.
        cache: folder for samples already read, on a fast disk; None for no cache.
        runs: folder that run folders are made in.
    """

    data: Path
    cache: Path | None = None
    runs: Path


class LoaderConfig(Strict):
    """How batches are loaded.

    Attributes:
        batch_size: samples per step and process.
        testing_validation_batch_size: the same in validation.
        num_workers: processes that read; 0 reads in the training process.
        prefetch_factor: batches each of them reads ahead; None for PyTorch's choice.
    """

    batch_size: PositiveInt = 1
    testing_validation_batch_size: PositiveInt = 1
    num_workers: NonNegativeInt = 0
    prefetch_factor: PositiveInt | None = None


class AdamConfig(Strict):
    """Adam, at a rate that may change from step to step."""

    learning_rate: PositiveFloat
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    def rate(self, step: int) -> float:
        """The learning rate of a step. Default: always the same."""
        return self.learning_rate


class OptimiserConfig(AdamConfig):
    """Adam, linear warm-up, then cosine with warm restarts, all counted in steps.

    Attributes:
        learning_rate: after warm-up and after each restart.
        warmup_steps: length of the warm-up; 0 for none.
        warmup_start: fraction of the learning rate that it starts from.
        restart_period: steps of the first cosine; each next one is `restart_factor` times longer.
        minimum: the rate that each cosine ends at.
    """

    warmup_steps: NonNegativeInt
    warmup_start: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    restart_period: PositiveInt
    restart_factor: PositiveInt = 2
    minimum: Annotated[float, Field(ge=0)]

    def rate(self, step: int) -> float:
        """Linear warm-up, then cosine with warm restarts (Loshchilov and Hutter 2017, eq. 5)."""
        top, low = self.learning_rate, self.minimum
        if step < self.warmup_steps:
            start = self.warmup_start
            return top * (start + (1 - start) * step / self.warmup_steps)
        step, period = step - self.warmup_steps, self.restart_period
        while step >= period:
            step, period = step - period, period * self.restart_factor
        return low + (top - low) * (1 + math.cos(math.pi * step / period)) / 2


class CallbacksConfig(Strict):
    """What is saved and shown along the way.

    Attributes:
        save_top_k: number of best checkpoints kept.
        monitor: the logged number that says which are the best; monitor_mode: whether low (min) or high (max) is good.
        last_every_n_steps: how often `last.ckpt`, from which a run resumes, is replaced.
        permanent_every_n_epochs: a checkpoint that stays; None for none.
        pictures_every_n_epochs: validation pictures; None for none.
        ema_decay: decay of the moving average of the weights, which is then what is validated and exported; None: off.
        progress_bar: shown in the terminal.
    """

    save_top_k: NonNegativeInt = 5
    monitor: str = "validation/total_loss"
    monitor_mode: Literal["min", "max"] = "min"
    last_every_n_steps: PositiveInt = 500
    permanent_every_n_epochs: PositiveInt | None = 10
    pictures_every_n_epochs: PositiveInt | None = None
    ema_decay: Fraction | None = None
    progress_bar: bool = True


class LoggersConfig(Strict):
    """Where numbers go. `project` and `offline` are for wandb."""

    kind: Literal["csv", "tensorboard", "wandb"]
    project: str = "sitsfusion"
    offline: bool = False


class TrainerConfig(Strict):
    """How long, and on what.

    Attributes:
        accelerator: gpu (an error where there is none) or cpu.
        precision: as Lightning names it; dates, norms and softmax stay float32 in bf16-mixed.
        matmul_precision: of float32 products: highest (no TF32), high, medium.
        gradient_clip_val: largest norm of the gradient; None for no clipping.
        val_check_interval: training steps between validations, whatever the epoch.
        limit_val_batches: at most this many batches per validation; None for all.
        threads: CPU threads of PyTorch; None leaves them.
    """

    accelerator: Literal["gpu", "cpu"]
    devices: PositiveInt = 1
    num_nodes: PositiveInt = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    gradient_clip_val: PositiveFloat | None = None
    max_epochs: PositiveInt = 1000
    max_steps: PositiveInt
    val_check_interval: PositiveInt
    limit_val_batches: PositiveInt | None = None
    log_every_n_steps: PositiveInt = 50
    threads: PositiveInt | None = None


class RunConfig(Strict):
    """One run. A family derives its `Config` from this, names itself in `family` and adds its groups."""

    family: ClassVar[str]

    name: str
    seed: int = 42
    location: LocationConfig
    callbacks: CallbacksConfig
    loggers: LoggersConfig
    trainer: TrainerConfig

    def describe(self) -> str:
        """What is trained, in a line."""
        return self.name


def checked(model: type[Model], values: Mapping[str, Any], path: str = "") -> Model:
    """`values` as a `model`; InputError with the full path (below `path`) of every unknown key and unfit value."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [
            f"  {'.'.join([*([path] if path else []), *map(str, e['loc'])])}: {_said(e['type'], e['msg'])} "
            f"(found {e['input']!r:.80})"
            for e in error.errors()
        ]
        raise InputError("\n".join(["this training configuration cannot be used:", *lines])) from error


def _said(kind: str, message: str) -> str:
    return "there is no such key" if kind == "extra_forbidden" else message
