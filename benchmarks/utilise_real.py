"""U-TILISE weights against copying and straight lines, in gaps made on real series and on simulated ones.

    python benchmarks/utilise_real.py WEIGHTS CASES_DIR [--samples 64] [--places simulated]

Gaps are drawn as in training (whole frames, and the clouds of other days) on top of the clouds that the masks know;
scored where something was hidden and the image itself is clear. Simulated: places that no training saw, against the
surface; real: `s2_l8_belgium_a` (level 2A), `sen12mscrts_italy_a` (level 1C, a user's own mask), against the images.
PSNR is the mean over samples, as published; so are the others.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from real_inputs import belgium, italy
from sitsfusion.checkpoints.utilise import load_utilise
from sitsfusion.datasets.cache import Tensors
from sitsfusion.datasets.utilise_positions import positions
from sitsfusion.evaluation.gaps import Scores, network, score, trivial_fillers
from sitsfusion.fetch import resolve
from sitsfusion.io import open_scene
from sitsfusion.methods.utilise.sequence import SequenceOptions
from sitsfusion.metrics.utilise import EVALUATION
from sitsfusion.training.utilise.config import SimulatedConfig
from sitsfusion.training.utilise.simulated import NOTHING, datasets, draw_sample, stored

CASES: dict[str, Callable[[Path, Path], Path]] = {"s2_l8_belgium_a": belgium, "sen12mscrts_italy_a": italy}
METRICS = ("psnr", "mae", "sam")
IN_GAPS = "_occluded_input_pixels"


class RealSamples:
    """Random crops of the images of one place, with gaps; what is cloudy itself is marked."""

    def __init__(self, place: Path, bands: tuple[str, ...], config: SimulatedConfig, count: int) -> None:
        self.config, self.count = config, count
        cube = open_scene(place)["fine"].select(bands=bands)
        values, valid = (torch.from_numpy(a) for a in cube.to_numpy())
        kept = (valid.float().mean((1, 2)) >= config.min_clear_share).nonzero()[:, 0]
        dates = [cube.dates[t] for t in kept]
        images = stored(values[kept])
        self.scene: Tensors = {
            "images": images,
            "truth": images.masked_fill(~valid[kept, None], NOTHING),
            "usable": valid[kept],
            "clouds": ~valid,
            "position_days": torch.from_numpy(positions(dates, "day-of-year")),
            "days": torch.from_numpy(positions(dates, "day-within-sequence")),
        }

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = draw_sample(self.scene, self.config, random.Random(index), augment=False)
        cloudy = sample["y"].isnan().any(1, keepdim=True)
        return sample | {"y": sample["y"].nan_to_num(0.0), "cloud_mask": cloudy.float()}


def tables(weights: str, cases: Path, count: int, places: Sequence[str]) -> Iterator[tuple[str, Scores]]:
    """A table per place."""
    net, given = load_utilise(resolve(weights))
    fillers = {given.name: network(net, SequenceOptions(given.window)), **trivial_fillers()}
    config = SimulatedConfig(kind="simulated", batch_size=1, testing_validation_batch_size=1, bands=given.bands)
    options = replace(EVALUATION, ssim=False)
    if "simulated" in places:
        yield "simulated", score(datasets(config)[2], fillers, options, ignore_nan=True, limit=count)
    with TemporaryDirectory() as work:
        for name in (one for one in places if one in CASES):
            place = CASES[name](cases / name, Path(work) / name).parent
            samples = RealSamples(place, given.bands, config, count)
            yield name, score(samples, fillers, options, ignore_nan=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("cases", type=Path)
    parser.add_argument("--samples", type=int, default=64)
    every = ("simulated", *CASES)
    parser.add_argument("--places", nargs="+", choices=every, default=every)
    args = parser.parse_args()
    for place, scores in tables(args.weights, args.cases, args.samples, args.places):
        print(place)
        for filler, found in scores.items():
            values = [found.get(f"masked_{m}{IN_GAPS}", found.get(f"{m}{IN_GAPS}", float("nan"))) for m in METRICS]
            print(f"  {filler:14}", *(f"{m} {v:8.4f}" for m, v in zip(METRICS, values, strict=True)), flush=True)


if __name__ == "__main__":
    main()
