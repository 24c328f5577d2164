"""The notebook docs/examples/harmonise.ipynb runs, cell by cell, against a local catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fake import stac
from tests.methods.single_date import places

NOTEBOOK = Path(__file__).parents[2] / "docs" / "examples" / "harmonise.ipynb"


@pytest.mark.filterwarnings("ignore:The .shapely.ops.transform:DeprecationWarning")
def test_landsat_to_10_m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SITSFUSION_STAC", str(stac.catalogue(tmp_path / "catalogue").parent))
    monkeypatch.setenv("SITSFUSION_AREA", ",".join(map(str, stac.box())))
    monkeypatch.setenv("SITSFUSION_WEIGHTS", places.deepharmo_weights())
    notebook = json.loads(NOTEBOOK.read_text())
    names: dict[str, object] = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"harmonise.ipynb, cell {number}", "exec"), names)
    assert (tmp_path / "harmonised" / "harmonised.png").stat().st_size > 5000
    assert (tmp_path / "harmonised" / "image_mapping.csv").is_file()
    # what is stored is what a reader of the repository sees: no outputs, no paths of one machine
    assert all(not cell.get("outputs") for cell in notebook["cells"])
