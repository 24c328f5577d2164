"""The tables of a run: one row per image, as the published code writes them, and the means."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

RESULTS, BASELINE, MEANS = "test_results.csv", "test_results_bicubic.csv", "test_means.csv"


def write_tables(folder: Path, rows: Sequence[dict[str, float]], baseline: Sequence[dict[str, float]]) -> None:
    """Write both tables, separated by semicolons, and the means of their columns."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in ((RESULTS, rows), (BASELINE, baseline)):
        _write(folder / name, table)
    columns = [column for column in rows[0] if column != "key"]
    means = [
        {"method": method, **{c: float(np.mean([row[c] for row in table])) for c in columns if c in table[0]}}
        for method, table in (("network", rows), ("bicubic", baseline))
    ]
    _write(folder / MEANS, means)


def _write(path: Path, rows: Sequence[dict[str, float]] | Sequence[dict[str, object]]) -> None:
    partial = path.with_suffix(".part")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";", restval="")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    partial.replace(path)


def _text(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
