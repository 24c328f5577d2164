"""The tables of a run: `metrics.csv`, a row per validation; `test.csv`, a row per target date."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from sitsfusion.training.stf.scores import NAMES

METRICS, TEST = "metrics.csv", "test.csv"


def add_validation(folder: Path, found: Mapping[str, tuple[float, float]], epoch: int) -> None:
    """Append a row: mean and standard deviation of every metric, and the epoch; an unknown value is an empty cell."""
    columns = [f"val/{name}_{what}" for name in NAMES for what in ("mean", "std")] + ["epoch"]
    values = {f"val/{n}_{w}": v for n, pair in found.items() for w, v in zip(("mean", "std"), pair, strict=True)}
    path = folder / METRICS
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerow({k: _text(v) for k, v in values.items()} | {"epoch": epoch})


def write_test(folder: Path, rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    """Write one row per target date: every metric, `testing-k`, and the date."""
    columns = [f"test/{name}_mean" for name in (*NAMES, "Time")] + ["epoch", "date"]
    partial = folder / (TEST + ".part")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for k, (date, row) in enumerate(rows, 1):
            values = {f"test/{name}_mean": _text(value) for name, value in row.items()}
            writer.writerow(values | {"epoch": f"testing-{k}", "date": date})
    partial.replace(folder / TEST)


def _text(value: float) -> object:
    return "" if value != value else value
