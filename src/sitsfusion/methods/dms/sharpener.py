"""The sharpener: aggregation, windows, models local and global, their combination, residual analysis.

Arrays are NumPy [rows columns], float64, NaN where missing. "Low" is the grid of the temperature, "high" the grid of
the reflectances, `ratio` high pixels along the side of a low one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sitsfusion.grid import Window
from sitsfusion.methods.dms.trees import Forest, TreeRules, fit_forest
from sitsfusion.methods.dms.upsampling import Enlargement, upsample

Array = NDArray[np.float64]
# A sampling window reaches this share of a window's side beyond it.
_OVERLAP = 0.25
_NO_CV = 1000.0
_HOMOGENEOUS_PERCENTILE = 80


@dataclass(frozen=True)
class Rules:
    """`window`: side of local windows in low pixels (0: no local models); `fewest` good pixels for a model;
    `temperature`: averages are of the fourth power; `fill_holes`: the global model where there is no local one;
    `mixed_cv`: coefficient of variation from which a low pixel is mixed (None: the upper fifth of its window);
    `drop_mixed`: such pixels are left out, not only halved in weight.
    """

    local: TreeRules = field(default_factory=lambda: TreeRules(10))
    overall: TreeRules = field(default_factory=lambda: TreeRules(30))
    window: int = 15
    fewest: int = 10
    temperature: bool = True
    fill_holes: bool = False
    mixed_cv: float | None = None
    drop_mixed: bool = False


def aggregate(high: Array, ratio: int) -> tuple[Array, Array, Array]:
    """Bands [c H W] on the low grid: mean and standard deviation [c h w], NaN left out, and their mean ratio [h w]."""
    c, height, width = high.shape
    h, w = height // ratio, width // ratio
    blocks = high[:, : h * ratio, : w * ratio].reshape(c, h, ratio, w, ratio).transpose(0, 1, 3, 2, 4)
    blocks = blocks.reshape(c, h, w, -1).astype(np.float64)
    seen = ~np.isnan(blocks)
    count = seen.sum(-1)
    filled = np.where(seen, blocks, 0.0)
    mean = np.divide(filled.sum(-1), count, out=np.full((c, h, w), np.nan), where=count > 0)
    off = np.where(seen, blocks - mean[..., None], 0.0)
    std = np.sqrt(np.divide((off**2).sum(-1), count, out=np.full((c, h, w), np.nan), where=count > 0))
    mean = np.where(mean == 0, 1e-6, mean)
    cv = (std / mean).mean(0)
    return mean, std, np.where(np.isnan(cv), _NO_CV, cv)


def cells(shape: tuple[int, int], window: int) -> Iterator[Window]:
    """The windows of a low grid, row by row; those at the right and the bottom may be cut."""
    for row in range(0, shape[0], window):
        for col in range(0, shape[1], window):
            yield Window(row, col, window, window).clipped(shape)


def sampling_window(cell: Window, window: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The pixels that a cell's model learns from: the cell and a quarter of a window around it."""
    margin = _OVERLAP * window
    return tuple(  # type: ignore[return-value]
        slice(int(max(start - margin, 0)), int(min(start + window + margin, side)))
        for start, side in zip((cell.row, cell.col), shape, strict=True)
    )


def mixed(cv: Array, limit: float | None) -> NDArray[np.bool_]:
    """Which samples [m] are mixed: from `limit` on, or (None) the least homogeneous fifth."""
    return np.asarray(cv >= (np.percentile(cv, _HOMOGENEOUS_PERCENTILE) if limit is None else limit))


def homogeneity_weights(cv: Array, limit: float | None = None) -> Array:
    """Weights of samples by their coefficient of variation [m]: 1 / cv scaled to 0..1, halved for the mixed ones; all 1
    where all are equally homogeneous.
    """
    weights = 1 / cv
    if len(cv) > 1:
        low, high = weights.min(), weights.max()
        if high == low:
            return np.ones_like(cv)
        weights = (weights - low) / (high - low)
    return np.where(mixed(cv, limit), weights / 2, weights)


@dataclass(frozen=True, eq=False)
class Samples:
    """The low grid: `means` [c h w] and `cv` [h w] of the bands, `temperature` [h w], `good` bool [h w]."""

    means: Array
    cv: Array
    temperature: Array
    good: NDArray[np.bool_]

    def usable(self) -> NDArray[np.bool_]:
        """Good pixels with temperature, all bands and a coefficient of variation."""
        seen = np.isfinite(self.temperature) & np.isfinite(self.means).all(0)
        return np.asarray(self.good & seen & (self.cv > 0) & (self.cv < _NO_CV))

    def fit(self, where: tuple[slice, slice], rules: Rules, trees: TreeRules, seed: tuple[int, ...]) -> Forest | None:
        """A model of the usable pixels of a rectangle; None where they are too few."""
        use = self.usable()[where]
        if rules.drop_mixed and use.any():
            use[use] = ~mixed(self.cv[where][use], rules.mixed_cv)
        if use.sum() < rules.fewest:
            return None
        x = self.means[(slice(None), *where)][:, use].T
        weights = homogeneity_weights(self.cv[where][use], rules.mixed_cv)
        return fit_forest(np.ascontiguousarray(x), self.temperature[where][use], weights, trees, seed)


@dataclass(frozen=True, eq=False)
class Models:
    """`local`: by cell number (row by row), None where there were too few samples; `overall`: the global one."""

    local: tuple[Forest | None, ...]
    overall: Forest | None

    @property
    def any_local(self) -> bool:
        return any(model is not None for model in self.local)


def train(samples: Samples, rules: Rules, seed: tuple[int, ...] = (0,)) -> Models:
    """Local and global models of a scene."""
    shape = (samples.cv.shape[0], samples.cv.shape[1])
    places = list(cells(shape, rules.window)) if rules.window else []
    local = tuple(
        samples.fit(sampling_window(cell, rules.window, shape), rules, rules.local, (*seed, 1 + k))
        for k, cell in enumerate(places)
    )
    everywhere = (slice(0, shape[0]), slice(0, shape[1]))
    return Models(local, samples.fit(everywhere, rules, rules.overall, (*seed, 0)))


@dataclass(frozen=True)
class Place:
    """A rectangle `at` of a low grid of size `scene`, with `ratio` high pixels along the side of a low one."""

    at: Window
    scene: tuple[int, int]
    ratio: int

    @property
    def grid(self) -> Enlargement:
        return Enlargement(self.ratio, self.at.col, self.scene[1])


def apply(models: Models, high: Array, place: Place, rules: Rules) -> tuple[Array, Array]:
    """Temperatures of the local and of the global model over a rectangle: [H W] each.

    `high` [c H W] covers it; high pixels beyond the last whole low pixel of the scene belong to the last cell. Where
    there is no local model there is no global temperature either, unless no cell has one, or `fill_holes`.
    """
    local, overall = (np.full(high.shape[1:], np.nan, np.float64) for _ in range(2))
    everywhere = not models.any_local or rules.fill_holes
    window = rules.window or max(place.scene)
    for number, cell in enumerate(cells(place.scene, window)):
        where = _high_slices(cell, place, high.shape[1:])
        if where is None:
            continue
        pixels, model = high[(slice(None), *where)], models.local[number] if models.local else None
        if model is not None:
            local[where] = _predicted(model, pixels)
        if models.overall is not None and (model is not None or everywhere):
            overall[where] = _predicted(models.overall, pixels)
    return local.astype(np.float32).astype(np.float64), overall.astype(np.float32).astype(np.float64)


def _high_slices(cell: Window, place: Place, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Where a cell lies in the high pixels of a rectangle, or None."""
    found, at, scene, ratio = [], place.at, place.scene, place.ratio
    for start, size, first, side, whole in zip(
        (cell.row, cell.col), (cell.height, cell.width), (at.row, at.col), shape, scene, strict=True
    ):
        end = side if start + size == whole else (start + size - first) * ratio
        low, high = max((start - first) * ratio, 0), min(end, side)
        if low >= high:
            return None
        found.append(slice(low, high))
    return found[0], found[1]


def _predicted(model: Forest, pixels: Array) -> Array:
    c, h, w = pixels.shape
    flat = pixels.reshape(c, -1).T
    seen = np.isfinite(flat).all(1)
    out = np.full(h * w, np.nan)
    out[seen] = model.predict(np.ascontiguousarray(flat[seen]))
    return out.reshape(h, w)


def residuals(low: Array, high: Array, ratio: int, temperature: bool = True) -> Array:
    """What a high image [H W], averaged over low pixels, lacks of the low one [h w] (fourth powers if temperature)."""
    h, w = low.shape
    blocks = high[: h * ratio, : w * ratio].reshape(h, ratio, w, ratio).transpose(0, 2, 1, 3).reshape(h, w, -1)
    power = 4 if temperature else 1
    seen = ~np.isnan(blocks)
    count = seen.sum(-1)
    total = np.where(seen, blocks, 0.0) ** power
    mean = np.divide(total.sum(-1), count, out=np.full((h, w), np.nan), where=count > 0)
    return np.asarray(low - mean ** (1 / power))


def combine(low: Array, local: Array, overall: Array, grid: Enlargement, rules: Rules) -> Array:
    """Local and global temperatures weighted by how well each agrees with the low image: [H W].

    With `fill_holes`, the one that is there where the other is missing, and the mean where both agree exactly.
    """
    shape = (local.shape[0], local.shape[1])
    squares = [residuals(low, image, grid.ratio, rules.temperature) ** 2 for image in (local, overall)]
    total = squares[0] + squares[1]
    share = np.divide(squares[1], total, out=np.full_like(total, np.nan), where=total != 0)
    if rules.fill_holes:
        share = np.where(total == 0, 0.5, share)
    weight = np.clip(upsample(share, grid, shape), 0, 1)
    power = 4 if rules.temperature else 1
    mixed = (weight * local**power + (1 - weight) * overall**power) ** (1 / power)
    if rules.fill_holes:
        mixed = np.where(np.isnan(mixed), np.where(np.isnan(local), overall, local), mixed)
    return np.asarray(mixed.astype(np.float32).astype(np.float64))


def corrected(
    low: Array, high: Array, grid: Enlargement, rules: Rules, good: NDArray[np.bool_] | None = None
) -> tuple[Array, Array]:
    """The high image with the residual of the low image added, and the residual itself, NaN where not `good`."""
    left = residuals(low, high, grid.ratio, rules.temperature)
    if good is not None:
        left = np.where(good, left, np.nan)
    return high + upsample(left, grid, (high.shape[0], high.shape[1])), left


def sharpen(models: Models, low: Array, high: Array, place: Place, rules: Rules) -> Array:
    """The temperature of a rectangle at high resolution, before the residual is added: [H W]."""
    local, overall = apply(models, high, place, rules)
    if not models.any_local:
        return overall
    return combine(low, local, overall, place.grid, rules)
