"""Training needs an extra, and says which."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules[{absent!r}] = None
try:
    import {module}
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("absent", "module"),
    [("hydra", "sitsfusion.training.compose"), ("lightning.pytorch", "sitsfusion.training.run")],
)
def test_what_is_missing_is_named(absent: str, module: str) -> None:
    script = SCRIPT.format(absent=absent, module=module)
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("MissingExtraError")
    assert "pip install 'sitsfusion[train]'" in shown


def test_the_room_itself_is_light() -> None:
    script = (
        "import sys, sitsfusion.training, sitsfusion.cli.train\n"
        "print('lightning' in sys.modules or 'hydra' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "False"
