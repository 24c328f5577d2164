"""The published reading of the spatiotemporal fusion data sets: order of files, splits, tiles."""

from __future__ import annotations

import re
import tempfile
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import rasterio

from sitsfusion.datasets import stf_files, stf_sets, stf_tiles
from sitsfusion.datasets.stf_fabricate import file_name
from tests.golden import recipe
from tests.golden.goldens import Golden, adapter


@adapter("stf_data")
def data(golden: Golden) -> dict[str, np.ndarray]:
    assert set(golden.meta["pairs"]) == set(golden.meta["files"])
    for key, expected in golden.meta["pairs"].items():
        check_split(stf_sets.get(key), golden.meta["files"][key], expected)
    with tempfile.TemporaryDirectory() as folder:
        return items(golden, Path(folder))


def check_split(described: stf_sets.StfSet, names: dict[str, list[str]], expected: dict) -> None:
    pairs = stf_files.zipped(described, names["Landsat"], names["MODIS"])
    dates = [stf_files.Dated(described.day(f, "fine"), Path(f), Path(c)) for f, c in pairs]
    parts = {"train": dates[: described.train_dates], "val": dates[described.train_dates :]}
    for part, found in parts.items():
        assert [d.fine.name for d in found] == expected[part]["HRs"], described.key
        assert [d.coarse.name for d in found] == expected[part]["LRs"], described.key
    split = stf_files.published_split(described, dates)
    for part, name in (("train", "train"), ("val", "validation"), ("val", "test")):
        found = [(p.reference, p.target) for p in split[name]]  # type: ignore[index]
        assert found == list(pairwise(parts[part]))
    conf = expected["conf"]
    assert len(described.bands) == conf["band"]
    assert list(described.rgb) == conf["rgb_c"]
    assert (described.divisor, list(described.size)) == (conf["max_value"], conf["img_size"])


def items(golden: Golden, folder: Path) -> dict[str, np.ndarray]:
    how = golden.meta["how"]
    height, width, bands, low, high = (
        float(n)
        for n in re.search(r"\[(\d+),(\d+),(\d+)\], seed, (-?[\d.]*\d), (-?[\d.]*\d)\)", how).groups()  # type: ignore[union-attr]
    )
    # Any data set with that many bands will do.
    described = next(s for s in map(stf_sets.get, golden.meta["files"]) if len(s.bands) == bands)
    count = len(re.search(r"t = ([\d,]+)\)", how)[1].split(","))  # type: ignore[index]
    side, divisor = (float(re.search(rf"{k} (\d+)", how)[1]) for k in ("slide size", "max value"))  # type: ignore[index]
    dates = []
    for t in range(count):
        day = date(2001, 1, 1) + timedelta(t)
        paths = []
        for tag, fine in (("HR", True), ("LR", False)):
            drawn = recipe.array(f"{tag}_{t}", (int(height), int(width), int(bands)), golden.seed, low, high)
            paths.append(folder / file_name(described, day, fine))
            write(paths[-1], np.round(drawn).astype(np.int16))
        dates.append(stf_files.Dated(day, *paths))
    images = stf_tiles.StfImages(described, stf_tiles.Values(divisor, published=True))
    tiles = stf_tiles.places(images.size(dates[0].fine), int(side), int(side), published=True)
    pairs = [stf_files.Pairing(a, b) for a, b in pairwise(dates)]
    samples = stf_tiles.StfTiles(images, pairs, tiles)
    made = {"LRs_shape": np.array([count, len(tiles), int(bands), int(side), int(side)])}
    made["length"] = np.array(len(samples))
    for name in golden.outputs:
        if name.startswith("item"):
            batch = samples[int(name.removeprefix("item").split(".")[0])]
            images_of = {
                "LR_t1": batch.coarse_ref,
                "HR_t1": batch.fine_ref,
                "LR_t2": batch.coarse,
                "HR_t2": batch.target,
            }
            made[name] = images_of[name.split(".")[1]][0].numpy()
    return made


def write(path: Path, image: np.ndarray) -> None:
    stored = stf_tiles.bands_first(image, image.shape[-1], path.name)
    profile = {"driver": "GTiff", "count": len(stored), "height": stored.shape[1], "width": stored.shape[2]}
    profile |= {"crs": "EPSG:32655", "transform": rasterio.transform.from_origin(0, 0, 30, 30)}
    with rasterio.open(path, "w", dtype="int16", **profile) as file:
        file.write(stored)
