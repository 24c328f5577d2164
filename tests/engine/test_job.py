"""Planning: what is refused before a pixel is read, what makes two plans the same, what a job costs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sitsfusion import methods
from sitsfusion.cube import Cube
from sitsfusion.engine import cost
from sitsfusion.engine.job import Job, Resources, check_disk, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.run import run_job
from sitsfusion.engine.store import plan_note
from sitsfusion.engine.tiling import reach
from sitsfusion.errors import GridError, InputError, MissingBandError, PlanError
from sitsfusion.methods.base import Card, Method, MethodPlan, Refusal, Step
from sitsfusion.query import Query, query_of
from sitsfusion.scene import Scene
from sitsfusion.sensors import Encoding
from tests import stubs
from tests.engine.jobs import DATES, job, small_scene
from tests.scenes import cube, days, grid, scene, spied

pytestmark = pytest.mark.smoke


def test_planning_reads_no_pixel_and_writes_nothing(tmp_path: Path) -> None:
    place, spies = spied(scene((20, 30)))
    made = job(tmp_path / "out", place=place, tile=48)
    made.bill()
    plan_note(made)
    assert not any(spy.reads for spy in spies.values())
    assert not (tmp_path / "out").exists()


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resources", [{"workers": 3}, {"threads": 2}, {"memory": 2**31}, {"batch": 8}, {"device": "auto"}], ids=str
)
def test_the_plan_does_not_depend_on_the_machine(tmp_path: Path, resources: Mapping[str, Any]) -> None:
    assert job(tmp_path / "a", **resources).plan_id == job(tmp_path / "b").plan_id


def test_the_plan_depends_on_all_that_makes_the_result(tmp_path: Path) -> None:
    place = small_scene()
    coarse = place["coarse"]
    values, valid = coarse.to_numpy()
    values[0, 0, 5, 5] = 0.123
    arguments = {"sensor": coarse.sensor, "bands": coarse.bands, "grid": coarse.grid, "dates": coarse.dates}
    other_band = coarse.sensor.bands[3].model_copy(
        update={"output": Encoding(dtype="int16", scale=2e-4, nodata=-32768)}
    )
    other_sensor = coarse.sensor.model_copy(
        update={"bands": tuple(other_band if b.key == other_band.key else b for b in coarse.sensor.bands)}
    )
    changed: dict[str, Job] = {
        "nothing": job(tmp_path),
        "pixels": job(tmp_path, place=Scene({"coarse": Cube.from_array(values, valid=valid, **arguments)})),
        "input dates": job(tmp_path, place=place.select({"coarse": coarse.dates[:2]})),
        "a part of the scene": job(tmp_path, place=place.within(600_000, 4_999_400, 601_000, 5_000_000)),
        "coordinate system": job(
            tmp_path, place=Scene({"coarse": cube("coarse", (0, 4, 9), (40, 70), crs="EPSG:32632")})
        ),
        "dates": job(tmp_path, dates=days(2, 7)),
        "bands": job(tmp_path, wanted={"bands": {"coarse": ["LST"]}}),
        "resolution": job(tmp_path, wanted={"resolution": 15}),
        "encoding": job(tmp_path, spec={"encoding": "float32"}),
        "format": job(tmp_path, spec={"format": "zarr"}),
        "mosaic": job(tmp_path, spec={"mosaic": "vrt"}),
        "tile": job(tmp_path, tile=32),
        "seed": job(tmp_path, seed=1),
        "dtype": job(tmp_path, dtype="bfloat16"),
        "day 0": job(tmp_path, place=replace(place, origin=days(1)[0])),
        "method": job(tmp_path, "closest"),
        "option": job(tmp_path, methods.make("closest", {"direction": "last"})),
        "stored numbers": job(tmp_path, place=Scene({"coarse": replace(coarse, sensor=other_sensor)})),
        "native pixels": job(tmp_path, place=Scene({"coarse": replace(coarse, native=(1, 3))})),
    }
    by_id: dict[str, list[str]] = {}
    for what, made in changed.items():
        by_id.setdefault(made.plan_id, []).append(what)
    assert all(len(same) == 1 for same in by_id.values()), by_id


def test_loading_the_scene_makes_no_other_plan(tmp_path: Path) -> None:
    assert job(tmp_path, place=small_scene().load()).plan_id == job(tmp_path).plan_id


def test_unused_images_make_no_other_plan(tmp_path: Path) -> None:
    """Only what the steps use counts: another image far from the dates asked for does not matter to `closest`."""
    more = cube("coarse", (0, 4, 9, 300), (40, 70))
    few = more.select(dates=more.dates[:3])
    ids = {job(tmp_path, "closest", place=Scene({"coarse": c}, origin=days(0)[0])).plan_id for c in (more, few)}
    assert len(ids) == 1


def test_a_folder_that_was_begun_keeps_its_tiles(tmp_path: Path) -> None:
    """Less free memory at the second start must not make another job of it."""
    begun = job(tmp_path, tile=None, memory=2**31)
    assert begun.tiles.height == 480
    run_job(begun)
    tight = cost.peak_bytes(begun, (16, 16))
    assert job(tmp_path / "elsewhere", tile=None, memory=tight).tiles.height < 480
    with pytest.raises(
        PlanError, match=r"begun with tiles of 480 x 480 cells, which need \d+ MiB per worker; the budget"
    ):
        job(tmp_path, tile=None, memory=tight)
    roomy = job(tmp_path, tile=None, memory=2**31)
    assert (roomy.plan_id, roomy.tiles) == (begun.plan_id, begun.tiles)
    shutil.rmtree(tmp_path)
    run_job(job(tmp_path, tile=16))
    assert job(tmp_path, tile=None).tiles.height == 16, "begun with smaller tiles than today's memory would allow"
    assert job(tmp_path, tile=None, dates=days(3)).tiles.height == 480, "another job"


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_images_without_coordinate_system_are_refused_and_zarr_is_not(tmp_path: Path) -> None:
    place = Scene({"coarse": cube("coarse", (0, 4), (20, 20), crs=None)}, name="bench")
    with pytest.raises(GridError, match=r"bench has no coordinate system.*write Zarr"):
        job(tmp_path, place=place)
    assert run_job(job(tmp_path, place=place, spec={"format": "zarr"})).complete


def test_what_does_not_fit_memory_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(
        PlanError, match=r"even the smallest tile \(16 x 16 cells\) needs \d+ MiB per worker; the budget is 100 MiB"
    ):
        job(tmp_path, memory=100 * 2**20)
    with pytest.raises(PlanError, match="the budget is 250 MiB"):
        job(tmp_path, memory=1000 * 2**20, workers=4)
    with pytest.raises(PlanError, match="whole scene of 40 x 70 cells at once, which needs"):
        job(tmp_path, stubs.Pooling(lattice="whole"), memory=100 * 2**20)


def test_what_does_not_fit_the_disk_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = job(tmp_path).bill().bytes_written
    free = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda path: free)
    with pytest.raises(
        PlanError, match=r"up to 0.000\d+ GB will be written to .*, where 0.000\d+ GB are free; ask for fewer"
    ):
        job(tmp_path / "new" / "folder")
    free.free = needed
    made = job(tmp_path)
    assert run_job(made).complete
    free.free = needed // 2 + 1  # the tiles are there; their mosaics are still to be written
    check_disk(made)
    free.free = needed // 2 - 1
    with pytest.raises(PlanError, match="are free"):
        check_disk(made)
    free.free = needed - 1
    with pytest.raises(PlanError, match="are free"):
        job(tmp_path, dates=days(3, 7))  # the tiles are another plan's


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match="is not a folder that can be written to; choose another --out"):
        job(tmp_path / "file")
    with pytest.raises(PlanError, match="is not a folder that can be written to"):
        job(tmp_path / "file" / "out")
    monkeypatch.setattr(cost.os, "access", lambda path, mode: False)
    with pytest.raises(PlanError, match="is not a folder that can be written to"):
        job(tmp_path / "out")


def test_a_query_for_what_the_method_cannot_give_is_refused(tmp_path: Path) -> None:
    place, naive = scene((4, 4)), methods.make("naive")
    good = query_of(place, DATES, naive.outputs(place))
    fewer = replace(place, cubes={"fine": place["fine"].select(bands=["B02"])})
    with pytest.raises(InputError, match="naive cannot predict coarse of made-up; possible: fine"):
        plan_job(fewer, {"coarse": good["coarse"]}, naive, OutputSpec(tmp_path))
    with pytest.raises(MissingBandError, match="naive cannot predict fine B08 of sentinel-2-l2a; possible: B02"):
        plan_job(fewer, {"fine": good["fine"]}, naive, OutputSpec(tmp_path))
    with pytest.raises(MissingBandError, match="of landsat-8-9-c2-l2; possible: B02, B08 of sentinel-2-l2a"):
        plan_job(place, {"fine": replace(good["coarse"], bands=("B02",))}, naive, OutputSpec(tmp_path))


def test_a_method_that_needs_a_role_names_it() -> None:
    with pytest.raises(InputError, match=r"calibrated needs coarse images; the scene has no coarse .it has fine"):
        stubs.Calibrated().outputs(Scene({"fine": cube("fine", (0,), (2, 2))}))


def test_dates_that_no_method_can_give_are_listed_or_refused(tmp_path: Path) -> None:
    last = methods.make("closest", {"direction": "last"})
    made = job(tmp_path, last, dates=days(-5, -1, 2))
    assert [(r.role, r.day, r.reason) for r in made.plan.refused] == [
        ("coarse", day, "no coarse image with at most 50% masked at or before it") for day in days(-5, -1)
    ]
    with pytest.raises(PlanError, match="closest can predict none of the dates asked for: no coarse image"):
        job(tmp_path, last, dates=days(-5))
    with pytest.raises(PlanError, match="naive needs 2 or more coarse images, there are 1"):
        job(tmp_path, place=small_scene().select({"coarse": days(4)}))


class Careless(Method):
    """Plans what `steps` and `refused` say."""

    card = Card("careless", "", "", "", uses=("coarse",))
    steps: tuple[Query, ...] = ()
    refused: tuple[Refusal, ...] = ()
    names = ("a", "b")

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        steps = tuple(
            Step(n, {"coarse": scene["coarse"].dates}, q) for n, q in zip(self.names, self.steps, strict=False)
        )
        return MethodPlan(steps, self.refused)

    def predict(self, *_: object) -> Any:
        raise AssertionError("never reached")


def test_a_plan_that_loses_or_repeats_a_date_is_a_defect_of_the_method(tmp_path: Path) -> None:
    place = small_scene()
    whole = query_of(place, DATES, Careless().outputs(place))
    first = {"coarse": whole["coarse"].at(DATES[:1])}

    def plan(steps: tuple[Query, ...], refused: tuple[Refusal, ...] = (), names: tuple[str, str] = ("a", "b")) -> Job:
        method = Careless()
        method.steps, method.refused, method.names = steps, refused, names
        return plan_job(place, whole, method, OutputSpec(tmp_path), Resources(device="cpu"))

    assert plan((whole,)).plan_id
    with pytest.raises(PlanError, match=r"careless planned coarse of 2022-01-07 0 time\(s\), asked for 1"):
        plan((first,))
    with pytest.raises(PlanError, match=r"coarse of 2022-01-03 2 time\(s\), asked for 1"):
        plan((whole, first))
    with pytest.raises(PlanError, match="asked for 0"):
        plan((whole,), (Refusal("coarse", days(99)[0], "?"),))
    with pytest.raises(PlanError, match="several steps of one name"):
        plan((first, {"coarse": whole["coarse"].at(DATES[1:])}), names=("a", "a"))
    assert plan((first,), (Refusal("coarse", DATES[1], "too far"),)).plan.refused[0].reason == "too far"


@pytest.mark.parametrize(
    "bad",
    [{"workers": 0}, {"batch": 0}, {"threads": 0}, {"memory": 0}, {"tile": 0}, {"seed": -1}, {"workers": -2}],
    ids=str,
)
def test_impossible_resources_are_refused(bad: dict[str, int]) -> None:
    name, value = next(iter(bad.items()))
    with pytest.raises(InputError, match=f"{name} {value} is not possible; give {0 if name == 'seed' else 1} or more"):
        Resources(**bad)


# -- cost -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "resolution", "tile"),
    [("naive", 10, 48), (stubs.Pooling(size=11, stride=4), None, 16), (stubs.Pooling(lattice="whole"), None, 48)],
    ids=["local", "patches", "whole"],
)
def test_the_bill_is_what_a_loop_over_all_tasks_counts(
    tmp_path: Path, method: Any, resolution: float | None, tile: int
) -> None:
    made = job(tmp_path, method, place=scene((37, 50)), tile=tile, wanted={"resolution": resolution})
    read = 0
    for task in made.tasks():
        for role, dates in task.step.inputs.items():
            window = reach(task.core, made.tilings[task.step.name], role, made.scene.size)
            pixels = window.height * window.width * made.scene.per_cell(role) ** 2
            read += pixels * len(dates) * (2 * len(made.scene[role].bands) + 1)
    bill = made.bill()
    assert (bill.tasks, bill.bytes_read) == (len(list(made.tasks())), read)
    pixels = 37 * 50 * (3 if resolution != 30 else 1) ** 2
    assert bill.bytes_written == 2 * pixels * 2 * 2 * (2 + 3) * 2  # twice; roles, dates; bands and layers; two bytes
    assert job(tmp_path, method, place=scene((37, 50)), tile=tile, spec={"mosaic": "vrt"}).bill().bytes_written * 2 == (
        bill.bytes_written
    )


class Nowhere:
    """A source of which no pixel may be read."""

    def read(self, *_: object) -> Any:
        raise AssertionError("planning reads no pixel")

    def fingerprint(self, t: int) -> Mapping[str, object]:
        return {"path": f"{t}.tif"}


def test_a_country_is_planned_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a million square kilometres at 30 m, 73 steps: half a million tasks."""
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e15))
    sensor = small_scene()["coarse"].sensor
    big = Cube(sensor, ("B04",), grid((40_000, 40_000), 30), days(0, 16, 32), Nowhere())
    dates = days(*range(0, 365, 5))
    made = job(tmp_path, "closest", place=Scene({"coarse": big}), dates=dates, tile=None, memory=2**32)
    assert made.bill().tasks == 73 * 84 * 84


def test_memory_that_a_container_allows(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:   4096 kB\n")
    assert cost.available_memory(proc, groups) == 4096 * 1024
    (proc / "self" / "cgroup").write_text("0::/slurm/job\n")
    job_group = groups / "slurm" / "job"
    job_group.mkdir(parents=True)
    for folder, limit, used in ((job_group, "max", "10"), (groups / "slurm", "3000000", "1000000")):
        (folder / "memory.max").write_text(limit + "\n")
        (folder / "memory.current").write_text(used + "\n")
    assert cost.available_memory(proc, groups) == 2_000_000
    (groups / "slurm" / "memory.current").write_text("4000000")
    assert cost.available_memory(proc, groups) == 0
    assert cost.available_memory(tmp_path / "nothing", groups) > 2**20
    assert Resources(memory=1000, workers=3).budget() == 333
    assert Resources().budget() > 2**20
