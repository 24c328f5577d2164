"""How far simulated images are from real ones, in numbers.

Real places differ from each other, so a distance means something only beside the distances between real places.
A `Place` holds what is known of one real or simulated place. `describe` turns it into curves on fixed axes: quantiles
of reflectance, variograms in time, spectra in space, cloud sizes, clear shares. `distance` compares the curves of two
places, `compare` all simulated with all real ones and the real ones with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import InputError

Curves = NDArray[np.float64]

SHARES = (np.arange(49) + 0.5) / 49  # of the quantiles
LAGS = np.array([1, 8, 16, 25, 35, 50, 70, 95, 125, 155, 190], float)  # days: borders of the variogram's classes
WINDOW = 640.0  # m: side of the squares that spectra, histograms of single images and cloud sizes are taken from
WAVES = np.array([1.5, 3, 5, 8, 12, 16, 23, 32.1])  # per WINDOW: borders of the spectrum's classes

_MOST_PIXELS = 600  # of a variogram
_VIEWS = 8  # single images taken from a place
_CLEAR = 0.99  # share of a view at least
_PARTLY = (0.05, 0.95)  # clear share of a partly cloudy image
_FEWEST_DATES, _FEWEST_DAYS = 8, 180  # clear ones, of a place that has a year's histogram and a variogram
_FEWEST_MASKS, _FEWEST_PARTLY = 20, 4  # dates of a place that has clear shares; partly cloudy ones, cloud sizes
_NOISE = 1e-12  # keeps the logarithm of an empty spectrum finite


@dataclass(frozen=True)
class Place:
    """Images of one place on one grid.

    Attributes:
        name: places of one name are the same ground, and are never compared with each other.
        bands: names of the bands [c]; the same name means comparable bands. May be empty (masks only).
        values: [t, c, h, w], reflectance, index or kelvin. What is not valid may hold anything.
        valid: [t, h, w]: clear and observed.
        days: [t], increasing; the differences are days.
        pixel: height and width of a pixel, m.
        native: width of each band's real pixel, m [c]; finer waves are not compared.
        masks: whether `valid` is a cloud mask over all acquisitions of a time, cloudy ones too.
    """

    name: str
    bands: tuple[str, ...]
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    days: NDArray[np.float64]
    pixel: tuple[float, float]
    native: tuple[float, ...]
    masks: bool = False

    def __post_init__(self) -> None:
        expected = (len(self.days), len(self.bands), *self.valid.shape[1:])
        if self.values.shape != expected or len(self.valid) != len(self.days) or len(self.native) != len(self.bands):
            raise InputError(
                f"place {self.name}: values {self.values.shape}, valid {self.valid.shape}, {len(self.days)} days, "
                f"{len(self.bands)} bands and {len(self.native)} native widths do not fit each other; "
                "expected [t, c, h, w], [t, h, w], [t], [c] and [c]"
            )


@dataclass(frozen=True)
class Row:
    """One line of a comparison: mean distances of a statistic of a band, in the unit of the statistic.

    `real` is the mean over pairs of real places, `simulated` over pairs of a simulated and a real place, `drawn` over
    pairs of simulated ones (how much they differ among themselves); `places` says how many real places there are.
    """

    statistic: str
    band: str
    real: float
    simulated: float
    drawn: float
    places: int

    @property
    def ratio(self) -> float:
        """Simulated-to-real over real-to-real; NaN where there are no two real places."""
        return self.simulated / self.real if self.real > 0 else float("nan")


# -- statistics -------------------------------------------------------------------------------------------------------


def histogram(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> Curves:
    """Quantiles of the valid pixels of all dates: [t, c, h, w], [t, h, w] -> [c, 49].

    The mean absolute difference of two such curves is the Wasserstein-1 distance of the two distributions.
    NaN where nothing is valid.
    """
    seen = np.moveaxis(values, 1, 0)[:, valid]  # [c, n]
    if seen.shape[1] == 0:
        return np.full((len(seen), SHARES.size), np.nan)
    return np.asarray(np.quantile(seen, SHARES, axis=1).T, np.float64)


def variogram(values: NDArray[np.float32], valid: NDArray[np.bool_], days: NDArray[np.float64]) -> Curves:
    """Root of the mean squared difference of a pixel's clear observations by time lag: -> [c, 10], unit of `values`.

    All pairs of dates whose lag falls into a class of `LAGS`, in pixels evenly thinned to at most some 600; NaN where
    a class has no pair. (Twice the semivariance of geostatistics, before the root: Matheron, 1963.)
    """
    step = int(np.ceil(np.sqrt(valid[0].size / _MOST_PIXELS)))
    thin, seen = values[:, :, ::step, ::step].astype(np.float64), valid[:, ::step, ::step]
    total, count = np.zeros((values.shape[1], LAGS.size - 1)), np.zeros(LAGS.size - 1)
    for first in range(len(days)):
        kind = np.digitize(days[first + 1 :] - days[first], LAGS) - 1
        for k in np.unique(kind[(kind >= 0) & (kind < count.size)]):
            later = first + 1 + np.flatnonzero(kind == k)
            both = seen[first] & seen[later]  # [n, h, w]
            squares = (thin[later] - thin[first]) ** 2
            total[:, k] += np.where(both[:, None], squares, 0).sum((0, 2, 3))
            count[k] += both.sum()
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def spectrum(image: NDArray[np.float32], valid: NDArray[np.bool_], pixel: tuple[float, float]) -> Curves:
    """Radially averaged power spectrum of one image: [c, h, w], [h, w] -> log10 power density [c, 7].

    Classes of `WAVES` (waves per 640 m); power per area of frequency (unit squared times m2), so that images of any
    pixel and extent compare. Pixels that are not valid are given the mean; a Hann window keeps the borders out.
    NaN in classes finer than the pixels, or coarser than the image. `pixel`: height and width, m.
    """
    height, width = valid.shape
    hann = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    anomaly = np.where(valid, image - image[:, valid].mean(1)[:, None, None], 0) * hann
    power = np.abs(np.fft.fft2(anomaly)) ** 2 * (pixel[0] * pixel[1] / (hann**2).sum())  # [c, h, w]
    waves = WINDOW * np.hypot(np.fft.fftfreq(height, pixel[0])[:, None], np.fft.fftfreq(width, pixel[1])[None])
    kind, resolved = np.digitize(waves, WAVES) - 1, _resolved(max(pixel))
    classes = [np.flatnonzero((kind == k) & resolved[k]) for k in range(resolved.size)]
    flat, unknown = power.reshape(len(power), -1), np.full(len(power), np.nan)
    found = [flat[:, at].mean(1) if at.size else unknown for at in classes]
    return np.log10(np.stack(found, axis=1) + _NOISE)


def cloud_sizes(valid: NDArray[np.bool_], pixel: tuple[float, float]) -> Curves:
    """Quantiles of log10 of the size (m2) of clouds and shadows, weighted with their area: [t, h, w] -> [49].

    A cloud is a 4-connected component of what is not valid; half of the cloudy area lies in clouds smaller than the
    middle value. Only partly cloudy images count (5 to 95 % clear); NaN if there is none.
    """
    masks = ~valid[_partly(valid)]
    sizes = np.sort(np.concatenate([_components(mask) for mask in masks] or [np.zeros(0)]))
    if sizes.size == 0:
        return np.full(SHARES.size, np.nan)
    below = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    return np.asarray(np.log10(np.interp(SHARES, below, sizes) * pixel[0] * pixel[1]), np.float64)


def clear_shares(valid: NDArray[np.bool_]) -> Curves:
    """Quantiles of the clear share of the images: [t, h, w] -> [49], in [0, 1]."""
    return np.asarray(np.quantile(valid.mean((1, 2)), SHARES), np.float64)


def distance(a: Curves, b: Curves) -> float:
    """Mean absolute difference of the curves of two places, [n, k] and [m, k], over all pairs of one of each.

    Entries that are NaN in one of the two are left out; NaN if no entry is left.
    """
    apart = np.abs(a[:, None] - b[None])
    return float(np.nanmean(apart)) if np.isfinite(apart).any() else float("nan")


# -- places -----------------------------------------------------------------------------------------------------------


def describe(place: Place) -> dict[tuple[str, str], Curves]:
    """All statistics that a place has enough images for, by statistic and band: curves [n, k].

    * `year` [1, 49]: quantiles over the clear dates of at least half a year;
    * `image` [n, 49]: quantiles of single clear views of 640 m, at most 8, spread over dates and ground;
    * `variogram` [1, 10]; `spectrum` [n, 7] of the same views;
    * `cloud size` [1, 49], `clear share` [1, 49], with the band "": of places with `masks`, in the middle 640 m.
    """
    found: dict[tuple[str, str], Curves] = {}
    views = _views(place)
    for b, band in enumerate(place.bands if views else ()):
        at = slice(b, b + 1)
        found["image", band] = np.concatenate([histogram(v[None, at], ok[None]) for v, ok in views])
        curves = np.concatenate([spectrum(v[at], ok, place.pixel) for v, ok in views])
        found["spectrum", band] = np.where(_resolved(place.native[b]), curves, np.nan)
    found |= _over_time(place)
    if place.masks:
        rows, cols = _middle(place)
        found |= _of_masks(place.valid[:, rows, cols], place.pixel)
    return found


def compare(real: Sequence[Place], simulated: Sequence[Place]) -> list[Row]:
    """Distances of all statistics: between real places, and from simulated to real ones.

    Places of one name count as one; their statistics are put together.
    """
    truth, drawn = _by_name(real), _by_name(simulated)
    keys = sorted({key for curves in truth.values() for key in curves})
    rows = []
    for key in keys:
        have = [curves[key] for curves in truth.values() if key in curves]
        made = [curves[key] for curves in drawn.values() if key in curves]
        between = [distance(a, b) for a, b in combinations(have, 2)]
        across = [distance(a, b) for a in made for b in have]
        among = [distance(a, b) for a, b in combinations(made, 2)]
        rows.append(Row(*key, _mean(between), _mean(across), _mean(among), len(have)))
    return rows


def grouped(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> list[Row]:
    """Means over bands: one row for each statistic and group of bands (name -> bands) that has rows."""
    found = []
    for statistic in dict.fromkeys(row.statistic for row in rows):
        for name, bands in groups.items():
            these = [row for row in rows if row.statistic == statistic and row.band in bands]
            figures = [(row.real, row.simulated, row.drawn) for row in these]
            if these:
                real, made, among = (_mean([r[i] for r in figures]) for i in range(3))
                found.append(Row(statistic, name, real, made, among, max(row.places for row in these)))
    return found


def _by_name(places: Sequence[Place]) -> dict[str, dict[tuple[str, str], Curves]]:
    found: dict[str, dict[tuple[str, str], Curves]] = {}
    for place in places:
        curves = found.setdefault(place.name, {})
        for key, new in describe(place).items():
            curves[key] = np.concatenate([curves[key], new]) if key in curves else new
    return found


def _over_time(place: Place) -> dict[tuple[str, str], Curves]:
    """Statistics of places with enough clear dates over enough time."""
    clear = place.valid.mean((1, 2)) > 0.5
    if clear.sum() < _FEWEST_DATES or np.ptp(place.days[clear]) < _FEWEST_DAYS:
        return {}
    curves = {"year": histogram(place.values, place.valid)}
    curves["variogram"] = variogram(place.values, place.valid, place.days)
    return {(name, band): of[b : b + 1] for name, of in curves.items() for b, band in enumerate(place.bands)}


def _of_masks(valid: NDArray[np.bool_], pixel: tuple[float, float]) -> dict[tuple[str, str], Curves]:
    found = {}
    if np.count_nonzero(_partly(valid)) >= _FEWEST_PARTLY:
        found["cloud size", ""] = cloud_sizes(valid, pixel)[None]
    if len(valid) >= _FEWEST_MASKS:
        found["clear share", ""] = clear_shares(valid)[None]
    return found


def _partly(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[t]: whether images are partly cloudy."""
    share = valid.mean((1, 2))
    return np.asarray((share >= _PARTLY[0]) & (share <= _PARTLY[1]), bool)


def _views(place: Place) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Clear squares of 640 m: values [c, h, w] and valid [h, w], at most 8, evenly from all there are."""
    rows, cols = (_pixels(place, axis) for axis in (0, 1))
    height, width = place.valid.shape[1:]
    found = [
        (t, slice(row, row + rows), slice(col, col + cols))
        for t in range(len(place.days))
        for row in range(0, height - rows + 1, rows)
        for col in range(0, width - cols + 1, cols)
        if place.valid[t, row : row + rows, col : col + cols].mean() >= _CLEAR
    ]
    chosen = np.unique(np.linspace(0, len(found) - 1, _VIEWS).round().astype(int)) if found else ()
    return [(place.values[t, :, r, c], place.valid[t, r, c]) for t, r, c in (found[i] for i in chosen)]


def _resolved(pixel: float) -> NDArray[np.bool_]:
    """Classes of `WAVES` that pixels of a width (m) can show, up to their Nyquist frequency."""
    return np.asarray(WAVES[1:] <= WINDOW / (2 * pixel) * 1.01, bool)


def _middle(place: Place) -> tuple[slice, slice]:
    """The middle square of 640 m, or all where the place is smaller."""
    sizes = [(side, min(_pixels(place, axis), side)) for axis, side in enumerate(place.valid.shape[1:])]
    rows, cols = (slice((side - size) // 2, (side - size) // 2 + size) for side, size in sizes)
    return rows, cols


def _pixels(place: Place, axis: int) -> int:
    return max(round(WINDOW / place.pixel[axis]), 1)


def _components(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Numbers of pixels of the 4-connected components of a mask [h, w]: the smallest label spreads until it rests."""
    far = mask.size
    labels = np.where(mask, np.arange(far).reshape(mask.shape), far)
    while True:
        before, padded = labels, np.pad(labels, 1, constant_values=far)
        around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        labels = np.where(mask, np.minimum.reduce([labels, *around]), far)
        # and jump to the label's own label, so that long clouds take few rounds
        labels = np.where(mask, labels.ravel()[np.minimum(labels, far - 1)], far)
        if np.array_equal(labels, before):
            return np.unique(labels[mask], return_counts=True)[1].astype(np.float64)


def _mean(numbers: Sequence[float]) -> float:
    kept = [number for number in numbers if np.isfinite(number)]
    return float(np.mean(kept)) if kept else float("nan")
