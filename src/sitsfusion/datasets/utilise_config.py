"""U-TILISE's published YAML files: read, laid over each other, and their data sections checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from sitsfusion.datasets.utilise_options import DataSettings, MaskSettings
from sitsfusion.errors import InputError, ReadError

SECTIONS = (
    *("data", "mask", "method", "utilise", "training_settings", "optimizer"),
    *("scheduler", "loss", "metrics", "misc", "output"),
)
Sections = dict[str, dict[str, Any]]
_Checked = TypeVar("_Checked", bound=BaseModel)
_TUPLE = re.compile(r"^\$\{tuple:(.*)\}$")


@dataclass(frozen=True)
class PublishedConfig:
    """A configuration: `data` and `mask` checked, every section under its own names in `sections`.

    `mask` is None where the file has no such section: no gaps are simulated.
    """

    data: DataSettings
    mask: MaskSettings | None
    sections: Sections

    @property
    def seed(self) -> int:
        """`misc.random_seed`, 0 if it is not set."""
        return int(self.sections.get("misc", {}).get("random_seed", 0))


def read_config(*paths: Path, defaults: bool, changes: Mapping[str, Any] | None = None) -> PublishedConfig:
    """Read published YAML files, later ones laid over earlier ones.

    Args:
        paths: of the files.
        defaults: start from the published defaults of training; files for simulating gaps are whole without.
        changes: values by their path (`mask.ratio_masked_frames`), laid over everything; None leaves a value alone.

    Raises:
        ReadError: a file is missing or no YAML. InputError: an unknown section, key or value.
    """
    sections = merged(*([default_sections()] if defaults else []), *map(read_sections, paths))
    for path, value in (changes or {}).items():
        if value is not None:
            sections = merged(sections, _nested(path, value))
    _known(sections, ", ".join(map(str, paths)))
    mask = checked(MaskSettings, sections["mask"], "mask") if sections.get("mask") else None
    return PublishedConfig(checked(DataSettings, sections.get("data", {}), "data"), mask, sections)


def _nested(path: str, value: Any) -> dict[str, Any]:
    first, dot, rest = path.partition(".")
    return {first: _nested(rest, value) if dot else value}


def default_sections() -> Sections:
    """The published defaults of training, section by section."""
    found: Sections = yaml.safe_load((files("sitsfusion.datasets") / "utilise_default.yaml").read_text())
    return found


def read_sections(path: Path) -> Sections:
    """The sections of one file; `${tuple:a,b}` becomes a list. Raises ReadError, InputError."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReadError(f"{path} cannot be read as YAML ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(section, dict | None) for section in content.values()):
        raise InputError(f"{path} is not a configuration of U-TILISE: expected sections such as data: and mask:")
    sections = {name: _resolved(section or {}, f"{path}: {name}") for name, section in content.items()}
    _known(sections, str(path))
    return sections


def merged(*layers: Sections) -> Sections:
    """Sections laid over each other, maps within maps too."""
    found: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(found.get(key), dict)
            found[key] = merged(found[key], value) if both else value
    return found


def checked(model: type[_Checked], values: Mapping[str, Any], where: str) -> _Checked:
    """A section as its model. Raises InputError with the path of every key that does not fit."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = [f"{'.'.join([where, *map(str, each['loc'])])}: {each['msg']}" for each in error.errors()]
        raise InputError("; ".join(found)) from error


def _resolved(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(each, f"{where}.{key}") for key, each in value.items()}
    if not isinstance(value, str) or "${" not in value:
        return value
    match = _TUPLE.match(value.strip())
    if match is None:
        raise InputError(f"{where}: {value!r} cannot be resolved; only ${{tuple:a,b}} is known, write the value itself")
    return [yaml.safe_load(part) for part in match[1].split(",")]


def _known(sections: Mapping[str, Any], where: str) -> None:
    if unknown := set(sections) - set(SECTIONS):
        raise InputError(f"{where}: unknown section(s) {sorted(unknown)}; U-TILISE has {', '.join(SECTIONS)}")
