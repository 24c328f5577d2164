"""The Lightning module of Deep-Harmonization."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from sitsfusion.losses.deepharmo import gaussian_nll, high_pass, mixed_gradient, ssim_loss
from sitsfusion.methods.deepharmo.images import network_images, onto
from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.training.deepharmo.config import TrainingConfig
from sitsfusion.training.image_module import ImageModule
from sitsfusion.training.image_pairs import Tensors
from sitsfusion.training.module import Terms
from sitsfusion.weights.deepharmo import DeepHarmoWeights

_Predicted = Tensor | tuple[Tensor, Tensor]


class DeepHarmoModule(ImageModule):
    """Batches: `coarse`, `pan` and `target`; inputs are brought to the target's grid by bicubic interpolation."""

    family = "deepharmo"
    net: DeepHarmoNet
    weights: DeepHarmoWeights

    def __init__(self, weights: DeepHarmoWeights, training: TrainingConfig, *, seed: int, folder: Path) -> None:
        super().__init__(DeepHarmoNet(weights.architecture), weights, training, seed=seed, folder=folder)
        self.harmo = training

    def predicted(self, batch: Tensors) -> _Predicted:
        ms, pan = network_images(batch["coarse"], batch["pan"], _size(batch))
        return self.net(ms, high_pass(pan) if self.harmo.high_pass else pan)  # type: ignore[no-any-return]

    def terms(self, batch: Tensors, predicted: _Predicted) -> Terms:
        target, loss, options = batch["target"], self.harmo.loss, self.harmo
        if isinstance(predicted, tuple):
            form = "mse" if loss == "gaussian_mse" else "mae"
            found = gaussian_nll(*predicted, target, form=form, full=options.full)  # type: ignore[arg-type]
            return {"total_loss": found}
        makers = {
            "l1": lambda: F.l1_loss(predicted, target),
            "ssim": lambda: ssim_loss(predicted, target),
            "gradient": lambda: mixed_gradient(predicted, target),
        }
        first, _, second = loss.replace("mixed_gradient", "gradient").partition("_")
        terms = {name: makers[name]() for name in (first, second) if name}
        factor = {first: 1.0, second: options.weight}
        total = sum((factor[name] * value for name, value in terms.items()), target.new_zeros(()))
        return {**terms, "total_loss": total}

    def trivial(self, batch: Tensors) -> Tensor:
        """The multispectral image, enlarged."""
        return onto(batch["coarse"], _size(batch))


def _size(batch: Tensors) -> tuple[int, int]:
    height, width = batch["target"].shape[-2:]
    return height, width
