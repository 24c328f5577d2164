"""The notebook that imputes a series runs from its first cell to its last, on fabricated weights and data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sitsfusion.nets.utilise import UTILISE
from sitsfusion.weights.utilise import PUBLISHED_WEIGHTS
from tests.fake.utilise_archives import earthnet_data

NOTEBOOK = Path(__file__).parents[2] / "docs/examples/impute.ipynb"


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    earthnet_data(tmp_path)
    (tmp_path / "iid_simulation.hdf5").rename(tmp_path / "earthnet_iid_test_split_simulation.hdf5")
    net = UTILISE(PUBLISHED_WEIGHTS["utilise_earthnet2021"].architecture)
    torch.save({"epoch": 1, "model_state_dict": net.state_dict()}, tmp_path / "utilise_earthnet2021.pth")
    monkeypatch.chdir(tmp_path)
    content = json.loads(NOTEBOOK.read_text())
    names: dict[str, object] = {}
    for number, cell in enumerate(content["cells"]):
        assert not cell.get("outputs")
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    told = capsys.readouterr().out
    assert "U-TILISE: mean absolute error 0." in told
    assert "linear: mean absolute error 0." in told
    assert len(plt.get_fignums()) == 7
    plt.close("all")
    assert {path.name for path in tmp_path.glob("*.png")} == {"attention_over_time.png", "attention_of_heads.png"}
