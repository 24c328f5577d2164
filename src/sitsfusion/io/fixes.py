"""Errors that remember which reader options get past them, so that the doctor can note them and look further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sitsfusion.errors import SitsFusionError

E = TypeVar("E", bound=SitsFusionError)


def fixable(error: E, **options: Any) -> E:
    """The error, with the options under which the reader would go on."""
    vars(error)["fix"] = options
    return error


def fix_of(error: SitsFusionError) -> Mapping[str, Any]:
    """The options that `fixable` noted; empty if none would help."""
    found: Mapping[str, Any] = vars(error).get("fix", {})
    return found
