"""A data set laid out as BreizhSR is distributed, of places that do not exist: Sentinel-2 series and SPOT images.

Every site is a simulated landscape on 2.5 m points. SPOT sees it nearly as it is, on one day, with its own colours,
registration and an 8-bit stretch; Sentinel-2 sees it through the optics of 10 m pixels on clear days of the same year,
with haze, calibration, registration and noise of each day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin

from sitsfusion.errors import InputError
from sitsfusion.nets.misr_config import SCALE
from sitsfusion.ops.mtf import blur, degrade, psf_taps
from sitsfusion.simulate.landscape import make_fine_landscape
from sitsfusion.simulate.noise import stream
from sitsfusion.simulate.phenology import Phenology
from sitsfusion.simulate.sensing import moved
from sitsfusion.simulate.sun import overpass, sun_at
from sitsfusion.simulate.surface import Surface
from sitsfusion.simulate.weather import Weather
from sitsfusion.simulate.world import World

Image = NDArray[np.float32]
COMPLETE = "twin.json"
_BANDS = ("B04", "B03", "B02")
_FINE, _COARSE = 2.5, 10.0  # m
_MARGIN = 32  # fine pixels around a site that are simulated and thrown away
_MTF_SPOT, _MTF_SENTINEL2 = 0.25, 0.28  # at Nyquist
_LOCAL_HOUR, _LONGITUDE, _LATITUDE = 11.0, -2.8, 48.2
_REVISIT, _CLEAR = 5, 0.25  # days between passes, share of them that are clear
_SEASON = (90, 300)  # days of the year of SPOT images
_STRETCH = (1, 99)  # percentiles that become 0 and 255
_MOST_SITES = 100_000  # of one split: seeds of two splits never meet
_CORNER = (180_000.0, 6_840_000.0)  # Lambert-93, of the first site


@dataclass(frozen=True)
class TwinSite:
    """Images of a made-up site: `spot` uint8 `[3 H W]`, `views` uint16 `[3 h w]` (reflectance x 10000) by day.

    `truth`: reflectance `[3 H W]` on the day of the SPOT image, before any sensor.
    """

    day: date
    spot: NDArray[np.uint8]
    views: dict[date, NDArray[np.uint16]]
    truth: Image


def simulate_site(side: int, seed: int, *, year: int = 2018, most_views: int = 12) -> TwinSite:
    """A site of `side` x `side` fine pixels (a multiple of 4).

    Raises:
        InputError: a side that is not, or is too small.
    """
    if side < SCALE or side % SCALE:
        raise InputError(f"a side of {side} fine pixels is not possible; give a multiple of {SCALE}")
    rng = stream(seed, "breizhsr")
    full, world = side + 2 * _MARGIN, World.draw(seed)
    land = make_fine_landscape((full, full), seed, world.land)
    surface = Surface(land, Phenology(land, seed, world.farming), Weather(seed, world.climate), world.colours)
    first = date(year, 1, 1)
    day = first + timedelta(int(rng.integers(*_SEASON)))
    passes = [first + timedelta(int(n)) for n in range(int(rng.integers(_REVISIT)), 365, _REVISIT)]
    clear = [d for d in passes if rng.random() < _CLEAR] or [min(passes, key=lambda d: abs(d - day))]
    chosen = sorted(rng.permutation(len(clear))[:most_views].tolist())
    truth = _reflectance(surface, day)
    views = {clear[i]: _sentinel2(_reflectance(surface, clear[i]), rng) for i in chosen}
    inner = (slice(None), *(slice(_MARGIN, _MARGIN + side),) * 2)
    coarse = (slice(None), *(slice(_MARGIN // SCALE, (_MARGIN + side) // SCALE),) * 2)
    seen = {d: view[coarse] for d, view in views.items()}
    return TwinSite(day, _spot(truth, rng)[inner], seen, np.ascontiguousarray(truth[inner]))


def fabricate_breizhsr(
    root: Path, *, sites: tuple[int, int, int], side: int = 300, seed: int = 0, most_views: int = 12
) -> Path:
    """Write a made-up BreizhSR below `root`, which is returned; nothing is done where it lies complete already.

    Args:
        root: folder of the data set.
        sites: how many of the training, validation and test splits; a larger set of the same seed holds them too.
        side: of a site, fine pixels, a multiple of 4.
        seed: of all that is random.
        most_views: Sentinel-2 images of a site.

    Raises:
        InputError: a side that is not possible; another set in the folder.
    """
    told = f"sites {list(sites)}, side {side}, seed {seed}, views {most_views}\n"
    done = root / COMPLETE
    if done.is_file():
        if done.read_text() != told:
            raise InputError(f"{root} holds another made-up set ({done.read_text().strip()}); choose another folder")
        return root
    rows: list[dict[str, object]] = []
    for kind, (split, count) in enumerate(zip(("train", "val", "test"), sites, strict=True)):
        for k in range(count):
            site = simulate_site(side, (3 * seed + kind) * _MOST_SITES + k, most_views=most_views)
            rows.append(_write(root, len(rows), split, site))
    for table, kinds in (("train", ("train", "val")), ("test", ("test",))):
        chosen = [row for row in rows if row["split"] in kinds]
        index = [row.pop("number") for row in chosen]
        pd.DataFrame(chosen, index=index).to_pickle(root / f"dataset_{table}.pkl")
    done.write_text(told)
    return root


def _reflectance(surface: Surface, day: date) -> Image:
    sun = sun_at(overpass(day, _LOCAL_HOUR, _LONGITUDE), _LATITUDE, _LONGITUDE)
    found = surface.on(day, sun).reflectance(_BANDS)
    return np.clip(np.stack([found[key] for key in _BANDS]), 0, 1.2)


def _sentinel2(values: Image, rng: np.random.Generator) -> NDArray[np.uint16]:
    """What Sentinel-2 delivers of fine reflectances: [3 h w]."""
    gain, haze = 1 + 0.006 * rng.standard_normal(), 0.003 * rng.standard_normal()
    seen = values * np.float32(gain) + np.float32(haze) * np.array([0.6, 0.8, 1.0], np.float32)[:, None, None]
    seen = moved(seen, *(0.2 * SCALE * rng.standard_normal(2)))  # a fifth of its pixel
    taps = psf_taps(_FINE, [_COARSE] * 3, [_MTF_SENTINEL2] * 3)
    pixels = degrade(torch.from_numpy(seen), taps, SCALE).numpy()
    pixels = pixels + np.hypot(0.001, 0.008 * pixels) * rng.standard_normal(pixels.shape)
    return np.clip(np.round(pixels * 10_000), 1, 65_535).astype(np.uint16)


def _spot(values: Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a pan-sharpened SPOT product shows of fine reflectances: [3 H W]."""
    seen = moved(values, *(0.25 * SCALE * rng.standard_normal(2)))
    mixed = 0.92 * seen + 0.08 * seen.mean(0, keepdims=True)  # wider bands than Sentinel-2's
    sharp = blur(torch.from_numpy(mixed.astype(np.float32)), psf_taps(_FINE, [_FINE] * 3, [_MTF_SPOT] * 3)).numpy()
    sharp = sharp * (1 + 0.01 * rng.standard_normal(sharp.shape))
    low, high = (np.percentile(sharp, p, axis=(1, 2), keepdims=True) for p in _STRETCH)
    stretched = np.round(255 * (sharp - low) / np.maximum(high - low, 1e-6))
    return np.asarray(np.clip(stretched, 0, 255), np.uint8)


def _write(root: Path, number: int, split: str, site: TwinSite) -> dict[str, object]:
    """Write a site's rasters; its row of the table."""
    name = f"site_{number:05d}"
    spot = f"spot6/{name}.tif"
    _raster(root / spot, site.spot, number, _FINE)
    images, days = {}, []
    for day, view in site.views.items():
        path = f"sen2/{name}/{day:%Y%m%d}.tif"
        _raster(root / path, view, number, _COARSE)
        key = abs((day - site.day).days)
        # As distributed, the key does not tell before from after; of two equal ones the second would be lost.
        if key not in images:
            images[key] = path
            days.append(day)
    return {
        "number": number,
        "spot6_image": spot,
        "dates_spot6": site.day,
        "dates_sen2": days,
        "sen2_acquisitions": images,
        "split": split,
    }


def _raster(path: Path, values: NDArray[np.generic], number: int, pixel: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    transform = from_origin(_CORNER[0] + 1000.0 * (number % 200), _CORNER[1] - 1000.0 * (number // 200), pixel, pixel)
    profile = {"driver": "GTiff", "dtype": values.dtype, "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", **profile, crs="EPSG:2154", transform=transform, compress="deflate") as raster:
        raster.write(values)
