"""Write real cases as a user would have them: folders of GeoTIFFs, with a scene.yaml.

    python benchmarks/real_inputs.py CASES_DIR OUT_DIR

CASES_DIR holds the folders `s2_l8_belgium_a` and `sen12mscrts_italy_a` with their `data.npz`. Pixels are neither
rescaled nor resampled. OUT_DIR receives

    belgium/s2/S2_20170804_10m.tif      B02 B03 B04 B08, described bands, uint16, 0 = no data
    belgium/s2/S2_20170804_20m.tif      B05 B06 B07 B8A B11 B12, and S2_20170804_SCL.tif, both at 20 m
    belgium/l8/L8_20170815_B02.tif ...  one file per band, int16, and PIXEL_QA; "a" and "b" behind dates seen twice
    belgium/st/ST_20170815_LST.tif      surface temperature in whole kelvin, 149 = no data, and QA_PIXEL
    belgium/scene.yaml                  Landsat resampled onto a 30 m grid nested in the Sentinel-2 grid
    belgium_b/                          the same without Landsat reflectance (case s2_lst_belgium_b; on request)
    italy/S2_20180106.tif               13 bands, level 1C, geographic coordinates
    italy/S2_20180106_mask.tif          a user's own cloud mask (a threshold): 1 = unusable
    italy/scene.yaml

The Collection-1 numbers of Belgium are signed; the case stores them unsigned, so their bits are taken as they are.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from affine import Affine
from numpy.typing import NDArray

SENSORS = Path(__file__).parent / "sensors"
# Bright in the blue, or seen in the cirrus band: cloud enough for a user's own mask.
_CLOUD_BLUE, _CLOUD_CIRRUS = 2200, 60
# The READMEs say "before 04.00": no offset. Files of that time do not say it themselves.
_BASELINE = "02.06"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    belgium(args.cases / "s2_l8_belgium_a", args.out / "belgium")
    italy(args.cases / "sen12mscrts_italy_a", args.out / "italy")


def belgium(case: Path, out: Path) -> Path:
    """Write the Belgian case; returns its scene file."""
    with np.load(case / "data.npz") as data:
        crs = str(data["crs"])
        _sentinel2(data, out / "s2", crs)
        _landsat(data, out / "l8", crs)
        _temperature(data, out / "st", crs)
    onto = {"onto": "fine", "ratio": 3, "method": "bilinear"}
    roles = {
        "fine": {"path": "s2", "sensor": "sentinel-2-l2a", "options": {"baseline": _BASELINE}},
        "coarse": {
            "path": "l8",
            "sensor": str(SENSORS / "landsat-8-c1.yaml"),
            "options": {"duplicates": "merge"},
            "resample": onto,
        },
        "thermal": {"path": "st", "sensor": str(SENSORS / "landsat-8-st-kelvin.yaml"), "resample": onto},
    }
    return scene_file(out, "belgium", roles)


def belgium_b(case: Path, out: Path) -> Path:
    """Write the Belgian case of Sentinel-2 and surface temperature; returns its scene file."""
    with np.load(case / "data.npz") as data:
        crs = str(data["crs"])
        _sentinel2(data, out / "s2", crs)
        _temperature(data, out / "st", crs)
    onto = {"onto": "fine", "ratio": 3, "method": "bilinear"}
    roles = {
        "fine": {"path": "s2", "sensor": "sentinel-2-l2a", "options": {"baseline": _BASELINE}},
        "thermal": {"path": "st", "sensor": str(SENSORS / "landsat-8-st-kelvin.yaml"), "resample": onto},
    }
    return scene_file(out, "belgium_b", roles)


def italy(case: Path, out: Path) -> Path:
    """Write the Italian case; returns its scene file."""
    with np.load(case / "data.npz") as data:
        names, crs = list(data["s2_bands"]), str(data["crs"])
        for image, day in zip(data["s2"], days(data["s2_date"]), strict=True):
            write(out / f"S2_{day}.tif", image, data["transform"], crs, names, nodata=0)
            cloud = (image[names.index("B02")] > _CLOUD_BLUE) | (image[names.index("B10")] > _CLOUD_CIRRUS)
            write(out / f"S2_{day}_mask.tif", cloud.astype(np.uint8)[None], data["transform"], crs)
    options = {"mask_pattern": "*_mask.tif", "baseline": _BASELINE}
    return scene_file(out, "italy", {"fine": {"path": ".", "sensor": "sentinel-2-l1c", "options": options}})


def _sentinel2(data: Any, out: Path, crs: str) -> None:
    for t, day in enumerate(days(data["s2_time"])):
        for size in ("10m", "20m"):
            names = list(data[f"s2_{size}_bands"])
            transform = data[f"s2_{size}_transform"]
            write(out / f"S2_{day}_{size}.tif", data[f"s2_{size}"][t], transform, crs, names, nodata=0)
        write(out / f"S2_{day}_SCL.tif", data["s2_scl"][t][None], data["s2_20m_transform"], crs)


def _temperature(data: Any, out: Path, crs: str) -> None:
    for t, day in enumerate(days(data["l8_st_date"])):
        transform, stem = data["l8_st_transform"], out / f"ST_{day}"
        write(Path(f"{stem}_LST.tif"), data["l8_st"][t][None], transform, crs, nodata=149)
        write(Path(f"{stem}_QA_PIXEL.tif"), data["l8_st_qa"][t][None], transform, crs)


def _landsat(data: Any, out: Path, crs: str) -> None:
    found = days(data["l8_time"])
    twice = {day for day, count in Counter(found).items() if count > 1}
    for t, day in enumerate(found):
        letter = ("b" if day in found[:t] else "a") if day in twice else ""
        for name, image in zip(data["l8_sr_bands"], data["l8_sr"][t].view(np.int16), strict=True):
            write(out / f"L8_{day}{letter}_{name}.tif", image[None], data["l8_transform"], crs)
        write(out / f"L8_{day}{letter}_PIXEL_QA.tif", data["l8_qa"][t][None], data["l8_transform"], crs)


def days(times: NDArray[np.str_]) -> list[str]:
    """YYYYMMDD of ISO texts."""
    return [str(time)[:10].replace("-", "") for time in times]


def scene_file(folder: Path, name: str, roles: dict[str, Any]) -> Path:
    """Write scene.yaml."""
    path = folder / "scene.yaml"
    path.write_text(yaml.safe_dump({"name": name, "roles": roles}, sort_keys=False))
    return path


def write(
    path: Path,
    image: NDArray[Any],
    transform: NDArray[np.float64],
    crs: str,
    names: Sequence[str] = (),
    nodata: float | None = None,
) -> None:
    """One GeoTIFF of an image [c, h, w]; bands are described where `names` are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = image.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": image.dtype, "crs": crs}
    with rasterio.open(path, "w", **profile, transform=Affine(*transform), nodata=nodata, compress="deflate") as file:
        file.write(image)
        for i, name in enumerate(names, start=1):
            file.set_band_description(i, str(name))


if __name__ == "__main__":
    main()
