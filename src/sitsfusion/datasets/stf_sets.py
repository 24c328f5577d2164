"""The eight data sets of the survey "Deep Learning Spatiotemporal Fusion" (arXiv 2504.00901): where files lie, how
their names tell the date, what their numbers mean. Fine images are in a folder `Landsat`, coarse ones in `MODIS`,
whatever the sensors are; coarse images are stored on the fine grid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from sitsfusion.errors import DateError, InputError

FINE, COARSE = "Landsat", "MODIS"
Sensor = Literal["fine", "coarse"]
SIX = ("blue", "green", "red", "nir08", "swir16", "swir22")
FOUR = ("blue", "green", "red", "nir08")


@dataclass(frozen=True)
class StfSet:
    """A data set.

    Attributes:
        key: in commands.
        title: in tables.
        folder: below the root of the data.
        bands: common names, in the order of the files.
        fine, coarse: names in the sensor registry (the nearest, where the exact one is not in it).
        divisor: stored numbers are divided by it; 255 means 8-bit pictures and not reflectance.
        size: (rows, columns) of the images as published.
        train_dates: dates of the published training split; the rest is validation and test at once.
        rgb: positions of the bands shown as red, green and blue.
        pixels: sides of the real pixels in metres, (fine, coarse).
        names: patterns of the file names, of the fine and the coarse images.
    """

    key: str
    title: str
    folder: str
    bands: tuple[str, ...]
    fine: str
    coarse: str
    divisor: float
    size: tuple[int, int]
    train_dates: int
    rgb: tuple[int, int, int]
    pixels: tuple[float, float]
    names: Mapping[Sensor, re.Pattern[str]]

    @property
    def ratio(self) -> float:
        """Fine pixel size / coarse pixel size, for ERGAS."""
        return self.pixels[0] / self.pixels[1]

    def day(self, name: str, sensor: Sensor) -> date:
        """The date in a file's name.

        Raises:
            DateError: there is none where this data set has it.
        """
        found = self.names[sensor].match(name)
        if found is None:
            raise DateError(
                f"{name}: no {sensor} image of {self.key} is called like that; expected a name like "
                f"{EXAMPLES[self.key][0 if sensor == 'fine' else 1]}"
            )
        try:
            return _day(found.groupdict())
        except ValueError as error:
            raise DateError(f"{name}: its date cannot be read ({error})") from error


def _day(parts: Mapping[str, str]) -> date:
    if "doy" in parts:
        return date(int(parts["year"]), 1, 1) + timedelta(int(parts["doy"]) - 1)
    return date(int(parts["year"]), int(parts["month"]), int(parts["day"]))


_DATE = r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"
_LOOSE = r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})\.tiff?$"
_MODIS = re.compile(r".{9}(?P<year>\d{4})(?P<doy>\d{3})")
EXAMPLES = {
    "CIA": ("L71093084_08420020401_HRF_modtran_surf_ref_agd66.tif", "MOD09GA_A2001290.sur_refl.tif"),
    "LGC": ("20050403_TM.tif", "MOD09GA_A2005013.sur_refl.tif"),
    **dict.fromkeys(("AHB", "DX", "TJ"), ("L_2015-6-21.tif", "M_2016-4-20.tif")),
    "WH": ("G_20180109.tif", "L_20210118.tif"),
    **dict.fromkeys(("IC", "BC"), ("S2_20220405.tif", "S3_20220105_real.tif")),
}


def _names(fine: str, coarse: str | re.Pattern[str]) -> Mapping[Sensor, re.Pattern[str]]:
    return {"fine": re.compile(fine), "coarse": re.compile(coarse)}


_8BIT = {"fine": "landsat-8-9-c2-l2", "coarse": "modis-mod09", "divisor": 255.0, "rgb": (3, 2, 1), "bands": SIX}
_INTEGERS = {"coarse": "modis-mod09", "divisor": 10_000.0, "rgb": (3, 2, 1), "bands": SIX, "pixels": (30.0, 500.0)}
_SENTINEL = {"fine": "sentinel-2-l2a", "coarse": "sentinel-3-syn", "divisor": 1.0, "rgb": (2, 1, 0), "bands": FOUR}


def _landsat8(key: str, title: str, folder: str, size: tuple[int, int]) -> StfSet:
    names = _names(f".{{2}}{_LOOSE}", f".{{2}}{_LOOSE}")
    return StfSet(key, title, folder, size=size, train_dates=20, pixels=(30.0, 500.0), names=names, **_8BIT)  # type: ignore[arg-type]


def _sentinel(key: str, title: str) -> StfSet:
    names = _names(f".{{3}}{_DATE}", f".{{3}}{_DATE}")
    where = f"data/{key}"
    return StfSet(key, title, where, size=(1500, 1500), train_dates=3, pixels=(10.0, 300.0), names=names, **_SENTINEL)  # type: ignore[arg-type]


SETS: Mapping[str, StfSet] = {
    found.key: found
    for found in (
        StfSet(
            "CIA",
            "Coleambally",
            "data/CIA",
            fine="landsat-4-7-c2-l2",
            size=(1792, 1280),
            train_dates=11,
            names=_names(f".{{13}}{_DATE}", _MODIS),
            **_INTEGERS,  # type: ignore[arg-type]
        ),
        StfSet(
            "LGC",
            "Lower Gwydir",
            "data/LGC",
            fine="landsat-4-7-c2-l2",
            size=(2560, 3072),
            train_dates=9,
            names=_names(_DATE, _MODIS),
            **_INTEGERS,  # type: ignore[arg-type]
        ),
        _landsat8("AHB", "Ar Horqin Banner", "data/Datasets/AHB", (2480, 2800)),
        _landsat8("DX", "Daxing", "data/Datasets/Daxing", (1640, 1640)),
        _landsat8("TJ", "Tianjin", "data/Datasets/Tianjin", (2100, 1970)),
        StfSet(
            "WH",
            "Wuhan",
            "data/Wuhan",
            bands=FOUR,
            fine="sentinel-2-l2a",
            coarse="landsat-8-9-c2-l2",
            divisor=10_000.0,
            size=(1000, 1000),
            train_dates=5,
            rgb=(2, 1, 0),
            pixels=(8.0, 30.0),
            names=_names(f".{{2}}{_DATE}", f".{{2}}{_DATE}"),
        ),
        _sentinel("IC", "Imperial County"),
        _sentinel("BC", "Butte County"),
    )
}


def get(key: str) -> StfSet:
    """A data set by its key, in any case.

    Raises:
        InputError: no such data set.
    """
    if key.upper() not in SETS:
        raise InputError(f"unknown spatiotemporal fusion data set {key!r}; known: {', '.join(SETS)}")
    return SETS[key.upper()]


def folders(described: StfSet, root: Path) -> dict[Sensor, Path]:
    """Where the images of both sensors lie below the root of the data."""
    base = root / described.folder
    return {"fine": base / FINE, "coarse": base / COARSE}
