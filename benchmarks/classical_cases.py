"""Real cases for the classical methods: a scene, images that are hidden from it, and what they show.

Each function takes the folder of the data sets (see `classical_real.py`) and gives cases. Pixels are as the README of
the data set describes them; what is changed (crops, averages, masks of our own) is said in the case's `note`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from real_inputs import belgium as write_belgium
from sitsfusion import sensors
from sitsfusion.cube import Cube
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.io import open_scene
from sitsfusion.scene import Scene

SENSORS = Path(__file__).parent / "sensors"
KELVIN, INDEX = SENSORS / "landsat-8-st-kelvin.yaml", SENSORS / "index.yaml"
SIX, SIX_MODIS = ("B01", "B02", "B03", "B04", "B05", "B07"), ("B03", "B04", "B01", "B02", "B06", "B07")
SIX_OLI = ("B02", "B03", "B04", "B05", "B06", "B07")
CLEAR_SHARE = 0.9

Array = NDArray[Any]
Options = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Truth:
    """A hidden image: `values` [b h w] and where they can be trusted, `seen` [h w]."""

    values: Array
    seen: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Case:
    """What is predicted from what.

    Attributes:
        name: of the data set, and what of it.
        scene: all images but those of `role` that are hidden for good.
        role: predicted.
        bands: predicted.
        folds: days hidden together and predicted from all others.
        truths: of the days of all folds.
        methods: label -> (name, options) of the methods besides the yardsticks.
        unit: of the errors, and what values are multiplied by for it.
        average: predictions and truth are averaged over squares of so many pixels before they are compared.
        note: what was done to the data.
        low: the role that the yardstick "bicubic" enlarges (none: there is no coarse image).
    """

    name: str
    scene: Scene
    role: str
    bands: tuple[str, ...]
    folds: tuple[tuple[date, ...], ...]
    truths: Mapping[date, Truth]
    methods: Mapping[str, tuple[str, Options]]
    unit: tuple[str, float] = ("reflectance x 10000", 1e4)
    average: int = 1
    note: str = ""
    low: str | None = None
    copies: Mapping[date, Array] = field(default_factory=dict)


def case_of(name: str, scene: Scene, folds: Sequence[Sequence[date]], methods: Sequence[Any], **more: Any) -> Case:
    """A case that hides images of the fine cube. `methods`: names, or (label, name, options)."""
    role = more.pop("role", "fine")
    bands = tuple(more.pop("bands", scene[role].bands))
    cube = scene[role].select(bands=bands)
    hidden = tuple(day for fold in folds for day in fold)
    frames = {day: cube.frame(cube.dates.index(day)) for day in hidden}
    truths = {day: Truth(frame.values, frame.valid) for day, frame in frames.items()}
    chosen = {m if isinstance(m, str) else m[0]: (m, {}) if isinstance(m, str) else (m[1], m[2]) for m in methods}
    return Case(name, scene, role, bands, tuple(map(tuple, folds)), truths, chosen, **more)


# -- coarse and fine ------------------------------------------------------------------------------------------------

STAIR_FULL = ("stair (full)", "stair", {"mode": "full"})
ONE_PAIR: tuple[Any, ...] = ("starfm", "fsdaf", "fit-fc", STAIR_FULL)
TWO_PAIRS: tuple[Any, ...] = ("starfm", "estarfm", "fsdaf", "fit-fc", "spstfm", STAIR_FULL)


def cia(folder: Path) -> list[Case]:
    data = _data(folder, "cia_modis_landsat_a")
    grid = _grid((297, 297), (50.0, 0, 400_000, 0, -50.0, 6_150_000), "EPSG:32755")
    days = _days(data["date"])
    fine = _cube(data["landsat"][..., :297, :] / 1e4, "landsat-4-7-c2-l2", SIX, grid, days)
    coarse = _cube(data["modis"][..., :297, :] / 1e4, "modis-mod09", SIX_MODIS, grid, days, native=9)
    scene = Scene({"fine": fine, "coarse": coarse}, name="cia")
    note = "one pair; upper 297 of 608 rows; MODIS pixels of 9 or 10 grid pixels taken as 9; CRS assumed"
    folds = [[day] for day in days]
    return [case_of("cia_modis_landsat_a", scene, folds, ONE_PAIR, note=note, low="coarse")]


def kranj(folder: Path) -> list[Case]:
    data = _data(folder, "kranj_modis_landsat")
    grid = _grid((44, 44), data["transform"], str(data["crs"]))
    fine = _cube(
        data["landsat_unfilled"][..., :44] / 1e4, "landsat-8-9-c2-l2", SIX_OLI, grid, _days(data["landsat_date"])
    )
    coarse = _cube(data["modis"][..., :44], "modis-mod09", SIX_MODIS, grid, _days(data["modis_date"]), native=11)
    scene = Scene({"fine": fine, "coarse": coarse}, name="kranj")
    note = "last column cut; MODIS, delivered smoothly resampled, in pixels of 11 where whole ones are needed"
    methods = (*TWO_PAIRS, ("efast", "efast", {"min_importance": 0}))
    return [case_of("kranj_modis_landsat", scene, [[date(2020, 3, 17)]], methods, note=note, low="coarse")]


def salton(folder: Path) -> list[Case]:
    data = _data(folder, "salton_viirs_hls_a")
    crs, days = str(data["crs"]), _days(data["fine_date"])
    kept = [i for i, day in enumerate(days) if day not in (date(2020, 11, 1), date(2020, 11, 26))]
    fine = _cube(
        data["fine"][kept][:, None],
        "hls-l30",
        ("B05",),
        _grid((140, 140), data["fine_transform"], crs),
        [days[i] for i in kept],
    )
    coarse = _cube(
        data["coarse"][:, None],
        "viirs-vnp09",
        ("I2",),
        _grid((20, 20), data["coarse_transform"], crs),
        _days(data["coarse_date"]),
    )
    scene = Scene({"fine": fine, "coarse": coarse}, name="salton")
    note = "one band, 7:1; 2020-11-01 (cloudy) and 2020-11-26 (wrong) left out; each interior date hidden in turn"
    methods = (*TWO_PAIRS, ("efast", "efast", {"min_importance": 0}), "sen2like", "joint-gp")
    folds = [[day] for day in fine.dates[1:-1]]
    return [case_of("salton_viirs_hls_a", scene, folds, methods, note=note, low="coarse")]


def yanco(folder: Path) -> list[Case]:
    data = _data(folder, "lst_modis_landsat_yanco")
    grid = _grid((400, 400), data["transform"], str(data["crs"]))
    fine = _cube(data["landsat_lst"][:, None], KELVIN, ("LST",), grid, _days(data["landsat_date"]))
    coarse = _cube(data["modis_lst"][:, None], KELVIN, ("LST",), grid, _days(data["modis_date"]), native=10)
    scene = Scene({"fine": fine, "coarse": coarse}, name="yanco")
    folds = [[day] for day in fine.dates]
    note = "one pair; scaled so that the uncertainty of starfm is 1 K"
    return [
        case_of(
            "lst_modis_landsat_yanco",
            scene,
            folds,
            warm(),
            note=note,
            unit=("K", 1.0),
            average=1,
            low="coarse",
        )
    ]


def warm(**more: Any) -> list[tuple[str, str, Options]]:
    """One-pair methods for kelvin: 1 K is 50 scaled units. `more`: options of the methods on pairs."""
    pairs = {"starfm": {}, "fsdaf": {"data_range": (12_000, 18_000)}, "fit-fc": {}}
    return [*((name, name, {"scale": 50, **own, **more}) for name, own in pairs.items()), STAIR_FULL]


# -- temperature ----------------------------------------------------------------------------------------------------

THERMAL_RATIOS = (4, 8, 16)


def michigan(folder: Path) -> list[Case]:
    data = _data(folder, "thermal_l7_michigan")
    optical = data["sr"].astype(np.float32) / 1e4
    seen = (data["sr"] > -2000).all(0) & (data["sr"] < 16_000).all(0)
    return _sharpening(
        "thermal_l7_michigan", data, [date(2011, 9, 7)], optical[None], data["bt"][None] / 10.0, seen[None]
    )


def chiapas(folder: Path) -> list[Case]:
    data = _data(folder, "thermal_l7_chiapas")
    seen = np.isin(data["fmask"], (0, 1)) & (data["sr"] >= 0).all(1) & (data["bt"] > -9999)
    kelvin = data["bt"] / 100.0 + 273.15
    return _sharpening("thermal_l7_chiapas", data, _days(data["date"]), data["sr"] / 1e4, kelvin, seen)


def pennsylvania(folder: Path) -> list[Case]:
    data = _data(folder, "thermal_l7_pennsylvania")
    found = []
    # Native thermal pixels are pairs of rows (0, 1) and of columns (1, 2) in July, (0, 1) in November.
    for day, first, elevation, distance in (
        (date(2002, 7, 20), 1, 61.4, 1.0162),
        (date(2002, 11, 25), 0, 26.2, 0.9871),
    ):
        key, columns = f"{day:%Y_%m_%d}", slice(first, first + 298)
        gain = np.array([0.77569, 0.79569, 0.61922, 0.63725, 0.12573, 0.04373])[:, None, None]
        offset = np.array([-6.2, -6.4, -5.0, -5.1, -1.0, -0.35])[:, None, None]
        sun = np.array([1997, 1812, 1533, 1039, 230.8, 84.9])[:, None, None]  # W m-2 um-1, Chander et al. 2009
        radiance = gain * data[f"dn_{key}"][:, :, columns] + offset
        reflectance = np.pi * radiance * distance**2 / (sun * np.sin(np.radians(elevation)))
        thermal = 0.037205 * data[f"thermal_{key}"][1][:, columns] + 3.16
        kelvin = 1282.71 / np.log(666.09 / thermal + 1)
        seen = np.ones(kelvin.shape, bool)
        name = f"thermal_l7_pennsylvania {day:%B}"
        found += _sharpening(name, data, [day], reflectance[None], kelvin[None], seen[None])
    return found


def _sharpening(name: str, data: Any, days: Sequence[date], optical: Array, kelvin: Array, seen: Array) -> list[Case]:
    """Temperatures averaged to 120, 240 and 480 m, to be brought back and scored at 60 m, the instrument's pixel."""
    found = []
    for ratio in THERMAL_RATIOS:
        height, width = (side // ratio * ratio for side in kelvin.shape[1:])
        part = np.s_[:, :height, :width]
        clear = seen[part]
        fine_grid = _grid((height, width), data["transform"], str(data["crs"]))
        a, _, x, _, e, y = (float(v) for v in data["transform"])
        low_grid = _grid((height // ratio, width // ratio), (a * ratio, 0, x, 0, e * ratio, y), str(data["crs"]))
        fine = _cube(optical[..., :height, :width], "landsat-4-7-c2-l2", SIX, fine_grid, days, clear)
        low = np.where(clear, kelvin[part], np.nan).reshape(len(days), height // ratio, ratio, width // ratio, ratio)
        enough = (np.isfinite(low).mean((2, 4)) >= 0.5)[:, None]
        count = np.isfinite(low).sum((2, 4))[:, None].clip(min=1)
        mean = np.where(enough, np.nansum(low, (2, 4))[:, None] / count, np.nan)
        thermal = _cube(mean, KELVIN, ("LST",), low_grid, days)
        options: Options = {"resolution": a * ratio, "bands": SIX, "max_masked_share": 1}
        methods = {
            "dms": ("dms", options),
            "dms (full)": ("dms", {**options, "mode": "full"}),
            "dms (full), one window": ("dms", {**options, "mode": "full", "window": 0}),
        }
        truths = {day: Truth(kelvin[part][i : i + 1], clear[i]) for i, day in enumerate(days)}
        copies = {day: kelvin[part][1 - i : 2 - i] for i, day in enumerate(days)} if len(days) == 2 else {}
        found.append(
            Case(
                f"{name}, {a * ratio:g} m",
                Scene({"fine": fine, "thermal": thermal}, name=name),
                "thermal",
                ("LST",),
                tuple((day,) for day in days),
                truths,
                methods,
                unit=("K", 1.0),
                average=2,
                note=f"30 m temperature averaged to {a * ratio:g} m; scored at 60 m",
                low="thermal",
                copies=copies,
            )
        )
    return found


def spain(folder: Path) -> list[Case]:
    data = _data(folder, "l8_st_spain_a")
    kelvin = np.where(data["st"] > 0, 0.00341802 * data["st"] + 149.0, np.nan)
    bad = (data["qa"] & 0b11111) != 0
    kelvin = np.where(bad, np.nan, kelvin)[:, :390, :390]
    native, coarse = _means(kelvin, 3), _means(kelvin, 30)
    a, _, x, _, e, y = (float(v) for v in data["transform"])
    crs, days = str(data["crs"]), _days(data["date"])
    fine = _cube(native[:, None], KELVIN, ("LST",), _grid((130, 130), (3 * a, 0, x, 0, 3 * e, y), crs), days)
    low = _cube(coarse[:, None], KELVIN, ("LST",), _grid((13, 13), (30 * a, 0, x, 0, 30 * e, y), crs), days)
    scene = Scene({"fine": fine, "coarse": low}, name="spain")
    note = (
        "no optical bands: 90 m temperatures (the instrument's pixel) from their own 900 m averages and the other date"
    )
    folds = [[day] for day in days]
    methods = warm(min_clear_share=0)
    return [case_of("l8_st_spain_a", scene, folds, methods, note=note, unit=("K", 1.0), low="coarse")]


# -- series ---------------------------------------------------------------------------------------------------------

CURVES = (
    ("previous", "linear", {"kind": "previous"}),
    ("spline (akima)", "spline", {}),
    ("spline (pchip)", "spline", {"kind": "pchip"}),
    ("whittaker", "whittaker", {}),
    ("whittaker (v-curve)", "whittaker", {"choose": "v-curve"}),
    "savgol",
    "harmonic",
)
# Over years, a Whittaker curve that lives on every day takes minutes a fold.
LONG_CURVES = tuple(
    (c[0], c[1], {**c[2], "nodes": "dates"}) if not isinstance(c, str) and c[1] == "whittaker" else c for c in CURVES
)
FOLDS = 4


def belgium(folder: Path) -> list[Case]:
    opened = open_scene(write_belgium(folder / "s2_l8_belgium_a", Path(_work().name) / "belgium"))
    scene = Scene({role: opened[role] for role in ("fine", "coarse")}, name="belgium").load()
    bands = ("B02", "B03", "B04", "B8A", "B11", "B12")
    two = (
        "stair",
        STAIR_FULL,
        ("sen2like", "sen2like", {"mtf": 0.1}),
        ("sen2like (full)", "sen2like", {"mode": "full", "sbaf": "off"}),
        ("starfm", "starfm", {"max_gap": 3}),
        ("estarfm", "estarfm", {"max_gap": 3}),
        ("fsdaf", "fsdaf", {"max_gap": 3}),
        ("fit-fc", "fit-fc", {"max_gap": 3}),
        ("efast", "efast", {"min_importance": 0}),
        "joint-gp",
    )
    return [_series("s2_l8_belgium_a", scene, (*LONG_CURVES, *two), bands=bands)]


def meadow(folder: Path) -> list[Case]:
    data = _data(folder, "s2_meadow")
    grid = _grid((44, 48), data["transform"], str(data["crs"]))
    cube = _cube(data["ndvi"][:, None], INDEX, ("NDVI",), grid, _days(data["date"]))
    scene = Scene({"fine": cube}, name="meadow")
    return [_series("s2_meadow", scene, (*CURVES, "double-logistic"), unit=("NDVI x 1000", 1e3))]


def eolearn(folder: Path) -> list[Case]:
    data = _data(folder, "eolearn_ndvi_masks")
    days = _days(data["time"])
    once = [i for i, day in enumerate(days) if day not in days[:i]]  # 2015-12-08 comes twice, cloudy
    x0, _, x1, y1 = (float(v) for v in data["bbox"])
    grid = _grid((101, 100), ((x1 - x0) / 100, 0, x0, 0, -10.0, y1), str(data["crs"]))
    cube = _cube(data["ndvi"][once][:, None], INDEX, ("NDVI",), grid, [days[i] for i in once], data["is_valid"][once])
    note = "the mask `is_valid`"
    return [
        _series(
            "eolearn_ndvi_masks", Scene({"fine": cube}, name="eolearn"), CURVES, unit=("NDVI x 1000", 1e3), note=note
        )
    ]


def monthly(folder: Path) -> list[Case]:
    data = _data(folder, "s2_monthly_belgium")
    names = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")
    values = np.where(data["s2"] == 65535, np.nan, data["s2"] / 1e4)
    grid = _grid((101, 101), data["transform"], str(data["crs"]))
    days = [date.fromisoformat(f"{month}-15") for month in data["month"].tolist()]
    cube = _cube(values, "sentinel-2-l2a", names, grid, days)
    note = "months as their 15th day"
    return [_series("s2_monthly_belgium", Scene({"fine": cube}, name="monthly"), LONG_CURVES, note=note)]


def harvard(folder: Path) -> list[Case]:
    data = _data(folder, "landsat_row_harvard")
    days = _days(data["date"])
    once = [i for i, day in enumerate(days) if day not in days[:i]]
    grid = _grid((1, 300), (30.0, 0, 700_000, 0, -30.0, 4_700_000), "EPSG:32618")
    values = data["sr"][once][:, :, None] / 1e4
    seen = np.isin(data["fmask"][once], (0, 1)) & ((data["sr"][once] > 0) & (data["sr"][once] < 10_000)).all(1)
    cube = _cube(values, "landsat-4-7-c2-l2", SIX, grid, [days[i] for i in once], seen[:, None])
    scene = Scene({"fine": cube}, name="harvard")
    more = (*LONG_CURVES, ("harmonic (trend)", "harmonic", {"trend": True}))
    return [_series("landsat_row_harvard", scene, more, note="one row of pixels; grid assumed")]


def connecticut(folder: Path) -> list[Case]:
    data = _data(folder, "s2_l8_pixel_connecticut")
    grid = _grid((1, 1), (30.0, 0, 700_000, 0, -30.0, 4_600_000), "EPSG:32618")
    names = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12", "B8A")
    cubes = {}
    for role, key, sensor, bands in (("fine", "s2", "hls-s30", names), ("coarse", "l8", "hls-l30", SIX_OLI)):
        values = data[key][:, :, None, None] / 1e4
        seen = (np.isin(data[f"{key}_mask"], (0, 1)) & (data[key] > 0).all(1))[:, None, None]
        some = np.flatnonzero(seen[:, 0, 0])  # the other dates say nothing
        days = _days(data[f"{key}_date"])
        cubes[role] = _cube(values[some], sensor, bands, grid, [days[i] for i in some], seen[some])
    bands = ("B02", "B03", "B04", "B8A", "B11", "B12")
    scene = Scene(cubes, name="connecticut")
    note = "one pixel, both sensors on it; grid assumed"
    return [_series("s2_l8_pixel_connecticut", scene, (*CURVES, "stair", "joint-gp"), bands=bands, note=note)]


def _series(name: str, scene: Scene, methods: Sequence[Any], **more: Any) -> Case:
    """Every clear date but the first and the last is hidden once, every fourth of them together."""
    cube = with_clear_shares(scene)["fine"]
    clear = [d for d, item in zip(cube.dates, cube.items, strict=True) if (item.clear_share or 0) >= CLEAR_SHARE][1:-1]
    return case_of(name, scene, [clear[i::FOLDS] for i in range(FOLDS)], methods, **more)


@cache
def _work() -> TemporaryDirectory[str]:
    """For files that are made of a case; jobs identify images by them, so they must stay until the end."""
    return TemporaryDirectory()


# -- reading --------------------------------------------------------------------------------------------------------


def _data(folder: Path, name: str) -> Any:
    with np.load(folder / name / "data.npz") as data:
        return {key: data[key] for key in data.files}


def _days(times: Array) -> list[date]:
    return [date.fromisoformat(str(time)[:10]) for time in times]


def _grid(shape: tuple[int, int], transform: Sequence[float], crs: str) -> GeoBox:
    return GeoBox(shape, Affine(*(float(v) for v in transform[:6])), crs)


def _cube(
    values: Array,
    sensor: str | Path,
    bands: Sequence[str],
    grid: GeoBox,
    days: Sequence[date],
    valid: Array | None = None,
    native: int = 1,
) -> Cube:
    """A cube of physical values [t b h w]; NaN = missing; `valid` [t h w]."""
    return Cube.from_array(
        values.astype(np.float32),
        sensor=sensors.get(sensor),
        bands=bands,
        grid=grid,
        dates=days,
        valid=valid,
        native=(native,) * len(bands),
    )


def _means(images: Array, side: int) -> Array:
    """Means [t h/side w/side] of squares of which at least half is seen."""
    t, height, width = images.shape
    squares = images.reshape(t, height // side, side, width // side, side)
    seen = np.isfinite(squares)
    mean = np.nansum(squares, (2, 4)) / seen.sum((2, 4)).clip(min=1)
    return np.where(seen.mean((2, 4)) >= 0.5, mean, np.nan)


CASES: dict[str, Callable[[Path], list[Case]]] = {
    "cia_modis_landsat_a": cia,
    "kranj_modis_landsat": kranj,
    "salton_viirs_hls_a": salton,
    "lst_modis_landsat_yanco": yanco,
    "thermal_l7_michigan": michigan,
    "thermal_l7_chiapas": chiapas,
    "thermal_l7_pennsylvania": pennsylvania,
    "l8_st_spain_a": spain,
    "s2_l8_belgium_a": belgium,
    "s2_meadow": meadow,
    "eolearn_ndvi_masks": eolearn,
    "s2_monthly_belgium": monthly,
    "landsat_row_harvard": harvard,
    "s2_l8_pixel_connecticut": connecticut,
}
