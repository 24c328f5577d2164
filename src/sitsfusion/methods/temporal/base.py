"""What all curves in time share: the clear observations of chunks of pixels in, values at the target days out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.methods.arrays import block, stack
from sitsfusion.methods.base import Block, Local, Method, MethodPlan, State, Step, Tile
from sitsfusion.methods.roles import bicubic_halo, plan_each, to_output
from sitsfusion.ops.gapfill import WORK_BYTES
from sitsfusion.ops.resample import nearest
from sitsfusion.query import Query, RoleQuery
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


@dataclass(frozen=True, eq=False)
class Pixels:
    """Observations of n pixels, float64.

    `values` [t c n], 0 where not valid; `valid` bool [t n]; `days` [t], increasing.
    """

    values: Tensor
    valid: Tensor
    days: Tensor

    def count(self) -> Tensor:
        """Number of clear observations of each pixel: [n]."""
        return self.valid.sum(0)

    def span(self) -> tuple[Tensor, Tensor]:
        """First and last clear day of each pixel: [n] each (infinite, minus infinite where there is none)."""
        days = self.days[:, None]
        first = torch.where(self.valid, days, torch.inf).amin(0)
        return first, torch.where(self.valid, days, -torch.inf).amax(0)

    def clamped(self, targets: Tensor) -> Tensor:
        """Target days moved into the span of each pixel: [q] -> [q n] (0 where a pixel was never clear)."""
        first, last = self.span()
        return targets[:, None].clamp(first, last).nan_to_num(posinf=0.0, neginf=0.0)


@dataclass(frozen=True, eq=False)
class Curve:
    """`values` [q c n] at the target days, NaN where a pixel has too few observations; `sigma` alike, or None."""

    values: Tensor
    sigma: Tensor | None = None


class TemporalMethod(Method):
    """Each role apart: a curve per pixel and band, then bicubic (a = -0.75) to the output grid.

    A subclass gives `curve`, `fewest_dates` and `numbers_per_pixel`. Where a role's pixels are coarser than the
    output, sigma is that of the pixel that the output pixel lies in.
    """

    @abstractmethod
    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        """The curve of some pixels at the target days [q]."""

    def fewest_dates(self) -> int:
        """A role with fewer images is refused."""
        return 1

    def numbers_per_pixel(self, dates: int, bands: int, targets: int, span: int) -> int:
        """About how many numbers `curve` holds per pixel at once: sets how many pixels it is given.

        `span`: days from the first image to the last.
        """
        return 4 * bands * (dates + targets)

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        def too_few(role: str) -> str | None:
            n, name = len(scene[role]), self.card.name
            needed = self.fewest_dates()
            return f"{name} needs {needed} or more {role} images, there are {n}" if n < needed else None

        return plan_each(scene, query, too_few)

    def tiling(self, scene: Scene, step: Step) -> Local:
        return bicubic_halo(scene, step)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        return {role: self._predict(tile, role, wanted, runtime) for role, wanted in step.query.items()}

    def _predict(self, tile: Tile, role: str, wanted: RoleQuery, runtime: Runtime) -> Block:
        cube = tile.cubes[role].select(bands=wanted.bands)
        values, sigma = self._curves(cube, tile, wanted, runtime.device)
        made = block(to_output(values, tile, role, wanted.per_cell))
        return made if sigma is None else Block(made.values, made.valid, to_output_sigma(sigma, tile, role, wanted))

    def _curves(self, cube: Cube, tile: Tile, wanted: RoleQuery, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Values and sigma at the target days over the role's reach: float32 [q c h w] each."""
        values, valid = stack(cube)  # [t c h w], [t h w]
        (t, c, h, w), q = values.shape, len(wanted.dates)
        days, targets = (torch.from_numpy(days_since(d, tile.origin)).double() for d in (cube.dates, wanted.dates))
        made = torch.empty(q, c, h * w)
        sigma = torch.empty(q, c, h * w) if self.has_sigma else None
        span = (cube.dates[-1] - cube.dates[0]).days + 1
        for at in chunks(h * w, self.numbers_per_pixel(t, c, q, span)):
            pixels = pixels_of(values.flatten(2)[..., at], valid.flatten(1)[:, at], days, device)
            found = self.curve(pixels, targets.to(device))
            made[..., at] = found.values.float().cpu()
            if sigma is not None and found.sigma is not None:
                sigma[..., at] = found.sigma.float().cpu()
        shape = (q, c, h, w)
        return made.reshape(shape), None if sigma is None else sigma.reshape(shape)

    @property
    def has_sigma(self) -> bool:
        """Whether `curve` gives a sigma. Default: no."""
        return False


def pixels_of(values: Tensor, valid: Tensor, days: Tensor, device: torch.device) -> Pixels:
    """Observations of some pixels on a device: values [t c n] (anything where not valid), valid [t n], days [t]."""
    seen = valid.to(device)
    clean = torch.where(seen[:, None], values.to(device).double(), 0.0)
    return Pixels(clean, seen, days.to(device))


def chunks(pixels: int, numbers_per_pixel: int) -> Iterator[slice]:
    """Slices of pixels that need about `gapfill.WORK_BYTES` of float64 numbers each."""
    size = max(1, ceil(WORK_BYTES / (8 * numbers_per_pixel)))
    return (slice(start, min(start + size, pixels)) for start in range(0, pixels, size))


def to_output_sigma(sigma: Tensor, tile: Tile, role: str, wanted: RoleQuery) -> NDArray[np.float32]:
    """Sigma [q c h w] over a role's reach, on the output grid (nearest) and cropped to the core."""
    rows, cols = tile.core_in(role, wanted.per_cell).slices
    shown = nearest(sigma, tile.per_cell[role] / wanted.per_cell)[..., rows, cols]
    return np.ascontiguousarray(shown.numpy())
