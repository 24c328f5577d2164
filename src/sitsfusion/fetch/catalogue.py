"""The catalogue: what can be fetched, from where, and what is known of it before any request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sitsfusion.errors import InputError

_RECORD_SOURCE = re.compile(r"^(?:zenodo:|doi:10\.5281/zenodo\.)(\d+)$")
_WEB_SOURCE = re.compile(r"^https?://[^/]+/.*[^/]$")
_BY_HAND = re.compile(r"^by-hand(?::(https?://[^/]+/.*[^/]))?$")

Checksum = Annotated[str, Field(pattern=r"^(md5|sha1|sha256|sha512):[0-9a-f]+$")]
Patterns = Annotated[tuple[str, ...], Field(min_length=1)]


class KnownFile(BaseModel):
    """Size in bytes and checksum ("sha256:<hex>") of one file, each None where not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int | None = Field(default=None, ge=0)
    checksum: Checksum | None = None


class Entry(BaseModel):
    """One set of weights or one data set that can be fetched; the keys are explained in catalogue.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    kind: Literal["weights", "dataset", "results"]
    source: str
    licence: str
    files: Patterns
    needs: tuple[str, ...] = ()
    main: str | None = None
    known: dict[str, KnownFile] = Field(default_factory=dict)

    @field_validator("source")
    @classmethod
    def _source_is_readable(cls, source: str) -> str:
        if not any(form.match(source) for form in (_RECORD_SOURCE, _WEB_SOURCE, _BY_HAND)):
            raise ValueError(
                "expected zenodo:RECORD, doi:10.5281/zenodo.RECORD, the http(s) address of a file, by-hand, or "
                "by-hand: and the address of a page"
            )
        return source

    @model_validator(mode="after")
    def _main_is_needed(self) -> Entry:
        if self.main is not None and self.main not in self.needs:
            raise ValueError(f"main: {self.main!r} must also be listed under needs")
        return self

    @property
    def record(self) -> str | None:
        """The Zenodo record number, None if the source is the address of a file."""
        found = _RECORD_SOURCE.match(self.source)
        return found.group(1) if found else None

    @property
    def by_hand(self) -> bool:
        """Whether no program can download it: a person does, and gives the files as a local copy."""
        return _BY_HAND.match(self.source) is not None

    @property
    def page(self) -> str:
        """The page where a person finds the files."""
        by_hand = _BY_HAND.match(self.source)
        if by_hand:
            return by_hand.group(1) or f"the authors' publication ({self.title})"
        return f"https://zenodo.org/records/{self.record}" if self.record else self.source


def load_catalogue(path: Path | Traversable) -> dict[str, Entry]:
    """Read and check a catalogue file.

    Args:
        path: YAML mapping from name to the fields of `Entry` (without `name`).

    Returns:
        Entries by name, in the order of the file.

    Raises:
        InputError: not a mapping, an unknown key, a missing or ill-formed value.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping from names to entries, found {type(content).__name__}")
    return {name: _entry(path, name, fields) for name, fields in content.items()}


def _entry(path: Path | Traversable, name: object, fields: object) -> Entry:
    if not isinstance(fields, dict):
        raise InputError(f"{path}: {name}: expected a mapping of fields, found {type(fields).__name__}")
    try:
        return Entry.model_validate({"name": name} | fields)
    except ValidationError as error:
        details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{path}: {name}: {details}. Correct the entry.") from error


@cache
def _shipped() -> dict[str, Entry]:
    return load_catalogue(package_files("sitsfusion") / "weights" / "catalogue.yaml")


def available() -> list[Entry]:
    """Everything that can be fetched, sorted by kind and name."""
    return sorted(_shipped().values(), key=lambda entry: (entry.kind, entry.name))


def find_entry(name: str | Entry) -> Entry:
    """The catalogue entry of that name; InputError (listing the names) if there is none. An entry is returned as is."""
    if isinstance(name, Entry):
        return name
    entry = _shipped().get(name)
    if entry is None:
        names = ", ".join(each.name for each in available())
        raise InputError(f"{name!r} is not in the catalogue; expected one of: {names}")
    return entry


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relative path, or its last component, matches one of the shell patterns (case counts)."""
    return any(fnmatchcase(name, p) or fnmatchcase(PurePosixPath(name).name, p) for p in patterns)
