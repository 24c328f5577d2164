"""LS2S2: the single-site reader on the made-up site, the extraction of made-up cubes."""

from __future__ import annotations

import importlib
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from sitsfusion.datasets.ls2s2 import SeriesPair, SiteParameters, SiteReader, collate
from sitsfusion.datasets.ls2s2_extract import extract
from sitsfusion.datasets.ls2s2_rows import clean
from sitsfusion.datasets.ls2s2_splits import read_aoi
from tests.golden import recipe
from tests.golden.goldens import Golden, adapter, captured, compare, only_entries


def build_site(folder: str, seed: int) -> Path:
    sys.modules.setdefault("recipe", recipe)  # the script imports it by this name
    return Path(importlib.import_module("tests.golden.synthetic_ls2s2").build_site(folder, seed))


@adapter("ls2s2_dataset")
def dataset(golden: Golden) -> None:
    rng, shown = random.Random(), int(captured(r"width // (\d+)", golden.meta["outputs"]))
    offset = int(re.search(r"random\.seed\((\d+) \+ item\)", golden.meta["inputs"])[1])
    with tempfile.TemporaryDirectory() as folder:
        site = build_site(folder, golden.seed)
        exact: dict[str, np.ndarray] = {}
        resampled: set[str] = set()
        for case in golden.meta["datasets"]:
            reader = SiteReader(site, SiteParameters(**case["parameters"]), rng=rng)
            check_items(case, reader)
            for item in case["items"]:
                rng.seed(offset + item)
                outputs = of_pair(f"{case['name']}.{item}", reader[item], shown)
                exact |= outputs
                resampled |= {k for k in outputs if k.endswith(".data") and is_resampled(k, case["parameters"])}
        first = int(captured(r"item (\d+)", golden.meta["collate"]))
        exact |= of_batch(*(SiteReader(site, SiteParameters(**p))[first] for p in collated(golden)))
    for name in golden.outputs:
        one = Golden(golden.path, golden.meta, {name: golden.outputs[name]})
        compare(one, exact, rtol=0.0, atol=float(name in resampled) * resampled_tolerance(golden))


def check_items(case: dict[str, Any], reader: SiteReader) -> None:
    left, bottom = zip(*reader.corners, strict=True)
    assert len(reader) == case["length"], case["name"]
    assert (list(left), list(bottom)) == (case["left"], case["bottom"]), case["name"]
    assert str(reader.day_origin) == case["day_origin"], case["name"]
    assert [[str(day) for day in s] for s in reader.slices] == case["slices"], case["name"]


def of_pair(prefix: str, pair: SeriesPair, shown: int) -> dict[str, np.ndarray]:
    outputs = {}
    for side, series in pair._asdict().items():
        step = max(1, series.values.shape[-1] // shown)
        outputs |= {
            f"{prefix}.{side}.doy": series.days.numpy(),
            f"{prefix}.{side}.shape": np.array(series.values.shape),
            f"{prefix}.{side}.data": series.values[0, :, :, ::step, ::step].numpy(),
            f"{prefix}.{side}.mask_count": (~series.usable()[0]).sum((1, 2)).numpy(),
        }
    return outputs


def collated(golden: Golden) -> tuple[dict[str, Any], dict[str, Any]]:
    name = captured(r"of '(\w+)'", golden.meta["collate"])
    parameters = next(case["parameters"] for case in golden.meta["datasets"] if case["name"] == name)
    return parameters, {**parameters, "conjunctions_only": True}


def of_batch(*pairs: SeriesPair) -> dict[str, np.ndarray]:
    outputs = {}
    for side, series in collate(list(pairs))._asdict().items():
        outputs |= {
            f"collate.{side}.doy": series.days.numpy(),
            f"collate.{side}.shape": np.array(series.values.shape),
            f"collate.{side}.mask_count": (~series.usable()).sum((2, 3)).numpy(),
            f"collate.{side}.data_sum": series.values.long().sum((2, 3, 4)).numpy(),
        }
    return outputs


def is_resampled(name: str, parameters: dict[str, Any]) -> bool:
    side = "lr" if ".lr." in name else "hr"
    return parameters.get(f"{side}_resolution") is not None


def resampled_tolerance(golden: Golden) -> float:
    return float(str(golden.meta["tolerance"]["resampled bands"]).split()[0])


@adapter("ls2s2_extract")
def extraction(golden: Golden) -> None:
    only_entries(golden, golden.meta["files"])
    minimum = float(re.search(r"minimum clear pixel rate ([\d.]*\d)", golden.meta["inputs"])[1])
    sys.modules.setdefault("recipe", recipe)
    rates, masks = (float(golden.meta["tolerance"][name]) for name in ("index rates", "masks"))
    synthetic = importlib.import_module("tests.golden.synthetic_openeo")
    with tempfile.TemporaryDirectory() as folder:
        aoi = read_aoi(Path(synthetic.build_cubes(folder, golden.seed)))
        site = Path(folder) / aoi.name
        for name in ("sentinel2", "landsat", "landsat_pan"):
            extract(aoi, site / f"{name}.nc", site, name, min_clear=minimum)
        for file, text in golden.meta["index"].items():
            compare_index((site / file).read_text(), text, rates)
        clean(site)
        for file, text in golden.meta["index_after_clean"].items():
            compare_index((site / file).read_text(), text, rates)
        ours = {str(f.relative_to(site)): f for f in site.rglob("*.tif")}
        assert set(ours) == set(golden.meta["files"])
        for name, expected in golden.meta["files"].items():
            compare_file(ours[name], expected, golden.outputs[name], (band_tolerance(golden), masks))


def band_tolerance(golden: Golden) -> float:
    """That of resampling every date on its own."""
    return float(str(golden.meta["tolerance"]["bands"]).split()[0])


def compare_index(ours: str, expected: str, rates: float) -> None:
    ours_lines, lines = ([line.split("\t") for line in text.splitlines()] for text in (ours, expected))
    assert ours_lines[0] == lines[0]
    assert len(ours_lines) == len(lines)
    for our_line, line in zip(ours_lines[1:], lines[1:], strict=True):
        for column, ours_text, text in zip(lines[0], our_line, line, strict=True):
            if column.endswith("_rate"):
                assert abs(float(ours_text) - float(text)) <= rates
            else:
                assert ours_text == text, column


def compare_file(file: Path, profile: dict[str, Any], pixels: np.ndarray, tolerances: tuple[float, float]) -> None:
    """Tolerances of bands and of masks."""
    with rasterio.open(file) as opened:
        found = {
            "dtype": opened.dtypes[0],
            "nodata": opened.nodata,
            "count": opened.count,
            "height": opened.height,
            "width": opened.width,
            "transform": list(opened.transform.to_gdal()),
            "epsg": opened.crs.to_epsg(),
            "compress": opened.profile["compress"],
            "tiled": opened.profile["tiled"],
            "block": [opened.profile["blockxsize"], opened.profile["blockysize"]],
        }
        values = opened.read()
    height, width = pixels.shape[-2:]
    assert found == profile, file
    difference = np.abs(values[:, :height, :width].astype(int) - pixels.astype(int)).max()
    assert difference <= tolerances[pixels.dtype != np.int16], (file, difference)
