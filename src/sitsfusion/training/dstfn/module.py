"""The Lightning module of DSTFN."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from sitsfusion import sensors
from sitsfusion.losses.dstfn import constrained
from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.ops.resample import bicubic
from sitsfusion.training.dstfn.config import TrainingConfig
from sitsfusion.training.image_module import ImageModule
from sitsfusion.training.image_pairs import Tensors
from sitsfusion.training.module import Terms
from sitsfusion.weights.dstfn import DstfnWeights


class DstfnModule(ImageModule):
    """Batches: `fine` (of another day), `coarse`, `pan` and `target`."""

    family = "dstfn"
    net: DstfnNet
    weights: DstfnWeights

    def __init__(self, weights: DstfnWeights, training: TrainingConfig, *, seed: int, folder: Path) -> None:
        super().__init__(DstfnNet(weights.architecture), weights, training, seed=seed, folder=folder)
        self.alpha = training.alpha
        sensor = sensors.get(weights.coarse.sensor)
        self.mtf = [sensor.band(key).mtf for key in weights.coarse.bands]

    def predicted(self, batch: Tensors) -> Tensor:
        pan = batch["pan"] if self.weights.architecture.has_pan else None
        return self.net(batch["fine"], batch["coarse"], pan)  # type: ignore[no-any-return]

    def terms(self, batch: Tensors, predicted: Tensor) -> Terms:
        factor = self.weights.architecture.factor
        return constrained(predicted, batch["target"], batch["coarse"], alpha=self.alpha, factor=factor, mtf=self.mtf)

    def trivial(self, batch: Tensors) -> Tensor:
        """The coarse image, enlarged."""
        return bicubic(batch["coarse"], 1 / self.weights.architecture.factor)
