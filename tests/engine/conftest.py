"""What several of the engine's test modules need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sitsfusion.api import execute
from tests.engine.jobs import FORMATS, job


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The usual job in every format, run in one go."""
    root = tmp_path_factory.mktemp("unbroken")
    for name, spec in FORMATS.items():
        execute(job(root / name, spec=spec))
    return {name: root / name for name in FORMATS}
