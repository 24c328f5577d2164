from __future__ import annotations

import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.evaluation import cost
from sitsfusion.evaluation.cost import CostOptions, cost_table


def test_the_table_has_the_published_columns_and_counts_images_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, list[float]]] = []

    def predict(net: object, lr: object, hr: object, days: torch.Tensor, settings: object) -> torch.Tensor:
        asked.append((len(lr), len(hr), days.tolist()))  # type: ignore[arg-type]
        return torch.zeros(1)

    monkeypatch.setattr(cost, "predict_core", predict)
    rows = cost_table(CostOptions(lr_tile_size=4, nb_input_dates=(8, 16), nb_target_dates=(4, 2), nb_runs=2))
    assert [(row["nb_target_dates"], row["nb_input_dates"]) for row in rows] == [(2, 8), (2, 16), (4, 8), (4, 16)]
    assert list(rows[0]) == [
        "nb_input_dates", "nb_target_dates", "time", "cuda_memory", "cpu_memory",
        "time_per_mp", "cuda_memory_per_mp", "cpu_memory_per_mp",
    ]  # fmt: skip
    assert rows[0]["time_per_mp"] == pytest.approx(rows[0]["time"] / (12 * 12 / 1e6))
    assert asked[0] == (4, 4, pytest.approx([0.0, 365 / 3]))  # fine: floor(8 / 1.625)
    assert asked[3][:2] == (7, 9)
    assert len(asked) == 4 * 3  # one to warm up


def test_sizes_without_meaning_are_refused() -> None:
    with pytest.raises(InputError, match="must be 1 or more"):
        CostOptions(nb_runs=0)
