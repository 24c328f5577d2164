"""Options of the whole test suite."""

from __future__ import annotations

from pathlib import Path

import pytest

BUNDLED_GOLDENS = Path(__file__).parent / "golden" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=BUNDLED_GOLDENS,
        help="folder of golden files to check against (default: the ones in the repository)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden_file" in metafunc.fixturenames:
        folder = metafunc.config.getoption("--golden-dir")
        files = sorted(Path(folder).glob("*.npz"))
        metafunc.parametrize("golden_file", files, ids=[f.stem for f in files])
