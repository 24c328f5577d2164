"""Estimated times, and the survey of clear shares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sitsfusion.engine import timing
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.engine.timing import estimate_seconds
from tests import stubs
from tests.battery import CASES, job_of
from tests.engine.jobs import job
from tests.scenes import scene, spied


@pytest.mark.parametrize("cells", [(1, 1), (1, 40), (20, 35)])
@pytest.mark.parametrize("name", CASES)
def test_any_scene_can_be_timed_and_nothing_is_written(tmp_path: Path, name: str, cells: tuple[int, int]) -> None:
    assert 0 < estimate_seconds(job_of(CASES[name], tmp_path / "out", cells=cells)) < 1e4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "ratio"),
    [("naive", 16.0), (stubs.Pooling(lattice="whole"), 1.0), (stubs.Pooling(size=16, stride=16), 16.0)],
)
def test_time_grows_with_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: object, ratio: float
) -> None:
    """With a clock that ticks once a call, every timed tile takes one second."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(timing, "_calibrated", lambda job, task, runtime: (job, 0.0))
    made = job(tmp_path, method, place=scene((128, 128)), tile=96)  # type: ignore[arg-type]
    assert estimate_seconds(made) == pytest.approx(ratio)
    assert estimate_seconds(replace(made, resources=replace(made.resources, workers=2))) == pytest.approx(
        ratio / min(2, len(made.tiles))
    )


@pytest.mark.smoke
def test_clear_shares_are_counted_once_and_only_where_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sitsfusion.engine.survey._BLOCK_PIXELS", 7)
    place, spies = spied(scene((10, 12)))
    fine = place["fine"]
    known = replace(fine, items=(replace(fine.items[0], clear_share=0.25), *fine.items[1:]))
    surveyed = with_clear_shares(replace(place, cubes={**place.cubes, "fine": known}))
    assert surveyed["fine"].items[0].clear_share == 0.25
    assert {t for t, _ in spies["fine"].reads} == {1, 2, 3}
    assert set(spies["fine"].reads.values()) == {1}
    for role in ("fine", "coarse"):
        valid = scene((10, 12))[role].to_numpy()[1]
        shares = [item.clear_share for item in surveyed[role].items]
        assert shares[1:] == pytest.approx(valid[1:].mean((1, 2)))
    assert surveyed.size == place.size
