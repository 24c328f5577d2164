"""How trained U-TILISE networks are written."""

from __future__ import annotations

from sitsfusion.nets.utilise import UTILISE
from sitsfusion.weights.utilise import UtiliseWeights

Weights = UtiliseWeights


def network(weights: UtiliseWeights) -> UTILISE:
    """The network of a weights config, untrained."""
    return UTILISE(weights.architecture)
