"""Cross-sensor super-resolution: every experiment from data to table, samplers against the plain loop, real images.

    python benchmarks/misr.py experiments OUT [--steps 20]
    python benchmarks/misr.py sampling WEIGHTS DATA [--side 16] [--images 4]
    python benchmarks/misr.py real CASES OUT WEIGHTS...

WEIGHTS: a run of `sitsfusion train`, or a folder of weights. DATA: a made-up set (`datamodule.root` of a run). CASES:
the folder of `s2_deimos_lithuania_a`, `s2_l8_belgium_a` and `sen12mscrts_italy_a`. Times are processor seconds.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from torch import Tensor

from sitsfusion import sensors
from sitsfusion.api import Wanted, fuse
from sitsfusion.cube import Cube
from sitsfusion.dates import parse_day
from sitsfusion.io.png import write_png
from sitsfusion.methods.misr.learned import method_for
from sitsfusion.metrics.misr import image_scores
from sitsfusion.metrics.sums import band_sums
from sitsfusion.nets.srdiff import SrDiff
from sitsfusion.scene import Scene

BANDS = ("B04", "B03", "B02")
MARGIN = 8  # fine pixels at the border that are not scored
BACKBONES = (
    "rrdb", "rrdb_8_blocks", "highresnet", "misr_pretrain", "median_misr_pretrain", "rrdb_ltae", "rrdb_highresnet",
)  # fmt: skip
DIFFUSIONS = {
    "diffsr_sat": "rrdb_8_blocks",
    "diffsr_hr_ltae": "misr_pretrain",
    "diffsr_highresnet": "highresnet",
    "diffsr_rrdb_ltae": "rrdb_ltae",
    "diffsr_no_encoder": None,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    found = commands.add_parser("experiments")
    found.add_argument("out", type=Path)
    found.add_argument("--steps", type=int, default=20)
    found.set_defaults(run=lambda a: experiments(a.out, a.steps))
    found = commands.add_parser("sampling")
    found.add_argument("weights", type=Path)
    found.add_argument("data", type=Path)
    found.add_argument("--side", type=int, default=16)
    found.add_argument("--images", type=int, default=4)
    found.set_defaults(run=lambda a: sampling(a.weights, a.data, a.side, a.images))
    found = commands.add_parser("real")
    found.add_argument("cases", type=Path)
    found.add_argument("out", type=Path)
    found.add_argument("weights", type=Path, nargs="*")
    found.set_defaults(run=lambda a: real(a.cases, a.out, a.weights))
    args = parser.parse_args()
    args.run(args)


# --- every experiment ---------------------------------------------------------------------------------------------


def experiments(out: Path, steps: int) -> None:
    """All twelve published configurations with their own networks, for a few steps on small made-up places."""
    from sitsfusion.training.compose import compose
    from sitsfusion.training.run import train

    shared = [
        "trainer=cpu", "trainer.gradient_clip_val=null", f"trainer.max_steps={steps}", "callbacks.progress_bar=false",
        f"trainer.val_check_interval={steps}", "trainer.limit_val_batches=1", "callbacks.save_top_k=0",
        "datamodule=made_up", f"datamodule.root={out / 'data'}", "datamodule.made_up={sites:[8,2,4],side:64}",
        "datamodule.batch_size=2", "datamodule.crop=12", f"location.runs={out}",
    ]  # fmt: skip
    for name in (*BACKBONES, *DIFFUSIONS):
        extra = ["training_module.sampling_steps=5", "training_module.samples=2"] if name in DIFFUSIONS else []
        if first := DIFFUSIONS.get(name):
            extra.append(f"training_module.backbone_weights={out / first}")
        started = time.process_time()
        train(
            compose([f"experiment={name}", *shared, *extra]), out / name, resume=(out / name / "checkpoints").exists()
        )
        row = next(csv.DictReader((out / name / "test_means.csv").open(), delimiter=";"))
        scores = ", ".join(f"{k} {float(v):.4g}" for k, v in row.items() if k != "method")
        print(f"{name}: {time.process_time() - started:.0f} s; {scores}", flush=True)


# --- sampling -------------------------------------------------------------------------------------------------------


def sampling(path: Path, data: Path, side: int, images: int) -> None:
    """Images per processor second and quality of samplers on the test sites of a made-up set."""
    from sitsfusion.datasets.breizhsr import BreizhSr, collate, cropped
    from sitsfusion.training.misr.family import read_any

    net, weights = read_any(path)
    if not isinstance(net, SrDiff):
        raise SystemExit(f"{path} is no diffusion")
    sites = BreizhSr(data, "test", views=weights.architecture.views, maxima=[b.maximum for b in weights.bands])
    batch = collate([cropped(sites[i], side, 4, 4) for i in range(min(images, len(sites)))])
    steps = net.diffusion.steps
    samplers: dict[str, Callable[[], Tensor]] = {f"plain loop, {steps} steps": lambda: plain(net, batch)}
    samplers[f"DDPM, {steps} steps"] = lambda: drawn(net, batch, None)
    for n in sorted({max(1, steps // k) for k in (10, 20, 50)}, reverse=True):
        samplers[f"DDIM, {n} steps"] = lambda n=n: drawn(net, batch, n)  # type: ignore[misc]
    print("| sampler | images per second | psnr | ssim | shift_mae |\n|---|---|---|---|---|")
    _row("bicubic", float("nan"), batch["base"], batch)
    for name, sample in samplers.items():
        torch.manual_seed(0)
        started = time.process_time()
        made = sample()
        _row(name, len(made) / (time.process_time() - started), made, batch)


@torch.no_grad()
def plain(net: SrDiff, batch: Mapping[str, Tensor]) -> Tensor:
    """As the published code goes about it: one image at a time, the condition projected anew at every step."""
    made = []
    for i in range(len(batch["hr"])):
        one = {name: values[i : i + 1] for name, values in batch.items()}
        features, base = net.condition(one["views"], one["days"], one["present"]), one["base"]
        x = torch.randn_like(base)
        for t in range(net.diffusion.steps - 1, -1, -1):
            at = torch.tensor([t])
            told = net.denoiser(x, at, net.denoiser.projected(features))
            x = net.diffusion.ancestral(x, at, told, torch.randn_like(x))
        made.append(net.image(x, base))
    return torch.cat(made)


@torch.no_grad()
def drawn(net: SrDiff, batch: Mapping[str, Tensor], steps: int | None) -> Tensor:
    """As the library does."""
    base = batch["base"]
    features = net.condition(batch["views"], batch["days"], batch["present"])
    return net.sample(features, base, torch.randn_like(base), lambda t: torch.randn_like(base), steps)


def _row(name: str, speed: float, made: Tensor, batch: Mapping[str, Tensor]) -> None:
    scores = [image_scores(a.clamp(-1, 1), b) for a, b in zip(made, batch["hr"], strict=True)]
    means = [f"{np.mean([s[k] for s in scores]):.4g}" for k in ("psnr", "ssim", "shift_mae")]
    print(f"| {name} | {speed:.3g} | {' | '.join(means)} |", flush=True)


# --- real images ------------------------------------------------------------------------------------------------------


def real(cases: Path, out: Path, weights: Sequence[Path]) -> None:
    """Score on the Lithuanian reference, and pictures of all cases: bicubic, each set of weights, the reference."""
    out.mkdir(parents=True, exist_ok=True)
    place, day, reference = lithuania(cases / "s2_deimos_lithuania_a")
    print("| method | correlation (red, green, blue) | error after a linear fit, in deviations of the reference |")
    print("|---|---|---|")
    made = {name: _image(place, day, method, path) for name, method, path in _methods(weights)}
    for name, image in made.items():
        correlation, error = fitted(image, reference)
        shown = [", ".join(f"{v:.4f}" for v in values) for values in (correlation, error)]
        print(f"| {name} | {shown[0]} | {shown[1]} |", flush=True)
    write_png(out / "lithuania.png", side_by_side([*made.values(), reference]))
    for name, folder, text in (("belgium", "belgium", "2018-07-01"), ("italy", "italy", "2018-08-09")):
        path = prepared(cases, out) / folder / "scene.yaml"
        images = [_image(path, parse_day(text), method, one) for _, method, one in _methods(weights)]
        write_png(out / f"{name}.png", side_by_side(images))
        print(f"{name}: {out / f'{name}.png'}", flush=True)


def lithuania(case: Path) -> tuple[Scene, date, NDArray[np.float32]]:
    """Five Sentinel-2 images (the place is not told: the grid is made up), the day and the 2.5 m image [3 H W]."""
    with np.load(case / "data.npz") as data:
        values, hr = data["s2"].astype(np.float32) / 10_000, data["hr"]
        days, day = [parse_day(str(t)[:10]) for t in data["s2_time"]], parse_day(str(data["hr_time"])[:10])
    side = values.shape[-1]
    grid = GeoBox((side, side), Affine(10, 0, 500_000, 0, -10, 6_100_000), "EPSG:32635")
    sensor = sensors.get("sentinel-2-l2a")
    cube = Cube.from_array(values, sensor=sensor, bands=("B02", "B03", "B04", "B08"), grid=grid, dates=days)
    return Scene({"fine": cube}, name="lithuania"), day, hr[[2, 1, 0]]


def fitted(image: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[list[float], list[float]]:
    """Per band: correlation, and the root mean squared error of the best line from the image to the reference."""
    inner = (slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    sums = band_sums(*(torch.from_numpy(np.ascontiguousarray(x[inner])) for x in (image, reference)))
    correlation = sums.correlation().numpy()
    spread = reference[inner].std(axis=(1, 2))
    return correlation.tolist(), (np.sqrt(1 - correlation**2) * spread).tolist()


def prepared(cases: Path, out: Path) -> Path:
    """Folders of both series as a user would have them; made once."""
    import real_inputs

    folder = out / "inputs"
    for name, case, write in (
        ("belgium", "s2_l8_belgium_a", real_inputs.belgium),
        ("italy", "sen12mscrts_italy_a", real_inputs.italy),
    ):
        if not (folder / name / "scene.yaml").exists():
            write(cases / case, folder / name)
    return folder


def _methods(weights: Sequence[Path]) -> list[tuple[str, str, Path | None]]:
    from sitsfusion.training.misr.family import read_any

    found: list[tuple[str, str, Path | None]] = [("bicubic", "misr-bicubic", None)]
    return found + [(path.name, method_for(read_any(path)[1]), path) for path in weights]


def _image(place: Scene | Path, day: date, method: str, path: Path | None) -> NDArray[np.float32]:
    """The image [3 H W] that a method makes of a day, red, green, blue."""
    options: dict[str, object] = {} if path is None else {"weights": str(exported(path))}
    found = fuse(place, [day], method, wanted=Wanted(roles=["fine"], bands={"fine": BANDS}), **options)
    return found["fine"].frame(0).values


def exported(path: Path) -> Path:
    """A run's weights in the library's format, beside the run."""
    from sitsfusion.training.export import export_safetensors, is_run_checkpoint, read_trained

    if not is_run_checkpoint(path):
        return path
    folder = path / "weights"
    if not folder.exists():
        export_safetensors(*read_trained(path), folder)
    return folder


def side_by_side(images: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Each image stretched per band from its 2nd to its 98th percentile, in a row."""
    shown = []
    for image in images:
        low, high = (np.nanpercentile(image, p, axis=(1, 2), keepdims=True) for p in (2, 98))
        stretched = np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1)
        shown.append(np.nan_to_num(255 * stretched).astype(np.uint8).transpose(1, 2, 0))
    return np.ascontiguousarray(np.concatenate(shown, axis=1))


if __name__ == "__main__":
    main()
