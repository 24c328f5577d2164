"""The page of a job: its inputs beside its predictions, read from files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from sitsfusion.prediction import Prediction, open_prediction
from sitsfusion.report.page import Layer, write_page
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.job import Job

_SHOWN = ("method", "weights", "scene", "day_origin", "dtype", "plan_id", "version", "citation")


def write_job_page(job: Job) -> Path | None:
    """Write `index.html` into a job's folder; None when there is nothing to show (no image was completed)."""
    found = open_prediction(job.output.folder)
    if not any(len(cube) for cube in found.cubes.values()):
        return None
    layers = [*input_layers(job.scene, tuple(job.query)), *prediction_layers(found)]
    return write_page(
        job.output.folder / "index.html",
        layers,
        title=f"{job.scene.name}: {job.method.card.title}",
        provenance=provenance_rows(found),
        refused=refused_dates(found),
    )


def input_layers(scene: Scene, roles: Sequence[str]) -> list[Layer]:
    """One layer per input role that was also predicted."""
    return [Layer(f"{role} images", "input", scene[role]) for role in roles if role in scene and len(scene[role])]


def prediction_layers(found: Prediction, label: str | None = None) -> list[Layer]:
    """One layer per predicted role, named after the method."""
    name = label or str(found.provenance["method"])
    return [Layer(f"{role}, {name}", "prediction", cube) for role, cube in found.cubes.items() if len(cube)]


def provenance_rows(found: Prediction) -> dict[str, str]:
    """What made the prediction, as rows of a table."""
    rows = {key: str(found.provenance[key]) for key in _SHOWN if found.provenance.get(key)}
    options = found.provenance.get("options") or {}
    used = {role: f"{len(days)} images" for role, days in found.provenance["inputs"].items()}
    return {**rows, "options": _listed(options), "inputs": _listed(used)}


def refused_dates(found: Prediction) -> dict[date, str]:
    """Dates that are not there, with the reasons of all roles."""
    reasons: dict[date, list[str]] = {}
    for missing in found.missing:
        reasons.setdefault(missing.day, []).append(f"{missing.role}: {missing.reason}")
    return {day: "; ".join(found) for day, found in sorted(reasons.items())}


def _listed(values: dict[str, object] | dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items()) or "none"
