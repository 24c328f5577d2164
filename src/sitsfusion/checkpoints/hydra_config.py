"""Read the `config.yaml` of a training run composed by Hydra, without Hydra.

References `${a.b}` (from the root), `${.b}` and `${..b}` (from the node that holds them) are
replaced. What only Hydra or the run's environment could resolve (`${hydra:...}`, `${oc.env:...}`)
and references to nothing stay as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sitsfusion.errors import CheckpointError, ReadError

_REFERENCE = re.compile(r"\$\{([^${}:]+)\}")
_Path = tuple[str, ...]


def read_hydra_config(path: Path) -> dict[str, Any]:
    """The content of the file with its references resolved; ReadError, or CheckpointError for a circular reference."""
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReadError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ReadError(f"{path} holds no mapping; expected the config.yaml of a Hydra run")
    resolved: dict[str, Any] = _resolve(tree, tree, (), ())
    return resolved


def lookup(tree: Any, path: str) -> Any:
    """The value at a dotted path; KeyError if there is none."""
    for key in path.split("."):
        if isinstance(tree, Mapping) and key in tree:
            tree = tree[key]
        elif isinstance(tree, list) and key.isdigit() and int(key) < len(tree):
            tree = tree[int(key)]
        else:
            raise KeyError(path)
    return tree


def leaves(tree: Any, where: str = "") -> dict[str, Any]:
    """Dotted path to value of everything that is not a mapping; lists count as values."""
    if not isinstance(tree, Mapping):
        return {where: tree}
    return {p: v for key, value in tree.items() for p, v in leaves(value, f"{where}.{key}".strip(".")).items()}


def _resolve(root: Mapping[str, Any], node: Any, where: _Path, followed: tuple[_Path, ...]) -> Any:
    """A copy of the node at `where` without references; `followed` are those being resolved."""
    if isinstance(node, dict):
        return {key: _resolve(root, value, (*where, str(key)), followed) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolve(root, value, (*where, str(i)), followed) for i, value in enumerate(node)]
    if not isinstance(node, str):
        return node
    whole = _REFERENCE.fullmatch(node)
    if whole:
        return _follow(root, whole, where, followed)
    return _REFERENCE.sub(lambda found: str(_follow(root, found, where, followed)), node)


def _follow(root: Mapping[str, Any], found: re.Match[str], where: _Path, followed: tuple[_Path, ...]) -> Any:
    target = _target(found[1].strip(), where)
    if target in followed:
        raise CheckpointError(f"the configuration refers to itself: {' -> '.join('.'.join(p) for p in followed)}")
    node: Any = root
    for i, key in enumerate(target):
        node = _resolve(root, node, target[:i], (*followed, target)) if isinstance(node, str) else node
        try:
            node = lookup(node, key)
        except KeyError:
            return found[0]
    return _resolve(root, node, target, (*followed, target))


def _target(reference: str, where: _Path) -> _Path:
    """The absolute path of a reference held by the node at `where`."""
    name = reference.lstrip(".")
    up = len(reference) - len(name)
    base = where[: len(where) - up] if up else ()
    return (*base, *re.sub(r"\[(\w+)\]", r".\1", name).split("."))
