"""SPSTFM: sparse representation of the change between two reference pairs (Huang and Song 2012).

Dictionaries of coarse and fine change, learnt between the two pairs, turn the coarse change up to the wanted day into a
fine one. Section 12.5 of `spec/baselines.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import usable
from sitsfusion.methods.base import Card, MethodPlan, State, Step
from sitsfusion.methods.stf_classical.base import GriddedOptions, PairMethod, PairOptions, coarse_days, references
from sitsfusion.methods.stf_classical.images import Images, Pair, Place, on_fine, taps
from sitsfusion.methods.stf_classical.sparse import Dictionaries, learn, sparse_codes
from sitsfusion.methods.strips import strips
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

PATCH, OVERLAP = 7, 2
_STRIDE = PATCH - OVERLAP
_CODED_TOGETHER = 4096


class SpstfmOptions(GriddedOptions):
    """Options of `spstfm`."""

    atoms: int = Field(256, ge=2, description="atoms of the dictionaries")
    samples: int = Field(2000, ge=2, description="training patches, those of the largest variance")
    rounds: int = Field(10, ge=1, description="rounds of coding and updating the dictionaries")
    sparsity: float = Field(0.1, gt=0, lt=1, description="tau, as a share of the largest correlation with an atom")
    tolerance: float = Field(
        0.2, ge=0, le=0.5, description="a pair whose share of the coarse change is below 0.5 minus this serves alone"
    )


def patch_starts(first: int, side: int, whole: int) -> list[int]:
    """Where the patches begin that lie inside `side` pixels from `first`, of the lattice of an image of `whole` pixels:
    every 5 pixels, and a last one at the image's end. Counted from `first`.
    """
    lattice = {*range(0, max(whole - PATCH, 0) + 1, _STRIDE), max(whole - PATCH, 0)}
    return sorted(start - first for start in lattice if first <= start <= first + max(side - PATCH, 0))


def patches(image: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    """Patches of one band [h w] as columns [49 n], row by row; an image smaller than a patch is continued by zeros."""
    short = [max(PATCH - side, 0) for side in image.shape]
    whole = F.pad(image, (0, short[1], 0, short[0])).unfold(0, PATCH, 1).unfold(1, PATCH, 1)
    return whole[rows][:, columns].reshape(-1, PATCH * PATCH).T


def joined(columns: Tensor, rows: list[int], across: list[int], size: tuple[int, int]) -> Tensor:
    """Patches put back where they were taken, overlaps averaged: [49 n] -> [h w], 0 where there is none."""
    height, width = (max(side, PATCH) for side in size)
    total, count = columns.new_zeros(height, width), columns.new_zeros(height, width)
    made = columns.T.reshape(len(rows), len(across), PATCH, PATCH)
    for i in range(PATCH):
        for j in range(PATCH):
            at = torch.tensor(rows)[:, None] + i, torch.tensor(across) + j
            total[at] += made[:, :, i, j]
            count[at] += 1
    return (total / count.clamp(min=1))[: size[0], : size[1]]


def spstfm(
    pairs: list[Pair],
    coarse: Tensor,
    dictionaries: list[Dictionaries],
    std: Tensor,
    place: Place,
    options: SpstfmOptions,
) -> Tensor:
    """The fine image of the wanted day [b h w]; NaN where neither pair is usable.

    Args:
        pairs: two, in time order; images [b h w] on the fine grid, NaN where not usable (in all bands).
        coarse: of the wanted day [b h w] on the fine grid, likewise.
        dictionaries: one per band.
        std: [2 b] standard deviation of the coarse and of the fine change between the pairs.
        place: of the window, for the lattice of patches.
        options: sparsity and tolerance.
    """
    first = [start * place.fine for start in (place.window.row, place.window.col)]
    whole = [side * place.fine for side in place.scene_size]
    rows, columns = (patch_starts(*x) for x in zip(first, coarse.shape[-2:], whole, strict=True))
    moved = torch.stack([coarse - p.coarse for p in pairs])  # [2 b h w]
    usable_pair = torch.stack([p.fine + m for p, m in zip(pairs, moved, strict=True)]).isfinite()
    made = torch.zeros_like(moved)
    share = torch.zeros_like(moved)
    for b, dictionary in enumerate(dictionaries):
        cut = [patches(m.nan_to_num(0.0).double(), rows, columns) for m in moved[:, b]]  # [49 n] each
        shares = _shares(cut[0], cut[1], options.tolerance)
        for k in (0, 1):
            change = _fine_change(cut[k] / std[0, b], dictionary, options.sparsity) * std[1, b]
            for target, values in ((made, change), (share, shares[k].expand_as(change))):
                target[k, b] = joined(values, rows, columns, (coarse.shape[-2], coarse.shape[-1])).to(target)
    share = share * usable_pair
    alone = (torch.stack([p.fine for p in pairs]) + made).masked_fill(~usable_pair, torch.nan)
    both = (share * alone.nan_to_num(0.0)).sum(0) / share.sum(0)
    # A pair without weight still serves where the other one is not usable.
    return torch.where(share.sum(0) > 0, both, torch.where(usable_pair[0], alone[0], alone[1]))


def _shares(first: Tensor, second: Tensor, tolerance: float) -> Tensor:
    """Weights [2 n] of the two pairs in each patch: the less coarse change, the more; much less: all."""
    change = torch.stack([x.abs().mean(0) for x in (first, second)])
    of_first = (change[0] / change.sum(0)).nan_to_num(0.5)
    weight = torch.where(of_first < 0.5 - tolerance, 1.0, torch.where(of_first > 0.5 + tolerance, 0.0, 1 - of_first))
    return torch.stack([weight, 1 - weight])


def _fine_change(coarse: Tensor, dictionary: Dictionaries, sparsity: float) -> Tensor:
    parts = torch.split(coarse, _CODED_TOGETHER, dim=1)
    return torch.cat([dictionary.fine @ sparse_codes(dictionary.coarse, part, sparsity) for part in parts], 1)


class Spstfm(PairMethod):
    """SPSTFM with two reference pairs; each band apart."""

    card: ClassVar[Card] = Card(
        name="spstfm",
        title="SPSTFM",
        summary="Coarse change turned into fine change by coupled dictionaries. Two reference pairs.",
        citation="Huang and Song (2012), IEEE TGRS 50(10), 3707-3716",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[PairOptions]] = SpstfmOptions
    options: SpstfmOptions

    def pairs_wanted(self) -> tuple[int, int]:
        return 2, 2

    def reach(self) -> tuple[int, int]:
        return PATCH, taps(self.options.resampling)

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """Of each couple of pairs: "<days>.coarse", ".fine" [b 49 k] and ".std" [2 b] (coarse, fine)."""
        state: dict[str, NDArray[np.generic]] = {}
        for step in plan.steps:
            if f"{_couple(step)}.std" not in state:
                learnt = self._learn(scene, step, runtime.seed)
                state |= {f"{_couple(step)}.{key}": value for key, value in learnt.items()}
        return state

    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        pairs, coarse = images.on_fine(self.options.resampling)
        own = {key: torch.from_numpy(state[f"{_couple(step)}.{key}"]) for key in ("coarse", "fine", "std")}
        device = coarse.device
        atoms = [Dictionaries(c.to(device), f.to(device)) for c, f in zip(own["coarse"], own["fine"], strict=True)]
        return spstfm(pairs, coarse, atoms, own["std"].to(device), images.place, self.options)

    def _learn(self, scene: Scene, step: Step, seed: int) -> dict[str, NDArray[np.float64]]:
        """Dictionaries of the change between the two pairs of a step, band by band."""
        bands = len(self.matched(scene))
        samples = [_Samples(self.options.samples) for _ in range(bands)]
        for coarse, fine, rows, columns in self._changes(scene, step):
            for b in range(bands):
                samples[b].add(patches(coarse[b], rows, columns), patches(fine[b], rows, columns))
        std = np.stack([sample.std() for sample in samples], 1)  # [2 b]
        if not (std > 0).all():
            raise InputError(
                f"spstfm finds no change between the pairs of {' and '.join(map(str, references(step)))} in some band, "
                "or no patch of 7 x 7 usable pixels: choose other reference days"
            )
        made = [s.learn(x, self.options.atoms, self.options.rounds, seed) for s, x in zip(samples, std.T, strict=True)]
        return {
            "coarse": np.stack([m.coarse.numpy() for m in made]),
            "fine": np.stack([m.fine.numpy() for m in made]),
            "std": std,
        }

    def _changes(self, scene: Scene, step: Step) -> Iterator[tuple[Tensor, Tensor, list[int], list[int]]]:
        """Coarse and fine change between the pairs [b h w], strip by strip, and where patches begin in them."""
        matched, halo = self.matched(scene), max(PATCH, taps(self.options.resampling))
        _, before, after = coarse_days(step, self.options.max_gap)
        n = scene.per_cell("fine")
        width = scene.size[1] * n
        for window in strips(scene):
            around = window.padded(halo, scene.size)
            place = Place(around, scene.size, n, scene.per_cell("coarse"), 1)

            def change(role: str, bands: list[str], days: tuple[date, date], around: Window = around) -> Tensor:
                cube = scene[role].window(around.scaled(scene.per_cell(role)))
                first, second = (usable(cube, day, bands).double() * self.options.scale for day in days)
                return second - first

            coarse = on_fine(change("coarse", list(matched.values()), (before, after)), place, self.options.resampling)
            fine = change("fine", list(matched), (references(step)[0], references(step)[1]))
            top, bottom = (window.row - around.row) * n, (window.row + window.height - around.row) * n
            starts = patch_starts(around.row * n, around.height * n, scene.size[0] * n)
            rows = [row for row in starts if top <= row < bottom]
            yield coarse, fine, rows, patch_starts(0, width, width)


class _Samples:
    """Training patches of the largest fine variance, and the moments of all usable patches."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = torch.zeros(2, PATCH * PATCH, 0, dtype=torch.float64)
        self._moments = torch.zeros(3, 2, dtype=torch.float64)  # count, sum, sum of squares

    def add(self, coarse: Tensor, fine: Tensor) -> None:
        """Patches [49 n] of one strip; those with gaps are left out."""
        both = torch.stack([coarse, fine])
        both = both[:, :, both.isfinite().all(0).all(0)]
        count = torch.full((2,), float(both[0].numel()), dtype=torch.float64)
        self._moments += torch.stack([count, both.sum((1, 2)), both.square().sum((1, 2))])
        kept = torch.cat([self._kept, both], 2)
        variance = (kept[1] - kept[1].mean(0)).square().mean(0)
        order = variance.argsort(descending=True, stable=True)
        self._kept = kept[:, :, order[: self._most]]

    def std(self) -> NDArray[np.float64]:
        """Standard deviation of coarse and fine change [2]; 0 without patches."""
        count, total, squares = self._moments
        mean = total / count.clamp(min=1)
        found: NDArray[np.float64] = (squares / count.clamp(min=1) - mean.square()).clamp(min=0).sqrt().numpy()
        return found

    def learn(self, std: NDArray[np.float64], atoms: int, rounds: int, seed: int) -> Dictionaries:
        """Coupled dictionaries of the patches, each in units of its standard deviation."""
        coarse, fine = self._kept / torch.from_numpy(std)[:, None, None]
        return learn(coarse, fine, atoms, rounds, seed)


def _couple(step: Step) -> str:
    return "-".join(day.isoformat() for day in references(step))
