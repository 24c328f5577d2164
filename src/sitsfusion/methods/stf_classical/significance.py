"""When a straight line explains more than chance: the F test of a simple regression, as a limit on its correlation."""

from __future__ import annotations

from functools import cache
from math import lgamma

import numpy as np
from numpy.typing import NDArray

_BISECTIONS = 60
_TERMS = 400


@cache
def critical_r2(most: int, probability: float = 0.95) -> NDArray[np.float64]:
    """The squared correlation of n points that the F test (1 and n - 2 degrees of freedom) reaches with this
    probability, for n = 0 to `most`; above 1 where no correlation is significant (n < 3).

    The F distribution at F = r2 (n - 2) / (1 - r2) is the regularised incomplete beta function I(r2; 1/2, (n - 2)/2).
    """
    n = np.arange(3, max(most, 3) + 1)
    low, high = np.zeros(n.size), np.ones(n.size)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = _beta_of_half(middle, (n - 2) / 2) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.concatenate([np.full(3, 2.0), high])[: most + 1]


def _beta_of_half(x: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Regularised incomplete beta function I(x; 1/2, b) for x in [0, 1].

    Continued fraction (Press et al., Numerical Recipes, 6.4), on the side of the mean where it converges fast.
    """
    a = np.full_like(b, 0.5)
    logs = np.array([lgamma(0.5 + k) - lgamma(0.5) - lgamma(k) for k in b])
    with np.errstate(divide="ignore"):
        front = np.exp(logs + 0.5 * np.log(x) + b * np.log1p(-x))
    small = x < (a + 1) / (a + b + 2)
    first = np.where(small, a, b)
    fraction = _fraction(np.where(small, x, 1 - x), first, np.where(small, b, a))
    tail = front * fraction / first
    return np.where(small, tail, 1 - tail)


def _fraction(x: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The continued fraction of the incomplete beta function, by the method of Lentz."""
    tiny = 1e-300

    def lifted(value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.abs(value) < tiny, tiny, value)

    c, d = np.ones_like(x), 1 / lifted(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / lifted(1 + term * d), lifted(1 + term / c)
            change = c * d
            found = found * change
        if np.abs(change - 1).max() < 1e-14:
            break
    return found
