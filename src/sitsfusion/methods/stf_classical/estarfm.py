"""ESTARFM: the enhanced STARFM (Zhu et al. 2010), with two reference pairs.

Neighbours that are similar at both reference dates give the ratio of fine to coarse change by regression, and the
coarse change weighted by how well fine and coarse agree there. Section 12.2 of `spec/baselines.md`; `mode="full"`
follows the authors' program where that section says it differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from sitsfusion.methods.base import Card, State, Step
from sitsfusion.methods.stf_classical.base import GriddedOptions, OddWindow, PairMethod, PairOptions
from sitsfusion.methods.stf_classical.images import Images, Pair, taps
from sitsfusion.methods.stf_classical.significance import critical_r2
from sitsfusion.methods.stf_classical.windows import Neighbourhood, box_sum, neighbourhoods, padded, rings

# Up to this many candidates are too few for a regression.
_FEW = 5
_STEEPEST = 5.0
_TINY = 1e-25
_SMALL_CHANGE = 0.02  # of the largest value: below it, the coarse change says nothing about the fine one


class EstarfmOptions(GriddedOptions):
    """Options of `estarfm`."""

    mode: Literal["reference", "full"] = Field(
        "reference", description="the compared library's variant, or the authors' program"
    )
    window: OddWindow = Field(51, description="side of the moving window in fine pixels; odd")
    classes: int = Field(4, ge=1, description="similar pixels differ by at most 2 standard deviations / classes")
    data_range: tuple[float, float] | None = Field(
        None, description="least and largest possible value, in scaled units (mode full: 0 to 10000 by default)"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.data_range is not None and self.data_range[0] >= self.data_range[1]:
            raise ValueError(f"data_range {self.data_range} is empty; give (least, largest)")
        return self

    @property
    def limits(self) -> tuple[float, float] | None:
        """The data range in force."""
        return (0.0, 10_000.0) if self.data_range is None and self.mode == "full" else self.data_range


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the candidates of a block.

    `count` [1 h w]; of coarse and fine values of both dates, less a level, [b h w]: values, squares, products, and
    (mode full) coarse values of the first date; weighted: `weight` [1 h w], coarse change since each date and, with a
    data range, fine values of each date [2 b h w].
    """

    count: Tensor
    coarse: Tensor
    fine: Tensor
    coarse2: Tensor
    product: Tensor
    fine2: Tensor
    first: Tensor | None
    weight: Tensor
    change: Tensor
    level: Tensor | None

    @classmethod
    def of(cls, table: Tensor, bands: int, weighted: int) -> _Sums:
        """From the layers in the order of `_layers`, the last `weighted` of which are weighted."""
        plain = table[1:-weighted].reshape(-1, bands, *table.shape[1:])
        moved = table[1 - weighted :].reshape(-1, 2, bands, *table.shape[1:])
        coarse, fine, coarse2, product, fine2 = plain[:5]
        first, level = plain[5] if len(plain) > 5 else None, moved[1] if len(moved) > 1 else None
        weight = table[-weighted, None]
        return cls(table[:1], coarse, fine, coarse2, product, fine2, first, weight, moved[0], level)


def estarfm(pairs: Sequence[Pair], coarse: Tensor, std: Tensor, level: Tensor, options: EstarfmOptions) -> Tensor:
    """The fine image of the wanted day [b h w]; NaN where any of the five images is not usable.

    Args:
        pairs: two, in time order; images [b h w] on the fine grid, NaN where not usable (in all bands).
        coarse: of the wanted day [b h w] on the fine grid, likewise.
        std: [2 b] standard deviation of each fine image over the whole scene.
        level: [b] a typical value; it is subtracted before sums of squares are taken, and changes nothing else.
        options: window, classes, data range, mode.
    """
    radius = options.window // 2
    usable = torch.stack([coarse[0], *(x[0] for p in pairs for x in (p.fine, p.coarse))]).isfinite().all(0)
    pairs = [Pair(*(x.masked_fill(~usable, torch.nan) for x in (p.fine, p.coarse))) for p in pairs]
    coarse = coarse.masked_fill(~usable, torch.nan)
    change = torch.stack([box_sum(coarse - p.coarse, radius) for p in pairs])  # [2 b h w]
    nearness = 1 / (change.abs() + 1e-10)
    share = nearness / nearness.sum(0)
    change = change / box_sum(usable.to(coarse)[None], radius)
    search = _Search.of(pairs, coarse, std, level, options)
    out = torch.full_like(coarse, torch.nan)
    for block in neighbourhoods(coarse.shape[-2:], radius, 2 * len(coarse)):
        here = (..., block.rows, block.columns)
        fine = torch.stack([p.fine[here] for p in pairs])
        out[here] = _predict(search.sums(block), fine, share[here], change[here], options)
    return out


@dataclass(frozen=True, eq=False)
class _Search:
    """What candidates are found and summed in, padded: fine images of both dates [2b H W], in units of how far
    candidates may be apart; 1 - correlation of fine and coarse [H W]; what is summed [k H W], the last layers weighted.
    """

    fine: Tensor
    apart: Tensor
    layers: Tensor
    weighted: int
    strict: bool
    half: float

    @classmethod
    def of(cls, pairs: Sequence[Pair], coarse: Tensor, std: Tensor, level: Tensor, options: EstarfmOptions) -> _Search:
        radius, full = options.window // 2, options.mode == "full"
        plain, weighted = _layers(pairs, coarse, level.to(coarse)[:, None, None], options)
        # A band without any contrast excludes no neighbour of equal value, whatever the rounding of the limit.
        limit = (2 * std.flatten() / options.classes).clamp(min=_TINY).to(coarse)[:, None, None]
        return cls(
            padded(torch.cat([p.fine for p in pairs]) / limit, radius, torch.nan),
            padded(_disagreement(pairs), radius, 0.0),
            padded(torch.cat([plain, weighted]), radius, 0.0),
            len(weighted),
            full,
            max(radius, 1) if full else options.window / 2,
        )

    def sums(self, block: Neighbourhood) -> _Sums:
        """Sums over the candidates of each pixel of a block."""
        fine, apart, layers = (block.around(x) for x in (self.fine, self.apart, self.layers))
        neighbours = block.neighbours(fine)
        centre = neighbours(0, 0)
        table = layers.new_zeros(len(layers), *centre.shape[1:])
        gap, chosen = torch.empty_like(centre), torch.empty_like(centre[:1])
        layers, plain = layers.clone(), layers[-self.weighted :]
        summed = block.neighbours(layers)
        for ring in rings(block.radius):
            weight = 1 / (apart * (1 + ring.distance / self.half) + 1e-7)
            torch.mul(plain, weight, out=layers[-self.weighted :])
            for dy, dx in ring.offsets:
                torch.sub(neighbours(dy, dx), centre, out=gap).abs_()
                torch.amax(gap, 0, keepdim=True, out=chosen)
                chosen.lt_(1.0) if self.strict else chosen.le_(1.0)
                table.addcmul_(chosen, summed(dy, dx))
        return _Sums.of(table, len(centre) // 2, self.weighted)


def _layers(pairs: Sequence[Pair], coarse: Tensor, level: Tensor, options: EstarfmOptions) -> tuple[Tensor, Tensor]:
    """What is summed over candidates, in the order of `_Sums`, and of that what is weighted; 0 where not usable."""
    c, f = (torch.stack([x - level for x in both]) for both in ([p.coarse for p in pairs], [p.fine for p in pairs]))
    plain = [c.sum(0), f.sum(0), c.square().sum(0), (c * f).sum(0), f.square().sum(0)]
    plain += [c[0]] if options.mode == "full" else []
    change = [coarse - p.coarse for p in pairs]
    one = torch.ones_like(coarse[:1])
    weighted = torch.cat([one, *change, *([p.fine for p in pairs] if options.limits is not None else [])])
    return torch.cat([one, *plain]).nan_to_num(0.0), weighted.nan_to_num(0.0)


def _disagreement(pairs: Sequence[Pair]) -> Tensor:
    """1 - correlation of fine with coarse values over the bands of both dates [h w]; 0 where either is constant, and
    where not usable. It is small, so it is computed in float64.
    """
    fine, coarse = (torch.cat(x).double() for x in ([p.fine for p in pairs], [p.coarse for p in pairs]))
    fine, coarse = fine - fine.mean(0), coarse - coarse.mean(0)
    spread = fine.square().sum(0) * coarse.square().sum(0)
    found = torch.where(spread > 0, (fine * coarse).sum(0) / spread.sqrt(), 1.0)
    return (1 - found).nan_to_num(0.0).clamp(min=0.0).to(pairs[0].fine)


def _predict(sums: _Sums, fine: Tensor, share: Tensor, change: Tensor, options: EstarfmOptions) -> Tensor:
    """From the sums: fine images [2 b h w] plus the weighted change times the slope, joined by their share."""
    full = options.mode == "full"
    moved = fine + _slope(sums, options) * sums.change / sums.weight
    found = (share * moved).sum(0)
    few = (share * (fine + change if full else fine)).sum(0)
    if options.limits is not None and sums.level is not None:
        low, high = options.limits
        replaced = (share * sums.level / sums.weight).sum(0)
        found = torch.where((found < low) | (found > high), replaced, found)
    return torch.where(sums.count > _FEW, found, few)


def _slope(sums: _Sums, options: EstarfmOptions) -> Tensor:
    """Ratio of fine to coarse change [b h w]: of the regression where that can be trusted, else 1."""
    n = 2 * sums.count
    xx = sums.coarse2 - sums.coarse.square() / n
    xy = sums.product - sums.coarse * sums.fine / n
    yy = sums.fine2 - sums.fine.square() / n
    limits = torch.from_numpy(critical_r2(2 * options.window**2)).to(xx.device)
    significant = xy.square() / (xx * yy) >= limits[n.round().long()]
    slope = xy / xx
    trusted = significant & (slope >= 0) & (slope <= _STEEPEST)
    if sums.first is not None and options.limits is not None:
        first = 2 * sums.first / n
        trusted &= (2 * (sums.coarse / n - first)).abs() >= _SMALL_CHANGE * options.limits[1]
    elif options.limits is not None:
        trusted &= (xx / (n - 1)).sqrt() > options.limits[1] * 0.002 * sqrt(2)
    return torch.where(trusted, slope, 1.0)


class Estarfm(PairMethod):
    """ESTARFM with two reference pairs; all bands choose the neighbours."""

    card: ClassVar[Card] = Card(
        name="estarfm",
        title="ESTARFM",
        summary="Fine image plus coarse change times a conversion ratio, from two reference pairs.",
        citation="Zhu, Chen, Gao, Chen and Masek (2010), Remote Sensing of Environment 114(11), 2610-2623",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[PairOptions]] = EstarfmOptions
    options: EstarfmOptions
    layers = 60  # sums of products, and float64 where correlations are taken

    def pairs_wanted(self) -> tuple[int, int]:
        return 2, 2

    def reach(self) -> tuple[int, int]:
        return self.options.window // 2, taps(self.options.resampling)

    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        pairs, coarse = images.on_fine(self.options.resampling)
        std, mean = (images.of_references(key, state) for key in ("std", "mean"))
        return estarfm(pairs, coarse, std, mean.mean(0), self.options)
