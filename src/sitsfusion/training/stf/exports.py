"""How trained fusion networks are written."""

from __future__ import annotations

from torch import nn

from sitsfusion.checkpoints import stf
from sitsfusion.weights.stf import StfWeights

Weights = StfWeights


def network(weights: StfWeights) -> nn.Module:
    """The network of a weights config, untrained."""
    return stf.network(weights)
