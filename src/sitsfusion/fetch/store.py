"""What lies on this disk: one folder per name, with a receipt of what was brought and verified.

The receipt (``.sitsfusion-fetch.json``) is written by atomic rename after each file. It is what tells a complete
folder from an interrupted one, and what remembers the contents of archives, which are removed once unpacked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sitsfusion.errors import FetchError, InputError
from sitsfusion.fetch.catalogue import Entry, available, find_entry, matches_any

RECEIPT = ".sitsfusion-fetch.json"
_SHIPPED = Path(__file__).parents[1] / "weights" / "shipped"


class StoredFile(BaseModel):
    """A file that was brought: bytes, "algorithm:hex", and for an archive the sizes of what it held."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    checksum: str
    members: dict[str, int] | None = None


class Receipt(BaseModel):
    """All verified files of one folder, by published name; `licence` as the record states it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    licence: str
    files: dict[str, StoredFile] = {}

    def only(self, names: Iterable[str]) -> Receipt:
        """The receipt of these published files alone."""
        kept = set(names)
        return self.model_copy(update={"files": {name: file for name, file in self.files.items() if name in kept}})

    def sizes(self) -> dict[str, int]:
        """Bytes by relative path of every file that should lie in the folder."""
        found: dict[str, int] = {}
        for name, stored in self.files.items():
            found |= {name: stored.size} if stored.members is None else stored.members
        return found

    def paths(self, patterns: Iterable[str]) -> list[str]:
        """Relative paths that match one of the patterns, sorted."""
        return sorted(path for path in self.sizes() if matches_any(path, patterns))


def cache_folder(name: str) -> Path:
    """Where `name` is fetched to unless told otherwise.

    $SITSFUSION_HOME, else $XDG_CACHE_HOME/sitsfusion, else ~/.cache/sitsfusion; read at each call.
    """
    home, xdg = os.environ.get("SITSFUSION_HOME"), os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home).expanduser() / name
    return (Path(xdg) if xdg else Path.home() / ".cache") / "sitsfusion" / name


def read_receipt(folder: Path, entry: Entry) -> Receipt:
    """The receipt of a folder, an empty one if there is none; FetchError if it is damaged or of another name."""
    path = folder / RECEIPT
    if not path.is_file():
        return Receipt(name=entry.name, source=entry.source, licence=entry.licence)
    try:
        receipt = Receipt.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise FetchError(f"{path}: damaged. Remove this file and run: sitsfusion fetch {entry.name}") from error
    if receipt.name != entry.name:
        raise FetchError(f"{folder} holds {receipt.name!r}, expected {entry.name!r}. Choose another folder.")
    return receipt


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Replace the receipt of an existing folder in one step."""
    part = folder / f"{RECEIPT}.part"
    try:
        part.write_text(receipt.model_dump_json(indent=1), encoding="utf-8")
        part.replace(folder / RECEIPT)
    except OSError as error:
        raise FetchError(f"{folder / RECEIPT}: cannot be written ({error}). Free some space and run again.") from error


def is_whole(folder: Path, sizes: dict[str, int]) -> bool:
    """Whether every file is there with its size (contents are verified when they are brought, not here)."""
    return all((folder / path).is_file() and (folder / path).stat().st_size == size for path, size in sizes.items())


def local(name: str | Entry) -> Path | None:
    """The cache folder of a catalogue name if it was fetched and is complete, else None. No request is made.

    Complete: all that was fetched is still there with its size, and the entry's `needs` are among it. Of a
    data set a part is enough (`fetch(..., files=...)`).

    Raises:
        InputError: not a name of the catalogue.
        FetchError: the folder's receipt is damaged.
    """
    entry = find_entry(name)
    folder = cache_folder(entry.name)
    receipt = read_receipt(folder, entry)
    complete = all(receipt.paths((need,)) for need in entry.needs)
    return folder if receipt.files and complete and is_whole(folder, receipt.sizes()) else None


def shipped() -> list[str]:
    """Names of the weights that come with the library."""
    return sorted(folder.name for folder in _SHIPPED.iterdir() if folder.is_dir())


def resolve(reference: str) -> Path:
    """Turn what a user wrote into a path on this disk. No request is made.

    Args:
        reference: a path of a file or folder, the name of weights that ship with the library, or a catalogue name.
            A path that exists comes first.

    Returns:
        The path itself; for weights that ship their folder; for a catalogue name its `main` file (weights) or its
        folder (data sets).

    Raises:
        InputError: neither; or a name that is not (completely) fetched: the message holds the command to run.
    """
    path = Path(reference).expanduser()
    if path.exists():
        return path
    if reference in shipped():
        return _SHIPPED / reference
    names = [entry.name for entry in available()]
    if reference not in names:
        raise InputError(
            f"{reference!r}: found neither a file or folder of that name nor a catalogue entry; "
            f"expected a path that exists or one of: {', '.join([*shipped(), *names])}"
        )
    entry, folder = find_entry(reference), local(reference)
    if folder is None:
        override = "--set weights=PATH" if entry.kind == "weights" else "its path instead of the name"
        raise InputError(
            f"{reference!r} is not (completely) on this machine: looked in {cache_folder(reference)}. "
            f"Run once: sitsfusion fetch {reference}    Or, if you have the files elsewhere, give {override}."
        )
    return folder if entry.main is None else folder / read_receipt(folder, entry).paths((entry.main,))[0]
