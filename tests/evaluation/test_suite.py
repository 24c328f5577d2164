from __future__ import annotations

from pathlib import Path

import pytest

from sitsfusion import methods
from sitsfusion.datasets.ls2s2_splits import site_places
from sitsfusion.engine.job import Resources
from sitsfusion.errors import InputError, ReadError
from sitsfusion.evaluation.cases import LeaveOneOut
from sitsfusion.evaluation.runner import run
from sitsfusion.evaluation.settings import MethodSpec, Settings
from sitsfusion.evaluation.sites import PlaceSite, SceneSite
from sitsfusion.evaluation.suite import packaged, read_suite, simulated_twin, sites_of
from sitsfusion.io import open_scene
from sitsfusion.simulate import simulate_scene, write_ls2s2

FOLDERS = "sites: {kind: folders, folders: [a, b]}\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> SceneSite:
    """A tiny simulated LS2S2 folder: two days that both sensors have, three others of each."""
    folder = tmp_path_factory.mktemp("sites") / "31TCJ_0"
    write_ls2s2(simulate_scene(size=12, seed=3), folder)
    scene = open_scene(folder)
    common = sorted(set(scene["fine"].dates) & set(scene["coarse"].dates))[:2]
    kept = {role: sorted({*cube.dates[:3], *common}) for role, cube in scene.cubes.items() if role != "pan"}
    return SceneSite(scene.select(kept))


@pytest.mark.parametrize("name", packaged())
def test_packaged_suites_can_be_read_and_name_known_methods(name: str) -> None:
    suite, _ = read_suite(name)
    assert suite.description
    assert {"naive", "closest"} <= {spec.name for spec in suite.specs()}
    for spec in suite.specs():
        assert spec.name in methods.names()
        assert spec.optional or methods.make(spec.name, spec.options).card.name == spec.name


def test_the_simulated_suite_is_the_one_that_is_declared() -> None:
    suite, folder = read_suite("simulated")
    sites = sites_of(suite, folder)
    assert [site.name for site in sites] == [f"sim-{seed}" for seed in range(2_000_000, 2_000_020)]
    cases = suite.cases(sites)
    assert len(cases) == 80
    assert {case.label for case in cases} == {"GAPS", "RANDOM", "NOHR", "ALL"}
    assert {case.seed for case in cases} == {42}
    assert {str(case.origin) for case in cases} == {"2022-01-01"}


def test_a_suite_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(
        FOLDERS + "strategies: [ALL, {name: GAPS, label: long, options: {gap: 60}}]\n"
        "methods: [naive, {name: naive, label: again}]\norigin: 2022.01.01\n"
    )
    suite, folder = read_suite(str(file))
    sites = sites_of(suite, folder)
    assert sites == [PlaceSite(tmp_path / "a"), PlaceSite(tmp_path / "b")]
    assert [case.name for case in suite.cases(sites)] == ["a_ALL", "a_long", "b_ALL", "b_long"]
    assert suite.cases(sites)[1].options.gap == 60
    assert [spec.label for spec in suite.specs()] == ["naive", "again", "closest"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FOLDERS + "strategies: [GAP]\n", "no strategy is named 'GAP'"),
        (FOLDERS + "strategies: []\n", "strategies"),
        (FOLDERS + "strategies: [ALL]\nmetods: [naive]\n", "metods"),
        ("sites: {kind: magic}\nstrategies: [ALL]\n", "magic"),
        (FOLDERS + "strategies: [{name: ALL, options: {gaps: 3}}]\n", "gaps"),
        ("sites: [\n", "is not YAML"),
    ],
)
def test_a_suite_that_does_not_fit_is_refused_with_the_place(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_suite(str(file))


PAPER = ("band-sharpening", "gap-filling", "spatio-temporal", "thermal", "ablations", "monthly")


@pytest.mark.parametrize("name", PAPER)
def test_the_suites_of_the_paper_run_on_simulated_ls2s2_folders(name: str, site: SceneSite, tmp_path: Path) -> None:
    """With the methods that there are; whatever cannot run is listed with the reason."""
    suite = read_suite(f"paper-{name}")[0].model_copy(update={"images": False})
    settings = Settings(margin=1, metrics="paper", images=name == "monthly", resources=Resources(device="cpu"))
    specs = [spec for spec in suite.specs() if spec.name != "tamrfsits" or spec.optional]  # slow: tested elsewhere
    found = run(suite.cases([site]), specs, tmp_path, settings)
    assert {(one.strategy, one.method) for one in found} == {(s.name, m.label) for s in suite.strategies for m in specs}
    assert all(one.rows or one.reason or name == "monthly" for one in found)
    done = {one.method for one in found if one.status == "done"}
    expected = {"band-sharpening": {"closest"}, "spatio-temporal": {"closest"}}
    assert expected.get(name, {"naive", "closest"}) <= done
    if name == "ablations":
        refused = {one.method: one.reason for one in found if one.method not in done}
        assert len(refused) == 8
        assert all("weights" in reason for reason in refused.values())


def test_a_method_that_comes_later_is_picked_up(
    site: SceneSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = read_suite("paper-gap-filling")[0].model_copy(update={"max_dates": 2})
    specs = [MethodSpec("a-later-method", optional=True)]
    settings = Settings(margin=1, metrics="paper", resources=Resources(device="cpu"))
    cases = suite.cases([site])
    assert "unknown method" in run(cases, specs, tmp_path, settings)[0].reason
    monkeypatch.setitem(methods._TABLE, "a-later-method", "sitsfusion.methods.closest:Closest")
    assert run(cases, specs, tmp_path, settings)[0].status == "done"


def test_a_simulated_twin_and_weights_of_ones_own(tmp_path: Path) -> None:
    assert [site.name for site in simulated_twin(2)] == ["sim-2000000", "sim-2000001"]
    options = [spec.options.get("weights", "") for spec in read_suite("paper-ablations")[0].specs(tmp_path)]
    assert f"{tmp_path}/ablation_lpips" in options


def test_leave_one_out_is_a_strategy_of_suites(tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(FOLDERS + "strategies: [{name: LEAVE_ONE_OUT, role: coarse}]\n")
    suite, base = read_suite(str(file))
    work = suite.cases(sites_of(suite, base))[0]
    assert isinstance(work, LeaveOneOut)
    assert (work.role, work.case.label) == ("coarse", "LEAVE_ONE_OUT")


def test_missing_suites_and_data_are_said(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"suites: classical, ls2s2, .*simulated"):
        read_suite("simulate")
    suite, folder = read_suite("ls2s2")
    with pytest.raises(InputError, match="--data"):
        sites_of(suite, folder)
    with pytest.raises(ReadError, match=r"none of the .* sites is below .*; expected folders such as "):
        sites_of(suite, folder, tmp_path)


def test_a_site_of_ls2s2_that_is_not_there_is_listed(tmp_path: Path) -> None:
    suite, folder = read_suite("ls2s2")
    names = list(site_places(tmp_path / "data", "ls2s2_2022", "test"))
    write_ls2s2(simulate_scene(size=12, seed=3), tmp_path / "data" / "eu22" / "test" / names[1])
    suite = suite.model_copy(update={"sites": suite.sites.model_copy(update={"only": tuple(names[:2])})})
    cases = suite.model_copy(update={"max_dates": 2}).cases(sites_of(suite, folder, tmp_path / "data"))
    settings = Settings(margin=1, metrics="paper", resources=Resources(device="cpu"))
    found = run(cases[:1] + cases[-1:], [MethodSpec("closest")], tmp_path / "out", settings)
    assert [(one.site, one.status) for one in found] == [(names[0], "refused"), (names[1], "done")]
    assert names[0] in found[0].reason
