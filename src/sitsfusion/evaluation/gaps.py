"""Gap filling scored on sequences whose gaps were simulated: the published evaluation of U-TILISE.

Every sequence is filled whole, by each of several fillers, and scored by set of pixels (`metrics.utilise`); a table
holds plain means over the sequences.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, get_args

import torch
from torch import Tensor

from sitsfusion.methods.utilise.sequence import SequenceOptions, impute
from sitsfusion.methods.utilise.trivial import TrivialMode, fill_trivially
from sitsfusion.metrics.utilise import EVALUATION, MetricOptions, mean_of_samples, sequence_metrics
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.ops.tiles import crop_to, pad_to_multiple

Batch = Mapping[str, Any]
Fill = Callable[[Batch], Tensor]
Scores = dict[str, dict[str, float]]


class Samples(Protocol):
    """Sequences with gaps: dictionaries with `x`, `y`, `masks`, `position_days` and, for trivial fillers, `days`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def network(net: UTILISE, options: SequenceOptions, device: torch.device | str = "cpu") -> Fill:
    """Fill with a network, in windows in time; images of any size."""
    net = net.eval().to(device)
    rule = net.config

    def fill(batch: Batch) -> Tensor:
        h, w = batch["x"].shape[-2:]
        side = rule.multiple if min(h, w) >= rule.smallest else rule.smallest
        x, masks = (pad_to_multiple(batch[name], side).to(device) for name in ("x", "masks"))
        found = impute(net, x, batch["position_days"].float().to(device), masks, options)
        return crop_to(found.images, h, w).cpu()

    return fill


def trivial(mode: TrivialMode) -> Fill:
    """Fill with clear observations of the same pixel; the optical channels of `x` are those of `y`."""

    def fill(batch: Batch) -> Tensor:
        return fill_trivially(batch["x"][:, :, : batch["y"].shape[2]], batch["masks"], batch["days"], mode)

    return fill


def trivial_fillers() -> dict[str, Fill]:
    """All of them, by name."""
    return {mode: trivial(mode) for mode in get_args(TrivialMode)}


def score(
    samples: Samples,
    fillers: Mapping[str, Fill],
    options: MetricOptions = EVALUATION,
    *,
    ignore_nan: bool = False,
    limit: int | None = None,
) -> Scores:
    """Mean metrics of each filler over all samples (or the first `limit`), one at a time.

    A NaN of one sample makes the mean NaN, as published. With `ignore_nan` a filler's number is its mean over the
    samples where it is defined: fewer for fillers that leave pixels empty (`last` before the first clear observation).
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in fillers}
    for i in range(min(len(samples), limit or len(samples))):
        batch = {name: value[None] for name, value in samples[i].items() if isinstance(value, Tensor)}
        real, clouds = batch.get("masks_valid_obs"), batch.get("cloud_mask")
        for name, fill in fillers.items():
            values = sequence_metrics(fill(batch), batch["y"], batch["masks"], real, clouds, options)
            found[name].append(values)
    return {name: mean_of_samples(values, ignore_nan) for name, values in found.items()}


def write_scores(scores: Scores, file: Path) -> Path:
    """The table as CSV: a row per filler, a column per metric."""
    columns = list(dict.fromkeys(name for values in scores.values() for name in values))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["filler", *columns])
        writer.writerows([name, *(f"{v[c]:.6g}" if c in v else "" for c in columns)] for name, v in scores.items())
    return file


def as_rows(scores: Scores, metrics: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table, a row per metric and a column per filler."""
    names = metrics or list(dict.fromkeys(name for values in scores.values() for name in values))
    rows = [[name, *(f"{v[name]:.4f}" if name in v else "-" for v in scores.values())] for name in names]
    return ["metric", *scores], rows
