"""Deep spatiotemporal fusion: what it costs, what tiles and seams do, and real pairs.

    python benchmarks/stf.py pairs OUT        one epoch of all 7 models x 8 data sets, on fabricated copies
    python benchmarks/stf.py plain            inference against the plain formulation, float32 and bf16
    python benchmarks/stf.py tiles            a 2040 x 1720 six-band image: the same for any tile size, peak memory
    python benchmarks/stf.py seams            jumps at the borders of patches, against those elsewhere
    python benchmarks/stf.py real CASES OUT --weights DIR    cia, kranj, salton with the weights in DIR/<model>

Networks have drawn weights but for `real`. `--models`, `--size` and `--small` shorten a run. The plain formulation is
the network called as published: float32, contiguous memory, the diffusion model's two streams both evaluated at every
step, one patch after the other.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from torch import Tensor, nn

import sitsfusion
from sitsfusion import sensors
from sitsfusion.checkpoints.stf import network, save_stf
from sitsfusion.cube import Cube
from sitsfusion.datasets import stf_fabricate, stf_sets
from sitsfusion.engine.job import Resources
from sitsfusion.nets.stf import registry
from sitsfusion.nets.stf.stfdiff import Stfdiff
from sitsfusion.scene import Scene
from sitsfusion.weights.stf import StfWeights

FINE, COARSE = ("B02", "B03", "B04", "B8A", "B11", "B12"), ("B02", "B03", "B04", "B05", "B06", "B07")
DAYS = (date(2022, 1, 1), date(2022, 1, 17))
RATIO = 4
STEPS = 20  # of the diffusion model in `plain`, `tiles` and `seams`
REAL = ("cia_modis_landsat_a", "kranj_modis_landsat", "salton_viirs_hls_a")

Image = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("pairs", "plain", "tiles", "seams", "real"))
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--models", nargs="+", default=list(registry.BUILT_IN), choices=registry.names())
    parser.add_argument("--sets", nargs="+", default=list(stf_sets.SETS))
    parser.add_argument("--size", nargs=2, type=int, default=(2040, 1720), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--small", action="store_true", help="one patch of 64 pixels, three repeats")
    args = parser.parse_args()
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "pairs": pairs,
        "plain": plain,
        "tiles": tiles,
        "seams": seams,
        "real": real,
    }
    parts[args.part](args)


# -- trainings ------------------------------------------------------------------------------------------------------


def pairs(args: argparse.Namespace) -> None:
    from sitsfusion.training import compose, run

    [out] = args.folders
    small = {
        "swinstfm": ["+training.network.width=32"],
        "stfdiff": ["training.sampling_steps=2"],
        "ganstfm": ["trainer.max_epochs=2", "training.pretraining_epochs=1"],
        "edcstfn": ["training.pretraining_epochs=0"],
        "ecpwstfn": ["training.pretraining_epochs=0"],
    }
    for key in args.sets:
        stf_fabricate.fabricate(stf_sets.get(key), out / "data", dates=5)
        for model in args.models:
            folder, started = out / f"{model}-{key}", time.perf_counter()
            short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.val_check_interval=2", "data.tile=32"]
            where = [f"location.data={out / 'data'}", "callbacks.progress_bar=false", "data.batch_size=4"]
            overrides = [f"experiment=stf-{model}", f"data={key.lower()}", *short, *where, *small.get(model, [])]
            run.train(compose.compose(overrides), folder)
            wanted = ("metrics.csv", "test.csv", "pictures", "test-pictures")
            made = [name for name in wanted if (folder / name).exists()]
            print(f"{model:10} {key:4} {time.perf_counter() - started:6.1f} s  {', '.join(made)}", flush=True)


# -- inference ------------------------------------------------------------------------------------------------------


def place(size: Sequence[int], seed: int = 0) -> Scene:
    """Smooth made-up fields of two days, seen by two sensors."""
    rng = np.random.default_rng(seed)
    height, width = (side // RATIO * RATIO for side in size)
    cells = height // RATIO, width // RATIO
    level = rng.uniform(0.05, 0.4, (2, 6, -(-cells[0] // 8), -(-cells[1] // 8)))
    coarse = np.kron(level, np.ones((8, 8)))[..., : cells[0], : cells[1]].astype(np.float32)
    fine = np.kron(coarse, np.ones((RATIO, RATIO), np.float32))
    fine += rng.normal(0, 0.01, fine.shape[1:]).astype(np.float32)

    def cube(values: Image, sensor: str, bands: Sequence[str], pixel: float, dates: Sequence[date]) -> Cube:
        grid = GeoBox(values.shape[-2:], Affine(pixel, 0, 500_000, 0, -pixel, 4_000_000), "EPSG:32633")
        valid = np.ones((len(values), *values.shape[-2:]), bool)
        return Cube.from_array(
            values, sensor=sensors.get(sensor), bands=tuple(bands), grid=grid, dates=tuple(dates), valid=valid
        )

    return Scene(
        {
            "fine": cube(fine[:1], "sentinel-2-l2a", FINE, 10.0, DAYS[:1]),
            "coarse": cube(coarse, "landsat-8-9-c2-l2", COARSE, 10.0 * RATIO, DAYS),
        },
        name="made-up",
    )


def weights(model: str, patch: int, folder: Path) -> StfWeights:
    described = registry.get(model)
    config = StfWeights(
        name=f"{model}-drawn",
        model=model,
        bands=stf_sets.SIX,
        fine="sentinel-2-l2a",
        coarse="landsat-8-9-c2-l2",
        options={"size": patch} if described.whole_size else {},
        patch=patch,
        sampling_steps=STEPS,
        licence="Apache-2.0",
        source="drawn",
    )
    torch.manual_seed(0)
    save_stf(folder / model, network(config).eval(), config)
    return config


def fused(scene: Scene, model: str, folder: Path, tile: int | None = None, **options: object) -> Image:
    made = sitsfusion.fuse(
        scene,
        [DAYS[1]],
        method=model,
        weights=str(folder / model),
        resources=Resources(device="cpu", tile=tile, workers=1),
        check=False,
        **options,
    )
    values: Image = made["fine"].to_numpy()[0][0]
    return values


def tiles(args: argparse.Namespace) -> None:
    scene = place(args.size)
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            weights(model, args.patch, Path(folder))
            started = time.perf_counter()
            first = fused(scene, model, Path(folder), 512)
            seconds = time.perf_counter() - started
            second = fused(scene, model, Path(folder), 1024)
            apart = float(np.nanmax(np.abs(first - second)))
            print(f"{model:10} {seconds:8.1f} s  largest difference {apart:.1e}  peak {_peak() / 2**20:.0f} MiB")


def seams(args: argparse.Namespace) -> None:
    """The mean absolute step across the lines where a patch begins or ends, over that across all lines."""
    scene = place(args.size)
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            config = weights(model, args.patch, Path(folder))
            if registry.get(model).reach is not None:
                print(f"{model:10} no patches: tiles equal the whole")
                continue
            shown = []
            for overlap in (0.0, 0.25):
                image = fused(scene, model, Path(folder), overlap=overlap)
                stride = max(1, config.patch - math.ceil(config.patch * overlap))
                shown.append(f"overlap {overlap:.2f}: {_seam(image, config.patch, stride):.3f}")
            print(f"{model:10} {'; '.join(shown)}  (1 = no seam)", flush=True)


def _seam(image: Image, patch: int, stride: int) -> float:
    ratios = []
    for axis in (1, 2):
        steps = np.nanmean(np.abs(np.diff(image, axis=axis)), axis=tuple({0, 1, 2} - {axis}))
        borders = {b for start in range(0, image.shape[axis], stride) for b in (start, start + patch)}
        at = sorted(b - 1 for b in borders if 0 < b < image.shape[axis])
        ratios.append(float(steps[at].mean() / steps.mean()))
    return float(np.mean(ratios))


def plain(args: argparse.Namespace) -> None:
    side = 64 if args.small else args.patch
    gains: dict[str, list[float]] = {"float32": [], "bf16": []}
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            config = weights(model, side, Path(folder))
            net = network(config).eval()
            images = [torch.rand(1, 6, side, side) for _ in range(3)]
            baseline = _seconds(lambda n=net, x=images: _as_published(n, x))  # type: ignore[misc]
            ours = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            fast = [x.contiguous(memory_format=torch.channels_last) for x in images]
            row = f"{model:10} plain {baseline * 1000:9.1f} ms"
            for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
                    seconds = _seconds(lambda n=ours, x=fast: _ours(n, x))  # type: ignore[misc]
                gains[name].append(baseline / seconds)
                row += f"  {name} {seconds * 1000:9.1f} ms ({baseline / seconds:.2f}x)"
            print(row, flush=True)
    for name, found in gains.items():
        print(f"geometric mean, {name}: {float(np.exp(np.mean(np.log(found)))):.2f}x")


@torch.inference_mode()
def _ours(net: nn.Module, images: Sequence[Tensor]) -> Tensor:
    if isinstance(net, Stfdiff):
        noise = torch.randn_like(images[1])
        return net.sample((images[0], images[1], images[2]), STEPS, lambda _: noise)
    return net(*images)  # type: ignore[no-any-return]


@torch.inference_mode()
def _as_published(net: nn.Module, images: Sequence[Tensor]) -> Tensor:
    if not isinstance(net, Stfdiff):
        return net(*images)  # type: ignore[no-any-return]
    x = torch.randn_like(images[1])
    for t in range(STEPS):  # the cost of a sampling loop is that of its evaluations of the network
        x = net.model(*images, x, torch.full((1,), t)).clamp(-1, 1)
    return x


def _seconds(run: Callable[[], Tensor], repeats: int = 3) -> float:
    run()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


def _peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# -- real pairs -----------------------------------------------------------------------------------------------------


def real(args: argparse.Namespace) -> None:
    """Trained models beside the classical ones and the yardsticks of `classical_real.py`."""
    from classical_cases import CASES
    from classical_real import report

    cases, out = args.folders
    out.mkdir(parents=True, exist_ok=True)
    found = [model for model in args.models if args.weights and (args.weights / model).is_dir()]
    learned = {model: (model, {"weights": str(args.weights / model)}) for model in found}
    trivial = {name: (name, {}) for name in ("copy-fine", "coarse-change")}
    for name in REAL:
        for case in CASES[name](cases):
            report(replace(case, methods={**case.methods, **trivial, **learned}), out, None)


if __name__ == "__main__":
    main()
