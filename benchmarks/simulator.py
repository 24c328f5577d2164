"""Do simulated scenes look like real ones? Distances, and pictures to look at.

    python benchmarks/simulator.py CASES_DIR [--draws 20] [--out benchmarks/out/simulator]

CASES_DIR holds the folders of real cases (s2_l8_belgium_a and others) with their `data.npz`. Prints one table:
statistic x group of bands, mean distance between real places, from simulated to real places, and their ratio (wanted:
at most 1.5). OUT receives the pictures and an HTML page, draws beside real places.

Level-1C cases are brought near surface reflectance by dark-object subtraction (Chavez, 1988) with fixed
transmittances; what that leaves (some 0.01 in the visible) adds to the differences between real places.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sitsfusion.sensors import QualityRule, get
from sitsfusion.simulate import Simulated, simulate_scene
from sitsfusion.simulate.compare import Place, Row, compare, grouped
from sitsfusion.simulate.gallery import write_gallery
from sitsfusion.simulate.world import World

SENTINEL2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
GROUPS: Mapping[str, Sequence[str]] = {
    "visible": ("B02", "B03", "B04"),
    "red edge": ("B05", "B06", "B07"),
    "near infrared": ("B08", "B8A"),
    "short-wave infrared": ("B11", "B12"),
    "NDVI": ("NDVI",),
    "temperature": ("LST",),
    "all": ("",),
}
UNITS = {"spectrum": "decades", "cloud size": "decades", "clear share": "share"}
PHYSICAL = ("year", "image", "variogram")  # in the unit of the band
WANTED = 1.5
# Path reflectance relative to that of the blue band, and two-way transmittance: a clear mid-latitude atmosphere.
_PATH = {"B02": 1.0, "B03": 0.5, "B04": 0.25, "B05": 0.2, "B06": 0.17, "B07": 0.14, "B08": 0.11, "B8A": 0.1,
         "B11": 0.03, "B12": 0.02}  # fmt: skip
_THROUGH = {"B02": 0.85, "B03": 0.88, "B04": 0.92, "B05": 0.92, "B06": 0.93, "B07": 0.93, "B08": 0.93, "B8A": 0.96,
            "B11": 0.96, "B12": 0.95}  # fmt: skip
_DARK = 0.02  # surface reflectance of the darkest hundredth of an image in the blue
# Of level-1C images without a mask: bright in the blue, or seen in the cirrus band.
_CLOUD_BLUE, _CLOUD_CIRRUS = 2200, 60
_COLDEST = 263.0  # K: what is colder under a clear mask is a cloud
_SIZE, _YEAR = 96, 2022


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/simulator"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    real = real_places(args.cases)
    drawn = [place for seed in range(args.draws) for place in simulated_places(seed)]
    print(markdown(grouped(compare(real, drawn), GROUPS)))
    print(write_gallery(args.out, {"simulated": drawn, "real": real}))


def markdown(rows: Sequence[Row]) -> str:
    """The table as text."""
    lines = [
        "| statistic | bands | unit | real places | real to real | draw to real | ratio | draw to draw |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        mark = "" if r.ratio <= WANTED else " (over)"
        unit = {"temperature": "K", "NDVI": "index"}.get(r.band, "reflectance") if r.statistic in PHYSICAL else ""
        cells = (r.statistic, r.band, unit or UNITS[r.statistic], r.places, f"{r.real:.3g}", f"{r.simulated:.3g}")
        lines.append("| " + " | ".join(map(str, cells)) + f" | {r.ratio:.2f}{mark} | {r.drawn:.3g} |")
    return "\n".join(lines)


# -- simulated --------------------------------------------------------------------------------------------------------


def simulated_places(seed: int) -> list[Place]:
    """One draw: Sentinel-2 bands, and temperature rounded to whole kelvin as in the real series."""
    made = simulate_scene(_SIZE, year=_YEAR, seed=seed, world=World.draw(seed))
    return [*_optical(made, f"draw {seed}"), _thermal(made, f"draw {seed}")]


def _optical(made: Simulated, name: str) -> list[Place]:
    cube = made.scene["fine"]
    values, valid = cube.to_numpy()
    if made.place.world.toa:
        values = surface(values * 10_000, cube.bands)[1]
    days = np.array([day.toordinal() for day in cube.dates], float)
    dull = valid & ~bright(values, cube.bands)
    return [with_ndvi(sentinel2(name, cube.bands, values, dull, days)), masks_only(name, valid, days)]


def _thermal(made: Simulated, name: str) -> Place:
    cube = made.scene["coarse"].select(bands=["LST"])
    values, valid = cube.to_numpy()
    days = np.array([day.toordinal() for day in cube.dates], float)
    return thermal(name, values[:, 0], valid, days)


def thermal(name: str, kelvin: NDArray[Any], valid: NDArray[np.bool_], days: NDArray[np.float64]) -> Place:
    """Temperature [t, h, w] at 30 m, of instruments with pixels of some 90 m; frozen tops of clouds are left out."""
    whole, seen = np.round(kelvin)[:, None].astype(np.float32), valid & (kelvin > _COLDEST)
    return Place(name, ("LST",), whole, seen, days, (30.0, 30.0), (40.0,))


def masks_only(
    name: str, clear: NDArray[np.bool_], days: NDArray[np.float64], pixel: tuple[float, float] = (10.0, 10.0)
) -> Place:
    """Cloud masks [t, h, w] of all acquisitions, without values."""
    return Place(name, (), np.zeros((len(days), 0, *clear.shape[1:]), np.float32), clear, days, pixel, (), masks=True)


def bright(values: NDArray[np.float32], bands: Sequence[str]) -> NDArray[np.bool_]:
    """[t, h, w]: clouds (or snow) that a mask has missed, by their brightness in the blue: they would hide all else."""
    return np.asarray(values[:, list(bands).index("B02")] > _CLOUD_BLUE / 10_000, bool)


def with_ndvi(place: Place) -> Place:
    """The place with the vegetation index as one more band."""
    red, nir = (place.values[:, place.bands.index(band)] for band in ("B04", "B08"))
    ndvi = np.where(place.valid, (nir - red) / np.maximum(nir + red, 0.01), np.nan).clip(-1, 1)
    values = np.concatenate([place.values, ndvi[:, None].astype(np.float32)], axis=1)
    return replace(place, bands=(*place.bands, "NDVI"), values=values, native=(*place.native, max(place.pixel)))


# -- real -------------------------------------------------------------------------------------------------------------


def real_places(cases: Path) -> list[Place]:
    """The real cases that are there; each says how many statistics it serves in the table."""
    readers = {
        "s2_l8_belgium_a": belgium, "s2_lst_belgium_b": belgium, "s2_monthly_belgium": monthly,
        "sen12mscrts_italy_a": italy, "eolearn_ndvi_masks": slovenia, "sen12mscr_pairs_a": pairs,
        "s2_multires_oresund": oresund, "oli2msi_a": china, "l8_st_spain_a": spain,
        "lst_modis_landsat_yanco": yanco, "s2_meadow": meadow, "landsat_row_harvard": harvard,
    }  # fmt: skip
    found = []
    for name, reader in readers.items():
        with np.load(cases / name / "data.npz") as data:
            found += reader(data, name)
    return found


def belgium(data: Any, name: str) -> list[Place]:
    """Sentinel-2 at 10 and 20 m with its scene classification, and Landsat surface temperature."""
    scl, days = data["s2_scl"], ordinals(data["s2_time"])
    clear = rule("sentinel-2-l2a", "SCL").clear(scl)
    fine = clear.repeat(2, 1).repeat(2, 2)
    ten, twenty = (data[f"s2_{size}"].astype(np.float32) / 10_000 for size in ("10m", "20m"))
    bands10, bands20 = (tuple(map(str, data[f"s2_{size}_bands"])) for size in ("10m", "20m"))
    kelvin, qa = data["l8_st"], data["l8_st_qa"]
    seen = rule("landsat-8-9-c2-l2", "QA_PIXEL").clear(qa) & (kelvin > 149)
    dull = fine & ~bright(ten, bands10)
    return [
        with_ndvi(sentinel2(name, bands10, ten, dull & (ten > 0).all(1), days)),
        Place(name, bands20, twenty, dull[:, ::2, ::2] & (twenty > 0).all(1), days, (20.0, 20.0), (20.0,) * 6),
        thermal(name, kelvin, seen, ordinals(data["l8_st_date"])),
        masks_only(name, fine, days),
    ]


def monthly(data: Any, name: str) -> list[Place]:
    """Monthly composites; what is bright in the blue is taken for a cloud that was left."""
    bands = tuple(f"B{int(str(band)[1:]):02d}" for band in data["s2_bands"])
    stored, days = data["s2"], ordinals([f"{month}-15" for month in data["month"]])
    values = stored.astype(np.float32) / 10_000
    return [with_ndvi(sentinel2(name, bands, values, (stored != 65535).all(1) & ~bright(values, bands), days))]


def italy(data: Any, name: str) -> list[Place]:
    """Level 1C; dates labelled clear give values, thresholds give masks."""
    days, pixel = ordinals(data["s2_date"]), (10.0, 7.4)
    cloudy = _threshold(data["s2"], data["s2_bands"]) | (data["sky"] == 2)[:, None, None]
    clear = data["sky"] == 0
    bands, values = surface(data["s2"][clear], data["s2_bands"])
    optical = with_ndvi(sentinel2(name, bands, values, ~cloudy[clear], days[clear], pixel))
    return [optical, masks_only(name, ~cloudy, days, pixel)]


def slovenia(data: Any, name: str) -> list[Place]:
    """NDVI at the top of the atmosphere, and three clear scenes of unknown date."""
    valid, days = data["is_valid"], ordinals(data["time"])
    ndvi = Place(name, ("NDVI",), data["ndvi"][:, None], valid, days, (10.0, 10.0), (10.0,), masks=True)
    bands, values = surface(data["reference_scenes"][2:], data["reference_bands"])
    return [ndvi, sentinel2(name, bands, values, np.ones((3, *valid.shape[1:]), bool), np.arange(3.0))]


def pairs(data: Any, name: str) -> list[Place]:
    """Five places of the world, one clear level-1C image each."""
    found = []
    for image, tag in zip(data["clear"], data["tag"], strict=True):
        bands, values = surface(image[None], data["bands"])
        clear = ~_threshold(image[None], data["bands"])
        found.append(with_ndvi(sentinel2(f"{name} {tag}", bands, values, clear, np.zeros(1))))
    return found


def meadow(data: Any, name: str) -> list[Place]:
    """Red, near infrared and NDVI of a meadow smaller than a view; what was cloudy is not known."""
    values = np.stack([data["b04"], data["b08"]], axis=1) / np.float32(10_000)
    valid = np.isfinite(values).all(1)
    return [with_ndvi(sentinel2(name, ("B04", "B08"), values, valid, ordinals(data["date"])))]


def harvard(data: Any, name: str) -> list[Place]:
    """Three years of Landsat over one row of a forest: reflectance, and brightness temperature."""
    days = ordinals(data["date"])
    at = (days >= date(2001, 1, 1).toordinal()) & (days < date(2004, 1, 1).toordinal())
    values = data["sr"][at][:, :, None].astype(np.float32) / 10_000  # [t, c, 1, w]
    bands = ("B02", "B03", "B04", "B08", "B11", "B12")
    clear = (data["fmask"][at] <= 1)[:, None]
    valid = clear & (values > 0).all(1) & ~bright(values, bands)
    place = Place(name, bands, values, valid, days[at], (30.0, 30.0), (30.0,) * 6)
    return [with_ndvi(place), thermal(name, data["bt"][at][:, None] / 10.0, clear, days[at])]


def oresund(data: Any, name: str) -> list[Place]:
    """One level-1C image at its native resolutions."""
    bands10, bands20 = (list(map(str, data[f"b{size}_bands"])) for size in (10, 20))
    blue = data["b10"][None, bands10.index("B02")]
    found = []
    for size, names in ((10, bands10), (20, bands20)):
        bands, values = surface(data[f"b{size}"][None], names, blue)
        valid = np.ones((1, *values.shape[2:]), bool)
        place = Place(name, bands, values, valid, np.zeros(1), (size, size), (float(size),) * len(bands))
        found.append(with_ndvi(place) if size == 10 else place)
    return found


def china(data: Any, name: str) -> list[Place]:
    """The Sentinel-2 image of a Landsat pair: three bands at the top of the atmosphere."""
    names = {"blue": "B02", "green": "B03", "red": "B04"}
    bands, values = surface(data["sentinel2"][None] * 10_000, [names[str(band)] for band in data["bands"]])
    return [sentinel2(name, bands, values, np.ones((1, *values.shape[2:]), bool), np.zeros(1))]


def spain(data: Any, name: str) -> list[Place]:
    """Landsat surface temperature of two August days."""
    kelvin = data["st"] * 0.00341802 + 149.0
    seen = rule("landsat-8-9-c2-l2", "QA_PIXEL").clear(data["qa"]) & (data["st"] > 0)
    return [thermal(name, kelvin, seen, ordinals(data["date"]))]


def yanco(data: Any, name: str) -> list[Place]:
    """Landsat surface temperature of irrigated fields in Australia, two days."""
    kelvin = data["landsat_lst"]
    return [thermal(name, kelvin, np.isfinite(kelvin) & (kelvin > 250), ordinals(data["landsat_date"]))]


def sentinel2(
    name: str,
    bands: tuple[str, ...],
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    days: NDArray[np.float64],
    pixel: tuple[float, float] = (10.0, 10.0),
) -> Place:
    """Sentinel-2 bands that are all on a grid of about 10 m."""
    native = tuple(get("sentinel-2-l2a").band(band).resolution for band in bands)
    return Place(name, bands, values, valid, days, pixel, native)


def surface(
    stored: NDArray[Any], names: Sequence[str], blue: NDArray[Any] | None = None
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Level 1C [t, c, h, w] x 10000 as about surface reflectance, in the bands that level 2A has too.

    `blue` [t, h, w]: B02 of the same images, where it is not among the bands.
    """
    keys = [str(name) for name in names]
    blue = stored[:, keys.index("B02")] if blue is None else blue
    darkest = np.nanpercentile(blue / 10_000.0, 1, axis=(1, 2)) - _THROUGH["B02"] * _DARK  # [t]
    kept = [key for key in SENTINEL2 if key in keys]
    found = [
        (stored[:, keys.index(key)] / 10_000.0 - _PATH[key] * darkest[:, None, None]) / _THROUGH[key] for key in kept
    ]
    return tuple(kept), np.stack(found, axis=1).astype(np.float32)


def rule(sensor: str, layer: str) -> QualityRule:
    """The rule by which a reader of the product uses its quality layer."""
    found = get(sensor).rule(layer)
    if not isinstance(found, QualityRule):
        raise TypeError(f"{sensor} has no quality rule for {layer}")
    return found


def ordinals(times: Sequence[str] | NDArray[np.str_]) -> NDArray[np.float64]:
    """Days since 0001-01-01 of ISO texts."""
    return np.array([date.fromisoformat(str(time)[:10]).toordinal() for time in times], float)


def _threshold(stored: NDArray[Any], names: NDArray[np.str_]) -> NDArray[np.bool_]:
    bands = [str(name) for name in names]
    cirrus = stored[:, bands.index("B10")] > _CLOUD_CIRRUS
    return np.asarray((stored[:, bands.index("B02")] > _CLOUD_BLUE) | cirrus, bool)


if __name__ == "__main__":
    main()
