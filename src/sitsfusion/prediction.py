"""`Prediction`: what comes out of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sitsfusion.cube import Cube
from sitsfusion.errors import InputError
from sitsfusion.methods.base import Refusal


@dataclass(frozen=True)
class Prediction:
    """Cubes by role, lazy: pixels are read when asked for.

    Attributes:
        cubes: predicted images; a pixel is valid where the method could say something.
        sigma: one standard deviation in the band's unit, for methods that have one.
        days_to_clear: per role and date, days to the nearest clear observation, one file per date (bands: valid,
            days to clear, number of clear observations).
        refused: dates that could not be predicted, and why.
        provenance: method, options, weights, inputs, version.
        folder: where the files are; None when the result was made in a temporary place.
    """

    cubes: Mapping[str, Cube]
    provenance: Mapping[str, Any]
    refused: tuple[Refusal, ...] = ()
    sigma: Mapping[str, Cube] = field(default_factory=dict)
    folder: Path | None = None
    _keep: Any = field(default=None, repr=False)  # a temporary folder lives as long as the prediction

    def __getitem__(self, role: str) -> Cube:
        if role not in self.cubes:
            raise InputError(f"the prediction has no {role}; it has {', '.join(self.cubes)}")
        return self.cubes[role]

    def dates(self, role: str) -> tuple[date, ...]:
        """Predicted dates of a role."""
        return self[role].dates
