"""What is trained: objectives (`sitsfusion.losses`) behind one call, with the draw of hidden dates."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import median

from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.losses.lpips import load_lpips
from sitsfusion.losses.tamrfsits import Objective, ObjectiveConfig
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.samples import Sample
from sitsfusion.series import Series
from sitsfusion.strategies import YEAR, Split, TrainingPool, split
from sitsfusion.training.config import checked
from sitsfusion.training.tamrfsits.config import TrainingModuleConfig
from sitsfusion.training.tamrfsits.supervised import SupervisedConfig, SupervisedObjective
from sitsfusion.weights.config import TamrfsitsWeights

Terms = dict[str, Tensor]


class HiddenDates(nn.Module):
    """Some dates of each sample are hidden and asked for: the published training."""

    def __init__(self, objective: Objective, pool: TrainingPool) -> None:
        super().__init__()
        self.objective, self.pool = objective, pool

    def forward(self, net: TamrfsitsNet, sample: Sample, draws: Sequence[random.Random]) -> Terms | None:
        """Terms of standardised samples, one generator each; None if there is none."""
        terms: Terms | None = self.objective(net, sample.lr, sample.hr, self.splits(sample, draws))
        return terms

    def splits(self, sample: Sample, draws: Sequence[random.Random]) -> list[Split]:
        """What is hidden of each place, drawn by one generator each."""
        days = zip(real_days(sample.lr), real_days(sample.hr), draws, strict=True)
        return [draw_split(self.pool, lr, hr, rng) for lr, hr, rng in days]


class KnownTruth(nn.Module):
    """The truth is known at every date: simulated samples."""

    def __init__(self, objective: SupervisedObjective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, net: TamrfsitsNet, sample: Sample, draws: Sequence[random.Random]) -> Terms | None:
        """Terms of standardised samples; InputError if they come without truth."""
        if sample.truth is None:
            raise InputError(
                "training_module supervised needs samples with truth: choose datamodule=simulated, or another "
                "training_module"
            )
        terms: Terms = self.objective(net, sample.lr, sample.hr, sample.truth)
        return terms


def build_task(config: TrainingModuleConfig, weights: TamrfsitsWeights) -> HiddenDates | KnownTruth:
    """The task of a configuration; InputError names the full path of what does not fit."""
    path = "training_module.objective_config"
    if config.objective == "supervised":
        return KnownTruth(SupervisedObjective(checked(SupervisedConfig, config.objective_config, path), weights))
    options = checked(ObjectiveConfig, config.objective_config, path)
    pool = checked(TrainingPool, config.draw, "training_module.draw")
    files = config.lpips_files
    if options.needs_lpips and files is None:
        raise InputError(
            "the regression term compares by LPIPS, whose weights do not come with the library: name their files "
            "(training_module.lpips_files={vgg:FILE,linear:FILE}), or ask for the plain loss "
            f"({path}.lpips=false)"
        )
    lpips = load_lpips(files.vgg, files.linear) if options.needs_lpips and files else None
    return HiddenDates(Objective(options, weights.lr, weights.hr, lpips), pool)


def draw_split(pool: TrainingPool, lr: Sequence[float], hr: Sequence[float], rng: random.Random) -> Split:
    """One training split; the strategies' year is the one, counted from day 0, that the middle date is in."""
    draw = pool.draw(rng)
    year = math.floor(median([*lr, *hr]) / YEAR) if lr or hr else 0
    return split(draw.strategy, lr, hr, draw.options(year * YEAR), rng)


def real_days(series: Series) -> list[tuple[float, ...]]:
    """Day numbers of each batch element, without the dates that collation appended.

    Those are at the end, nowhere valid, and on no later day than the date before them.
    """
    unusable = (~series.usable().flatten(2).any(2)).tolist()  # [b t]
    return [_real(days, dark) for days, dark in zip(series.days.tolist(), unusable, strict=True)]


def _real(days: list[float], unusable: list[bool]) -> tuple[float, ...]:
    count = len(days)
    while count > 0 and unusable[count - 1] and days[count - 1] <= (days[count - 2] if count > 1 else 0):
        count -= 1
    return tuple(days[:count])
