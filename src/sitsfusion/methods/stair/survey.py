"""What STAIR (mode full) learns from the whole scene, strip by strip, before any tile.

Shifts of the coarse images and the line from each coarse band to its fine one; classes of the fine pixels by their
spectra of all dates; and for each fine image with a coarse one of its day, the line of each class from other images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.dates import days_since, distance
from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import usable
from sitsfusion.methods.base import State
from sitsfusion.methods.stair import alignment
from sitsfusion.methods.strips import sample_step, sampled, strips
from sitsfusion.ops.clusters import classify, gap_count, k_means
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.scene import Scene

# Numbers of a strip of the whole series in memory.
_STRIP_NUMBERS = 2**24


@dataclass(frozen=True)
class Rules:
    """Options that concern the whole scene: see `StairOptions`."""

    max_shift: int
    adjust: bool
    clusters: int | None
    most_clusters: int
    references: int


@dataclass(frozen=True)
class Survey:
    """Reads a scene for STAIR. `bands`: coarse band of each fine band; `ratio`: fine pixels along a coarse one."""

    scene: Scene
    bands: Mapping[str, str]
    ratio: int
    rules: Rules

    def learn(self, seed: int) -> State:
        """`shifts` [s 2], `line` [2 b], `centres` [k t*b] and `lines` [e r k b 2] (see `gaps.fill`).

        Raises:
            InputError: no fine pixel is usable on any day.
        """
        shifts, line = self._alignment()
        centres = self._centres(seed)
        lines = self._lines(torch.from_numpy(centres))
        return {"shifts": shifts, "line": line, "centres": centres, "lines": lines}

    def _alignment(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The shift of each coarse image against the nearest fine one; the line over the days of both sensors."""
        fine, coarse = self.scene["fine"].dates, self.scene["coarse"].dates
        candidates = alignment.shifts(self.rules.max_shift * self.ratio)
        total = alignment.Moments(torch.zeros(6, 1, len(self.bands), dtype=torch.float64))
        chosen = []
        for day in coarse:
            nearest = fine[int(distance(fine, day).argmin())]
            found = self._moments(day, nearest)
            best = int(found.correlation().argmax())
            chosen.append(candidates[best])
            total = total + found.at(best) if nearest == day else total
        slope, offset = (part[0].numpy() for part in total.line())
        if not self.rules.adjust:
            slope, offset = np.ones_like(slope), np.zeros_like(offset)
        return np.array(chosen), np.stack([slope, offset])

    def _moments(self, day: date, fine_day: date) -> alignment.Moments:
        most = self.rules.max_shift * self.ratio
        n, cells = self.scene.per_cell("fine"), -(-most // self.scene.per_cell("fine"))
        parts = []
        for window in strips(self.scene):
            wide = window.padded(cells, self.scene.size)
            fine = self._image("fine", fine_day, wide)
            inner = window.relative_to(wide).scaled(n)
            missing = [most - inner.col, most - (fine.shape[-1] - inner.col - inner.width)]
            missing += [most - inner.row, most - (fine.shape[-2] - inner.row - inner.height)]
            around = F.pad(fine, missing, value=torch.nan)  # crops where there is more than `most`
            parts.append(alignment.moments(self._image("coarse", day, window), around, self.ratio, most))
        return alignment.Moments(torch.stack([part.sums for part in parts]).sum(0))

    def _centres(self, seed: int) -> NDArray[np.float64]:
        samples = self._samples()
        count = self.rules.clusters or gap_count(samples, self.rules.most_clusters, seed)
        return k_means(samples, count, seed)

    def _samples(self) -> NDArray[np.float64]:
        """Spectra of all dates, gaps filled linearly in time, of a regular sample of the fine pixels: [n t*b]."""
        every, n, parts = sample_step(self.scene), self.scene.per_cell("fine"), []
        for window in strips(self.scene):
            images = [
                sampled(self._image("fine", day, window), window.row * n, every) for day in self.scene["fine"].dates
            ]
            parts.append(torch.stack(images))  # [t b n]
        spectra = self.spectra(torch.cat(parts, -1)[..., None])[..., 0].T
        found: NDArray[np.float64] = spectra[spectra.isfinite().all(1)].double().numpy()
        if not len(found):
            raise InputError(f"stair: no fine pixel of {self.scene.name} is usable on any day; check the masks")
        return found

    def spectra(self, images: Tensor) -> Tensor:
        """Images of all fine dates `[t b h w]`, NaN where not usable -> their gaps filled in time, [t*b h w]."""
        return spectra(images, self.scene["fine"].dates)

    def _lines(self, centres: Tensor) -> NDArray[np.float64]:
        """For each day of both sensors and each of its references: slope and offset per class and band."""
        days = self.scene["fine"].dates
        pairs = [
            (days.index(day), [days.index(d) for d in chosen])
            for day, chosen in references(days, self.scene["coarse"].dates, self.rules.references).items()
        ]
        width, bands = len(pairs[0][1]), len(self.bands)
        sums = torch.zeros(len(pairs), width, len(centres), 5, bands, dtype=torch.float64)
        for window in strips(self.scene, pixels=_STRIP_NUMBERS // (len(days) * bands)):
            images = torch.stack([self._image("fine", day, window) for day in days])
            classes = classify(self.spectra(images), centres)
            for e, (target, others) in enumerate(pairs):
                for r, other in enumerate(others):
                    sums[e, r] += _class_sums(images[other], images[target], classes, len(centres))
        return _class_lines(sums).numpy()

    def _image(self, role: str, day: date, window: Window) -> Tensor:
        """Matched bands [b h w], NaN where not usable."""
        keys = list(self.bands) if role == "fine" else list(self.bands.values())
        return usable(self.scene[role].window(window.scaled(self.scene.per_cell(role))), day, keys)


def spectra(images: Tensor, days: Sequence[date]) -> Tensor:
    """Images `[t b h w]` of all dates, NaN in all bands where not usable -> gaps filled linearly in time, [t*b h w]."""
    at = torch.from_numpy(days_since(days, days[0]))
    return linear_gapfill(images, images[:, 0].isfinite(), at, at).flatten(0, 1)


def references(fine: Sequence[date], coarse: Sequence[date], most: int) -> dict[date, tuple[date, ...]]:
    """For each day of both sensors, the other fine images, nearest in time first, at most `most`."""
    found = {}
    for day in (d for d in fine if d in coarse):
        others = [d for d in fine if d != day]
        found[day] = tuple(others[i] for i in np.argsort(distance(others, day), kind="stable")[:most]) if others else ()
    return found


def _class_sums(x: Tensor, y: Tensor, classes: Tensor, count: int) -> Tensor:
    """Count and sums of x, y, xx, xy of the pixels of each class that both images show: [k 5 b]."""
    both = (x + y).isfinite().all(0) & (classes >= 0)
    a, b = x[:, both].double().T, y[:, both].double().T  # [n b]
    rows = torch.stack([torch.ones_like(a), a, b, a * a, a * b], 1)  # [n 5 b]
    return torch.zeros(count, *rows.shape[1:], dtype=torch.float64).index_add_(0, classes[both], rows)


def _class_lines(sums: Tensor) -> Tensor:
    """Slope and offset [... b 2] of least squares, `sums [... 5 b]`; slope 1 for constant x, NaN without pixels."""
    count, x, y, xx, xy = sums.unbind(-2)
    variance = xx - x * x / count
    slope = torch.where(variance > 1e-12 * xx, (xy - x * y / count) / variance, 1.0)
    return torch.stack([slope, (y - slope * x) / count], -1)
