from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sitsfusion.engine.job import Resources
from sitsfusion.errors import InputError, ReadError
from sitsfusion.evaluation.cases import Case, strategy_of
from sitsfusion.evaluation.results import Result, read_result, result_file
from sitsfusion.evaluation.runner import run
from sitsfusion.evaluation.settings import MethodSpec, Settings
from sitsfusion.evaluation.sites import Material, SceneSite
from tests.evaluation import tiny

SETTINGS = Settings(margin=1, resources=Resources(device="cpu"))
NAIVE = MethodSpec("naive")


@dataclass(frozen=True)
class Broken:
    """A site whose images cannot be read."""

    name: str = "broken"

    def identity(self) -> Mapping[str, object]:
        return {}

    def open(self) -> Material:
        raise ReadError("the disk is gone")


def case(strategy: str = "GAPS", name: str = "tiny") -> Case:
    return Case(SceneSite(tiny.scene(name=name), tiny.truth), strategy_of(strategy))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Result]]:
    """GAPS with linear interpolation and with a method whose weights are not there."""
    out = tmp_path_factory.mktemp("runner")
    return out, run([case()], [NAIVE, MethodSpec("tamrfsits", {"weights": "/nowhere"})], out, SETTINGS)


def test_interpolation_of_a_linear_scene_is_scored_without_error(done: tuple[Path, list[Result]]) -> None:
    result = done[1][0]
    assert (result.status, result.case, result.method, result.missing) == ("done", "tiny_GAPS", "naive", ())
    assert len(result.rows) == 2 * 2 * 4 * 4  # references, sensors, dates, bands and all bands
    hidden = [row for row in result.rows if row["group"] == "masked" and row["band"] != "all"]
    assert {row["date"] for row in hidden} == {"2022-02-10", "2022-02-20"}
    assert all(row["rmse"] < (1e-3 if row["band"] == "LST" else 1e-5) for row in hidden)
    assert all(row["coverage"] == 1 for row in hidden)
    assert {(row["role"], row["closest_days"]) for row in hidden} == {("fine", 20), ("coarse", 30)}
    assert {row["closest_days"] for row in result.rows if row["group"] == "clear"} == {0}
    groups = {"fine 10 m", "fine all bands", "coarse 30 m", "coarse all bands", "temperature"}
    assert {row["band_group"] for row in result.rows} == groups
    assert {(p.reference, p.group, p.role) for p in result.profiles} == {
        (a, b, c) for a in ("observed", "truth") for b in ("clear", "masked") for c in ("fine", "coarse")
    }


def test_a_method_without_weights_is_refused_with_the_reason(done: tuple[Path, list[Result]]) -> None:
    refused = done[1][1]
    assert refused.status == "refused"
    assert "/nowhere" in refused.reason
    assert not refused.rows


def test_results_are_files_and_the_images_are_gone(done: tuple[Path, list[Result]]) -> None:
    out, results = done
    read = [read_result(result_file(out, one.case, one.method)) for one in results]
    assert [one.status for one in read if one] == ["done", "refused"]
    assert read[0]
    assert len(read[0].rows) == len(results[0].rows)
    assert read[0].profiles
    assert not list((out / "work").glob("*/*"))


def test_what_is_done_is_not_done_again_unless_it_would_differ(done: tuple[Path, list[Result]]) -> None:
    out, said = done[0], []

    def again(one: Case, settings: Settings = SETTINGS) -> bool:
        said.clear()
        run([one], [NAIVE], out, settings, progress=lambda result, resumed: said.append(resumed))
        return bool(said[0])

    assert again(case())
    assert not again(case(), replace(SETTINGS, margin=0))
    file = result_file(out, "tiny_GAPS", "naive")
    file.write_text(file.read_text()[:100])
    assert not again(case())
    assert again(case())


def test_sites_that_cannot_be_opened_and_sensors_that_cannot_be_predicted_are_said(tmp_path: Path) -> None:
    found = run([case("NOHR"), Case(Broken(), strategy_of("ALL"))], [NAIVE], tmp_path, SETTINGS)
    assert [one.status for one in found] == ["done", "refused"]
    assert {role for role, _, _ in found[0].missing} == {"fine"}
    assert "2 or more fine" in found[0].missing[0][2]
    assert "the disk is gone" in found[1].reason


def test_without_images_or_truth_at_the_days_asked_for_nothing_is_predicted(tmp_path: Path) -> None:
    scene = tiny.scene(fine=(3, 20))
    found = run([Case(SceneSite(scene), strategy_of("L3A"))], [NAIVE], tmp_path, SETTINGS)
    assert "observed image or a known truth" in found[0].reason
    assert not (tmp_path / "work").exists()


def test_an_optional_method_that_is_unknown_is_refused_and_others_stop_the_run(tmp_path: Path) -> None:
    found = run([case()], [MethodSpec("future", optional=True)], tmp_path, SETTINGS)
    assert "unknown method 'future'" in found[0].reason
    with pytest.raises(InputError, match="unknown method 'future'"):
        run([case()], [MethodSpec("future")], tmp_path, SETTINGS)


def test_shards_are_of_whole_sites_and_together_everything(tmp_path: Path) -> None:
    cases = [Case(Broken(name), strategy_of(s)) for name in ("a", "b", "c") for s in ("ALL", "GAPS")]
    parts = [[one.case for one in run(cases, [NAIVE], tmp_path, shard=(i, 2))] for i in range(2)]
    assert parts == [["a_ALL", "a_GAPS", "c_ALL", "c_GAPS"], ["b_ALL", "b_GAPS"]]


@pytest.mark.parametrize(
    ("cases", "specs", "shard", "message"),
    [
        ([], [NAIVE], (0, 1), "nothing to run"),
        ([Case(Broken(), strategy_of("ALL"))] * 2, [NAIVE], (0, 1), "case broken_ALL is there more than once"),
        ([Case(Broken(), strategy_of("ALL"))], [NAIVE] * 2, (0, 1), "method naive is there more than once"),
        ([Case(Broken(), strategy_of("ALL"))], [NAIVE], (2, 2), "shard 2/2"),
        ([Case(Broken(), strategy_of("ALL"))], [MethodSpec("naive", {"x": 1})], (0, 1), "x"),
    ],
)
def test_bad_input_stops_before_anything_runs(
    cases: list[Case], specs: list[MethodSpec], shard: tuple[int, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run(cases, specs, tmp_path / "out", shard=shard)
    assert not (tmp_path / "out").exists()
