"""Leave-one-out, patches, bad input, several processes: what a run does beyond one strategy on one site."""

from __future__ import annotations

import csv
import pickle
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

import sitsfusion
from sitsfusion.engine.job import Resources
from sitsfusion.errors import InputError
from sitsfusion.evaluation.cases import Case, LeaveOneOut, LeftOut, Patch, divide
from sitsfusion.evaluation.results import read_result, result_file
from sitsfusion.evaluation.runner import run
from sitsfusion.evaluation.settings import MethodSpec, Settings
from sitsfusion.evaluation.sites import PlaceSite, SceneSite
from sitsfusion.evaluation.suite import StrategyEntry
from sitsfusion.scene import Scene
from sitsfusion.simulate import simulate_scene, write_ls2s2
from sitsfusion.strategies import Strategy
from tests.evaluation import tiny
from tests.scenes import days

SETTINGS = Settings(margin=1, resources=Resources(device="cpu"))
NAIVE = MethodSpec("naive")


def case(scene: Scene | None = None, **changes: object) -> Case:
    return Case(SceneSite(scene or tiny.scene(), tiny.truth), Strategy.ALL, **changes)  # type: ignore[arg-type]


# --- leave one out ---------------------------------------------------------------------------------------------------


def test_leave_one_out_is_one_case_per_image_which_alone_is_hidden() -> None:
    scene = tiny.scene()
    cases = LeaveOneOut(case(label="one-out"), "fine").cases(scene)
    assert [one.left_out for one in cases] == [LeftOut("fine", day) for day in days(*tiny.FINE)]
    assert cases[1].name == "tiny_one-out_fine-2022-01-21"
    found = divide(cases[1], scene)
    assert found.given_dates("fine") == days(0, 40, 80)
    assert found.given_dates("coarse") == days(*tiny.COARSE)  # also that of the same day
    assert found.asked == {"fine": days(20)}
    assert found.targets["fine"].dates == days(20)
    assert len({str(one.identity()) for one in cases}) == 4


def test_leave_one_out_runs_and_every_row_is_of_the_hidden_image(tmp_path: Path) -> None:
    found = run([LeaveOneOut(case(), "coarse")], [NAIVE], tmp_path, SETTINGS)
    assert [one.status for one in found] == ["done"] * 4
    assert {row["group"] for one in found for row in one.rows} == {"masked"}
    assert {row["date"] for one in found for row in one.rows} == {str(day) for day in days(*tiny.COARSE)}


def test_leave_one_out_without_such_images_is_a_listed_refusal(tmp_path: Path) -> None:
    scene = tiny.scene()
    only_fine = Scene({"fine": scene["fine"]}, name="fine-only")
    found = run([LeaveOneOut(case(only_fine), "coarse")], [NAIVE], tmp_path, SETTINGS)
    assert [one.status for one in found] == ["refused"]
    assert "needs coarse images" in found[0].reason
    with pytest.raises(InputError, match="the strategy must be ALL"):
        Case(SceneSite(scene), Strategy.GAPS, left_out=LeftOut("fine", date(2022, 1, 1)))


# --- patches ---------------------------------------------------------------------------------------------------------


def test_patches_are_numbered_from_the_south_west_row_by_row() -> None:
    scene = tiny.scene()  # 10 x 10 cells of 30 m
    windows = [Patch(120, index).window(scene) for index in range(4)]
    assert [(w.row, w.col, w.height, w.width) for w in windows] == [
        (6, 0, 4, 4),
        (6, 5, 4, 4),
        (1, 0, 4, 4),
        (1, 5, 4, 4),
    ]
    with pytest.raises(InputError, match="no patch 4 of 120 m in tiny: 2 rows of 2 fit"):
        Patch(120, 4).window(scene)


def test_a_patch_is_scored_against_its_own_part_of_the_truth(tmp_path: Path) -> None:
    ramp = np.linspace(0, 0.1, 30, dtype=np.float32)

    def truth(role: str, day: date) -> np.ndarray:
        return tiny.truth(role, day) + ramp  # grows towards the east

    site = SceneSite(tiny.scene(), truth)
    found = run([Case(site, Strategy.ALL, patch=Patch(150, 1))], [NAIVE], tmp_path, replace(SETTINGS, margin=0))[0]
    assert (found.status, found.site) == ("done", "tiny-p1")
    bias = [r["bias"] for r in found.rows if r["reference"] == "truth" and r["band"] == "B02"]
    np.testing.assert_allclose(bias, -ramp[15:].mean(), rtol=1e-3)


# --- what cannot be scored -------------------------------------------------------------------------------------------


def test_sites_without_days_in_common_are_refused_with_the_reason(tmp_path: Path) -> None:
    site = SceneSite(tiny.scene(fine=(0, 20), coarse=(5, 50)))
    found = run([Case(site, Strategy.CONJLR2HR)], [NAIVE], tmp_path, SETTINGS)
    assert found[0].status == "refused"
    assert "asks for no date" in found[0].reason


def test_a_strategy_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    work = StrategyEntry(name="FORECAST", options={"forecast_day": -1}).work(site=SceneSite(tiny.scene()))
    found = run([work], [NAIVE], tmp_path, SETTINGS)
    assert found[0].status == "refused"
    assert found[0].reason.startswith("PlanError")


def test_bands_that_no_method_gives_are_refused_not_scored(tmp_path: Path) -> None:
    scene = tiny.scene()
    optical = scene["coarse"].select(bands=["B04", "B05"])
    found = run([case(scene.with_cubes(coarse=optical))], [MethodSpec("dms")], tmp_path, SETTINGS)
    assert found[0].status == "refused"
    assert not found[0].rows


def test_a_corrupt_index_row_is_a_refusal_that_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "31TCJ_0"
    write_ls2s2(simulate_scene(size=12, seed=3), folder)
    index = sorted(folder.rglob("*.csv"))[0]
    lines = index.read_text().splitlines()
    index.write_text("\n".join([lines[0], "not,a,row\x00", *lines[2:]]) + "\n")
    found = run([Case(PlaceSite(folder), Strategy.ALL)], [NAIVE], tmp_path / "out", SETTINGS)
    assert found[0].status == "refused"
    assert index.name in found[0].reason or "index" in found[0].reason


def test_pixels_that_were_not_predicted_lower_the_coverage_and_change_no_error(tmp_path: Path) -> None:
    """Clouds at all given dates: nothing can be known there."""
    scene = tiny.scene()
    found = run([case(scene)], [NAIVE], tmp_path / "a", SETTINGS)[0]
    holes = {}
    for role, cube in scene.cubes.items():
        loaded = np.stack([cube.frame(t).values for t in range(len(cube.dates))])
        side = loaded.shape[-1]
        valid = np.ones((len(loaded), side, side), bool)
        valid[:, : side // 2, :] = False
        holes[role] = type(cube).from_array(
            loaded, sensor=cube.sensor, bands=cube.bands, grid=cube.grid, dates=cube.dates, valid=valid
        )
    half = run([case(Scene(holes, name="tiny"))], [NAIVE], tmp_path / "b", SETTINGS)[0]
    rows = [r for r in half.rows if r["reference"] == "truth" and r["band"] == "B02"]
    assert rows
    assert all(0 < row["coverage"] < 0.6 for row in rows)
    assert all(row["rmse"] < 1e-5 for row in rows)
    assert all(r["coverage"] == 1 for r in found.rows if r["reference"] == "truth" and r["band"] == "B02")


# --- options of a run ------------------------------------------------------------------------------------------------


def test_images_animations_and_pictures_are_written(tmp_path: Path) -> None:
    wanted = replace(SETTINGS, images=True, animations=True, margin=3)
    one = StrategyEntry(name="GAPS").work(site=SceneSite(tiny.scene(), tiny.truth))
    assert run([one], [NAIVE], tmp_path, wanted)[0].status == "done"
    folder = tmp_path / "paper" / "GAPS" / "naive" / "predictions" / "tiny"
    file = folder / "hr_mae_GAPS_50_183" / "40_2022-02-10_hr_mae_GAPS_50_183_pred.tif"
    with rasterio.open(file) as image, rasterio.open(str(file).replace("_pred", "_ref")) as reference:
        assert (image.width, image.dtypes[0], image.descriptions) == (24, "int16", tiny.BANDS["fine"])
        fine = tiny.scene()["fine"].grid
        assert image.crs == fine.crs
        assert tuple(image.transform)[:6] == tuple(fine.affine * fine.affine.translation(3, 3))[:6]
        assert np.unique(image.read()).tolist() == np.unique(reference.read()).tolist() == [1400, 2400, 3000]
    clear = folder / "lr_clr_GAPS_50_183"
    names = {path.name for path in clear.glob("*_ref.tif")}
    assert names == {
        f"{n}_{d}_lr_clr_GAPS_50_183_ref.tif" for n, d in ((5, "2022-01-06"), (20, "2022-01-21"), (90, "2022-04-01"))
    }
    with rasterio.open(next(clear.glob("20_*_ref.tif"))) as reference:  # the image of that day, in its own pixels
        assert reference.width == 8
        assert np.unique(reference.read()).tolist() == [1200, 2200, 2920]
    page = (tmp_path / "animations" / "tiny_GAPS_naive.html").read_text()
    assert "Fine, predicted" in page
    assert "https://" not in page
    assert (tmp_path / "pictures" / "tiny_GAPS" / "case.npz").is_file()


def test_without_metrics_days_that_nobody_saw_are_predicted(tmp_path: Path) -> None:
    work = StrategyEntry(name="L3A").work(site=SceneSite(tiny.scene(fine=(3, 20))), origin=date(2022, 1, 1))
    found = run([work], [NAIVE], tmp_path, replace(SETTINGS, images=True, metrics="none"))[0]
    assert (found.status, found.rows) == ("done", ())
    assert len(list((tmp_path / "paper").rglob("*_pred.tif"))) == 24


def test_inverted_masks_score_what_the_others_leave_out(tmp_path: Path) -> None:
    scene = tiny.scene()
    cube = scene["fine"]
    values = np.stack([cube.frame(t).values for t in range(len(cube.dates))])
    valid = np.ones((len(values), 30, 30), bool)
    valid[:, :10] = False
    masked = type(cube).from_array(
        values, sensor=cube.sensor, bands=cube.bands, grid=cube.grid, dates=cube.dates, valid=valid
    )
    one = Case(SceneSite(scene.with_cubes(fine=masked)), Strategy.ALL)
    counts = []
    for i, invert in enumerate((False, True)):
        found = run([one], [MethodSpec("closest")], tmp_path / str(i), replace(SETTINGS, margin=0, invert_masks=invert))
        counts.append({r["count"] for r in found[0].rows if r["role"] == "fine" and r["band"] == "B02"})
    assert counts[0] == {600}
    assert max(counts[1]) <= 300


def test_the_published_faults_move_rows_but_not_their_means(tmp_path: Path) -> None:
    found = [
        run([case()], [NAIVE], tmp_path / str(p), replace(SETTINGS, published=p, metrics="paper"))[0]
        for p in (False, True)
    ]
    means = [np.nanmean([r["rmse"] for r in one.rows if r["band"] == "B04"]) for one in found]
    assert means[0] == pytest.approx(means[1])
    assert "psnr" not in found[0].rows[0]


def test_work_can_be_sent_to_processes() -> None:
    work = [LeaveOneOut(Case(PlaceSite(Path("a")), Strategy.ALL)), Case(PlaceSite(Path("b")), Strategy.GAPS)]
    assert pickle.loads(pickle.dumps((work, NAIVE, SETTINGS))) == (work, NAIVE, SETTINGS)


def test_two_processes_give_the_results_of_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_ls2s2(simulate_scene(size=12, seed=3), tmp_path / name)
    cases = [Case(PlaceSite(tmp_path / name), Strategy.ALL, max_dates=2) for name in ("a", "b")]
    found = run(cases, [MethodSpec("closest")], tmp_path / "out", replace(SETTINGS, metrics="paper"), workers=2)
    assert {one.status for one in found} == {"done"}
    for one in found:
        again = read_result(result_file(tmp_path / "out", one.case, one.method))
        assert again is not None
        assert again.rows


# --- in Python -------------------------------------------------------------------------------------------------------


def test_evaluate_writes_a_complete_report(tmp_path: Path) -> None:
    site = SceneSite(tiny.scene(), tiny.truth)
    found = sitsfusion.evaluate(site, ["GAPS"], ["naive", MethodSpec("closest")], out=tmp_path, settings=SETTINGS)
    assert {one.status for one in found.results} == {"done"}
    page = found.report.read_text()
    assert page.count("<img") >= 6
    assert "fine 10 m" in page
    assert "Everything was predicted and scored" in page
    assert {"scores.csv", "summary.csv", "timings.csv", "bands.csv", "figures/tiny_GAPS_synopsis.png"} <= set(
        found.files
    )
    timings = list(csv.DictReader((tmp_path / "timings.csv").read_text().splitlines()))
    assert {row["method"] for row in timings} == {"naive", "closest"}
    assert all(row["rmse_common"] is not None for row in found.summary() if not row["band_group"].endswith("all bands"))
    with pytest.raises(InputError, match="evaluate has no margins"):
        sitsfusion.evaluate(site, out=tmp_path, margins=3)
