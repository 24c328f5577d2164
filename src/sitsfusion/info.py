"""What is in a place: results, weights, or images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sitsfusion import grid as grids
from sitsfusion.cube import Cube
from sitsfusion.errors import ReadError
from sitsfusion.io import open_scene
from sitsfusion.prediction import NOTE, open_prediction

_WEIGHTS = (".ckpt", ".pt", ".pth", ".safetensors")


def describe(place: Path) -> dict[str, Any]:
    """A readable mapping of what a place holds.

    Raises:
        ReadError: nothing is there.
        SitsFusionError: it is none of the things that this library reads.
    """
    if not place.exists():
        raise ReadError(f"{place} does not exist")
    if place.suffix in _WEIGHTS or (place / "weights.safetensors").exists():
        return _weights(place)
    if (place / NOTE).exists():
        return _results(place)
    if (place / "plan.json").exists():
        return {"kind": "unfinished results", **json.loads((place / "plan.json").read_text())}
    return _scene(place)


def _weights(place: Path) -> dict[str, Any]:
    from sitsfusion.checkpoints.tamrfsits import load_tamrfsits

    net, config = load_tamrfsits(place)
    return {
        "kind": "weights",
        "name": config.name,
        "architecture": config.architecture.describe(),
        "parameters": sum(p.numel() for p in net.parameters()),
        "coarse bands": list(config.lr.keys),
        "fine bands": list(config.hr.keys),
        "day origin": str(config.day_origin),
        "licence": config.licence,
        "source": config.source,
    }


def _results(place: Path) -> dict[str, Any]:
    found = open_prediction(place)
    return {
        "kind": "results",
        **{key: found.provenance[key] for key in ("method", "options", "plan_id", "version", "scene", "day_origin")},
        **{role: _cube(cube) for role, cube in found.cubes.items()},
        "missing": [f"{m.role} {m.day}: {m.reason}" for m in found.missing],
    }


def _scene(place: Path) -> dict[str, Any]:
    scene = open_scene(place)
    return {
        "kind": "scene",
        "name": scene.name,
        "cells": grids.describe(scene.cells),
        **{role: _cube(cube) for role, cube in scene.cubes.items()},
    }


def _cube(cube: Cube) -> dict[str, Any]:
    return {
        "sensor": cube.sensor.name,
        "bands": list(cube.bands),
        "grid": grids.describe(cube.grid),
        "dates": [day.isoformat() for day in cube.dates],
    }
