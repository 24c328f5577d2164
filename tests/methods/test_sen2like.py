"""SEN2LIKE: what it takes and refuses, its two modes, and the steps of the chain before fusion."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from sitsfusion import methods
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.run import job_runtime
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.errors import GridError, InputError
from sitsfusion.methods.sen2like import fusion, geometry
from sitsfusion.methods.sen2like.method import fractional_year
from sitsfusion.ops import nbar, sbaf
from sitsfusion.ops.resample import bilinear, nearest
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.battery import assemble
from tests.scenes import cube, days


def place(cells: tuple[int, int] = (6, 7)) -> Scene:
    return with_clear_shares(
        Scene(
            {
                "fine": cube("fine", (-9, 0, 9, 14, 21), cells),
                "coarse": cube("coarse", (5, 12, 20), cells, bands=("B02", "B04", "B05")),
            }
        )
    )


def with_angles(scene: Scene) -> Scene:
    angles = {"sun_zenith": 50.0, "sun_azimuth": 150.0, "view_zenith": 8.0, "view_azimuth": 100.0}
    cubes = {r: replace(c, items=tuple(replace(i, **angles) for i in c.items)) for r, c in scene.cubes.items()}
    return replace(scene, cubes=cubes)


def job_of(scene: Scene, dates: tuple[date, ...], **options: object) -> Job:
    method = methods.make("sen2like", {"max_masked_share": 1, **options})
    query = query_of(scene, dates, method.outputs(scene))
    return plan_job(scene, query, method, OutputSpec(Path("never-written")), Resources(device="cpu", tile=480))


def test_reference_mode_is_the_published_arithmetic() -> None:
    scene = place()
    found = assemble(job_of(scene, days(5)))["fine"]
    fine, seen = (torch.from_numpy(a) for a in scene["fine"].to_numpy())
    coarse, clear = (torch.from_numpy(a) for a in scene["coarse"].select(bands=["B02", "B05"]).to_numpy())
    images = fusion.References(fine[1], fine[0], 9.0, 0.0)
    expected = fusion.reference_fusion(bilinear(coarse[0], 1 / 3), images, 14.0, 0.4)
    valid = nearest(clear[:1], 1 / 3)[0] & seen[0] & seen[1] & expected.isfinite().all(0)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-6)
    np.testing.assert_array_equal(found.valid[0], valid)
    assert found.valid.any()


def test_days_that_cannot_be_predicted_are_refused_with_the_reason() -> None:
    scene = place()
    early = scene.select({"fine": scene["fine"].dates[1:], "coarse": scene["coarse"].dates})
    refused = {r.day: r.reason for r in job_of(early, days(5, 6, 20)).plan.refused}
    assert refused == {
        days(5)[0]: "sen2like needs 2 fine images at or before it with at most 100% masked",
        days(6)[0]: "sen2like needs a coarse image of the day, there is none",
    }


def test_images_mostly_masked_are_passed_over() -> None:
    scene = place()
    items = [replace(item, clear_share=0.2 if t == 1 else 0.9) for t, item in enumerate(scene["fine"].items)]
    scene = replace(scene, cubes={**scene.cubes, "fine": replace(scene["fine"], items=tuple(items))})
    (step,) = job_of(scene, days(12), max_masked_share=0.5).plan.steps
    assert step.inputs["fine"] == days(-9, 9)


@pytest.mark.parametrize("mode", ["composite", "predict"])
def test_full_mode_leaves_a_scene_without_detail_as_the_coarse_sensor_saw_it(mode: str) -> None:
    scene = place((4, 5))
    flat = {r: np.full(c.shape, 0.3, np.float32) for r, c in scene.cubes.items()}
    cubes = {
        r: type(c).from_array(flat[r], sensor=c.sensor, bands=c.bands, grid=c.grid, dates=c.dates)
        for r, c in scene.cubes.items()
    }
    found = assemble(job_of(Scene(cubes), days(20), mode="full", fusion=mode, sbaf="off"))["fine"]
    assert found.valid.all()
    np.testing.assert_allclose(found.values, 0.3, atol=1e-6)


def test_the_chain_adjusts_the_coarse_image_before_fusion() -> None:
    scene = place()
    plain, adjusted = (
        assemble(job_of(scene, days(12), mode="full", sbaf=how))["fine"].values[0] for how in ("off", "static")
    )
    coarse = torch.from_numpy(scene["coarse"].select(bands=["B02"]).to_numpy()[0][1])
    change = fusion.mirrored_bilinear(sbaf.static_adjustment(coarse, "blue") - coarse, 3)[0]
    seen = np.isfinite(plain[0])
    assert seen.any()
    np.testing.assert_allclose((adjusted[0] - plain[0])[seen], change[seen], atol=1e-6)


def test_nbar_needs_angles_and_uses_them() -> None:
    with pytest.raises(InputError, match=r"fine image of 2021-12-23 has no sun and view angles.*nbar=false"):
        job_of(place(), days(20), mode="full", nbar=True)
    scene = with_angles(place())
    without, with_nbar = (
        assemble(job_of(scene, days(12), mode="full", nbar=on))["fine"].values[0] for on in (False, True)
    )
    ratio = (with_nbar / without)[:, 6:-6, 6:-6]
    angles = nbar.Angles(*(torch.tensor(a) for a in (50.0, 8.0, 50.0)))
    expected = nbar.c_factor(angles, 45.14, nbar.ROY["blue"]).item()
    assert np.nanmedian(ratio[0]) == pytest.approx(expected, rel=0.01)


def test_spectral_adjustment_of_another_sensor_is_refused() -> None:
    with pytest.raises(InputError, match=r"known for Landsat 8 and 9, the coarse images are sentinel-2-l2a"):
        job_of(replace(place(), cubes={"fine": place()["fine"], "coarse": place()["fine"]}), days(14), mode="full")


def test_a_band_without_coefficients_is_an_error() -> None:
    with pytest.raises(InputError, match="no spectral adjustment is known for band 'lwir11'"):
        sbaf.static_adjustment(torch.ones(2), "lwir11")


def test_at_the_nadir_under_the_normal_sun_nothing_changes() -> None:
    zero = torch.zeros(())
    angles = nbar.Angles(nbar.mean_sun_zenith(45.0), zero, zero)
    assert nbar.c_factor(angles, 45.0, nbar.ROY["red"], hot_spot=True).item() == pytest.approx(1.0)


def test_fractional_years() -> None:
    assert fractional_year(date(2020, 12, 31)) == 2021
    assert fractional_year(date(2021, 1, 1)) == pytest.approx(2021 + 1 / 365)


# --- geometry check ------------------------------------------------------------------------------------------------


SIDE = 180


def fields(rows: int, columns: int, side: int = SIDE) -> torch.Tensor:
    """Fields of 20 x 20 quarter pixels as seen by pixels so many quarters further down and right: [h w]."""
    rng = np.random.default_rng(3)
    land = np.kron(rng.uniform(0.05, 0.4, (40, 40)), np.ones((20, 20)))
    here = land[20 + rows : 20 + rows + 4 * side, 20 + columns : 20 + columns + 4 * side]
    return torch.from_numpy(here.reshape(side, 4, side, 4).mean((1, 3)))


def shifted_scene(rows: int, columns: int) -> Scene:
    """A fine image and a coarse one that sees the land so many quarters of its pixels further up and left."""
    fine = cube("fine", (0,), (SIDE, SIDE), bands=["B02", "B04"])
    coarse = cube("coarse", (5,), (SIDE, SIDE), bands=["B02", "B04"])
    pictures = {"fine": fields(0, 0).repeat_interleave(3, 0).repeat_interleave(3, 1), "coarse": fields(rows, columns)}
    return Scene(
        {
            role: type(c).from_array(
                np.broadcast_to(pictures[role].numpy().astype(np.float32), c.shape).copy(),
                sensor=c.sensor,
                bands=c.bands,
                grid=c.grid,
                dates=c.dates,
            )
            for role, c in {"fine": fine, "coarse": coarse}.items()
        }
    )


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, -2), (-7, 5)])
def test_the_shift_between_two_images_is_measured(rows: int, columns: int) -> None:
    found = geometry.offset(fields(0, 0), fields(rows, columns))
    assert found is not None
    assert found.points >= geometry.FEWEST
    assert (found.rows, found.columns) == pytest.approx((-rows / 4, -columns / 4), abs=0.02)
    assert found.rmse_rows == pytest.approx(abs(rows) / 4, abs=0.05)


def test_a_cloud_does_not_move_the_measured_shift() -> None:
    first, second = fields(0, 0), fields(2, 0)
    first[:20] = torch.nan
    second[:, :10] = torch.nan
    found = geometry.offset(first, second)
    assert found is not None
    assert (found.rows, found.columns) == pytest.approx((-0.5, 0), abs=0.05)


def test_images_without_common_corners_have_no_shift() -> None:
    noise = np.random.default_rng(0).random((2, 120, 120))
    assert geometry.offset(*torch.from_numpy(noise)) is None
    assert geometry.offset(torch.ones(60, 60), torch.ones(60, 60)) is None
    assert geometry.offset(torch.full((60, 60), torch.nan), torch.ones(60, 60)) is None


def test_a_coarse_image_too_far_off_is_refused_and_others_are_reported() -> None:
    scene = shifted_scene(2, 0)
    job = job_of(scene, days(5), mode="full", max_offset=20)
    state = job.method.calibrate(scene, job.plan, job_runtime(job))
    np.testing.assert_allclose(state["offsets"], [[-0.5, 0]], atol=0.02)
    job = job_of(scene, days(5), mode="full", max_offset=10)
    with pytest.raises(
        GridError, match=r"2022-01-06 lies 1[45]\.\d off .* 2022-01-01 .* allowed are 10 \(max_offset\)"
    ):
        job.method.calibrate(scene, job.plan, job_runtime(job))
