"""Parcels: a landscape cut again and again by straight lines, as property is divided.

Each piece is cut across its longer side, nearly parallel to the cuts around it, until it is small enough. The first
cuts are roads, some of the later ones tracks and hedges. The points may be given in bent coordinates: the cuts
are then curves on the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HECTARE = 10_000.0
NO_LINE = 0
_FEWEST_POINTS = 8  # of a piece that may still be cut

Points = NDArray[np.int64]


@dataclass(frozen=True)
class LineRule:
    """Cuts through pieces larger than `above` (m2) become a line of this kind and `width` (m), with a probability."""

    kind: int
    width: float
    above: float
    probability: float = 1.0


@dataclass(frozen=True)
class Partition:
    """`parcel` [n] of each point, numbered from 0 to `count` - 1; `line` [n]: kind of line over it, or `NO_LINE`."""

    parcel: NDArray[np.int32]
    line: NDArray[np.uint8]
    count: int


def partition(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    point_area: float,
    target_area: float,
    rules: tuple[LineRule, ...],
    elongation: float = 1.0,
) -> Partition:
    """Divide points at `x`, `y` [n] (m), each standing for `point_area` m2, into parcels of about `target_area` m2.

    The first of the `rules` that a piece is large enough for, and whose draw succeeds, makes the cut a line. Pieces
    of less than `elongation` parcels (if above 1) are cut lengthwise, into strips.
    """
    parcel = np.zeros(x.size, np.int32)
    line = np.full(x.size, NO_LINE, np.uint8)
    count = 0
    pieces: list[tuple[Points, float]] = [(np.arange(x.size), float(rng.uniform(0, np.pi)))]
    while pieces:
        points, angle = pieces.pop()
        parcel[points] = count
        area = points.size * point_area
        if points.size < _FEWEST_POINTS or area < target_area * rng.lognormal(0.3, 0.5):
            count += 1
            continue
        # districts differ in direction; inside one, neighbours are nearly parallel
        angle += rng.normal(0, 0.35 if area > 60 * HECTARE else 0.06)
        across, position, angle = _cut(x[points], y[points], angle, rng, 1 < area / target_area < elongation)
        rule = _line_for(area, rules, rng)
        if rule is not None:
            line[points[np.abs(across - position) < rule.width / 2]] = rule.kind
        pieces += [(points[across < position], angle), (points[across >= position], angle)]
    return Partition(parcel, line, count)


def _cut(
    x: NDArray[np.float32], y: NDArray[np.float32], angle: float, rng: np.random.Generator, strips: bool
) -> tuple[NDArray[np.float32], float, float]:
    """Positions of the points along the longer side of a piece, where to cut it, and the direction of that side.

    `strips`: along its shorter side instead.
    """
    along = (x * np.cos(angle) + y * np.sin(angle)).astype(np.float32)
    aside = (y * np.cos(angle) - x * np.sin(angle)).astype(np.float32)
    if (np.ptp(aside) > np.ptp(along)) != strips:
        along, angle = aside, angle + np.pi / 2
    low, high = float(along.min()), float(along.max())
    return along, low + float(rng.uniform(0.33, 0.67)) * (high - low), angle


def _line_for(area: float, rules: tuple[LineRule, ...], rng: np.random.Generator) -> LineRule | None:
    draws = rng.random(len(rules))
    fitting = [r for r, draw in zip(rules, draws, strict=True) if area > r.above and draw < r.probability]
    return fitting[0] if fitting else None
