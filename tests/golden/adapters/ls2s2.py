"""The single-site reader of LS2S2 on the made-up site."""

from __future__ import annotations

import importlib
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sitsfusion.datasets.ls2s2 import SeriesPair, SiteParameters, SiteReader, collate
from tests.golden import recipe
from tests.golden.goldens import Golden, adapter, compare


def build_site(folder: str, seed: int) -> Path:
    sys.modules.setdefault("recipe", recipe)  # the script imports it by this name
    return Path(importlib.import_module("tests.golden.synthetic_ls2s2").build_site(folder, seed))


@adapter("ls2s2_dataset")
def dataset(golden: Golden) -> None:
    rng = random.Random()
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
                outputs = of_pair(f"{case['name']}.{item}", reader[item])
                exact |= outputs
                resampled |= {k for k in outputs if k.endswith(".data") and is_resampled(k, case["parameters"])}
        exact |= of_batch(*(SiteReader(site, SiteParameters(**p)) for p in collated(golden)))
    for name in golden.outputs:
        one = Golden(golden.path, golden.meta, {name: golden.outputs[name]})
        compare(one, exact, rtol=0.0, atol=float(name in resampled) * resampled_tolerance(golden))


def check_items(case: dict[str, Any], reader: SiteReader) -> None:
    left, bottom = zip(*reader.corners, strict=True)
    assert len(reader) == case["length"], case["name"]
    assert (list(left), list(bottom)) == (case["left"], case["bottom"]), case["name"]
    assert str(reader.day_origin) == case["day_origin"], case["name"]
    assert [[str(day) for day in s] for s in reader.slices] == case["slices"], case["name"]


def of_pair(prefix: str, pair: SeriesPair) -> dict[str, np.ndarray]:
    outputs = {}
    for side, series in pair._asdict().items():
        step = max(1, series.values.shape[-1] // 9)
        outputs |= {
            f"{prefix}.{side}.doy": series.days.numpy(),
            f"{prefix}.{side}.shape": np.array(series.values.shape),
            f"{prefix}.{side}.data": series.values[0, :, :, ::step, ::step].numpy(),
            f"{prefix}.{side}.mask_count": (~series.usable()[0]).sum((1, 2)).numpy(),
        }
    return outputs


def collated(golden: Golden) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = next(case["parameters"] for case in golden.meta["datasets"] if case["name"] == "default")
    return parameters, {**parameters, "conjunctions_only": True}


def of_batch(*readers: SiteReader) -> dict[str, np.ndarray]:
    outputs = {}
    for side, series in collate([reader[0] for reader in readers])._asdict().items():
        outputs |= {
            f"collate.{side}.doy": series.days.numpy(),
            f"collate.{side}.shape": np.array(series.values.shape),
            f"collate.{side}.mask_count": (~series.usable()).sum((2, 3)).numpy(),
            f"collate.{side}.data_sum": series.values.long().sum((2, 3, 4)).numpy(),
        }
    return outputs


def is_resampled(name: str, parameters: dict[str, Any]) -> bool:
    side = "lr" if ".lr." in name else "hr"
    return f"{side}_resolution" in parameters


def resampled_tolerance(golden: Golden) -> float:
    return float(str(golden.meta["tolerance"]["resampled bands"]).split()[0])
