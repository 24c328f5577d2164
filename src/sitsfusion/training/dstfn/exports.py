"""How trained DSTFN networks are written."""

from __future__ import annotations

from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.weights.dstfn import DstfnWeights

Weights = DstfnWeights


def network(weights: DstfnWeights) -> DstfnNet:
    """The network of a weights config, untrained."""
    return DstfnNet(weights.architecture)
