"""A landscape that does not change with time: parcels and what covers them, relief, soils.

Parcels are drawn on points four times finer than the 10 m pixels. What a pixel sees is kept as *fragments*: the
parts of parcels inside it, each with its share of the pixel's area. Borders, roads and houses narrower than a
pixel are thus mixtures, as in real images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray

from sitsfusion.errors import InputError
from sitsfusion.ops.resample import bilinear
from sitsfusion.simulate.noise import Map, field, stream
from sitsfusion.simulate.parcels import HECTARE, NO_LINE, LineRule, partition

PIXEL = 10.0  # m
_POINTS = 4  # along a pixel's side
_STEP = PIXEL / _POINTS

Labels = NDArray[np.int32]
Values = NDArray[np.float32]  # [n], one number per fragment, or [p], per parcel


class Cover(IntEnum):
    """What covers a parcel."""

    FIELD = 0
    MEADOW = 1
    BROADLEAF = 2
    CONIFER = 3
    GARDEN = 4
    WATER = 5
    SAND = 6
    ROAD = 7
    TRACK = 8
    TILE = 9
    SLATE = 10
    PALE_ROOF = 11


def by_cover(values: dict[Cover, float]) -> NDArray[np.float32]:
    """One number for each cover, 0 for those not named: [len(Cover)]."""
    return np.array([values.get(cover, 0.0) for cover in Cover], np.float32)


# Shares of the area given to parcels of a cover; what is left is FIELD.
_SHARES = {
    Cover.GARDEN: 0.08,  # settlements: houses and streets are drawn inside
    Cover.WATER: 0.008,
    Cover.SAND: 0.012,
    Cover.BROADLEAF: 0.10,
    Cover.CONIFER: 0.05,
    Cover.MEADOW: 0.17,
}
_LOT_SHARES = {Cover.TILE: 0.16, Cover.SLATE: 0.17, Cover.PALE_ROOF: 0.04, Cover.ROAD: 0.10}
_FIELD_SIZE = 2.2  # hectares
_VILLAGE_LINES = (LineRule(Cover.ROAD, 7.0, above=0.6 * HECTARE),)


@dataclass(frozen=True)
class LandUse:
    """What makes the land of one place differ from another's. The defaults are a farmland of Belgium.

    Attributes:
        shares: of the area, by cover, given to its parcels in this order; what is left is FIELD, and GARDEN is
            settlement: houses and streets are drawn inside.
        field_size: of a usual parcel, hectares.
        elongation: 1 for compact parcels, 10 for long strips (length to width, about).
        hedges: share of the borders between parcels that are hedges.
        relief: heights, relative to the default's 14 m (standard deviation) of hills and 25 m of a valley.
        soil: strength of differences of the soil's brightness inside parcels, relative to the default.
        vigour: the same for leaf area and the days of growth, inside and between parcels.
        texture: the same for the roughness of canopies and roofs.
        river: probability that a river runs through the scene.
        leaves: standard deviation (log) of the leaf reflectance between parcels: crops and species differ.
    """

    shares: Mapping[Cover, float] = default(default_factory=lambda: dict(_SHARES))
    field_size: float = _FIELD_SIZE
    elongation: float = 1.0
    hedges: float = 0.12
    relief: float = 1.0
    soil: float = 1.0
    vigour: float = 1.0
    texture: float = 1.0
    leaves: float = 0.0
    river: float = 1.0

    def lines(self) -> tuple[LineRule, ...]:
        """Roads, tracks and hedges along the cuts between parcels: fewer roads where fields are large."""
        scale = max(self.field_size / _FIELD_SIZE, 1.0) * HECTARE
        return (
            LineRule(Cover.ROAD, 8.0, above=45 * scale),
            LineRule(Cover.TRACK, 5.0, above=10 * scale, probability=0.4),
            LineRule(Cover.BROADLEAF, 7.0, above=0.0, probability=self.hedges),
        )


@dataclass(frozen=True)
class Landscape:
    """Parcels, their fragments in pixels, and maps on the 10 m grid.

    Attributes:
        cover: `Cover` of each parcel [p].
        tint: brightness factor of each parcel's ground [p].
        leaves: factor of its leaf reflectance in the visible, near and short-wave infrared [3, p].
        pixel, parcel, share: of each fragment [n]; the shares of a pixel sum to 1. First come the largest fragments
            of all pixels (row by row), then the second largest of those that have two, and so on.
        ranks: how many fragments are the largest of their pixel, the second largest, ...
        soil: brightness factor of the ground; vigour: factor of leaf area; delay: of growth, days;
            texture: roughness of canopies and roofs, of mean 0 (and variance 1 by default); all of each fragment [n].
        elevation: m [h, w]; slope_south, slope_east: rise per metre walked in that direction [h, w].
    """

    cover: NDArray[np.int8]
    tint: Values
    leaves: NDArray[np.float32]
    pixel: Labels
    parcel: Labels
    share: Values
    ranks: tuple[int, ...]
    soil: Values
    vigour: Values
    delay: Values
    texture: Values
    elevation: Map
    slope_south: Map
    slope_east: Map

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the 10 m grid."""
        return int(self.elevation.shape[0]), int(self.elevation.shape[1])

    def to_pixels(self, values: Values) -> Map:
        """Area-weighted means of fragments: [n] -> [h, w]."""
        weighted = values * self.share
        total, done = weighted[: self.ranks[0]].copy(), self.ranks[0]
        for count in self.ranks[1:]:
            total[self.pixel[done : done + count]] += weighted[done : done + count]  # each pixel once
            done += count
        return total.reshape(self.shape)

    def cover_shares(self) -> NDArray[np.float32]:
        """Share of each cover in each pixel: [len(Cover), h, w]."""
        of = self.cover[self.parcel]
        return np.stack([self.to_pixels((of == cover).astype(np.float32)) for cover in Cover])


def make_landscape(shape: tuple[int, int], seed: int, use: LandUse | None = None) -> Landscape:
    """A landscape of `shape` (rows, columns) pixels of 10 m; `use`: what kind of land (default: `LandUse()`)."""
    use = LandUse() if use is None else use
    elevation, river = _relief(shape, seed, use.relief)
    labels, cover = _parcels(shape, seed, elevation, river, use)
    return _landscape(cover, _fragments(labels, len(cover)), elevation, PIXEL, seed, use)


def make_fine_landscape(shape: tuple[int, int], seed: int, use: LandUse | None = None) -> Landscape:
    """A landscape on the points that its parcels are drawn on: `shape` (rows, columns) pixels of 2.5 m, none a mixture.

    Raises:
        InputError: sides that are not multiples of 4.
    """
    if any(side < 1 or side % _POINTS for side in shape):
        raise InputError(f"sides of a fine landscape must be multiples of {_POINTS} pixels, found {shape}")
    use = LandUse() if use is None else use
    coarse = (shape[0] // _POINTS, shape[1] // _POINTS)
    elevation, river = _relief(coarse, seed, use.relief)
    labels, cover = _parcels(coarse, seed, elevation, river, use)
    points = np.arange(labels.size, dtype=np.int32)
    whole = (points, labels.ravel().astype(np.int32), np.ones(labels.size, np.float32), (labels.size,))
    smooth = bilinear(torch.from_numpy(elevation), 1 / _POINTS).numpy()
    return _landscape(cover, whole, smooth, _STEP, seed, use)


def _landscape(
    cover: NDArray[np.int8],
    fragments: tuple[Labels, Labels, Values, tuple[int, ...]],
    elevation: Map,
    step: float,
    seed: int,
    use: LandUse,
) -> Landscape:
    """Everything that is drawn for parcels and fragments; `step`: side of a pixel (m)."""
    pixel, parcel, share, ranks = fragments
    south, east = (np.asarray(np.gradient(elevation, step, axis=axis), np.float32) for axis in (0, 1))
    draw = stream(seed, "parcel properties").standard_normal((3, len(cover)), np.float32)
    leaves = stream(seed, "leaf properties").standard_normal((3, len(cover)), np.float32)
    rng, shape = stream(seed, "maps"), (elevation.shape[0], elevation.shape[1])

    def variation(wavelength: float, slope: float) -> Values:
        return field(rng, shape, step, wavelength, slope).ravel()[pixel]

    return Landscape(
        cover=cover, tint=np.exp(0.14 * draw[0]), leaves=np.exp(use.leaves * leaves),
        pixel=pixel, parcel=parcel, share=share, ranks=ranks,
        soil=np.exp(use.soil * (0.10 * variation(500, 2.0) + 0.035 * variation(60, 1.2))),
        vigour=np.exp(use.vigour * (0.12 * variation(250, 1.6) + 0.15 * draw[1][parcel])),
        delay=use.vigour * (3.0 * variation(300, 1.6) + 5.0 * draw[2][parcel]),
        texture=use.texture * variation(15, 1.0),
        elevation=elevation, slope_south=south, slope_east=east,
    )  # fmt: skip


def _relief(shape: tuple[int, int], seed: int, strength: float) -> tuple[Map, Map]:
    """Elevation [h, w] (m) with a valley, and distance to the middle of its river (m) on the fine points."""
    rng = stream(seed, "relief")
    x, y = _points(shape)
    extent = (shape[1] * PIXEL, shape[0] * PIXEL)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3) * min(extent)
    along = (x - extent[0] / 2) * np.cos(angle) + (y - extent[1] / 2) * np.sin(angle)
    aside = (y - extent[1] / 2) * np.cos(angle) - (x - extent[0] / 2) * np.sin(angle) - offset
    for amplitude, wavelength in ((70.0, 1700.0), (30.0, 600.0), (9.0, 210.0)):
        aside += amplitude * np.sin(2 * np.pi * along / wavelength + rng.uniform(0, 2 * np.pi))
    river = np.abs(aside).astype(np.float32)
    coarse = river.reshape(shape[0], _POINTS, shape[1], _POINTS).mean((1, 3))
    hills = 14.0 * field(rng, shape, PIXEL, 1500, 2.8)
    return (60.0 + strength * (hills + 25.0 * (1 - np.exp(-((coarse / 500) ** 2))))).astype(np.float32), river


def _parcels(
    shape: tuple[int, int], seed: int, elevation: Map, river: Map, use: LandUse
) -> tuple[Labels, NDArray[np.int8]]:
    """Parcel of each fine point [4 h, 4 w], and `Cover` of each parcel.

    Lines, houses and the river are the last parcels, one for each cover.
    """
    rng = stream(seed, "parcels")
    x, y = _points(shape)
    bend = field(rng, shape, PIXEL, 900, 3.0).repeat(_POINTS, 0).repeat(_POINTS, 1) * 25
    parts = partition(
        (x + bend).ravel(), (y - bend).ravel(), rng,
        point_area=_STEP**2, target_area=use.field_size * HECTARE, rules=use.lines(), elongation=use.elongation,
    )  # fmt: skip
    labels = parts.parcel
    cover = _choose_covers(labels, shape, rng, elevation, river, use.shares)
    special = np.full(labels.size, -1, np.int8)
    _build_village(special, cover[labels] == Cover.GARDEN, x.ravel(), y.ravel(), rng)
    special[parts.line != NO_LINE] = parts.line[parts.line != NO_LINE].astype(np.int8)
    width = rng.uniform(14, 36)
    if stream(seed, "river").random() < use.river:
        special[river.ravel() < width / 2 + 9] = Cover.BROADLEAF  # trees on the banks
        special[river.ravel() < width / 2] = Cover.WATER
    labels = np.where(special >= 0, parts.count + special.astype(np.int32), labels)
    return labels.reshape(x.shape), np.concatenate([cover, np.arange(len(Cover), dtype=np.int8)])


def _choose_covers(
    labels: Labels,
    shape: tuple[int, int],
    rng: np.random.Generator,
    elevation: Map,
    river: Map,
    shares: Mapping[Cover, float],
) -> NDArray[np.int8]:
    """Cover of each parcel: those that suit a cover best become it, until its share of the area is used up."""
    points = np.bincount(labels)
    count = points.size

    def mean(values: Map) -> NDArray[np.float64]:
        fine = values if values.size == labels.size else values.repeat(_POINTS, 0).repeat(_POINTS, 1)
        return np.bincount(labels, fine.ravel(), minlength=count) / points

    def clusters() -> NDArray[np.float64]:
        return mean(field(rng, shape, PIXEL, 700, 2.0))

    height, distance = mean(elevation), mean(river)
    small = -np.abs(np.log(points * _STEP**2 / HECTARE))
    suits = {
        Cover.GARDEN: clusters() - 0.5 * (distance < 60),
        Cover.WATER: small - 0.03 * height,
        Cover.SAND: clusters() + small,
        Cover.BROADLEAF: clusters() + 0.03 * height,
        Cover.CONIFER: clusters() + 0.05 * height,
        Cover.MEADOW: 0.6 * clusters() - distance / 400,
    }
    cover = np.full(count, Cover.FIELD, np.int8)
    for kind, share in shares.items():
        _assign(cover, kind, suits[kind], points, share * points.sum())
    return cover


def _assign(
    cover: NDArray[np.int8], kind: Cover, suits: NDArray[np.float64], points: NDArray[np.int64], wanted: float
) -> None:
    """Turn fields into parcels of a kind, the best suited first; one is left out where it would overshoot."""
    for parcel in np.argsort(-suits, kind="stable"):
        if cover[parcel] == Cover.FIELD and points[parcel] <= 1.3 * wanted:
            cover[parcel] = kind
            wanted -= points[parcel]
        if wanted <= 0:
            return


def _build_village(
    special: NDArray[np.int8], inside: NDArray[np.bool_], x: Map, y: Map, rng: np.random.Generator
) -> None:
    """Streets, and lots of some 250 m2 that are roofs, yards or stay gardens."""
    at = np.flatnonzero(inside)
    lots = partition(x[at], y[at], rng, point_area=_STEP**2, target_area=250.0, rules=_VILLAGE_LINES)
    kinds = np.array([-1, *_LOT_SHARES], np.int8)
    shares = np.array([1 - sum(_LOT_SHARES.values()), *_LOT_SHARES.values()])
    special[at] = rng.choice(kinds, lots.count, p=shares)[lots.parcel]
    special[at[lots.line != NO_LINE]] = Cover.ROAD


def _fragments(labels: Labels, parcels: int) -> tuple[Labels, Labels, Values, tuple[int, ...]]:
    """Pixel, parcel and share of each fragment, and the number of fragments of each rank (see `Landscape`)."""
    rows, cols = (side // _POINTS for side in labels.shape)
    pixels = np.arange(rows * cols, dtype=np.int64).reshape(rows, cols).repeat(_POINTS, 0).repeat(_POINTS, 1)
    found, points = np.unique(pixels * parcels + labels, return_counts=True)
    by_size = np.lexsort((-points, found // parcels))
    pixel, parcel = np.divmod(found[by_size], parcels)
    rank = np.arange(pixel.size) - np.searchsorted(pixel, pixel)
    order = np.argsort(rank, kind="stable")
    share = (points[by_size][order] / _POINTS**2).astype(np.float32)
    ranks = tuple(int(n) for n in np.bincount(rank))
    return pixel[order].astype(np.int32), parcel[order].astype(np.int32), share, ranks


def _points(shape: tuple[int, int]) -> tuple[Map, Map]:
    """Coordinates of the fine points in metres east and south of the upper left corner: two [4 h, 4 w]."""
    y, x = np.indices([side * _POINTS for side in shape], np.float32)
    return (x + 0.5) * _STEP, (y + 0.5) * _STEP
