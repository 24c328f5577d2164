"""What importing costs, and what it must not bring in."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys

import pytest

import sitsfusion

_SCRIPT = """
import importlib, json, sys
for name in {names!r}:
    importlib.import_module(name)
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def loaded_after(*names: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after importing some modules."""
    answer = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", _SCRIPT.format(names=names)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


@pytest.mark.smoke
def test_the_package_alone_is_light() -> None:
    heavy = {"torch", "lightning", "torchvision", "rasterio", "zarr", "xarray", "pydantic", "numpy"}
    assert not heavy & loaded_after("sitsfusion")


@pytest.mark.smoke
def test_naming_methods_loads_no_network() -> None:
    assert "torch" not in loaded_after("sitsfusion.methods", "sitsfusion.scene", "sitsfusion.query")


def test_no_module_brings_in_what_breaks_or_is_optional() -> None:
    names = [
        module.name
        for module in pkgutil.walk_packages(sitsfusion.__path__, "sitsfusion.")
        # the only room that imports lightning
        if not module.name.rpartition(".")[2].startswith("_") and not module.name.startswith("sitsfusion.training.")
    ]
    assert len(names) > 50
    unwanted = {  # dask is no sign: odc-geo imports it wherever it is installed
        "torchvision",
        "lightning",
        "pytorch_lightning",
        "timm",
        "osgeo",
        "torchgeo",
        "sklearn",
        "pytest",
    }
    assert not unwanted & loaded_after(*names)


@pytest.mark.smoke
@pytest.mark.parametrize("name", sitsfusion.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(sitsfusion, name) is not None
    assert name in dir(sitsfusion)


@pytest.mark.smoke
def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fussion'"):
        sitsfusion.fussion  # noqa: B018
