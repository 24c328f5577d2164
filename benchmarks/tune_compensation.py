"""Choose the residual compensation in time of trained weights, on simulated scenes that training never saw.

    python benchmarks/tune_compensation.py WEIGHTS OUT [--samples 48] [--cache DIR]

The network is run once on each sample; for Landsat reflectance, temperature and Sentinel-2 apart, the decay and the
noise with the smallest error against the truth (mean over samples of root mean squares) are written into a copy of the
weights.
Then the scale of `missed_clouds` is chosen likewise, for all together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from sitsfusion.checkpoints.tamrfsits import load_tamrfsits, save_tamrfsits
from sitsfusion.methods.tamrfsits.compensation import cloud_look, corrections
from sitsfusion.strategies import Strategy, TrainingPool
from sitsfusion.training.tamrfsits.module import standardised
from sitsfusion.training.tamrfsits.simulated import SimulatedConfig, datasets
from sitsfusion.training.tamrfsits.supervised import SupervisedConfig, SupervisedObjective, present
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights, TemporalCompensation

DECAYS = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
NOISES = (0.03, 0.1, 0.2, 0.4)
SCALES = (None, 0.5, 1.0, 2.0)
GROUPS = {"Landsat reflectance": slice(0, 7), "temperature": slice(7, 8), "Sentinel-2": slice(8, 18)}


Case = tuple[Tensor, Tensor, Tensor, list[tuple[Tensor, Tensor, Tensor]]]  # network's output, truth, days, residuals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    net, config = load_tamrfsits(args.weights)
    cases = run(net, config, args.samples, args.cache)
    best: dict[str, TemporalCompensation] = {}
    for group, bands in GROUPS.items():
        usual = TemporalCompensation()
        errors = {
            how: error(cases, config, bands, how, None)
            for how in (usual, *(TemporalCompensation(decay_days=d, noise=n) for d, n in product(DECAYS, NOISES)))
        }
        best[group] = min(errors, key=lambda how: errors[how])
        print(f"{group}: {best[group]}; error {errors[best[group]]:.4f}, with {usual} {errors[usual]:.4f}", flush=True)
    scales = {
        scale: sum(error(cases, config, GROUPS[g], best[g], scale) for g in ("Landsat reflectance", "Sentinel-2"))
        for scale in SCALES
    }
    scale = min(scales, key=lambda one: scales[one])
    print("missed clouds:", {key: round(value, 4) for key, value in scales.items()})
    save_tamrfsits(args.out, net.half(), chosen(config, best, scale))  # half the size; loaded as float32


def run(net: torch.nn.Module, config: TamrfsitsWeights, samples: int, cache: Path | None) -> list[Case]:
    """The network on samples of scenes that training never saw."""
    pool = TrainingPool(strategies=(Strategy.GAPS, Strategy.RANDOM, Strategy.RANDOM, Strategy.ALL))
    origin = "local_year" if config.day_origin == "local_year" else None
    options = {"first_seed": 1_000_000, "scenes": 16, "crop": 36, "absent": 0.0, "dt_orig": origin}
    data, _, _ = datasets(SimulatedConfig(pool=pool, cache=cache, **options))
    objective, found = SupervisedObjective(SupervisedConfig(), config), []
    for i in range(samples):
        data.set_epoch(i // len(data))
        sample = standardised(data[i % len(data)], config)
        assert sample.truth is not None
        days, truth = sample.truth[0].days[0], torch.cat([one.values[0] for one in sample.truth], 1)
        with torch.inference_mode():
            plain, residuals = objective.residuals(net, present(sample.lr), present(sample.hr), days)  # type: ignore[arg-type]
        found.append((plain, truth, days, residuals))
    return found


@torch.inference_mode()
def error(
    cases: Sequence[Case], config: TamrfsitsWeights, bands: slice, how: TemporalCompensation, scale: float | None
) -> float:
    """Mean over samples of root mean squares, standardised, of the bands of one group (of one sensor)."""
    fine = bands.start >= len(config.lr.bands)
    given, first = (config.hr, len(config.lr.bands)) if fine else (config.lr, 0)
    own = slice(bands.start - first, bands.stop - first)
    look = cloud_look(given, given.keys[own], scale)
    total = 0.0
    for plain, truth, days, residuals in cases:
        left, clear, at = residuals[fine]
        hows = [how] * (own.stop - own.start)
        more = corrections(left[:, own], clear[:, own], at, days, 1 if fine else 3, hows, look) if len(at) else 0
        total += float((plain[:, bands] + more - truth[:, bands]).square().mean((0, 2, 3)).sqrt().mean())
    return total / len(cases)


def chosen(config: TamrfsitsWeights, best: dict[str, TemporalCompensation], scale: float | None) -> TamrfsitsWeights:
    """The config with a compensation of each band."""
    lr = [best["temperature"] if band.key == "LST" else best["Landsat reflectance"] for band in config.lr.bands]
    hr = [best["Sentinel-2"]] * len(config.hr.bands)
    changed = {"lr": _with(config.lr, lr), "hr": _with(config.hr, hr), "missed_clouds": scale}
    return config.model_copy(update=changed)


def _with(sensor: SensorInput, hows: list[TemporalCompensation]) -> SensorInput:
    bands = [band.model_copy(update={"compensation": how}) for band, how in zip(sensor.bands, hows, strict=True)]
    return sensor.model_copy(update={"bands": tuple(bands)})


if __name__ == "__main__":
    main()
