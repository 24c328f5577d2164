"""The battery on every method of the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sitsfusion import methods
from sitsfusion.prediction import open_prediction
from tests import kill, scenes
from tests.battery import CASES, WANTED, assemble, assert_same, brute_quality, job_of, outputs, run

every_case = pytest.mark.parametrize("name", CASES)
# Where a run is killed: half of a task written; half of the images joined. (tests/engine/test_run.py has more.)
KILLS = {
    "cog": [("sitsfusion.engine.store", "write_cog", 9), ("sitsfusion.engine.finalise", "mosaic_cog", 3)],
    "zarr": [("sitsfusion.engine.zarr_store", "ZarrStore._write_series", 4)],
}


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders of jobs that ran in one go, made when asked for."""

    class Folders(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            folder = self[name] = tmp_path_factory.mktemp(name) / "out"
            run(job_of(CASES[name], folder))
            return folder

    return Folders()


def test_the_battery_knows_every_registered_method() -> None:
    assert set(methods.names()) <= set(CASES)


@every_case
def test_shapes_types_and_gaps(name: str, unbroken: Mapping[str, Path]) -> None:
    job = job_of(CASES[name], unbroken[name])
    found = open_prediction(unbroken[name])
    assert set(found.cubes) == set(job.query)
    refused = {(r.role, r.day) for r in job.plan.refused}
    for role, cube in found.cubes.items():
        wanted = job.query[role]
        size = tuple(side * wanted.per_cell for side in job.scene.size)
        assert cube.shape == (len(cube.dates), len(wanted.bands), *size)
        assert {(role, day) for day in wanted.dates} - refused == {(role, day) for day in cube.dates}
        for t, day in enumerate(cube.dates):
            frame, layers = cube.frame(t), found.quality(role, day)
            assert frame.values.dtype == np.float32
            assert np.isfinite(frame.values).all(0)[frame.valid].all()
            np.testing.assert_array_equal(layers["invalid"] == 0, frame.valid)
            assert frame.valid.any()
    for role, cube in found.sigma.items():
        values, _ = cube.to_numpy()
        assert cube.dates == found[role].dates
        assert np.nanmin(values) >= 0


@every_case
def test_the_same_for_any_tile_and_image_size(name: str, tmp_path: Path) -> None:
    side = st.integers(1, CASES[name].most)

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        cells=st.tuples(side, side), tile=st.integers(1, 3).map(lambda k: k * CASES[name].tile), seed=st.integers(0, 99)
    )
    def check(cells: tuple[int, int], tile: int, seed: int) -> None:
        whole = assemble(job_of(CASES[name], tmp_path, cells=cells, tile=10_000, seed=seed))
        assert_same(
            whole, assemble(job_of(CASES[name], tmp_path, cells=cells, tile=tile, seed=seed)), CASES[name].noise
        )

    check()


@every_case
def test_a_part_of_the_scene_is_what_the_whole_gives_there(name: str, tmp_path: Path) -> None:
    """What is written and read back equals what the method said, whatever lies between."""
    job = job_of(CASES[name], tmp_path / "out")
    made, found = assemble(job), run(job)
    assert found is not None
    for role, picture in made.items():
        cube = found[role]
        at = [job.query[role].dates.index(day) for day in cube.dates]
        values, valid = cube.to_numpy()
        np.testing.assert_array_equal(valid, picture.valid[at])
        for c, band in enumerate(job.product(role, "values").layout.encodings):
            rounding = 0 if band.dtype == "float32" else 0.51 * band.scale
            np.testing.assert_allclose(values[:, c], picture.values[at, c], rtol=1e-6, atol=rounding)
        if role in found.sigma:
            np.testing.assert_array_equal(found.sigma[role].to_numpy()[0], picture.sigma[at])
    assert (set(found.sigma) == set(made)) == any(np.isfinite(p.sigma).any() for p in made.values())


@every_case
def test_killed_and_resumed_gives_the_same_bytes(name: str, tmp_path: Path, unbroken: Mapping[str, Path]) -> None:
    expected = outputs(unbroken[name])
    for number, where in enumerate(KILLS[CASES[name].format]):
        folder = tmp_path / f"killed{number}"
        job = job_of(CASES[name], folder)
        kill.run_killed(run, job, at=where)
        assert not (folder / "prediction.json").exists()
        run(job_of(CASES[name], folder))
        assert outputs(folder) == expected, where


@every_case
def test_shards_give_the_same_bytes(name: str, tmp_path: Path, unbroken: Mapping[str, Path]) -> None:
    for shard in ((1, 2), (0, 2), (0, 1)):
        run(job_of(CASES[name], tmp_path), shard)
    assert outputs(tmp_path) == outputs(unbroken[name])


@every_case
def test_quality_layers_are_those_of_a_plain_loop(name: str, tmp_path: Path) -> None:
    dates = scenes.days(4, 40_000)
    job = job_of(CASES[name], tmp_path, cells=(5, 7), dates=dates)
    for role, picture in assemble(job).items():
        for t, day in enumerate(dates):
            if (role, day) in {(r.role, r.day) for r in job.plan.refused}:
                continue
            nearest, count = brute_quality(job, role, day)
            np.testing.assert_array_equal(picture.days_to_clear[t], nearest)
            np.testing.assert_array_equal(picture.clear_count[t], count)


@every_case
def test_provenance_says_what_made_it(name: str, unbroken: Mapping[str, Path]) -> None:
    job, found = job_of(CASES[name], unbroken[name]), open_prediction(unbroken[name]).provenance
    assert found["plan_id"] == job.plan_id
    assert found["method"] == job.method.card.name
    assert found["options"] == job.method.options.model_dump(mode="json")
    assert found["inputs"] == {r: [d.isoformat() for d in days] for r, days in job.used_dates().items()}
    assert {"version", "dtype", "seed", "day_origin", "citation", "items", "sensors"} <= set(found)
    assert set(WANTED) >= {d for r in job.plan.refused for d in [r.day]}
