"""What FSDAF learns from the whole scene: classes of the fine image, how much each class changed, limits, surface.

Read strip by strip; of the coarse pixels only the purest of each class are kept (and, for a thin plate spline, all
values of the wanted day).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from math import lcm
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import usable
from sitsfusion.methods.base import Step
from sitsfusion.methods.stf_classical import splines
from sitsfusion.methods.stf_classical.base import coarse_days, references
from sitsfusion.methods.stf_classical.blocks import block_means
from sitsfusion.methods.strips import sample_step, sampled, strips
from sitsfusion.ops.clusters import classify, k_means
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.methods.stf_classical.fsdaf import FsdafOptions

KEYS = ("centres", "rates", "low", "high")
_FEWEST_FRACTION = 0.01

Array = NDArray[np.float64]


def class_fractions(classes: Tensor, count: int, ratio: int) -> Tensor:
    """Share of each class among the usable pixels of each block: int [h w] -> [k h' w']; NaN where none is usable."""
    ones = torch.stack([classes == k for k in range(count)]).double().masked_fill(classes < 0, torch.nan)
    return block_means(ones, ratio)


@dataclass(frozen=True, eq=False)
class Purest:
    """Class fractions [n k] and changes [n b] of coarse pixels, in row-major order."""

    fractions: Array
    change: Array

    def kept(self, count: int) -> Purest:
        """Only the `count` pixels with the highest fraction of each class (the first ones where equal)."""
        best = [self._best(k, count) for k in range(self.fractions.shape[1])]
        rows = np.unique(np.concatenate(best))
        return Purest(self.fractions[rows], self.change[rows])

    def joined(self, other: Purest) -> Purest:
        return Purest(np.concatenate([self.fractions, other.fractions]), np.concatenate([self.change, other.change]))

    def rates(self, count: int) -> Array:
        """Change of each class [k b]: least squares over the purest pixels whose change is between the quartiles.

        With fewer pixels than classes, the smallest of the possible solutions.
        """
        best = [self._best(k, count) for k in range(self.fractions.shape[1])]
        return np.stack([self._solved(best, change) for change in self.change.T], 1)

    def _solved(self, best: list[NDArray[np.int64]], change: Array) -> Array:
        rows = np.concatenate([_between_quartiles(chosen, change) for chosen in best])
        found: Array = np.linalg.lstsq(self.fractions[rows], change[rows], rcond=None)[0]
        return found

    def _best(self, k: int, count: int) -> NDArray[np.int64]:
        order = np.argsort(-self.fractions[:, k], kind="stable")[:count]
        found: NDArray[np.int64] = order[self.fractions[order, k] > _FEWEST_FRACTION]
        return found


def _between_quartiles(rows: NDArray[np.int64], change: Array) -> NDArray[np.int64]:
    if not len(rows):
        return rows
    low, high = np.quantile(change[rows], (0.25, 0.75))
    middle: NDArray[np.int64] = rows[(change[rows] >= low) & (change[rows] <= high)]
    return middle


@dataclass
class Survey:
    """Reads a scene for FSDAF. `matched`: coarse band of each fine band; `native`: coarse grid pixels to a real one."""

    scene: Scene
    matched: Mapping[str, str]
    options: FsdafOptions
    native: int
    _centres: dict[date, Array] = field(default_factory=dict, repr=False)

    def learn(self, step: Step, seed: int, with_spline: bool) -> dict[str, NDArray[np.generic]]:
        """`centres` [k b], `rates` [k b], `low`, `high` [b]; with a spline also its `points` and coefficients.

        Raises:
            InputError: no coarse pixel is usable on both days.
        """
        day = references(step)[0]
        if day not in self._centres:
            self._centres[day] = k_means(self._samples(day), self.options.classes, seed)
        centres = self._centres[day]
        purest, span, surface = self._read(step, centres)
        if not len(purest.change):
            wanted = step.query["fine"].dates[0]
            raise InputError(
                f"fsdaf cannot predict {wanted} from {day}: no coarse pixel is usable on both days and has usable fine "
                "pixels; leave out this date or name other references"
            )
        rates = purest.rates(self.options.purest)
        found: dict[str, NDArray[np.generic]] = {"centres": centres, "rates": rates}
        found |= span.limits(rates, self.options.data_range)
        if with_spline:
            points, values = surface
            found |= {"points": points.numpy(), "spline": splines.thin_plate(points, values).numpy()}
        return found

    def _read(self, step: Step, centres: Array) -> tuple[Purest, _Span, tuple[Tensor, Tensor]]:
        """One pass: purest coarse pixels, range of values, usable coarse pixels of the wanted day and their places."""
        count, bands = centres.shape
        purest = Purest(np.zeros((0, count)), np.zeros((0, bands)))
        span = _Span(np.full((count, bands), np.inf), np.full((count, bands), -np.inf), *_empty_range(bands))
        places, values = [], []
        for top, fine, first, second in self._strips(step):
            classes = classify(fine, torch.from_numpy(centres))
            fractions = class_fractions(classes, count, self._ratio).flatten(1)  # [k n]
            change = (second - first).flatten(1)
            usable = (fractions.isfinite().all(0) & change.isfinite().all(0)).numpy()
            here = Purest(fractions.T.numpy()[usable], change.T.numpy()[usable])
            purest = purest.joined(here.kept(self.options.purest)).kept(self.options.purest)
            span = span.widened(fine, classes, second)
            seen = second.isfinite().all(0).nonzero()
            places.append(seen.double() + torch.tensor([top, 0.0], dtype=torch.float64))
            values.append(second[:, seen[:, 0], seen[:, 1]].T)
        return purest, span, (torch.cat(places), torch.cat(values))

    def _strips(self, step: Step) -> Iterator[tuple[float, Tensor, Tensor, Tensor]]:
        """First coarse row, fine image, coarse images of the pair and of the wanted day; float64, scaled."""
        day, per_cell = references(step)[0], self.scene.per_cell("coarse")
        wanted, own = coarse_days(step, self.options.max_gap)
        for window in strips(self.scene, lcm(self.native, per_cell) // per_cell):
            first, second = (block_means(self._image("coarse", d, window), self.native) for d in (own, wanted))
            yield window.row * per_cell / self.native, self._image("fine", day, window), first, second

    def _image(self, role: str, day: date, window: Window) -> Tensor:
        """Matched bands [b h w], float64, scaled, NaN where not usable."""
        keys = list(self.matched) if role == "fine" else list(self.matched.values())
        cube = self.scene[role].window(window.scaled(self.scene.per_cell(role)))
        return usable(cube, day, keys).double() * self.options.scale

    @property
    def _ratio(self) -> int:
        return self.native * self.scene.per_cell("fine") // self.scene.per_cell("coarse")

    def _samples(self, day: date) -> Array:
        """Usable fine pixels [n b] on a regular grid of at most about 20 000."""
        every, found = sample_step(self.scene), []
        for window in strips(self.scene):
            row = window.row * self.scene.per_cell("fine")
            part = sampled(self._image("fine", day, window), row, every).T
            found.append(part[part.isfinite().all(1)].numpy())
        samples = np.concatenate(found)
        if not len(samples):
            raise InputError(f"the fine image of {day} has too few usable pixels to find classes in")
        return samples


@dataclass(frozen=True, eq=False)
class _Span:
    """Range of the fine values of each class [k b], and of the coarse values of the wanted day [b]."""

    least: Array
    most: Array
    coarse_least: Array
    coarse_most: Array

    def widened(self, fine: Tensor, classes: Tensor, second: Tensor) -> _Span:
        least, most = self.least.copy(), self.most.copy()
        for k in range(len(least)):
            values = fine[:, classes == k].numpy()
            if values.shape[1]:
                least[k], most[k] = np.minimum(least[k], values.min(1)), np.maximum(most[k], values.max(1))
        coarse = second.flatten(1).numpy()
        return _Span(
            least,
            most,
            np.fmin(self.coarse_least, np.fmin.reduce(coarse, axis=1)),
            np.fmax(self.coarse_most, np.fmax.reduce(coarse, axis=1)),
        )

    def limits(self, rates: Array, data_range: tuple[float, float]) -> dict[str, NDArray[np.generic]]:
        """Least and largest prediction [b]: of the coarse image and the temporal prediction, within the data range."""
        low = np.fmin((self.least + rates).min(0), self.coarse_least)
        high = np.fmax((self.most + rates).max(0), self.coarse_most)
        return {"low": np.maximum(low, data_range[0]), "high": np.minimum(high, data_range[1])}


def _empty_range(bands: int) -> tuple[Array, Array]:
    return np.full(bands, np.nan), np.full(bands, np.nan)
