"""How trained Deep-Harmonization networks are written."""

from __future__ import annotations

from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.weights.deepharmo import DeepHarmoWeights

Weights = DeepHarmoWeights


def network(weights: DeepHarmoWeights) -> DeepHarmoNet:
    """The network of a weights config, untrained."""
    return DeepHarmoNet(weights.architecture)
