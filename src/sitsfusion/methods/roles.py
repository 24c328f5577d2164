"""What methods share that treat every role apart: each output comes from the images of its own role."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from torch import Tensor

from sitsfusion.grid import Window
from sitsfusion.methods.base import Local, MethodPlan, Refusal, Step, Tile
from sitsfusion.ops.resample import bicubic
from sitsfusion.query import Query
from sitsfusion.scene import Scene

# Taps of the bicubic kernel beyond the pixel that holds the sample, on each side.
BICUBIC_REACH = 2


def plan_each(scene: Scene, query: Query, refuse: Callable[[str], str | None]) -> MethodPlan:
    """One step in which every output role is informed by its own images; `refuse` names why a role cannot be done."""
    reasons = {role: refuse(role) for role in query}
    refused = tuple(
        Refusal(role, day, reason) for role, reason in reasons.items() if reason for day in query[role].dates
    )
    kept = {role: wanted for role, wanted in query.items() if not reasons[role]}
    if not kept:
        return MethodPlan((), refused)
    inputs = {role: scene[role].dates for role in kept}
    return MethodPlan((Step("s000", inputs, kept, {role: (role,) for role in kept}),), refused)


def bicubic_halo(scene: Scene, step: Step) -> Local:
    """The halo of a bicubic upsampling from each role's grid to its output grid (none where they are equal)."""
    halo = {}
    for role, wanted in step.query.items():
        n = scene.per_cell(role)
        halo[role] = 0 if n == wanted.per_cell else ceil(BICUBIC_REACH / n)
    return Local(halo)


def to_output(values: Tensor, tile: Tile, role: str, per_cell: int) -> Tensor:
    """Values [..., h, w] over a role's reach, resampled (bicubic) to the output grid and cropped to the core."""
    window: Window = tile.core_in(role, per_cell)
    rows, cols = window.slices
    return bicubic(values, tile.per_cell[role] / per_cell)[..., rows, cols]
