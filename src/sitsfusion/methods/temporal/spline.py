"""SPLINE: piecewise cubics through the clear observations of each pixel: not-a-knot, Akima or PCHIP.

Definitions as SciPy's `CubicSpline(bc_type="not-a-knot")`, `Akima1DInterpolator` (Akima, J. ACM 17, 1970) and
`PchipInterpolator` (Fritsch, Butland, SIAM J. Sci. Stat. Comput. 5, 1984). All are Hermite cubics and differ in the
slopes at the observations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.methods.base import Card, Options
from sitsfusion.methods.temporal.base import Curve, Pixels, TemporalMethod

Kind = Literal["cubic", "akima", "pchip"]
# Akima: weights below this share of the largest count as zero (as SciPy).
_AKIMA_BREAK = 1e-9


@dataclass(frozen=True, eq=False)
class Knots:
    """Clear observations of n pixels moved to the front of the time axis.

    `x` days [m n], `y` [m c n], `count` [n]: only the first `count` are observations; behind them x goes on in steps
    of one day, so that nothing divides by zero.
    """

    x: Tensor
    y: Tensor
    count: Tensor

    @property
    def steps(self) -> Tensor:
        """Days between knots: [m-1 n]."""
        return self.x.diff(dim=0)

    @property
    def chords(self) -> Tensor:
        """Slopes of the straight lines between knots: [m-1 c n]."""
        return self.y.diff(dim=0) / self.steps[:, None]


def knots_of(pixels: Pixels) -> Knots:
    """The observations of each pixel without its gaps, in time order; at least two places even for one date."""
    order = torch.argsort((~pixels.valid).to(torch.uint8), dim=0, stable=True)  # [t n]
    count = pixels.count()
    rank = torch.arange(len(order), device=order.device)[:, None]
    last = pixels.days[-1] + 1 + rank
    x = torch.where(rank < count, pixels.days[order], last)
    y = pixels.values.gather(0, order[:, None].expand_as(pixels.values))
    if len(order) == 1:
        return Knots(torch.cat([x, x + 1]), torch.cat([y, y]), count)
    return Knots(x, y, count)


def interpolate(pixels: Pixels, targets: Tensor, kind: Kind) -> Tensor:
    """[q c n] at the target days, moved into the span of each pixel: NaN where a pixel was never clear.

    One observation is repeated, two make a line (three a parabola for `cubic`).
    """
    knots = knots_of(pixels)
    slopes = {"cubic": _not_a_knot, "akima": _akima, "pchip": _pchip}[kind](knots)
    slopes = torch.where(knots.count > 1, slopes, 0.0)
    made = _hermite(knots, slopes, pixels.clamped(targets))
    return torch.where(knots.count > 0, made, torch.nan)


def _hermite(knots: Knots, slopes: Tensor, at: Tensor) -> Tensor:
    """The cubics with these slopes [m c n] at days [q n] within the knots: [q c n]."""
    last = (knots.count - 2).clamp(min=0)
    inside = sum(((at >= x) & (knots.count > k)).long() for k, x in enumerate(knots.x))
    left = torch.minimum((torch.as_tensor(inside) - 1).clamp(min=0), last)  # [q n]
    step = knots.steps.gather(0, left)[:, None]  # [q 1 n]
    s = (at - knots.x.gather(0, left))[:, None] / step
    index = left[:, None].expand(-1, knots.y.shape[1], -1)
    (y0, y1), (d0, d1) = ((a.gather(0, index), a.gather(0, index + 1)) for a in (knots.y, slopes))
    rise = y1 - y0
    # one observation: both ends are that one (d = 0), whatever lies behind it
    rise = torch.where(knots.count > 1, rise, 0.0)
    bend = d0 * step - rise, -d1 * step + rise
    return y0 + s * rise + s * (1 - s) * ((1 - s) * bend[0] + s * bend[1])


def _not_a_knot(knots: Knots) -> Tensor:
    """Slopes of the cubic spline whose third derivative is continuous at the second and the last but one knot."""
    h, chord, n = knots.steps, knots.chords, knots.count
    m = len(knots.x)
    lower, diagonal, upper = (torch.zeros_like(knots.x) for _ in range(3))
    right = torch.zeros_like(knots.y)
    diagonal += 1.0
    for i in range(m):
        row = _end_row(i, h, chord, n)
        if 0 < i < m - 1:
            middle = (
                h[i],
                2 * (h[i - 1] + h[i]),
                h[i - 1],
                3 * (h[i] * chord[i - 1] + h[i - 1] * chord[i]),
            )
            row = [torch.where(n > i + 1, a, b) for a, b in zip(middle, row, strict=True)]
        lower[i], diagonal[i], upper[i], right[i] = row
    return _tridiagonal(lower, diagonal, upper, right)


def _end_row(i: int, h: Tensor, chord: Tensor, n: Tensor) -> list[Tensor]:
    """(lower, diagonal, upper, right) of row i where it is the first or the last knot, else those of the identity."""
    zero, one = torch.zeros_like(h[0]), torch.ones_like(h[0])
    identity = [zero, one, zero, torch.zeros_like(chord[0])]
    last = n == i + 1
    if i == 0:
        two = [zero, one, zero, chord[0]]
        three = [zero, one, one, 2 * chord[0]]
        row = _select(n == 2, two, identity)
        row = _select(n == 3, three, row)
        if len(h) < 3:
            return row
        span = h[0] + h[1]
        value = ((h[0] + 2 * span) * h[1] * chord[0] + h[0] ** 2 * chord[1]) / span
        return _select(n > 3, [zero, h[1], span, value], row)
    two = [zero, one, zero, chord[i - 1]]
    row = _select(last & (n == 2), two, identity)
    row = _select(last & (n == 3), [one, one, zero, 2 * chord[i - 1]], row)
    if i < 3:
        return row
    span = h[i - 1] + h[i - 2]
    value = (h[i - 1] ** 2 * chord[i - 2] + (2 * span + h[i - 1]) * h[i - 2] * chord[i - 1]) / span
    return _select(last & (n > 3), [span, h[i - 2], zero, value], row)


def _select(where: Tensor, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return [torch.where(where, x, y) for x, y in zip(a, b, strict=True)]


def _tridiagonal(lower: Tensor, diagonal: Tensor, upper: Tensor, right: Tensor) -> Tensor:
    """X of a tridiagonal system per pixel: rows [m n], right side [m c n] (Thomas)."""
    pivot, x = [diagonal[0]], [right[0]]
    for i in range(1, len(diagonal)):
        factor = lower[i] / pivot[-1]
        pivot.append(diagonal[i] - factor * upper[i - 1])
        x.append(right[i] - factor * x[-1])
    x[-1] = x[-1] / pivot[-1]
    for i in range(len(x) - 2, -1, -1):
        x[i] = (x[i] - upper[i] * x[i + 1]) / pivot[i]
    return torch.stack(x)


def _pchip(knots: Knots) -> Tensor:
    """Weighted harmonic means of neighbouring chords, 0 where they turn; one-sided and shape-preserving at the ends."""
    h, chord, n = knots.steps[:, None], knots.chords, knots.count
    m = len(knots.x)
    slopes = torch.zeros_like(knots.y)
    for i in range(m):
        if 0 < i < m - 1:
            a, b = chord[i - 1], chord[i]
            w1, w2 = 2 * h[i] + h[i - 1], h[i] + 2 * h[i - 1]
            turns = a * b <= 0
            mean = (w1 + w2) / (w1 / torch.where(turns, 1.0, a) + w2 / torch.where(turns, 1.0, b))
            slopes[i] = torch.where(turns, 0.0, mean)
        if i > 0:
            far = max(i - 2, 0)
            end = _pchip_end(h[i - 1], h[far], chord[i - 1], chord[far], n)
            slopes[i] = torch.where(n == i + 1, end, slopes[i])
    near = min(1, m - 2)
    slopes[0] = _pchip_end(h[0], h[near], chord[0], chord[near], n)
    return slopes


def _pchip_end(h0: Tensor, h1: Tensor, m0: Tensor, m1: Tensor, n: Tensor) -> Tensor:
    d = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    d = torch.where((m0.sign() != m1.sign()) & (d.abs() > 3 * m0.abs()), 3 * m0, d)
    d = torch.where(((2 * h0 + h1) * m0 - h0 * m1).sign() != m0.sign(), 0.0, d)
    return torch.where(n == 2, m0, d)


def _akima(knots: Knots) -> Tensor:
    """Means of the chords, weighted by how much the chords on the other side change."""
    chord, n = knots.chords, knots.count
    m, (_, c, pixels) = len(knots.x), chord.shape
    wide = chord.new_zeros(m + 3, c, pixels)  # two more chords at each end, by linear extrapolation
    wide[2 : m + 1] = chord
    # with two knots there is one chord, repeated
    second = torch.where(n > 2, chord[min(1, m - 2)], chord[0])
    wide[1] = 2 * chord[0] - second
    wide[0] = 2 * wide[1] - chord[0]
    for i in range(2, m + 3):
        wide[i] = torch.where(n < i, 2 * wide[i - 1] - wide[i - 2], wide[i])
    change = wide.diff(dim=0).abs()  # [m+2 c n]
    after, before = change[2:], change[:-2]  # [m c n]
    total = after + before
    used = torch.arange(m, device=n.device)[:, None, None] < n
    largest = torch.where(used, total, 0.0).amax(0)
    flat = total <= _AKIMA_BREAK * largest
    mean = (wide[3:] + wide[:-3]) / 2
    weighted = (after * wide[1:-2] + before * wide[2:-1]) / torch.where(flat, 1.0, total)
    return torch.where(flat, mean, weighted)


class SplineOptions(Options):
    """Options of `spline`."""

    kind: Kind = Field("akima", description="cubic (not-a-knot; overshoots), akima, or pchip (never overshoots)")


class Spline(TemporalMethod):
    """Before a pixel's first clear observation, and after its last, that observation is repeated."""

    card: ClassVar[Card] = Card(
        name="spline",
        title="Cubic, Akima or PCHIP spline",
        summary="Piecewise cubics through the clear observations of each pixel. Each sensor apart; needs masks.",
        citation="Akima (1970), J. ACM 17; Fritsch, Butland (1984), SIAM J. Sci. Stat. Comput. 5",
        uses=("fine", "coarse", "thermal"),
    )
    Options: ClassVar[type[Options]] = SplineOptions
    options: SplineOptions

    def numbers_per_pixel(self, dates: int, bands: int, targets: int, span: int) -> int:
        return 10 * bands * dates + 8 * bands * targets

    def curve(self, pixels: Pixels, targets: Tensor) -> Curve:
        return Curve(interpolate(pixels, targets, self.options.kind))
