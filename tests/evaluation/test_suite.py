from __future__ import annotations

from pathlib import Path

import pytest

from sitsfusion import methods
from sitsfusion.errors import InputError, ReadError
from sitsfusion.evaluation.sites import PlaceSite
from sitsfusion.evaluation.suite import packaged, read_suite, sites_of

FOLDERS = "sites: {kind: folders, folders: [a, b]}\n"


@pytest.mark.parametrize("name", packaged())
def test_packaged_suites_can_be_read_and_name_known_methods(name: str) -> None:
    suite, _ = read_suite(name)
    assert suite.description
    assert {"naive", "closest"} <= {spec.name for spec in suite.specs()}
    for spec in suite.specs():
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


def test_missing_suites_and_data_are_said(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"suites: ls2s2, .*simulated"):
        read_suite("simulate")
    suite, folder = read_suite("ls2s2")
    with pytest.raises(InputError, match="--data"):
        sites_of(suite, folder)
    with pytest.raises(ReadError, match="sites of ls2s2_2022 are not below"):
        sites_of(suite, folder, tmp_path)
