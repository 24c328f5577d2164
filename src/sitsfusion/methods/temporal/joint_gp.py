"""JOINT-GP: a Gaussian process for the fine and the coarse series of each pixel together (MOGPR)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import block, stack
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, Options, State, Step, Tile
from sitsfusion.methods.roles import bicubic_halo, plan_each, to_output
from sitsfusion.methods.temporal.base import chunks, to_output_sigma
from sitsfusion.methods.temporal.coregionalisation import SERIES, Kernel, Observed, fitted, predicted
from sitsfusion.methods.two_sensors import matching_bands
from sitsfusion.ops.resample import nearest
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# A pixel's own standard deviation is trusted from this many observations on.
_FEW = 3


class JointGPOptions(Options):
    """Options of `joint-gp`."""

    samples: int = Field(64, ge=1, description="pixels that the kernels are fitted to, spread over the scene")


class JointGP(Method):
    """Kernels are fitted once per band, to pixels spread over the scene; each pixel then has its own observations.

    Coarse pixels are repeated on the fine grid: their series only has to vary with the fine one. A band that the
    coarse sensor lacks is predicted from the fine images alone.
    """

    card: ClassVar[Card] = Card(
        name="joint-gp",
        title="Joint Gaussian process of two sensors (MOGPR)",
        summary="Gap filling of the fine series with the help of the coarse one, with a standard deviation.",
        citation="Pipia et al. (2019), RSE 235",
        needs=("fine",),
        uses=("coarse",),
    )
    Options: ClassVar[type[Options]] = JointGPOptions
    options: JointGPOptions

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        return {"fine": Output(scene["fine"].sensor, scene["fine"].bands)}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        def too_few(role: str) -> str | None:
            return None if len(scene[role]) else f"joint-gp needs {role} images, there are none"

        planned = plan_each(scene, query, too_few)
        inputs = {role: scene[role].dates for role in self.inputs(scene)}
        return MethodPlan(tuple(Step(s.name, inputs, s.query) for s in planned.steps), planned.refused)

    def tiling(self, scene: Scene, step: Step) -> Local:
        fine = bicubic_halo(scene, step).halo["fine"]
        return Local(dict.fromkeys(step.inputs, fine))

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """Kernel parameters [c 12], and the typical standard deviation in time of each band and sensor [c 2]."""
        if not plan.steps:
            return {}
        bands = plan.steps[0].query["fine"].bands
        cells = _spread_cells(scene.size, self.options.samples)
        sampled = _sampled([_together(scene.window(cell).cubes, bands) for cell in cells])
        spreads = [_typical_spread(sampled, band) for band in range(len(bands))]
        fits = [fitted(_standardised(sampled, band, spread)[0]) for band, spread in enumerate(spreads)]
        return {"parameters": torch.stack(fits).numpy(), "spread": torch.stack(spreads).numpy()}

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted = step.query["fine"]
        both = _together(tile.cubes, wanted.bands)
        targets = torch.from_numpy(days_since(wanted.dates, tile.cubes["fine"].dates[0])).double()
        shape = (len(targets), len(wanted.bands), *tile.cubes["fine"].shape[2:])
        mean, sigma = (torch.empty(shape).flatten(2) for _ in range(2))
        m = len(both.days)
        for band in range(shape[1]):
            kernel, spread = (torch.from_numpy(state[key][band]) for key in ("parameters", "spread"))
            for at in chunks(mean.shape[2], 3 * m * (m + len(targets) + 2)):
                mean[:, band, at], sigma[:, band, at] = _predicted(
                    both.pixels(at), band, kernel, spread, targets, runtime.device
                )
        made = block(to_output(mean.reshape(shape), tile, "fine", wanted.per_cell))
        return {"fine": Block(made.values, made.valid, to_output_sigma(sigma.reshape(shape), tile, "fine", wanted))}


@dataclass(frozen=True, eq=False)
class _Both:
    """Observations of n pixels by both sensors: `values` [m c n] (0 where not valid), `valid` [m c n], `days` [m]
    since the first fine image, `series` [m]: 0 fine, 1 coarse.
    """

    values: Tensor
    valid: Tensor
    days: Tensor
    series: Tensor

    def pixels(self, at: slice) -> _Both:
        return replace(self, values=self.values[..., at], valid=self.valid[..., at])


def _together(cubes: Mapping[str, Cube], bands: tuple[str, ...]) -> _Both:
    """The pixels of a fine cube, and of the coarse cube over the same extent, if there is one."""
    fine = cubes["fine"]
    values, valid = stack(fine.select(bands=bands))
    valid = valid[:, None].expand_as(values)
    dates = fine.dates
    if "coarse" in cubes:
        pairs, coarse = matching_bands(cubes), cubes["coarse"]
        stored, clear = stack(coarse)
        at = [coarse.bands.index(pairs[key]) if key in pairs else 0 for key in bands]
        paired = torch.tensor([key in pairs for key in bands])[:, None, None]
        factor = coarse.shape[2] / fine.shape[2]
        values = torch.cat([values, nearest(stored[:, at], factor)])
        valid = torch.cat([valid, nearest(clear[:, None] & paired, factor)])
        dates = dates + coarse.dates
    days = torch.from_numpy(days_since(dates, fine.dates[0])).double()
    series = (torch.arange(len(dates)) >= len(fine.dates)).long()
    clean = torch.where(valid, values.double(), 0.0)
    return _Both(clean.flatten(2), valid.flatten(2), days, series)


def _spread_cells(size: tuple[int, int], samples: int) -> list[Window]:
    """About so many single cells on a regular lattice over a scene."""
    side = max(1, isqrt(samples))
    rows, cols = (sorted({int((k + 0.5) * n / side) for k in range(side)}) for n in size)
    return [Window(row, col, 1, 1) for row in rows for col in cols]


def _sampled(cells: Sequence[_Both]) -> _Both:
    """One pixel in the middle of each cell."""
    middle = cells[0].values.shape[2] // 2
    chosen = [cell.pixels(slice(middle, middle + 1)) for cell in cells]
    values, valid = (torch.cat([getattr(c, name) for c in chosen], 2) for name in ("values", "valid"))
    return replace(cells[0], values=values, valid=valid)


def _moments(both: _Both, band: int) -> tuple[Tensor, Tensor, Tensor]:
    """Number, mean and sum of squared deviations of the observations of each series and pixel: [2 n] each."""
    y, seen = both.values[:, band], both.valid[:, band]
    parts = []
    for p in range(SERIES):
        used = seen & (both.series == p)[:, None]
        count = used.sum(0)
        mean = torch.where(used, y, 0.0).sum(0) / count.clamp(min=1)
        parts.append(torch.stack([count.double(), mean, torch.where(used, y - mean, 0.0).square().sum(0)]))
    count, mean, squares = torch.stack(parts, 1)
    return count, mean, squares


def _typical_spread(both: _Both, band: int) -> Tensor:
    """Standard deviation in time, pooled over pixels: [2]; 1 where there is nothing to tell it from."""
    count, _, squares = _moments(both, band)
    variance = squares.sum(1) / (count - 1).clamp(min=0).sum(1).clamp(min=1)
    return torch.where(variance > 0, variance.sqrt(), 1.0)


def _standardised(both: _Both, band: int, spread: Tensor) -> tuple[Observed, Tensor, Tensor]:
    """Observations less their mean over their standard deviation, and both of the fine series: [n] each.

    With few or constant observations the typical standard deviation stands in. The mean is NaN where a pixel was
    never clear in the fine series.
    """
    count, mean, squares = _moments(both, band)
    own = (squares / count.clamp(min=1)).sqrt()
    # a spread far below the typical one is rounding, not variation
    trusted = (count >= _FEW) & (own > 1e-3 * spread[:, None])
    scale = torch.where(trusted, own, spread[:, None])
    seen = both.valid[:, band]
    scaled = torch.where(seen, (both.values[:, band] - mean[both.series]) / scale[both.series], 0.0)
    centre = torch.where(count[0] > 0, mean[0], torch.nan)
    return Observed(scaled.T, seen.T, both.days, both.series), centre, scale[0]


def _predicted(
    both: _Both, band: int, parameters: Tensor, spread: Tensor, targets: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a band at the target days: float32 [q n] each, NaN where never clear."""
    data, centre, scale = _standardised(both, band, spread)
    moved = Observed(*(a.to(device) for a in (data.values, data.valid, data.times, data.series)))
    mean, sigma = (a.cpu() for a in predicted(Kernel.of(parameters.to(device)), moved, targets.to(device)))
    return (mean * scale + centre).float(), torch.where(centre.isnan(), torch.nan, sigma * scale).float()
