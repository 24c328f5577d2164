"""The direct formulation of the benchmark gives the same numbers: a second implementation of the formulas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT))
    try:
        import metrics

        yield metrics
    finally:
        sys.path.remove(str(ROOT))


@pytest.mark.parametrize("kind", ["fine", "coarse"])
def test_all_metrics_agree_with_the_direct_formulation(benchmark: ModuleType, kind: str) -> None:
    import torch

    draw = torch.Generator().manual_seed(0)
    vectors = torch.rand(20, 36, generator=draw).double()
    how = benchmark.scoring(kind, benchmark.BrisqueModel(torch.rand(20, generator=draw).double(), vectors))
    size = 210 if kind == "coarse" else 120  # coarse images lose 30 of their own pixels along each side
    case = benchmark.images(kind, how, size, 3)
    found, expected = benchmark.ours(*case, how), benchmark.metrics_direct.metrics(*case, how)
    for name, values in expected.items():
        torch.testing.assert_close(found[name].double(), values.double(), rtol=1e-4, atol=1e-4, msg=name)
