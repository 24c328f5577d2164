"""Models of the sharpener as named arrays, as `calibrate` saves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.methods.dms.sharpener import Models
from sitsfusion.methods.dms.trees import Forest

_PARTS = ("split", "children", "leaves")


def to_arrays(models: Models, name: str) -> dict[str, NDArray[Any]]:
    """Arrays under names that begin with `name`; cells without a model take no place."""
    at = [k for k, model in enumerate(models.local) if model is not None]
    found: dict[str, NDArray[Any]] = {f"{name}_cells": np.array([len(models.local), *at], np.int64)}
    groups: dict[str, list[Forest | None]] = {
        "local": [models.local[k] for k in at],
        "overall": [models.overall] if models.overall else [],
    }
    for group, forests in groups.items():
        for part in _PARTS if forests else ():
            found[f"{name}_{group}_{part}"] = np.stack([getattr(forest, part) for forest in forests])
    return found


def from_arrays(state: Mapping[str, NDArray[Any]], name: str) -> Models:
    """The models that `to_arrays` stored."""
    count, *at = state[f"{name}_cells"].tolist()
    local: list[Forest | None] = [None] * count
    for k, cell in enumerate(at):
        local[cell] = _forest(state, f"{name}_local", k)
    overall = _forest(state, f"{name}_overall", 0) if f"{name}_overall_split" in state else None
    return Models(tuple(local), overall)


def _forest(state: Mapping[str, NDArray[Any]], name: str, k: int) -> Forest:
    return Forest(*(np.asarray(state[f"{name}_{part}"][k]) for part in _PARTS))
