"""Names of published weights and ours, as pairs of patterns that are each other's inverse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from sitsfusion.errors import CheckpointError


@dataclass(frozen=True)
class Renaming:
    """`pairs` of (published, ours); `{}` stands for a number or a word without dots, `{*}` for what ends a name."""

    pairs: tuple[tuple[str, str], ...]

    def to_ours(self, names: Iterable[str]) -> dict[str, str]:
        """{published name: our name}; names that no pair knows stay as they are."""
        return {name: _first(name, self.pairs) for name in names}

    def to_published(self, names: Iterable[str]) -> dict[str, str]:
        """{our name: published name}."""
        return {name: _first(name, [(b, a) for a, b in self.pairs]) for name in names}

    def ours(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict under our names.

        Raises:
            CheckpointError: two entries get one name.
        """
        names = self.to_ours(state)
        if len(set(names.values())) < len(names):
            raise CheckpointError("two entries of the weights stand for the same parameter")
        return {names[name]: tensor for name, tensor in state.items()}

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our state dict under the published names."""
        names = self.to_published(state)
        return {names[name]: tensor for name, tensor in state.items()}


def _first(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    for source, target in pairs:
        found = re.fullmatch(_pattern(source), name)
        if found:
            return target.replace("{*}", "{}").format(*found.groups())
    return name


def _pattern(text: str) -> str:
    return re.escape(text).replace(r"\{\*\}", "(.+)").replace(r"\{\}", r"([^.]+)")
