"""Choose the residual compensation in time of trained weights, on simulated scenes that training never saw.

    python benchmarks/tune_compensation.py WEIGHTS OUT [--samples 48] [--cache DIR]

The network is run once on each sample; for Landsat reflectance, temperature and Sentinel-2 apart, the decay and the
shrinkage with the smallest squared error against the truth are written into a copy of the weights.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from sitsfusion.checkpoints.tamrfsits import load_tamrfsits, save_tamrfsits
from sitsfusion.methods.tamrfsits.compensation import corrections
from sitsfusion.strategies import Strategy, TrainingPool
from sitsfusion.training.tamrfsits.module import standardised
from sitsfusion.training.tamrfsits.simulated import SimulatedConfig, datasets
from sitsfusion.training.tamrfsits.supervised import SupervisedConfig, SupervisedObjective, present
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights, TemporalCompensation

DECAYS = (3.0, 5.0, 8.0, 12.0, 20.0, 35.0, 60.0)
SHRINKS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
GROUPS = {"Landsat reflectance": slice(0, 7), "temperature": slice(7, 8), "Sentinel-2": slice(8, 18)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    net, config = load_tamrfsits(args.weights)
    errors = measure(net, config, args.samples, args.cache)
    best = {}
    for group, values in errors.items():
        best[group] = min(values, key=lambda how: values[how])
        ratio = (values[best[group]] / values[TemporalCompensation()]) ** 0.5
        print(f"{group}: {best[group]}; error {ratio:.3f} of that with {TemporalCompensation()}")
    save_tamrfsits(args.out, net.half(), chosen(config, best))  # half the size; loaded as float32


def measure(
    net: torch.nn.Module, config: TamrfsitsWeights, samples: int, cache: Path | None
) -> dict[str, dict[TemporalCompensation, float]]:
    """Sums of squared errors, standardised, of each group for each candidate."""
    pool = TrainingPool(strategies=(Strategy.GAPS, Strategy.RANDOM, Strategy.RANDOM, Strategy.ALL))
    data, _, _ = datasets(SimulatedConfig(first_seed=1_000_000, scenes=8, crop=36, pool=pool, absent=0.0, cache=cache))
    objective = SupervisedObjective(SupervisedConfig(), config)
    found: dict[str, dict[TemporalCompensation, float]] = {group: {} for group in GROUPS}
    for i in range(samples):
        data.set_epoch(i // len(data))
        sample = standardised(data[i % len(data)], config)
        assert sample.truth is not None
        days, truth = sample.truth[0].days[0], torch.cat([one.values[0] for one in sample.truth], 1)
        with torch.inference_mode():
            plain, residuals = objective.residuals(net, present(sample.lr), present(sample.hr), days)  # type: ignore[arg-type]
            for decay, shrink in product(DECAYS, SHRINKS):
                how = TemporalCompensation(decay_days=decay, shrink=shrink)
                added = torch.cat([_corrected(*one, days, how, r) for one, r in zip(residuals, (3, 1), strict=True)], 1)
                error = (plain + added - truth).square()
                for group, bands in GROUPS.items():
                    found[group][how] = found[group].get(how, 0.0) + float(error[:, bands].mean())
    return found


def _corrected(left: Tensor, clear: Tensor, at: Tensor, days: Tensor, how: TemporalCompensation, ratio: int) -> Tensor:
    return corrections(left, clear, at, days, ratio, [how] * left.shape[1])


def chosen(config: TamrfsitsWeights, best: dict[str, TemporalCompensation]) -> TamrfsitsWeights:
    """The config with a compensation of each band."""
    lr = [best["temperature"] if band.key == "LST" else best["Landsat reflectance"] for band in config.lr.bands]
    hr = [best["Sentinel-2"]] * len(config.hr.bands)
    return config.model_copy(update={"lr": _with(config.lr, lr), "hr": _with(config.hr, hr)})


def _with(sensor: SensorInput, hows: list[TemporalCompensation]) -> SensorInput:
    bands = [band.model_copy(update={"compensation": how}) for band, how in zip(sensor.bands, hows, strict=True)]
    return sensor.model_copy(update={"bands": tuple(bands)})


if __name__ == "__main__":
    main()
