"""The Lightning module of DSen2: mean absolute error in network units."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.training.image_module import ImageModule
from sitsfusion.training.image_pairs import Tensors
from sitsfusion.training.module import Terms
from sitsfusion.weights.dsen2 import Dsen2Weights


class Dsen2Module(ImageModule):
    """Batches: `group0`, `group1` ... and `target`; see `data.pair`."""

    family = "dsen2"
    net: Dsen2Net
    weights: Dsen2Weights

    def predicted(self, batch: Tensors) -> Tensor:
        return self.net(*(batch[f"group{i}"] for i in range(len(self.net.groups))))  # type: ignore[no-any-return]

    def terms(self, batch: Tensors, predicted: Tensor) -> Terms:
        return {"total_loss": F.l1_loss(predicted, batch["target"])}

    def trivial(self, batch: Tensors) -> Tensor:
        """The interpolated bands as they go in."""
        return batch[f"group{len(self.net.groups) - 1}"]
