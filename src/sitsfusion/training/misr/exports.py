"""How trained super-resolution networks are written."""

from __future__ import annotations

from torch import nn

from sitsfusion.nets.srdiff import build_misr
from sitsfusion.weights.misr import MisrWeights

Weights = MisrWeights


def network(weights: MisrWeights) -> nn.Module:
    """The network of a weights config, untrained."""
    return build_misr(weights.architecture)
