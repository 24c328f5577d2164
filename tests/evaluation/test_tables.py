from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import pytest
import torch

from sitsfusion.errors import MissingExtraError
from sitsfusion.evaluation.figures import write_figures
from sitsfusion.evaluation.paper import band_table, paper_rows, write_paper
from sitsfusion.evaluation.profiles import Profile
from sitsfusion.evaluation.report import published_section, write_report
from sitsfusion.evaluation.results import Result, Row, read_results, result_file, write_result
from sitsfusion.evaluation.tables import summarise, write_tables


def row(day: int, band: str, rmse: float | None, group: str = "masked", **more: object) -> Row:
    kind = "temperature" if band == "LST" else "coarse 30 m"
    return {
        "reference": "observed", "group": group, "role": "coarse", "band": band, "band_group": kind,
        "date": f"2022-01-{day + 1:02d}", "day": day, "clear_share": 0.5, "closest_days": 3.0,
        "closest_joint_days": 1.0, "local_density": 0.9, "local_joint_density": 0.95, "count": 10, "coverage": 1.0,
        "rmse": rmse, "nrmse": rmse, **more,
    }  # fmt: skip


def result(site: str, method: str, *rows: Row, missing: tuple[tuple[str, str, str], ...] = ()) -> Result:
    spectrum = (tuple(-float(k) for k in range(5)),)
    profile = Profile("observed", "masked", "coarse", ("B02",), (0.1, 0.3, 0.5, 0.7, 0.9), spectrum, spectrum, 1)
    return Result(f"{site}_GAPS", site, "GAPS", method, "id", "done", "", missing, rows, (profile,), 1.0)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two sites; `b` misses a date of the first one and all of the second."""
    results = [
        result("one", "a", row(1, "B02", 0.010), row(2, "B02", 0.020, closest_days=5.0), row(2, "LST", 1.5)),
        result("one", "b", row(1, "B02", 0.030), missing=(("coarse", "2022-01-03", "too few images"),)),
        result("two", "a", row(1, "B02", 0.060), row(4, "B02", None, psnr=None)),
        Result("two_GAPS", "two", "GAPS", "b", "id", "refused", "PlanError: no image"),
    ]
    for one in results:
        write_result(result_file(tmp_path, one.case, one.method), one)
    return tmp_path


def test_means_are_over_images_and_comparisons_over_common_ones(out: Path) -> None:
    rows = {(r["method"], r["band_group"]): r for r in summarise(out).rows()}
    a, b = rows["a", "coarse 30 m"], rows["b", "coarse 30 m"]
    assert a["rmse"] == pytest.approx((0.010 + 0.020 + 0.060) / 3)
    assert (a["sites"], a["images"]) == (2, 3)
    assert a["rmse_common"] == pytest.approx(0.010)
    assert b["rmse"] == b["rmse_common"] == pytest.approx(0.030)
    assert a["rmse_low"] == pytest.approx(0.015)
    assert a["rmse_high"] == pytest.approx(0.060)
    assert b["rmse_low"] is None  # one site has no interval
    assert rows["a", "temperature"]["rmse_common"] == 1.5  # the only method that predicts it


def test_tables_say_everything_and_what_is_missing(out: Path) -> None:
    files = write_tables(out)
    scores = list(csv.DictReader(files["scores.csv"].read_text().splitlines()))
    assert len(scores) == 6
    assert scores[-1]["rmse"] == scores[-1]["psnr"] == ""
    assert scores[0]["rmse"] == "0.01"
    refused = list(csv.DictReader(files["refused.csv"].read_text().splitlines()))
    assert [(r["site"], r["date"], r["reason"]) for r in refused] == [
        ("one", "2022-01-03", "too few images"),
        ("two", "", "PlanError: no image"),
    ]
    text = files["summary.md"].read_text()
    assert "3 results, 1 refused" in text
    assert "| a | 10.00 (30.00, 15.00 to 60.00) | 1.50 (1.50) |" in text
    assert "| b | 30.00 (30.00) |" in text
    assert "GAPS, b: 1 site(s) (two): PlanError: no image" in text


def test_the_published_columns(out: Path) -> None:
    found = paper_rows([one for one in read_results(out) if one.method == "a"], "coarse")
    assert [(r["name"], r["doy"]) for r in found] == [("one", 1), ("two", 1), ("one", 2), ("two", 4)]
    lead = [
        "", "name", "doy", "clear_doy", "clear_pixel_rate", "closest_doy", "closest_joint_doy", "local_density",
        "local_joint_density", "pred_pixel_rate", "sam",
    ]  # fmt: skip
    assert list(found[2]) == [*lead, "rmse_b2", "rmse_lst", "nrmse_b2", "nrmse_lst"]
    write_paper(out)
    lines = (out / "paper" / "GAPS" / "a" / "lr_metrics.csv").read_text().splitlines()
    assert lines[0].split("\t") == list(found[0])
    assert len(lines) == 5


def test_numbers_that_are_none_survive_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_result(file, result("one", "a", row(1, "B02", math.nan, psnr=math.inf)))
    assert "NaN" not in file.read_text()
    assert "Infinity" not in file.read_text()


def test_a_folder_without_results_gives_empty_tables(tmp_path: Path) -> None:
    assert "0 results, 0 refused" in write_tables(tmp_path)["summary.md"].read_text()
    assert write_figures(tmp_path) == []


def test_figures(out: Path) -> None:
    figures = write_figures(out)
    names = {"GAPS_observed_distance.png", "GAPS_observed_violins.png", "GAPS_observed_coarse_spectra.png"}
    assert {one.file.name for one in figures} == names
    assert all(one.file.read_bytes()[:4] == b"\x89PNG" for one in figures)
    assert all(one.title and one.caption for one in figures)


def test_no_curve_over_one_distance(tmp_path: Path) -> None:
    one = result("one", "a", *(row(day, "B02", 0.010 + day, "clear", closest_days=0.0) for day in range(4)))
    write_result(result_file(tmp_path, one.case, one.method), one)
    names = {one.file.name for one in write_figures(tmp_path)}
    assert "GAPS_observed_violins.png" in names
    assert "GAPS_observed_distance.png" not in names


def test_tables_of_the_paper_have_means_and_deviations_per_band(out: Path) -> None:
    found = {r["band"]: r for r in band_table([one for one in read_results(out) if one.method == "a"], "coarse")}
    assert found["B02"]["rmse_masked_mean"] == pytest.approx(0.03)
    assert found["B02"]["rmse_masked_std"] == pytest.approx(math.sqrt((0.02**2 + 0.01**2 + 0.03**2) / 2))
    assert found["B02"]["rmse_clear_mean"] is None
    assert found["LST"]["rmse_masked_std"] is None  # one image


def test_mean_spectra_are_files_of_the_published_names(out: Path) -> None:
    files = {str(file.relative_to(out)) for file in write_paper(out)}
    name = "paper/GAPS/a/lr_masked_pred_prof.pt"
    assert {name, name.replace("pred", "ref"), "bands.csv"} <= files
    assert torch.load(out / name).tolist() == [[0.0], [-1.0], [-2.0], [-3.0], [-4.0]]  # [rings bands]


def test_the_report_says_what_is_best_what_is_missing_and_needs_no_network(out: Path) -> None:
    page = write_report(out, "A <title>", "what it is", []).read_text()
    assert "<b>10.00</b>" in page  # the best of the common images
    assert "A &lt;title&gt;" in page
    assert "too few images" in page
    assert "PlanError: no image" in page
    assert "need matplotlib" in page
    assert "http" not in page


def test_published_scores_are_shown_beside(out: Path) -> None:
    row = {"strategy": "GAPS", "metric": "rmse", "ours": 0.012, "published": 0.013, "difference": -0.001}
    assert "<td>0.013</td>" in published_section([row])
    assert "No image is in both" in published_section([])


def test_figures_name_the_extra_that_they_need(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"sitsfusion\[viz\]"):
        write_figures(out)
