"""A tiny made-up site in the LS2S2 on-disk layout, the same bits on every machine.

`build_site(root, seed)` writes <root>/SYN_<seed>/ with sentinel2/ and landsat/ folders
(GeoTIFF bands, masks, snow masks, panchromatic) and their tab-separated index files.
The pixel values come from recipe.array, so a golden file needs only the values a reader
must return. Used by the golden `ls2s2_dataset.npz`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from .recipe import array

SIDE_M = 990.0  # one tenth of a real 9900 m site
CRS = "EPSG:32631"
LEFT, BOTTOM = 651360.0, 4869450.0

# date -> (valid, clear pixel rate written to the index)
S2_DATES = {
    1: {
        "2022-01-05": (True, 0.91),
        "2022-01-20": (True, 0.62),
        "2022-02-14": (False, 0.10),
        "2022-03-01": (True, 1.0),
        "2022-04-10": (True, 0.45),
        "2022-06-19": (True, 0.80),
        "2022-08-28": (True, 0.97),
        "2022-11-06": (True, 0.33),
    },
    2: {
        "2022-02-03": (True, 0.5),
        "2022-03-15": (True, 0.75),
        "2022-04-29": (True, 0.99),
        "2022-06-03": (False, 0.2),
        "2022-07-08": (True, 0.26),
        "2022-09-16": (True, 0.88),
        "2023-01-24": (True, 0.71),
        "2023-03-05": (True, 0.64),
    },
}
LS_DATES = {
    1: {
        "2022-01-12": (True, 0.70),
        "2022-01-20": (True, 0.90),
        "2022-03-01": (True, 0.55),
        "2022-05-05": (False, 0.05),
        "2022-06-19": (True, 1.0),
        "2022-09-29": (True, 0.41),
        "2022-12-18": (True, 0.83),
    },
    2: {
        "2022-01-18": (True, 0.58),
        "2022-03-15": (True, 0.44),
        "2022-04-29": (True, 0.93),
        "2022-05-31": (True, 0.37),
        "2022-07-08": (True, 0.68),
        "2022-10-20": (True, 0.29),
        "2023-03-05": (True, 0.77),
    },
}
# panchromatic: one Landsat date missing from the index, one present but not valid
PAN_MISSING = {1: "2022-09-29", 2: "2022-10-20"}
PAN_INVALID = {1: "2022-01-12", 2: "2022-05-31"}
# the index line of this date holds an absolute path (old indices do)
ABSOLUTE = {1: "2022-03-01", 2: "2022-04-29"}


def _write(path: Path, data: np.ndarray, res: float, dtype: str, nodata: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=data.shape[0], height=data.shape[1], width=data.shape[2],
        dtype=dtype, nodata=nodata, crs=CRS, transform=Affine(res, 0, LEFT, 0, -res, BOTTOM + SIDE_M),
        tiled=True, blockxsize=256, blockysize=256, compress="lzw", interleave="band",
    ) as ds:
        ds.write(data.astype(dtype))


def _bands(tag: str, count: int, size: int, seed: int) -> np.ndarray:
    """Reflectances (DN) in [1, 6000); the last Landsat band is a temperature, 2700..3200 tenths of kelvin."""
    data = np.floor(array(tag, (count, size, size), seed, 1.0, 6000.0))
    if tag.startswith("landsat:"):
        data[-1] = np.floor(array(tag + ":lst", (size, size), seed, 2700.0, 3200.0))
    return data


def _mask(tag: str, size: int, seed: int, rate: float) -> np.ndarray:
    """A block of masked rows (about 1 - rate of the image), single band, 0 or 1."""
    mask = np.zeros((1, size, size), np.uint8)
    rows = int(round((1 - rate) * size))
    start = int(array(tag, (1,), seed, 0, max(size - rows, 1))[0])
    mask[0, start : start + rows] = 1
    return mask


def build_site(root: str | Path, seed: int) -> Path:
    """Write the site and return its folder."""
    site = Path(root) / f"SYN_{seed}"
    lines: dict[str, list[list[str]]] = {"s2": [], "ls": [], "pan": []}

    for date, (valid, rate) in S2_DATES[seed].items():
        day, size = date.replace("-", ""), int(SIDE_M / 10)
        rel = {k: f"{day}/sentinel2_{k}_{day}.tif" for k in ("bands", "mask", "snow_mask")}
        if valid:
            data = _bands(f"sentinel2:{day}", 10, size, seed)
            data[3, :4, :5] = 0  # a zero in any band masks the pixel even if the mask file does not
            _write(site / "sentinel2" / rel["bands"], data, 10, "int16", -10000)
            _write(site / "sentinel2" / rel["mask"], _mask(f"s2mask:{day}", size, seed, rate), 10, "uint8", 0)
            _write(site / "sentinel2" / rel["snow_mask"], np.zeros((1, size, size)), 10, "uint8", 0)
        else:
            rel = dict.fromkeys(rel, "")
        if date == ABSOLUTE[seed]:
            rel = {k: f"/some/other/place/sentinel2/{v}" for k, v in rel.items()}
        lines["s2"].append([f"sentinel2_{day}"] * 2 + [date, str(rate), "0.0", "0.0", str(valid),
                                                        rel["bands"], rel["mask"], rel["snow_mask"]])

    for date, (valid, rate) in LS_DATES[seed].items():
        day = date.replace("-", "")
        for kind, res, count in (("bands", 30, 8), ("pan", 15, 1)):
            size = int(SIDE_M / res)
            if kind == "pan" and date == PAN_MISSING[seed]:
                continue
            ok = valid and not (kind == "pan" and date == PAN_INVALID[seed])
            mask_kind = "mask" if kind == "bands" else "pan_mask"
            rel = {k: f"{day}/landsat_{k}_{day}.tif" for k in (kind, mask_kind, "snow_mask")}
            if ok:
                tag = f"landsat:{day}" if kind == "bands" else f"pan:{day}"
                _write(site / "landsat" / rel[kind], _bands(tag, count, size, seed), res, "int16", -10000)
                mask = _mask(f"{mask_kind}:{day}", size, seed, rate) if kind == "bands" else np.zeros((1, size, size))
                _write(site / "landsat" / rel[mask_kind], mask, res, "uint8", 0)
                if kind == "bands":
                    _write(site / "landsat" / rel["snow_mask"], np.zeros((1, size, size)), res, "uint8", 0)
            else:
                rel = dict.fromkeys(rel, "")
            head = [f"landsat_{day}", f"landsat_{day}", date, str(rate)]
            if kind == "bands":
                lines["ls"].append(head + ["0.0", str(ok), rel[kind], rel[mask_kind], rel["snow_mask"]])
            else:
                lines["pan"].append(head[1:] + [str(ok), rel[kind], rel[mask_kind]])

    heads = {
        "s2": "product_id product_id acquisition_date clear_pixel_rate dark_pixel_rate snow_pixel_rate valid bands mask snow_mask",
        "ls": "product_id product_id acquisition_date clear_pixel_rate snow_pixel_rate valid bands mask snow_mask",
        "pan": "product_id acquisition_date clear_pixel_rate valid bands mask",
    }
    for key, path in (("s2", "sentinel2/index.csv"), ("ls", "landsat/index.csv"), ("pan", "landsat/index_pan.csv")):
        # Sentinel-2 lines are written newest first: a reader must sort by date
        rows = lines[key][::-1] if key == "s2" else lines[key]
        text = "\n".join("\t".join(r) for r in [heads[key].split(), *rows]) + "\n"
        (site / path).write_text(text)
    return site
