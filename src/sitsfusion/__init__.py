"""Fuse optical satellite image time series: every band, any date, cloud-free, at the best resolution.

    import sitsfusion
    prediction = sitsfusion.fuse("scene.yaml", "2022-01-01/2022-12-31/5d", method="naive", out="fused")

Importing this package loads neither torch nor any optional dependency; what you use is imported then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sitsfusion.api import Wanted, fuse, plan
    from sitsfusion.cube import Cube, Frame, Item
    from sitsfusion.engine.job import Resources
    from sitsfusion.engine.outputs import OutputSpec
    from sitsfusion.errors import SitsFusionError
    from sitsfusion.evaluation.api import evaluate
    from sitsfusion.grid import Window
    from sitsfusion.io import open_scene
    from sitsfusion.prediction import Prediction, open_prediction
    from sitsfusion.query import RoleQuery, query_of
    from sitsfusion.scene import Scene

__version__ = "0.1.0"

_WHERE = {
    "Cube": "sitsfusion.cube",
    "Frame": "sitsfusion.cube",
    "Item": "sitsfusion.cube",
    "OutputSpec": "sitsfusion.engine.outputs",
    "Prediction": "sitsfusion.prediction",
    "Resources": "sitsfusion.engine.job",
    "RoleQuery": "sitsfusion.query",
    "Scene": "sitsfusion.scene",
    "SitsFusionError": "sitsfusion.errors",
    "Wanted": "sitsfusion.api",
    "Window": "sitsfusion.grid",
    "evaluate": "sitsfusion.evaluation.api",
    "fuse": "sitsfusion.api",
    "open_prediction": "sitsfusion.prediction",
    "open_scene": "sitsfusion.io",
    "plan": "sitsfusion.api",
    "query_of": "sitsfusion.query",
}

__all__ = [
    "Cube",
    "Frame",
    "Item",
    "OutputSpec",
    "Prediction",
    "Resources",
    "RoleQuery",
    "Scene",
    "SitsFusionError",
    "Wanted",
    "Window",
    "__version__",
    "evaluate",
    "fuse",
    "open_prediction",
    "open_scene",
    "plan",
    "query_of",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'sitsfusion' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
