"""A small user's folder, and the command line run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sitsfusion.cli import main
from sitsfusion.simulate import simulate_scene, write_geotiffs


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`run("fuse", ...)` as typed in a shell: exit code, standard output and error."""

    def call(*words: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["sitsfusion", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "100")
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return Ran(int(code or 0), said.out, said.err)

    return call


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sentinel2/` and `landsat/` of a made-up scene of 60 x 60 pixels."""
    root = tmp_path_factory.mktemp("images")
    write_geotiffs(simulate_scene(size=60, seed=3), root)
    return root
