"""Running: every task once, bad tiles apart, killed and crowded runs, back-ends that change nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from sitsfusion.api import execute, fuse
from sitsfusion.engine import run as running
from sitsfusion.engine import store as stores
from sitsfusion.engine.finalise import finalise
from sitsfusion.engine.job import Job
from sitsfusion.engine.lock import sole_runner
from sitsfusion.engine.run import run_job
from sitsfusion.engine.store import Markers
from sitsfusion.errors import InputError, PlanError, RunError
from sitsfusion.grid import Window
from sitsfusion.prediction import open_prediction
from sitsfusion.scene import Scene
from tests import kill, stubs
from tests.battery import outputs
from tests.engine.jobs import DATES, FORMATS, TILES, job, small_scene
from tests.scenes import days, scene, spied


@pytest.mark.smoke
def test_every_needed_date_of_every_tile_is_read_once(tmp_path: Path) -> None:
    place, spies = spied(scene((20, 35)))
    made = job(tmp_path, place=place, tile=48, spec={"format": "zarr"})
    assert run_job(made).complete
    for role, spy in spies.items():
        n = made.scene.per_cell(role)
        halo = {"fine": 0, "coarse": 2}[role]  # naive brings 30 m images to 10 m
        expected = {(t, core.padded(halo, (20, 35)).scaled(n)) for _, core in made.tiles for t in range(4)}
        assert set(spy.reads) == expected
        assert set(spy.reads.values()) == {1}


@pytest.mark.smoke
def test_progress_and_outcome_count_tiles(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    first = run_job(job(tmp_path), shard=(0, 3), progress=lambda marker, n, of: seen.append((marker.state, n, of)))
    assert (first.resumed, first.done, first.failed, first.complete) == (0, 5, (), True)
    assert seen == [("done", n, 5) for n in range(1, 6)]
    second = run_job(job(tmp_path))
    assert (second.resumed, second.done) == (5, 10)
    third = run_job(job(tmp_path), progress=lambda *_: pytest.fail("nothing is left to do"))
    assert (third.resumed, third.done) == (15, 0)


@pytest.mark.smoke
@pytest.mark.parametrize("shard", [(1, 1), (-1, 2), (0, 0)])
def test_impossible_shards_are_refused(tmp_path: Path, shard: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="the first of n shards is 0/n"):
        run_job(job(tmp_path), shard=shard)
    assert not list(tmp_path.iterdir())


# -- bad tiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_breaks_fails_its_tiles_only_and_is_repaired(
    tmp_path: Path, unbroken: Mapping[str, Path], kind: str
) -> None:
    broken, _ = spied(small_scene(), {"coarse": {1: (20, 33)}})
    outcome = execute(job(tmp_path, place=broken, spec=FORMATS[kind]))
    assert not outcome.complete
    assert (outcome.done, [m.task for m in outcome.failed]) == (14, ["s000_r001c002"])
    marker = Markers(job(tmp_path, spec=FORMATS[kind])).read("s000_r001c002")
    assert marker is not None
    assert marker.error == "image-1.tif cannot be read (it is cut short); download it again"
    assert "Traceback" in marker.traceback
    assert marker.inputs == {"coarse": [f"landsat-8-9-c2-l2_{day:%Y%m%d}" for day in days(0, 4, 9)]}
    found = open_prediction(tmp_path)
    assert len(found["coarse"]) == 0, "both dates need the tile"
    assert [(m.role, m.day) for m in found.missing] == [("coarse", day) for day in DATES]
    assert found.missing[0].reason == f"tile r001c002: {marker.error}"
    again = execute(job(tmp_path, spec=FORMATS[kind]))  # the file has been replaced
    assert (again.resumed, again.done, again.complete) == (14, 1, True)
    assert outputs(tmp_path) == outputs(unbroken[kind])
    assert not open_prediction(tmp_path).missing


def test_fuse_tells_of_failed_tiles_and_goes_on_when_called_again(tmp_path: Path) -> None:
    broken, _ = spied(small_scene(), {"coarse": {1: (20, 33)}})
    with pytest.raises(
        RunError, match=r"1 tile\(s\) failed; the first, s000_r001c002: image-1.tif cannot be read .* call again"
    ):
        fuse(broken, DATES, "naive", out=tmp_path, resources=TILES, check=False)
    found = fuse(small_scene(), DATES, "naive", out=tmp_path, resources=TILES, check=False)
    assert found["coarse"].shape == (2, 2, 40, 70)


def test_a_truncated_image_fails_the_tiles_that_need_its_lost_part(tmp_path: Path) -> None:
    """A real file: the images that a first job wrote are the inputs of a second, one of them cut short."""
    big = job(tmp_path / "first", place=scene((20, 200)), tile=480, dates=days(1, 3, 5))
    execute(big)
    inputs = Scene({"fine": open_prediction(tmp_path / "first")["fine"]})
    path = tmp_path / "first" / "fine" / "fine_20220104.tif"
    path.write_bytes(path.read_bytes()[:-3000])
    outcome = run_job(job(tmp_path / "second", place=inputs, tile=96))
    assert len(outcome.failed) == 2, "the two tiles that lie in the second of two blocks"
    assert {m.error.partition(" cannot be read")[0] for m in outcome.failed} == {str(path)}
    assert all("download or unpack it again" in m.error for m in outcome.failed)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no role", "wrong returned nothing; expected coarse"),
        ("another role", "wrong returned coarse, fine; expected coarse"),
        ("shape", r"coarse values float32 \(2, 2, 1, 16\); expected float32 \(2, 2, 16, 16\)"),
        ("type", "coarse values float64"),
        ("valid shape", r"coarse valid bool \(2, 1, 16\); expected bool \(2, 16, 16\)"),
        ("valid type", "coarse valid uint8"),
        ("sigma shape", "coarse sigma float32"),
        ("valid gaps", "valid coarse pixels of 2022-01-03 that are not finite"),
        ("too warm", r"coarse of 2022-01-03, band B04: 1000 does not fit int16 .*--encoding float32"),
    ],
)
def test_what_a_method_may_not_return_fails_the_tile_with_the_reason(tmp_path: Path, how: str, message: str) -> None:
    outcome = run_job(job(tmp_path, stubs.Wrong(how=how)), shard=(0, 15))
    assert len(outcome.failed) == 1
    assert re.search(message, outcome.failed[0].error), outcome.failed[0].error
    assert not list((tmp_path / "work").glob("*/*.tif")), "nothing half-written"


@pytest.mark.smoke
def test_kelvin_beyond_the_integers_are_refused_but_floats_hold_them(tmp_path: Path) -> None:
    wanted = {"bands": {"coarse": ["LST"]}}
    failed = run_job(job(tmp_path / "a", stubs.Wrong(how="too warm"), wanted=wanted), shard=(0, 15)).failed
    assert failed[0].error.startswith(
        "coarse of 2022-01-03, band LST: 1000 does not fit int16 with scale 0.01 and offset 273.15"
    )
    assert "write float32 (--encoding float32)" in failed[0].error
    floats = job(tmp_path / "b", stubs.Wrong(how="too warm"), wanted=wanted, spec={"encoding": "float32"})
    assert run_job(floats, shard=(0, 15)).complete


def test_a_cloud_too_bright_for_the_integers_is_nodata(tmp_path: Path) -> None:
    wanted = {"bands": {"coarse": ["B04"]}}
    execute(job(tmp_path, stubs.Wrong(how="too warm cloud"), wanted=wanted))
    frame = open_prediction(tmp_path)["coarse"].frame(0)
    assert np.isnan(frame.values).all()
    assert not frame.valid.any()


def test_tiles_of_which_nothing_can_be_said_are_empty_not_failed(tmp_path: Path) -> None:
    assert execute(job(tmp_path, stubs.Wrong(how="nothing"), spec={"format": "zarr"})).complete
    marker = Markers(job(tmp_path, stubs.Wrong(how="nothing"), spec={"format": "zarr"})).read("s000_r000c000")
    assert marker is not None
    assert (marker.state, marker.statistics) == ("empty", {"coarse": {"valid_share": 0.0, "mean": [None, None]}})
    assert "....." in (tmp_path / "run-report.txt").read_text()
    assert not open_prediction(tmp_path)["coarse"].frame(0).valid.any()


@pytest.mark.smoke
def test_out_of_memory_on_a_gpu_halves_the_batch_and_nothing_else(tmp_path: Path) -> None:
    short = stubs.Wrong(how="batch too large")
    assert run_job(job(tmp_path / "a", short, batch=8), shard=(0, 15)).complete
    assert job(tmp_path / "b", short, batch=8).plan_id == job(tmp_path / "b", short, batch=1).plan_id
    runtime = running.job_runtime(job(tmp_path / "b", short, batch=8))
    running.run_task(job(tmp_path / "b", short), next(job(tmp_path / "b", short).tasks()), runtime)
    assert runtime.batch == 2


def test_markers_tell_what_was_made(tmp_path: Path) -> None:
    made = job(tmp_path)
    run_job(made)
    for task in made.tasks():
        marker = Markers(made).read(task.name)
        assert marker is not None
        assert (marker.state, marker.plan_id, len(marker.checksum)) == ("done", made.plan_id, 64)
        assert marker.peak_bytes > 2**20
        statistics = (marker.statistics or {})["coarse"]
        tile = running.load_tile(made.scene, made, task)
        block = running.predict_tile(made, task, tile, running.job_runtime(made))["coarse"]
        assert statistics["valid_share"] == pytest.approx(block.valid.mean(), abs=1e-6)
        assert statistics["mean"] == pytest.approx(
            [block.values[:, c][block.valid].astype(float).mean() for c in range(2)], rel=1e-5
        )


# -- calibration ------------------------------------------------------------------------------------------------------


def test_the_scene_is_calibrated_once_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(job(tmp_path, stubs.Calibrated(), tile=48), shard=(0, 2))
    with np.load(tmp_path / "calibration.npz") as saved:
        assert saved["mean"].shape == (2,)
    monkeypatch.setattr(stubs.Calibrated, "calibrate", lambda *_: pytest.fail("it is known"))
    assert run_job(job(tmp_path, stubs.Calibrated(), tile=48)).complete


# -- killed runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("cog", ("sitsfusion.engine.store", "claim_text", 1)),
        ("cog", ("sitsfusion.engine.store", "write_cog", 7)),
        ("cog", ("sitsfusion.engine.store", "Markers.write", 4)),
        ("cog", ("sitsfusion.engine.finalise", "mosaic_cog", 2)),
        ("cog", ("sitsfusion.engine.finalise", "_clean", 1)),
        ("cog", ("sitsfusion.engine.finalise", "remove", 9)),
        ("cog", ("pathlib", "Path.replace", 12)),
        ("vrt", ("sitsfusion.engine.finalise", "write_text", 3)),
        ("zarr", ("sitsfusion.engine.zarr_store", "place_folder", 1)),
        ("zarr", ("sitsfusion.engine.zarr_store", "ZarrStore._write_series", 8)),
    ],
    ids=str,
)
def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(
    tmp_path: Path, unbroken: Mapping[str, Path], kind: str, where: tuple[str, str, int]
) -> None:
    kill.run_killed(execute, job(tmp_path, spec=FORMATS[kind]), at=where)
    assert execute(job(tmp_path, spec=FORMATS[kind])).complete
    assert outputs(tmp_path) == outputs(unbroken[kind])


def test_half_written_markers_are_run_again(tmp_path: Path, unbroken: Mapping[str, Path]) -> None:
    made = job(tmp_path)
    run_job(made)
    for name, text in (("s000_r000c000", ""), ("s000_r001c001", '{"task": "s0'), ("s000_r002c002", '{"plan_id": "x"}')):
        (tmp_path / "work" / f"{name}.json").write_text(text)
    other = json.loads((tmp_path / "work" / "s000_r000c001.json").read_text())
    (tmp_path / "work" / "s000_r000c001.json").write_text(json.dumps({**other, "plan_id": "of another plan"}))
    outcome = execute(made)
    assert (outcome.resumed, outcome.done) == (11, 4)
    assert outputs(tmp_path) == outputs(unbroken["cog"])


def test_tiles_that_were_deleted_are_run_again(tmp_path: Path, unbroken: Mapping[str, Path]) -> None:
    made = job(tmp_path)
    run_job(made)
    shutil.rmtree(tmp_path / "work" / "s000_r001c001")
    assert execute(made).done == 1
    assert outputs(tmp_path) == outputs(unbroken["cog"])
    (tmp_path / "coarse" / f"coarse_{DATES[0]:%Y%m%d}.tif").unlink()
    assert execute(made).done == 15, "the tiles of a joined image are gone"
    assert outputs(tmp_path) == outputs(unbroken["cog"])


# -- several processes ------------------------------------------------------------------------------------------------


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    one, two = job(tmp_path / "one", stubs.Noisy()), job(tmp_path / "two", stubs.Noisy(), workers=2)
    seen: list[int] = []
    execute(one)
    assert execute(two, progress=lambda marker, n, of: seen.append(n)).complete
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    assert seen == list(range(1, 16))


@pytest.fixture
def fast_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes that need not load the library."""
    context = kill.forkserver()
    monkeypatch.setattr(running.multiprocessing, "get_context", lambda _: context)


def test_a_killed_worker_is_told_of_and_its_tile_runs_again(tmp_path: Path, fast_workers: None) -> None:
    """As the system does when memory runs out."""
    method = stubs.Wrong(how=f"killed unless {os.getpid()}")
    with pytest.raises(
        RunError, match=r"a worker process was killed while it ran one of s000_r00.*for want of memory.*repeat"
    ):
        run_job(job(tmp_path, method, workers=2))
    read = [Markers(job(tmp_path, method)).read(task.name) for task in job(tmp_path, method).tasks()]
    kept = [marker.state for marker in read if marker is not None]
    assert 3 <= len(kept) <= 5, "the first row of tiles, but for what was under way"
    assert set(kept) == {"done"}
    outcome = run_job(job(tmp_path, method))
    assert (outcome.resumed, outcome.done, outcome.complete) == (len(kept), 15 - len(kept), True)


def test_a_worker_that_never_starts_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_workers: None
) -> None:
    monkeypatch.setattr(running, "_start_worker", stubs.end_at_once)
    with pytest.raises(
        RunError, match=r'before its first tile. In a script, call `fuse` under `if __name__ == "__main__":`'
    ):
        run_job(job(tmp_path, workers=2))


@pytest.mark.parametrize("kind", ["cog", "zarr"])
def test_shards_that_start_at_once_do_not_destroy_each_other(
    tmp_path: Path, unbroken: Mapping[str, Path], kind: str
) -> None:
    context = kill.forkserver()
    shards = [context.Process(target=_run_shard, args=(job(tmp_path, spec=FORMATS[kind]), (i, 4))) for i in range(4)]
    for shard in shards:
        shard.start()
    for shard in shards:
        shard.join(120)
    assert [shard.exitcode for shard in shards] == [0] * 4
    assert execute(job(tmp_path, spec=FORMATS[kind])).resumed == 15
    assert outputs(tmp_path) == outputs(unbroken[kind])


def _run_shard(made: Job, shard: tuple[int, int]) -> None:
    import torch

    torch.set_num_threads(1)
    run_job(made, shard=shard)


@pytest.mark.smoke
def test_one_process_per_shard(tmp_path: Path) -> None:
    with sole_runner(tmp_path, "0-of-1"), pytest.raises(PlanError, match="is not empty"):
        run_job(job(tmp_path))
    made = job(tmp_path / "out")
    run_job(made, shard=(0, 15))
    with sole_runner(tmp_path / "out", "0-of-1"), pytest.raises(PlanError, match="another process is running this job"):
        run_job(made)
    with (
        sole_runner(tmp_path / "out", "finalise"),
        pytest.raises(PlanError, match="another process is running this job"),
    ):
        finalise(made)
    assert run_job(made).complete


@pytest.mark.smoke
def test_windows_of_all_roles_cover_the_core(tmp_path: Path) -> None:
    made = job(tmp_path, place=scene((20, 35)), tile=48)
    for task in made.tasks():
        tile = running.load_tile(made.scene, made, task)
        for role, cube in tile.cubes.items():
            inside = tile.core_in(role)
            assert inside.clipped(cube.shape[2:]) == inside
            assert cube.shape[2:] == (
                tile.reach[role].height * tile.per_cell[role],
                tile.reach[role].width * tile.per_cell[role],
            )
        assert tile.core == task.core
        assert tile.scene_size == (20, 35)
        assert tile.output_size(3) == (task.core.height * 3, task.core.width * 3)
    assert stores.tile_layout(made.product("fine", "values"), task).grid.shape == tile.output_size(3)
    assert Window(0, 0, 20, 35).clipped(made.scene.size) == Window(0, 0, 20, 35)
