"""The table at the end of a run: the trained network and the trivial fillers on the test samples."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from sitsfusion.evaluation.gaps import network, score, trivial_fillers, write_scores
from sitsfusion.methods.utilise.sequence import SequenceOptions
from sitsfusion.training.data import SampleModule
from sitsfusion.training.utilise.module import UtiliseModule

SCORES = "scores.csv"


class ScoresAtEnd(Callback):
    """Writes `scores.csv` into the run's folder when training ends."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        self.folder, self.limit = folder, limit

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not isinstance(data, SampleModule) or data.test is None:
            return
        if not isinstance(pl_module, UtiliseModule):
            return
        options = SequenceOptions(pl_module.weights.window)
        fillers = {"utilise": network(pl_module.net, options, pl_module.device), **trivial_fillers()}
        write_scores(score(data.test, fillers, limit=self.limit, ignore_nan=True), self.folder / SCORES)
