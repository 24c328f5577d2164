"""Two processes with one sample each give the gradient of one process with both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sitsfusion.samples import collate_samples
from sitsfusion.training.config import LoaderConfig
from sitsfusion.training.data import SampleModule
from sitsfusion.training.run import build_trainer
from sitsfusion.training.tamrfsits.family import module as build_module

from .tiny import TinySamples, tiny


def gradients(folder: Path, processes: int) -> dict[str, Tensor]:
    """Of the second step, clipping and dropout off."""
    options = ["training_module.network.dropout=0", "trainer.max_steps=2", "trainer.gradient_clip_val=null"]
    config = tiny(*options, f"trainer.devices={processes}", "callbacks.pictures_every_n_epochs=null", folder=folder)
    module = build_module(config, folder)
    data = SampleModule(
        TinySamples(6, 1), TinySamples(2, 2), collate_samples, LoaderConfig(batch_size=2 // processes), config.seed
    )
    changes = {"logger": False, "callbacks": [], "enable_checkpointing": False, "limit_val_batches": 0}
    if processes > 1:
        from lightning.pytorch.strategies import DDPStrategy

        # `spawn` starts plain processes of this interpreter; the published strategy runs the command line again
        changes["strategy"] = DDPStrategy(
            process_group_backend="gloo", start_method="spawn", find_unused_parameters=True
        )
    trainer = build_trainer(config, folder, **changes)
    file = folder / f"gradients_{processes}.pt"
    module.on_before_optimizer_step = Keep(module, file)
    trainer.fit(module, data)
    found: dict[str, Tensor] = torch.load(file, weights_only=True)
    return found


class Keep:
    """Saves the gradients of the first process; a class, so that it can be sent to a spawned process."""

    def __init__(self, module: torch.nn.Module, file: Path) -> None:
        self.module, self.file = module, file

    def __call__(self, optimizer: object) -> None:
        if self.module.global_rank == 0:  # type: ignore[operator]
            torch.save({n: p.grad for n, p in self.module.named_parameters() if p.grad is not None}, self.file)


@pytest.mark.filterwarnings("ignore")  # of Lightning in the processes that it starts
def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    one, two = gradients(tmp_path, 1), gradients(tmp_path, 2)
    assert one.keys() <= two.keys()
    assert any(bool(value.abs().max() > 1e-4) for value in one.values())
    for name, value in two.items():
        torch.testing.assert_close(one.get(name, torch.zeros_like(value)), value, rtol=1e-4, atol=1e-7)
