"""How trained DSen2 networks are written."""

from __future__ import annotations

from sitsfusion.checkpoints.dsen2 import build
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.weights.dsen2 import Dsen2Weights

Weights = Dsen2Weights


def network(weights: Dsen2Weights) -> Dsen2Net:
    """The network of a weights config, untrained."""
    return build(weights)
