"""The main job on real images, through the doors that a user has.

    python benchmarks/real.py CASES_DIR OUT_DIR

Writes the cases as folders (see `real_inputs.py`), asks `doctor` about each, fuses each with `naive` (or `closest`, for
the single Landsat product) and with `tamrfsits` on untrained seeded weights of the published size (which prove the
path, not the method), opens every image that came out, and prints one table. Pages and images are left in OUT_DIR
to be looked at.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import rasterio
import torch

import sitsfusion
from real_inputs import belgium, italy
from sitsfusion.api import execute, plan
from sitsfusion.checkpoints.tamrfsits import save_tamrfsits
from sitsfusion.doctor import inspect
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig
from sitsfusion.prediction import open_prediction
from sitsfusion.report.job_page import write_job_page
from sitsfusion.weights.config import TamrfsitsWeights, standardised_inputs


@dataclass(frozen=True)
class Case:
    """A place, the dates to predict, and the methods to run."""

    name: str
    place: Path
    dates: str
    methods: tuple[str, ...]
    options: Mapping[str, float] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    weights = seeded_weights(args.out / "weights")
    product = next((args.cases / "l8_c2l2_product").glob("*.tar"))
    cases = [
        Case("belgium", belgium(args.cases / "s2_l8_belgium_a", args.out / "belgium"), "10d", ("naive", "tamrfsits")),
        Case("italy", italy(args.cases / "sen12mscrts_italy_a", args.out / "italy"), "30d", ("naive", "tamrfsits")),
        # half of the product's frame is fill: fewer usable pixels than the methods ask for by default
        Case("product", product, "inputs", ("closest",), {"max_masked_share": 1.0}),
        Case("product", product, "inputs", ("tamrfsits",), {"min_clear_share": 0.0}),
    ]
    for case in {case.name: case for case in cases}.values():
        report = inspect(case.place)
        text = "\n".join(report.lines())
        (args.out / f"{case.name}-doctor.txt").write_text(text + "\n")
        print(f"== doctor {case.name}: {sum(f.level == 'error' for f in report.findings)} error(s)\n{text}\n")
    print(f"{'case':10} {'method':10} {'seconds':>8} {'images':>7}  what came out")
    for case in cases:
        for method in case.methods:
            fuse(case, method, args.out / f"{case.name}-{method}", weights)


def fuse(case: Case, method: str, out: Path, weights: Path) -> None:
    """Run one job and open all that it wrote."""
    options = {**case.options, **({"weights": str(weights)} if method == "tamrfsits" else {})}
    started = time.perf_counter()
    # untrained weights give any number: float32 takes them all
    output = OutputSpec(out, encoding="float32" if method == "tamrfsits" else "sensor")
    job = plan(case.place, case.dates, method, output=output, **options)
    outcome = execute(job)
    seconds = time.perf_counter() - started
    write_job_page(job)
    found = open_prediction(out)
    images = sorted(path for role in found.cubes for path in (out / role).glob("*.tif"))
    described = {role: describe(out / role, job.query[role].dates) for role in found.cubes}
    print(f"{case.name:10} {method:10} {seconds:8.1f} {len(images):7}  {described}")
    for marker in outcome.failed:
        print(f"   failed {marker.task}: {marker.error}")
    if found.missing:
        print(f"   {len(found.missing)} image(s) missing, e.g. {found.missing[0]}")


def describe(folder: Path, dates: tuple[date, ...]) -> str:
    """CRS, size, bands and dates of the images of a folder; raises where one does not open or its date is wrong."""
    seen = set()
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as image:
            image.read()
            day = image.tags()["DATE"]
            if date.fromisoformat(day) not in dates or day.replace("-", "") not in path.name:
                raise ValueError(f"{path} carries the date {day}")
            seen.add((str(image.crs), image.shape, " ".join(image.descriptions)))
    return "; ".join(f"{crs} {h} x {w}: {bands}" for crs, (h, w), bands in sorted(seen))


def seeded_weights(folder: Path, seed: int = 0) -> Path:
    """Untrained weights of the published architecture that can do without the coastal band."""
    torch.manual_seed(seed)
    lr, hr = standardised_inputs("ls2s2_all")
    config = TamrfsitsConfig()
    weights = TamrfsitsWeights(
        name=f"seeded-{seed}",
        architecture=config,
        lr=lr.model_copy(update={"optional_bands": ("B01",)}),
        hr=hr,
        day_origin="first_valid_hr",
        licence="Apache-2.0",
        source=f"drawn from seed {seed}, untrained (sitsfusion {sitsfusion.__version__})",
    )
    save_tamrfsits(folder, TamrfsitsNet(config), weights)
    return folder


if __name__ == "__main__":
    main()
