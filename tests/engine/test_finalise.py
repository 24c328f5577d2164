"""Joining: only what is complete, safe to repeat, and told to people and programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sitsfusion import methods
from sitsfusion.api import execute
from sitsfusion.engine.finalise import finalise
from sitsfusion.engine.run import run_job
from sitsfusion.errors import ReadError, WriteError
from sitsfusion.prediction import open_prediction
from tests import stubs
from tests.engine.jobs import DATES, job, small_scene
from tests.scenes import days, spied


@pytest.mark.parametrize("form", ["cog", "zarr"])
def test_only_complete_dates_are_joined(tmp_path: Path, form: str) -> None:
    """`closest` makes every date by a step of its own: one fails, the other is there."""
    closest = methods.make("closest", {"max_masked_share": 1.0})
    broken, _ = spied(small_scene(), {"coarse": {0: (0, 0)}})
    execute(job(tmp_path, closest, place=broken, dates=days(1, 5), spec={"format": form}))
    found = open_prediction(tmp_path)
    assert found["coarse"].dates == days(5)
    assert found["coarse"].frame(0).valid.any()
    assert [(m.role, m.day) for m in found.missing] == [("coarse", days(1)[0])]
    assert found.missing[0].reason.startswith("tile r000c000: image-0.tif cannot be read")
    assert execute(job(tmp_path, closest, dates=days(1, 5), spec={"format": form})).done == 1
    assert open_prediction(tmp_path)["coarse"].dates == days(1, 5)


@pytest.mark.parametrize("form", ["cog", "zarr"])
def test_nothing_done_is_nothing_joined(tmp_path: Path, form: str) -> None:
    made = job(tmp_path, spec={"format": form})
    run_job(made, shard=(0, 15))
    finalise(made)
    found = open_prediction(tmp_path)
    assert len(found["coarse"]) == 0
    assert found["coarse"].to_numpy()[0].shape == (0, 2, 40, 70)
    assert {m.reason for m in found.missing} == {"tile r000c001: not run yet"}
    assert [m.day for m in found.missing] == list(DATES)


@pytest.mark.parametrize("spec", [{}, {"mosaic": "vrt"}, {"format": "zarr"}], ids=str)
def test_finalising_twice_changes_nothing(tmp_path: Path, spec: dict) -> None:
    made = job(tmp_path, spec=spec)
    execute(made)
    images = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.glob("coarse*/*")}
    notes = {p: p.read_bytes() for p in [tmp_path / "prediction.json", *tmp_path.glob("stac/*")]}
    assert finalise(made) == tmp_path / "prediction.json"
    assert images == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.glob("coarse*/*")}
    assert notes == {p: p.read_bytes() for p in notes}


@pytest.mark.smoke
def test_refused_dates_are_listed_with_the_reason(tmp_path: Path) -> None:
    last = methods.make("closest", {"direction": "last"})
    execute(job(tmp_path, last, dates=days(-9, 5)))
    found = open_prediction(tmp_path)
    assert found["coarse"].dates == days(5)
    assert [(m.role, m.day, m.reason) for m in found.missing] == [
        ("coarse", days(-9)[0], "no coarse image with at most 50% masked at or before it")
    ]


@pytest.mark.smoke
def test_the_run_report_maps_the_tiles(tmp_path: Path) -> None:
    broken, _ = spied(small_scene(), {"coarse": {1: (20, 33)}})
    made = job(tmp_path, place=broken)
    run_job(made, shard=(0, 15))
    run_job(made, shard=(1, 15))
    run_job(made, shard=(7, 15))
    finalise(made)
    lines = (tmp_path / "run-report.txt").read_text().splitlines()
    assert lines[0] == "naive: 3 of 15 tasks ran, 2 complete"
    assert lines[lines.index("step s000:") + 1 : lines.index("step s000:") + 4] == ["##???", "??X??", "?????"]
    assert lines[-1] == "s000_r001c002 failed: image-1.tif cannot be read (it is cut short); download it again"


def test_a_tile_damaged_before_joining_is_named_and_can_be_made_again(tmp_path: Path) -> None:
    made = job(tmp_path)
    run_job(made)
    tile = tmp_path / "work" / "s000_r001c001" / "coarse_20220103.tif"
    tile.write_bytes(tile.read_bytes()[:900])
    with pytest.raises(WriteError, match=r"coarse/coarse_20220103.tif cannot be written \(.*or a file damaged"):
        finalise(made)
    assert not list((tmp_path / "coarse").iterdir())
    with pytest.raises(ReadError, match=r"holds no results of `fuse` \(prediction.json.*run or repeat the job"):
        open_prediction(tmp_path)
    for file in tile.parent.iterdir():
        file.unlink()
    tile.parent.rmdir()
    assert execute(made).done == 1
    assert len(open_prediction(tmp_path)["coarse"]) == 2


@pytest.mark.parametrize("spec", [{}, {"mosaic": "vrt"}, {"format": "zarr"}], ids=str)
def test_a_sigma_that_only_some_tiles_have_is_nan_elsewhere(tmp_path: Path, spec: dict) -> None:
    execute(job(tmp_path, stubs.Wrong(how="sigma at the left"), spec=spec))
    sigma = open_prediction(tmp_path).sigma["coarse"].to_numpy()[0]
    assert (sigma[..., :16] == 0.5).all()
    assert np.isnan(sigma[..., 16:]).all()


def test_what_killed_runs_left_goes_when_the_job_is_complete(tmp_path: Path) -> None:
    made = job(tmp_path)
    run_job(made, shard=(0, 15))
    (tmp_path / "work" / "s000_r000c001.0123.part").mkdir()
    (tmp_path / "work" / "s000_r000c001.json.0123.part").write_text("{")
    (tmp_path / "prediction.zarr.0123.part").mkdir()
    finalise(made)
    assert len(list(tmp_path.rglob("*.part"))) == 3, "not complete: another shard may be writing"
    execute(made)
    assert not list(tmp_path.rglob("*.part"))


def test_the_joined_image_is_whole_at_every_seam(tmp_path: Path) -> None:
    execute(job(tmp_path / "tiles"))
    execute(job(tmp_path / "one", tile=480))
    for name in ("coarse", "coarse_quality"):
        for day in DATES:
            images = []
            for folder in ("tiles", "one"):
                with rasterio.open(tmp_path / folder / name / f"{name}_{day:%Y%m%d}.tif") as file:
                    images.append(file.read())
            np.testing.assert_array_equal(*images)


def test_the_note_says_what_the_reader_needs(tmp_path: Path) -> None:
    execute(job(tmp_path))
    note = json.loads((tmp_path / "prediction.json").read_text())
    assert set(note["products"]) == {"coarse", "coarse_quality"}
    assert note["products"]["coarse"]["images"]["2022-01-03"] == "coarse/coarse_20220103.tif"
    assert note["missing"] == []
