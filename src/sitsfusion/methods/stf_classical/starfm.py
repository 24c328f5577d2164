"""STARFM: the spatial and temporal adaptive reflectance fusion model (Gao et al. 2006).

The fine image of a reference date plus the change of the coarse one, averaged over similar neighbours. Where a
neighbour is close, its coarse pixel pure (fine and coarse agree) and unchanged, it counts more. Section 12.1 of
`spec/baselines.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.methods.base import Card, State, Step
from sitsfusion.methods.stf_classical.base import GriddedOptions, OddWindow, PairMethod, PairOptions
from sitsfusion.methods.stf_classical.images import Images, Pair, taps
from sitsfusion.methods.stf_classical.windows import Neighbourhood, neighbourhoods, padded, rings


class StarfmOptions(GriddedOptions):
    """Options of `starfm`."""

    pairs: int = Field(2, ge=1, le=2, description="reference pairs: the nearest one, or one before and one after")
    window: OddWindow = Field(51, description="side of the moving window in fine pixels; odd")
    classes: int = Field(40, ge=1, description="similar pixels differ by less than 2 standard deviations / classes")
    sigma_temporal: float = Field(50, ge=0, description="uncertainty of a coarse change, in scaled units")
    sigma_spectral: float = Field(50, ge=0, description="uncertainty of fine against coarse, in scaled units")
    strict: bool = Field(False, description="candidates must be better than the centre in both respects, not in one")
    log_scale: float = Field(0, ge=0, description="above 0: weights from logarithms of the differences times this")
    use_change: bool | None = Field(
        None, description="whether small coarse change raises a weight (default: with two pairs only)"
    )
    copy_equal: bool = Field(
        False, description="copy the coarse image where fine and coarse agree, the fine one where coarse did not change"
    )


@dataclass(frozen=True)
class _Limits:
    """Uncertainties: of temporal and spectral differences, and both combined."""

    temporal: float
    spectral: float
    combined: float

    @classmethod
    def of(cls, options: StarfmOptions) -> _Limits:
        temporal = options.sigma_temporal * sqrt(2)
        spectral = sqrt(options.sigma_temporal**2 + options.sigma_spectral**2)
        return cls(temporal, spectral, sqrt(temporal**2 + spectral**2))


@dataclass(frozen=True, eq=False)
class _Layers:
    """One pair, [b h w] each: fine image, |coarse change|, |fine - coarse|, fine plus change; NaN where not usable."""

    fine: Tensor
    change: Tensor
    spectral: Tensor
    shifted: Tensor


def starfm(pairs: Sequence[Pair], coarse: Tensor, std: Tensor, options: StarfmOptions) -> Tensor:
    """The fine image of the wanted day [b h w]; NaN where no pair and the coarse image are usable.

    Args:
        pairs: one or two; images [b h w] on the fine grid, NaN where not usable (in all bands).
        coarse: of the wanted day [b h w] on the fine grid, likewise.
        std: [k b] standard deviation of each pair's fine image over the whole scene.
        options: window, limits and weights.
    """
    limits = _Limits.of(options)
    layers = [_layers(pair, coarse) for pair in pairs]
    change_limit = _fmin([x.change for x in layers]) + limits.temporal
    spectral_limit = _fmin([x.spectral for x in layers]) + limits.spectral
    bounds = torch.stack([change_limit, spectral_limit])
    centre = torch.stack([x.shifted for x in layers]).nanmean(0)
    searches = [_Search.of(x, s, options, single=len(pairs) == 1) for x, s in zip(layers, std, strict=True)]
    out = torch.empty_like(coarse)
    for block in neighbourhoods(coarse.shape[-2:], options.window // 2, len(coarse)):
        here = (..., block.rows, block.columns)
        sums = torch.zeros_like(bounds[here])
        for search in searches:
            search.add(sums, bounds[here], block, options.strict)
        out[here] = torch.where(sums[0] > 0, sums[1] / sums[0], centre[here])
    return _copied(out, layers, coarse) if options.copy_equal else out


@dataclass(frozen=True, eq=False)
class _Search:
    """What the candidates of a pair are found and weighted in, padded by the window's radius.

    Attributes:
        tested: fine image, |coarse change|, |fine - coarse| [3 b H W].
        near: weight of a pixel, and the same times its value [2 b H W], to be divided by its spatial distance D.
        certain: the same where the weight is 1 at any distance. 0 in both = not usable.
        limit: how far fine values may be apart [b].
    """

    tested: Tensor
    near: Tensor
    certain: Tensor
    limit: Tensor

    @classmethod
    def of(cls, layers: _Layers, std: Tensor, options: StarfmOptions, single: bool) -> _Search:
        used, radius = not single if options.use_change is None else options.use_change, options.window // 2
        change = layers.change if used else torch.zeros_like(layers.change)
        if options.log_scale > 0:
            combined = (2 + options.log_scale * change).log() * (2 + options.log_scale * layers.spectral).log()
            certain = torch.zeros_like(combined)
        else:
            combined = (1 + change) * (1 + layers.spectral)
            certain = (combined < _Limits.of(options).combined).to(combined)
        near, value = (1 - certain) * (1 / combined).nan_to_num(0.0), layers.shifted.nan_to_num(0.0)
        return cls(
            padded(torch.stack([layers.fine, layers.change, layers.spectral]), radius, torch.nan),
            padded(torch.stack([near, near * value]), radius, 0.0),
            padded(torch.stack([certain, certain * value]), radius, 0.0),
            (2 * std / options.classes).to(value),
        )

    def add(self, sums: Tensor, bounds: Tensor, block: Neighbourhood, strict: bool) -> None:
        """Add weights and weighted values of the candidates to the sums [2 b h w] of a block, in place.

        `bounds` [2 b h w] are the limits of |coarse change| and |fine - coarse|. Truth is kept as 0.0 and 1.0: on a
        CPU, tensors of bool are several times slower to make and to use.
        """
        tested, near, certain = (block.around(x) for x in (self.tested, self.near, self.certain))
        neighbours = block.neighbours(tested)
        reference = torch.cat([neighbours(0, 0)[:1], bounds])
        limit = torch.zeros_like(reference)
        limit[0] = self.limit[:, None, None]
        passed = torch.empty_like(reference)
        similar, steady, pure = passed
        join = torch.mul if strict else torch.maximum
        for ring in rings(block.radius):
            weights = block.neighbours(certain.add(near, alpha=1 / (1 + 2 * ring.distance / (2 * block.radius + 1))))
            for dy, dx in ring.offsets:
                torch.sub(neighbours(dy, dx), reference, out=passed)
                similar.abs_()
                passed.lt_(limit)
                similar.mul_(join(steady, pure, out=steady))
                sums.addcmul_(similar, weights(dy, dx))


def _layers(pair: Pair, coarse: Tensor) -> _Layers:
    moved = coarse - pair.coarse
    shifted = pair.fine + moved
    unusable = shifted.isnan()
    return _Layers(pair.fine.masked_fill(unusable, torch.nan), moved.abs(), (pair.coarse - pair.fine).abs(), shifted)


def _fmin(images: Sequence[Tensor]) -> Tensor:
    """The smallest of the usable ones."""
    found = images[0]
    for image in images[1:]:
        found = torch.fmin(found, image)
    return found


def _copied(out: Tensor, layers: Sequence[_Layers], coarse: Tensor) -> Tensor:
    """Pixels whose pair agrees take the coarse image, pixels without coarse change the fine one (first pair wins)."""
    for x in reversed(layers):
        out = torch.where(x.spectral == 0, coarse, out)
        out = torch.where(x.change == 0, x.fine, out)
    return out


class Starfm(PairMethod):
    """STARFM with one or two reference pairs; each band apart."""

    card: ClassVar[Card] = Card(
        name="starfm",
        title="STARFM",
        summary="Fine image plus coarse change, averaged over similar neighbours. One or two reference pairs.",
        citation="Gao, Masek, Schwaller and Hall (2006), IEEE TGRS 44(8), 2207-2218",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[PairOptions]] = StarfmOptions
    options: StarfmOptions

    def pairs_wanted(self) -> tuple[int, int]:
        return 1, self.options.pairs

    def reach(self) -> tuple[int, int]:
        return self.options.window // 2, taps(self.options.resampling)

    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        pairs, coarse = images.on_fine(self.options.resampling)
        return starfm(pairs, coarse, images.of_references("std", state), self.options)
