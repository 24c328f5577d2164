from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sitsfusion.cli.evaluate  # noqa: F401  (registers the commands)
from sitsfusion.cli import main
from sitsfusion.simulate import simulate_scene, write_ls2s2


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LS2S2 site."""
    folder = tmp_path_factory.mktemp("sites") / "31TCJ_0"
    write_ls2s2(simulate_scene(size=12, seed=3), folder)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """`run("evaluate", ...)` as typed in a shell: exit code, standard output and error."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sitsfusion", *map(str, words)])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return int(code or 0), said.out, said.err

    return call


def test_evaluate_and_benchmark_share_a_site(run: Callable[..., object], site: Path, tmp_path: Path) -> None:
    words = ("--margin", 1, "--min-clear", 0.6, "--device", "cpu", "--out", tmp_path / "e")
    code, said, _ = run("evaluate", site, "--strategy", "GAPS", "--methods", "naive", "--set", "GAPS.gap=60", *words)
    assert code == 0
    assert "1 results, 0 refused" in said
    assert "| naive |" in (tmp_path / "e" / "summary.md").read_text()
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"sites: {{kind: folders, folders: ['{site}']}}\nstrategies: [GAPS]\nmargin: 1\nmax_dates: 3\n")
    code, said, _ = run("benchmark", suite, "--only", "naive", "--device", "cpu", "--out", tmp_path / "b", "--json")
    assert code == 0
    assert json.loads(said)["done"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "x", "--strategy", "GAP"), "no strategy is named 'GAP'"),
        (("evaluate", "x", "--strategy", "GAPS", "--methods", "naif"), "unknown method 'naif'"),
        (("evaluate", "x", "--strategy", "GAPS", "--set", "gap=3"), "does not begin with"),
        (("evaluate", "x", "--strategy", "GAPS", "--set", "GAPS.gaps=3"), "do not fit"),
        (("benchmark",), "no suite"),
        (("benchmark", "simulated", "--shard", "1"), "not of the form I/N"),
        (("benchmark", "simulated", "--only", "x"), "the suite has no x"),
        (("benchmark", "simulated", "--site", "a", "--simulated", "1"), "give one of them"),
        (("benchmark", "simulated", "--patch", "1"), "needs --width"),
        (("cost", "--inputs", "a"), "not a list of whole numbers"),
    ],
)
def test_wrong_use_is_refused_with_a_reason(
    run: Callable[..., tuple[int, str, str]], words: tuple[str, ...], message: str
) -> None:
    code, _, said = run(*words)
    assert code == 3
    assert message in said


def test_help_is_short_and_suites_are_listed(run: Callable[..., tuple[int, str, str]]) -> None:
    for command in ("evaluate", "benchmark"):
        assert len(run(command, "--help")[1].splitlines()) <= 60
    assert "simulated: " in run("benchmark", "--list")[1]
