"""Every golden file of a folder, checked by its adapter.

`pytest tests/golden --golden-dir DIR` runs another folder of the same files.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from pathlib import Path

from . import adapters, goldens

for _module in pkgutil.iter_modules(adapters.__path__):
    importlib.import_module(f"{adapters.__name__}.{_module.name}")


def test_golden(golden_file: Path) -> None:
    check = goldens.ADAPTERS.get(golden_file.stem)
    if check is None:
        # Files of methods that are still to come: listed and counted, never failed.
        warnings.warn(f"no adapter yet for golden {golden_file.stem}", stacklevel=1)
        return
    golden = goldens.load(golden_file)
    ours = check(golden)
    if ours is not None:  # an adapter that must compare in its own way returns None
        goldens.compare(golden, ours)


def test_adapters_have_files() -> None:
    """An adapter whose file name is misspelt would never run."""
    bundled = {f.stem for f in goldens.DATA.glob("*.npz")}
    assert set(goldens.ADAPTERS) <= bundled
