"""What runs and how it is scored: methods with options, and settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sitsfusion.engine.job import Resources
from sitsfusion.evaluation.sites import safe_name
from sitsfusion.metrics.brisque import BrisqueModel, load_brisque

Metrics = Literal["all", "paper", "none"]


@dataclass(frozen=True)
class MethodSpec:
    """A method with options, under a name of its own in the results (default: the method's).

    `optional`: a name that this version does not know is a refused result, not an error.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    optional: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", safe_name(self.label or self.name))


@dataclass(frozen=True)
class Settings:
    """How cases are scored and run.

    Attributes:
        margin: pixels left out along the border, of the grid of the observed images (truth: of the finest grid).
        metrics: "paper": those of the published test tool; "all": also PSNR, SSIM, UQI, SCC, ERGAS and NDVI errors;
            "none": predict without scoring (images, animations and maps only).
        invert_masks: score the pixels that are masked in the observed images in place of the clear ones.
        published: reproduce the faults of the published tool (`metrics.scoring`).
        keep: keep the predictions as they are, in `OUT/predictions`.
        images: write GeoTIFFs under the published names (`evaluation.images`).
        animations: write an HTML animation per case and method.
        costs: measure what one image of each method costs (`evaluation.image_cost`).
        brisque: file of the support vectors of BRISQUE (piq's `brisque_svm_weights.pt`); None: not computed.
        resources: of the machine, for each method.
    """

    margin: int = 30
    metrics: Metrics = "all"
    invert_masks: bool = False
    published: bool = False
    keep: bool = False
    images: bool = False
    animations: bool = False
    costs: bool = False
    brisque: Path | None = None
    resources: Resources = Resources()

    @cached_property
    def brisque_model(self) -> BrisqueModel | None:
        """The support vectors; raises ReadError or CheckpointError."""
        return load_brisque(self.brisque) if self.brisque else None

    def identity(self) -> list[object]:
        """What a result depends on: another one is made again."""
        wanted = [self.metrics, self.invert_masks, self.published, self.keep, self.images, self.animations]
        return [self.margin, self.brisque is not None, *wanted]
