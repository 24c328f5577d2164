"""LS2S2: Landsat 8/9 and Sentinel-2 series of the same places, cut into patches and slices of time.

A site is a folder of 9.9 km with all images of a year of both sensors (doi 10.5281/zenodo.15471890; layout in
`sitsfusion.io.ls2s2_index`). An item is one patch during one slice of time: a pair of `Series` of the numbers as
stored (int16: reflectance x 10000, kelvin x 10), `valid` True where clear. Which patch, which dates and which random
choice belong to an item number is what the published reference does, because published splits depend on it; where it
is odd, this is said in `SiteParameters`.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cached_property
from itertools import accumulate
from math import ceil, floor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from sitsfusion import series
from sitsfusion.datasets import cache
from sitsfusion.datasets.ls2s2_patch import PatchReader
from sitsfusion.dates import days_since, parse_day
from sitsfusion.errors import InputError
from sitsfusion.io import rasters
from sitsfusion.io.ls2s2_index import Acquisition, NoImageError, acquisitions, conjunctions, index_names
from sitsfusion.series import Series

Bands = tuple[tuple[int, ...] | None, ...]


class SiteParameters(BaseModel):
    """How a site is cut into items. Names and defaults are those of the reference (TAMRFSITS)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patch_size: float = Field(1200, gt=0, description="side of a patch, metres")
    hr_sensor: str = Field("sentinel2", description="folder of the fine sensor")
    lr_sensor: str = Field("landsat", description="folder of the coarse sensor")
    hr_index_files: tuple[str, ...] | None = Field(("index.csv",), description="None: every csv file of the folder")
    lr_index_files: tuple[str, ...] | None = Field(("index.csv",), description="None: every csv file of the folder")
    hr_resolution: float = Field(10, gt=0, description="pixel of the fine series returned, metres")
    lr_resolution: float = Field(30, gt=0, description="pixel of the coarse series returned, metres")
    hr_bands: Bands = Field((None,), description="per index file: bands counted from 0, None: all")
    lr_bands: Bands = Field((None,), description="per index file: bands counted from 0, None: all")
    mtf_for_downsampling: float = Field(0.1, gt=0, le=1, description="at Nyquist; used where pixels become coarser")
    dt_orig: date | None = Field(date(2018, 1, 1), description="day 0; None: the first valid fine date of the site")
    time_slices_in_days: int | None = Field(None, gt=0, description="length of a slice; None: one slice for all dates")
    min_nb_dates: int = Field(4, ge=0, description="slices need more dates than this of both sensors")
    random_reduce_rate: float | None = Field(None, gt=0, le=1, description="share of the dates kept at random")
    max_nb_dates: int | None = Field(None, gt=0, description="dates kept at random, shared between both sensors")
    draw_from: Literal["site", "slice"] = Field(
        "site",
        description="site: as in the reference, dates are kept at random among all of the site, then cut to the slice, "
        "so that a slice of several gets few dates, or none (an error); slice: among those of the slice, at least one "
        "of each sensor",
    )
    conjunctions_only: bool = Field(False, description="only dates that both sensors have")
    mask_snow: bool = Field(False, description="snow is not valid either (sites of LS2S2 1.0.0 have no snow masks)")
    exclude_last_date: bool = Field(
        True,
        description="as in the reference, the period ends before its last date, so that the images of that day are "
        "never returned (with time slices: only where the period is a multiple of their length)",
    )

    @field_validator("dt_orig", mode="before")
    @classmethod
    def _any_day(cls, value: object) -> object:
        return parse_day(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _patch_of_whole_pixels(self) -> SiteParameters:
        pixels = self.patch_size / (self.lr_resolution / self.hr_resolution)
        if abs(pixels - round(pixels)) > 1e-6:
            raise ValueError(
                f"patch_size {self.patch_size:g} must be a multiple of "
                f"lr_resolution / hr_resolution = {self.lr_resolution / self.hr_resolution:g}"
            )
        return self

    def key(self) -> str:
        """What the pixels of an item depend on: all parameters but those that draw among its dates."""
        return self.model_dump_json(exclude={"random_reduce_rate", "max_nb_dates", "draw_from"})


class SeriesPair(NamedTuple):
    """An item, or a batch of items: Landsat (`lr`) and Sentinel-2 (`hr`), values int16 `[b t c h w]` as stored."""

    lr: Series
    hr: Series


class SiteReader(Dataset[SeriesPair]):
    """The items of one site.

    Patches are numbered row by row from the south-west and spread evenly where they do not fill the site; item `i` is
    slice `i % slices` of patch `i // slices`. Days count from `day_origin` (negative before it).

    The dates kept by `random_reduce_rate` and `max_nb_dates` are drawn again at each reading, with Python's `random`:
    first Landsat, then Sentinel-2, also when all are kept (as in the reference).

    Attributes:
        folder: the site.
        day_origin: day 0.
        corners: (left, bottom) of each patch, in the site's coordinate system.
        slices: (first day, day after the last) of each slice.

    Raises:
        ReadError: a folder, index or image that is missing or cannot be read.
        NoImageError: a sensor without any valid image.
        InputError: index files, bands and patch size that do not fit the site.
    """

    def __init__(
        self,
        folder: Path,
        parameters: SiteParameters | None = None,
        *,
        cache_dir: Path | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`cache_dir` keeps items for the next reading; `rng` replaces Python's global random numbers."""
        self.folder = Path(folder).absolute()
        self.parameters = p = parameters or SiteParameters()
        self.rng = rng
        lr_dates = acquisitions(self.folder / p.lr_sensor, p.lr_index_files)
        hr_dates = acquisitions(self.folder / p.hr_sensor, p.hr_index_files)
        if p.conjunctions_only:
            lr_dates, hr_dates = conjunctions(lr_dates, hr_dates)
        mtf, snow = p.mtf_for_downsampling, p.mask_snow
        self._lr = PatchReader(lr_dates, p.lr_bands, p.patch_size, p.lr_resolution, mtf, snow)
        self._hr = PatchReader(hr_dates, p.hr_bands, p.patch_size, p.hr_resolution, mtf, snow)
        self.day_origin = p.dt_orig or hr_dates[0].day
        self.slices = _slices(_days(lr_dates), _days(hr_dates), self.day_origin, p)
        self.corners = _corners(hr_dates[0].files(0)[0], p.patch_size)
        self._cache = None if cache_dir is None else self._cache_folder(Path(cache_dir))

    def __len__(self) -> int:
        return len(self.corners) * len(self.slices)

    def __getitem__(self, item: int) -> SeriesPair:
        return self.read(item, self.rng)

    def read(self, item: int, rng: random.Random | None) -> SeriesPair:
        """An item whose dates are drawn with these random numbers (None: Python's global ones).

        Raises:
            IndexError: no such item.
            InputError: no date of a sensor is left.
            ReadError: an image that cannot be read.
        """
        if not 0 <= item < len(self):
            raise IndexError(f"{self.folder} has items 0 to {len(self) - 1}, found {item}")
        at = item % len(self.slices)
        lr_dates, hr_dates = self._drawn_from(self._lr, at), self._drawn_from(self._hr, at)
        lr_quota, hr_quota = _quotas(self.parameters, len(lr_dates), len(hr_dates))
        lr_kept = self._draw(lr_dates, lr_quota, at, rng)
        # Two draws among the same dates may have none in common: one draw serves both, but for the reference's way.
        one_draw = self.parameters.conjunctions_only and self.parameters.draw_from == "slice"
        hr_kept = hr_dates if one_draw else self._draw(hr_dates, hr_quota, at, rng)
        if self.parameters.conjunctions_only:
            lr_kept, hr_kept = conjunctions(lr_kept, hr_kept)
        return self._pair(item, lr_kept, hr_kept)

    @cached_property
    def scales(self) -> tuple[Tensor, Tensor]:
        """Factors from stored numbers to reflectance or kelvin: float32 `[c]` of Landsat, and of Sentinel-2."""
        p = self.parameters
        return _scales(self._lr, p.lr_sensor), _scales(self._hr, p.hr_sensor)

    def state_dict(self) -> dict[str, Any]:
        """The state of the random numbers, to go on from the same place."""
        return _random_state(self.rng)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        _restore(self.rng, state)

    def _drawn_from(self, reader: PatchReader, at: int) -> tuple[Acquisition, ...]:
        return reader.dates if self.parameters.draw_from == "site" else self._inside(reader.dates, at)

    def _draw(
        self, dates: Sequence[Acquisition], quota: int | None, at: int, rng: random.Random | None
    ) -> tuple[Acquisition, ...]:
        """The dates of slice `at` among those kept at random."""
        n, rate = len(dates), self.parameters.random_reduce_rate
        order = list(range(n))
        shuffle: Callable[[list[int]], None] = random.shuffle if rng is None else rng.shuffle
        shuffle(order)
        kept = n if rate is None else ceil(n * rate)
        kept = kept if quota is None else min(kept, quota)
        chosen = self._inside([dates[i] for i in sorted(order[:kept])], at)
        if not chosen:
            first, end = self.slices[at]
            raise InputError(
                f"{self.folder}: none of {kept} date(s) kept of {n} lies in {first} to {end} (not included); "
                "keep more dates, or ask for larger slices with a larger min_nb_dates"
            )
        return chosen

    def _inside(self, dates: Sequence[Acquisition], at: int) -> tuple[Acquisition, ...]:
        first, end = self.slices[at]
        return tuple(a for a in dates if first <= a.day < end)

    def _pair(self, item: int, lr_kept: Sequence[Acquisition], hr_kept: Sequence[Acquisition]) -> SeriesPair:
        if self._cache is None:
            return SeriesPair(self._series(self._lr, lr_kept, item), self._series(self._hr, hr_kept, item))
        # The cache holds every date of the slice, so that a random choice is not frozen with the first epoch.
        at = item % len(self.slices)
        lr_all, hr_all = self._inside(self._lr.dates, at), self._inside(self._hr.dates, at)

        def make() -> dict[str, Tensor]:
            lr, hr = self._series(self._lr, lr_all, item), self._series(self._hr, hr_all, item)
            return {**_tensors("lr", lr), **_tensors("hr", hr)}

        found = cache.fetch(self._cache / f"sample_{item}.safetensors", make)
        return SeriesPair(_taken(found, "lr", lr_all, lr_kept), _taken(found, "hr", hr_all, hr_kept))

    def _series(self, reader: PatchReader, dates: Sequence[Acquisition], item: int) -> Series:
        values, valid = reader.read(dates, *self.corners[item // len(self.slices)])
        days = torch.from_numpy(days_since((a.day for a in dates), self.day_origin))
        return Series(values[None], days[None], valid[None])

    def _cache_folder(self, root: Path) -> Path:
        # A site of the same name elsewhere is another site; one whose index was written again may have other images.
        images = [str(line.bands) for reader in (self._lr, self._hr) for a in reader.dates for line in a.lines]
        return root / cache.digest(self.parameters.key(), *images, *self._index_prints()) / self.folder.name

    def _index_prints(self) -> list[str]:
        p = self.parameters
        sensors = ((p.lr_sensor, p.lr_index_files), (p.hr_sensor, p.hr_index_files))
        folders = ((self.folder / sensor, names) for sensor, names in sensors)
        files = [folder / name for folder, names in folders for name in index_names(folder, names)]
        return [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]


class SitesReader(Dataset[SeriesPair]):
    """The items of several sites, one site after the other in the order given.

    Attributes:
        sites: the readers of the sites that have images.
        skipped: the folders of the sites without any item (no valid image of a sensor, or no slice with enough
            dates), each with the reason. They take no item numbers (as in the reference).

    Raises:
        InputError: no site has an item; otherwise as `SiteReader`.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        parameters: SiteParameters | None = None,
        *,
        cache_dir: Path | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Arguments as those of `SiteReader`, the same for all sites."""
        self.rng = rng
        self.sites: list[SiteReader] = []
        self.skipped: dict[Path, str] = {}
        for folder in folders:
            try:
                site = SiteReader(folder, parameters, cache_dir=cache_dir, rng=rng)
            except NoImageError as error:
                self.skipped[Path(folder)] = str(error)
                continue
            if len(site):
                self.sites.append(site)
            else:
                self.skipped[Path(folder)] = f"no slice of time has more than {site.parameters.min_nb_dates} dates"
        if not self.sites:
            raise InputError(f"none of {len(folders)} site(s) has an item; skipped: {self.skipped or 'none'}")
        self._ends = tuple(accumulate(len(site) for site in self.sites))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, item: int) -> SeriesPair:
        return self.read(item, self.rng)

    def read(self, item: int, rng: random.Random | None) -> SeriesPair:
        """An item whose dates are drawn with these random numbers; errors as `SiteReader.read`."""
        site, inside = self.locate(item)
        return site.read(inside, rng)

    def locate(self, item: int) -> tuple[SiteReader, int]:
        """The site that an item is of, and its number there."""
        if not 0 <= item < len(self):
            raise IndexError(f"the sites have items 0 to {len(self) - 1}, found {item}")
        at = bisect_right(self._ends, item)
        return self.sites[at], item - (self._ends[at] - len(self.sites[at]))

    def state_dict(self) -> dict[str, Any]:
        """The state of the random numbers, to go on from the same place."""
        return _random_state(self.rng)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        _restore(self.rng, state)


def collate(items: Sequence[SeriesPair]) -> SeriesPair:
    """One batch: each series padded in time to the longest of its sensor (value 0, day 0, not valid).

    Raises:
        InputError: no item.
    """
    return SeriesPair(series.collate([item.lr for item in items]), series.collate([item.hr for item in items]))


def _quotas(parameters: SiteParameters, lr_count: int, hr_count: int) -> tuple[int | None, int | None]:
    """Dates kept of each sensor: `max_nb_dates` shared between them in proportion to their numbers of dates."""
    most, both = parameters.max_nb_dates, lr_count + hr_count
    if most is None:
        return None, None
    least = 1 if parameters.draw_from == "slice" else 0
    return max(least, most * lr_count // both), max(least, most * hr_count // both)


def _scales(reader: PatchReader, sensor: str) -> Tensor:
    """Per channel: reflectance x 10000, but kelvin x 10 in the eighth band of Landsat's surface images."""
    thermal = 7 if sensor == "landsat" else -1
    return torch.tensor([0.1 if band == thermal else 1e-4 for bands in reader.band_numbers() for band in bands])


def _corners(image: Path, patch_size: float) -> tuple[tuple[float, float], ...]:
    """Lower left corners: the patches that fit, row by row from the south-west, spread evenly over the image's box."""
    left, bottom, right, top = rasters.header(str(image)).grid.boundingbox
    columns, rows = floor((right - left) / patch_size), floor((top - bottom) / patch_size)
    if not (columns and rows):
        raise InputError(f"{image} covers {right - left:g} x {top - bottom:g} m: no patch of {patch_size:g} m fits")
    dx, dy = (right - left) / columns, (top - bottom) / rows
    return tuple((left + k * dx, bottom + m * dy) for m in range(rows) for k in range(columns))


def _slices(
    lr_days: Sequence[date], hr_days: Sequence[date], origin: date, parameters: SiteParameters
) -> tuple[tuple[date, date], ...]:
    """(first day, day after the last) of each slice; with a length, only those with enough dates of both sensors."""
    first, end = min(*lr_days, *hr_days), max(*lr_days, *hr_days)
    if not parameters.exclude_last_date:
        end += timedelta(days=1)
    length = parameters.time_slices_in_days
    if length is None:
        return ((first, end),)
    starts = [origin + timedelta(days=s * length) for s in range(ceil((end - origin).days / length))]
    slices = [(start, start + timedelta(days=length)) for start in starts]

    def enough(days: Sequence[date], inside: tuple[date, date]) -> bool:
        return sum(inside[0] <= day < inside[1] for day in days) > parameters.min_nb_dates

    return tuple(s for s in slices if enough(lr_days, s) and enough(hr_days, s))


def _days(dates: Sequence[Acquisition]) -> list[date]:
    return [a.day for a in dates]


def _tensors(side: str, whole: Series) -> dict[str, Tensor]:
    return {f"{side}.values": whole.values, f"{side}.days": whole.days, f"{side}.valid": whole.usable()}


def _taken(found: dict[str, Tensor], side: str, dates: Sequence[Acquisition], kept: Sequence[Acquisition]) -> Series:
    """The dates kept, of the cached series of `dates`."""
    wanted = {a.day for a in kept}
    at = torch.tensor([i for i, a in enumerate(dates) if a.day in wanted])
    return Series(*(found[f"{side}.{name}"].index_select(1, at) for name in ("values", "days", "valid")))


def _random_state(rng: random.Random | None) -> dict[str, Any]:
    return {"random_state": random.getstate() if rng is None else rng.getstate()}


def _restore(rng: random.Random | None, state: dict[str, Any]) -> None:
    (random.setstate if rng is None else rng.setstate)(state["random_state"])
