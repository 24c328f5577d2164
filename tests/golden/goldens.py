"""Read golden files and compare with them.

A golden file holds the outputs of a published reference implementation for weights and
inputs that `recipe` draws from a name, a shape and a seed. Its `meta` says which. An
*adapter* is a function that reads everything it needs from `meta`, runs our code and
returns our outputs under the names of the file; `compare` then checks every array of the
file. Write one adapter per file stem:

    @adapter("tamrfsits-model")
    def model(golden: Golden) -> dict[str, np.ndarray]: ...

An adapter must use no constant of the bundled files (seed, shape, date, option): a second
set of the same names, with other seeds, shapes and dates, must pass too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import recipe

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Golden:
    """One golden file: `meta`, the expected `outputs`, and where it lies."""

    path: Path
    meta: dict[str, Any]
    outputs: dict[str, np.ndarray]

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def seed(self) -> int:
        return int(self.meta["seed"])

    def keys(self, name: str | None = None) -> dict[str, Any]:
        """The listing `<name>.keys.json` (default: this file's own), beside the file or among the bundled ones."""
        file = f"{name or self.stem}.keys.json"
        path = self.path.parent / file
        return json.loads((path if path.exists() else DATA / file).read_text())

    def tolerance(self) -> dict[str, float]:
        found = self.meta.get("tolerance", {})
        return {k: float(found.get(k, 0.0)) for k in ("rtol", "atol")}

    def draw(self, name: str) -> np.ndarray:
        """The input `meta["inputs"][name]`, drawn over its shape and range."""
        spec = self.meta["inputs"][name]
        return recipe.array(name, tuple(spec["shape"]), self.seed, *spec.get("range", (0.0, 1.0)))


Adapter = Callable[[Golden], "dict[str, np.ndarray] | None"]
ADAPTERS: dict[str, Adapter] = {}


def adapter(*stems: str) -> Callable[[Adapter], Adapter]:
    """Register a function as the adapter of these files (stem of the file name)."""

    def register(function: Adapter) -> Adapter:
        for stem in stems:
            assert stem not in ADAPTERS, f"two adapters for {stem}"
            ADAPTERS[stem] = function
        return function

    return register


def load(path: Path) -> Golden:
    meta, outputs = recipe.load(path)
    return Golden(path, meta, outputs)


def captured(pattern: str, text: str) -> str:
    """What the first group of a pattern matches in a sentence; it must be there."""
    match = re.search(pattern, text)
    assert match is not None, (pattern, text)
    return match[1]


def index(text: str) -> tuple[int | slice, ...]:
    """What `0, :2, 16:40, ::4` picks of an array."""
    return tuple(
        slice(*(int(n) if n.strip() else None for n in part.split(":"))) if ":" in part else int(part)
        for part in text.strip("[] ").split(",")
    )


def only_entries(golden: Golden, names: Iterable[str]) -> None:
    """An adapter that compares in its own way knows every array of the file."""
    unknown = sorted(set(golden.outputs) - set(names))
    assert not unknown, f"{golden.stem}: nothing is compared with {unknown}"


def compare(golden: Golden, ours: dict[str, np.ndarray], **tolerance: float) -> None:
    """Every array of the file must have its counterpart, equal in shape and within tolerance."""
    missing = sorted(set(golden.outputs) - set(ours))
    assert not missing, f"{golden.stem}: the adapter returned nothing for {missing}"
    limits = tolerance or golden.tolerance()
    for name, expected in golden.outputs.items():
        got = np.asarray(ours[name])
        assert got.shape == expected.shape, f"{golden.stem}.{name}: shape {got.shape}, expected {expected.shape}"
        if expected.dtype == bool:
            np.testing.assert_array_equal(got, expected, err_msg=f"{golden.stem}.{name}")
        else:
            np.testing.assert_allclose(got, expected, err_msg=f"{golden.stem}.{name}", equal_nan=True, **limits)
