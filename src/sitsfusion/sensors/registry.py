"""Sensors by name: the ones that come with the library (one YAML each, beside this file) and the user's own."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sitsfusion.errors import SensorError
from sitsfusion.sensors.model import Sensor

_DEFAULTS = ("stored", "output", "unit", "mtf", "plausible")


def names() -> tuple[str, ...]:
    """Names of the sensors that come with the library, sorted."""
    return tuple(sorted(f.name.removesuffix(".yaml") for f in _folder().iterdir() if f.name.endswith(".yaml")))


def get(name: str | Path | Sensor) -> Sensor:
    """A sensor by name, or from a YAML file (a path that ends in .yaml or .yml), or itself.

    Raises:
        SensorError: no such sensor, or a file that breaks the schema.
    """
    if isinstance(name, Sensor):
        return name
    if str(name).endswith((".yaml", ".yml")):
        return load(Path(name))
    return _bundled(str(name))


def load(path: Path) -> Sensor:
    """A sensor described by the user in a YAML file of the same form as the bundled ones."""
    try:
        text = path.read_text()
    except OSError as error:
        raise SensorError(f"sensor file {path} cannot be read: {error.strerror}") from error
    return _parse(text, str(path))


@cache
def _bundled(name: str) -> Sensor:
    file = _folder() / f"{name}.yaml"
    if name not in names():
        raise SensorError(
            f"unknown sensor {name!r}; known: {', '.join(names())}; "
            "or give the path of a .yaml file that describes yours"
        )
    return _parse(file.read_text(), f"{name}.yaml")


def _folder() -> Any:
    return resources.files(__package__)


def _parse(text: str, where: str) -> Sensor:
    try:
        content = yaml.safe_load(text)
        return Sensor.model_validate(_with_defaults(content, where))
    except yaml.YAMLError as error:
        raise SensorError(f"{where} is not valid YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise SensorError(f"{where} does not describe a sensor: {problems}") from error


def _with_defaults(content: object, where: str) -> dict[str, Any]:
    """Entries of the optional block `defaults` (see `_DEFAULTS`) hold for every band that does not give its own."""
    if not isinstance(content, dict) or not isinstance(content.get("bands"), list):
        raise SensorError(f"{where} does not describe a sensor: expected a mapping with a list `bands`")
    content = dict[str, Any](content)
    defaults = content.pop("defaults", {})
    unknown = sorted(set(defaults) - set(_DEFAULTS))
    if unknown:
        raise SensorError(f"{where}: unknown defaults {unknown}; possible: {', '.join(_DEFAULTS)}")
    content["bands"] = [{**defaults, **band} for band in content["bands"]]
    return content
