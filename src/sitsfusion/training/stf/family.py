"""Deep spatiotemporal fusion as a family of networks that can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from sitsfusion.checkpoints.common import load_into
from sitsfusion.checkpoints.stf import load_stf, network, read_auto_encoder
from sitsfusion.datasets import stf_sets
from sitsfusion.errors import InputError
from sitsfusion.training.data import SampleModule
from sitsfusion.training.stf.average import EpochAverage
from sitsfusion.training.stf.config import Config
from sitsfusion.training.stf.data import datamodule
from sitsfusion.training.stf.module import StfModule

__all__ = ["Config", "callbacks", "data", "module"]


def module(config: Config, folder: Path) -> StfModule:
    """The module of a configuration, its network drawn from the seed or read from `start_from_checkpoint`."""
    weights, options = config.weights(), config.training
    described = None if config.data.simulated else stf_sets.get(config.data.set)
    torch.manual_seed(config.seed)
    built = StfModule(
        network(weights),
        weights,
        options,
        rgb=(3, 2, 1) if described is None else described.rgb,
        ratio=1 / config.data.ratio if described is None else described.ratio,
        epochs=config.trainer.max_epochs,
        seed=config.seed,
        folder=folder,
    )
    if options.auto_encoder is not None:
        _read_auto_encoder(built, options.auto_encoder)
    return built.start_from(options.start_from_checkpoint, load_stf)


def data(config: Config) -> SampleModule:
    """Training, validation and test samples."""
    return datamodule(config)


def callbacks(config: Config, folder: Path) -> list[Callback]:
    """The average of each epoch, and the test at the end, where asked for.

    Raises:
        InputError: two averages are asked for.
    """
    if config.training.published_average and config.callbacks.ema_decay is not None:
        raise InputError(
            "two averages of the weights are asked for, training.published_average (each epoch) and "
            f"callbacks.ema_decay={config.callbacks.ema_decay} (each step): set callbacks.ema_decay=null"
        )
    found: list[Callback] = [TestAtEnd()] if config.training.test_at_end else []
    return [*found, EpochAverage()] if config.training.published_average else found


class TestAtEnd(Callback):
    """Scores the test samples when training ends, with the checkpoint that was best in validation."""

    __test__ = False  # not one of pytest's

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or not isinstance(pl_module, StfModule):
            return
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if best:
            content = torch.load(best, map_location=pl_module.device, weights_only=True)
            pl_module.load_state_dict(content["state_dict"])
        samples: Any = trainer.datamodule  # type: ignore[attr-defined]
        pl_module.eval()
        with torch.no_grad():
            for index, batch in enumerate(samples.test_dataloader()):
                pl_module.score_test(batch.to(pl_module.device), index)
        pl_module.write_test()


def _read_auto_encoder(built: StfModule, path: Path) -> None:
    auto_encoder = getattr(built.recipe, "auto_encoder", None)
    if auto_encoder is None:
        raise InputError(f"{built.weights.model} is trained without an auto-encoder: leave out training.auto_encoder")
    load_into(auto_encoder, read_auto_encoder(path), "auto-encoder of GAN-STFM", str(path))
