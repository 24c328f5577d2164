"""Results read back from their folder."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sitsfusion import fuse
from sitsfusion.api import execute
from sitsfusion.errors import InputError, ReadError
from sitsfusion.grid import Window
from sitsfusion.prediction import open_prediction
from sitsfusion.scene import Scene
from tests.engine.jobs import DATES, TILES, job, small_scene
from tests.scenes import cube, days


@pytest.fixture(scope="module", params=["cog", "zarr"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prediction") / request.param
    execute(job(path, spec={"format": request.param}, tile=48))
    return path


@pytest.mark.smoke
def test_a_prediction_is_a_lazy_cube(folder: Path) -> None:
    found = open_prediction(folder)
    whole, valid = found["coarse"].to_numpy()
    part = found["coarse"].select(["LST"], [DATES[1]]).window(Window(3, 30, 20, 25))
    np.testing.assert_array_equal(part.frame(0).values[0], whole[1, 1, 3:23, 30:55])
    np.testing.assert_array_equal(part.frame(0).valid, valid[1, 3:23, 30:55])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).frame(0).values, part.frame(0).values)
    assert found["coarse"].grid.crs.to_epsg() == 32631
    assert part.grid.affine.c == 600_000 + 30 * 30
    assert found["coarse"].sensor == small_scene()["coarse"].sensor


def test_quality_layers(folder: Path) -> None:
    layers = open_prediction(folder).quality("coarse", DATES[0])
    assert {name: (layer.shape, layer.dtype) for name, layer in layers.items()} == {
        name: ((40, 70), np.dtype("int16")) for name in ("invalid", "days_to_clear", "clear_count")
    }


def test_what_a_prediction_does_not_have(folder: Path) -> None:
    found = open_prediction(folder)
    with pytest.raises(InputError, match="the prediction has no fine; it has coarse"):
        found["fine"]
    with pytest.raises(InputError, match="no image of 2022-02-10"):
        found.quality("coarse", days(40)[0])
    loaded = replace(found, cubes={"coarse": found["coarse"].load()})
    with pytest.raises(InputError, match="has no quality layers"):
        loaded.quality("coarse", DATES[0])


def test_predictions_can_be_inputs_and_are_told_apart(folder: Path, tmp_path: Path) -> None:
    found = open_prediction(folder)["coarse"]
    again = open_prediction(folder)["coarse"]
    assert [found.fingerprint(t) for t in range(2)] == [again.fingerprint(t) for t in range(2)]
    assert found.fingerprint(0) != found.fingerprint(1)
    execute(job(tmp_path, place=small_scene(seed=5), spec={"format": folder.name}, tile=48))
    assert open_prediction(tmp_path)["coarse"].fingerprint(0) != found.fingerprint(0)
    fused = fuse(Scene({"coarse": found}), DATES, "naive", check=False, resources=TILES)
    np.testing.assert_allclose(fused["coarse"].to_numpy()[0], found.to_numpy()[0], rtol=1e-6)


@pytest.mark.parametrize("text", [None, "", "{"])
def test_a_folder_without_results_says_so(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "prediction.json").write_text(text)
    with pytest.raises(ReadError, match=r"holds no results of `fuse` .prediction.json.*run or repeat the job"):
        open_prediction(tmp_path)


def test_without_a_folder_results_live_as_long_as_the_prediction() -> None:
    found = fuse(small_scene(), DATES, "naive", check=False, resources=TILES)
    path = found.folder
    assert path.exists()
    assert found["coarse"].source.encodings[0].dtype == "float32"  # type: ignore[attr-defined]
    assert found.provenance["method"] == "naive"
    del found
    assert not path.exists()


def test_a_scene_without_coordinates_is_read_back_without(tmp_path: Path) -> None:
    place = Scene({"coarse": cube("coarse", (0, 4), (20, 20), crs=None)})
    execute(job(tmp_path, place=place, spec={"format": "zarr"}))
    assert open_prediction(tmp_path)["coarse"].grid.crs is None
    assert json.loads((tmp_path / "prediction.json").read_text())["products"]["coarse"]["grid"]["crs"] is None
