"""`fetch`: from a catalogue name to verified, unpacked files in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from urllib.parse import unquote, urlsplit

from sitsfusion.errors import FetchError, InputError
from sitsfusion.fetch.archive import is_archive, is_safe_path, unpack
from sitsfusion.fetch.catalogue import Entry, KnownFile, find_entry, matches_any
from sitsfusion.fetch.lock import LOCK, sole_writer
from sitsfusion.fetch.store import RECEIPT, Receipt, StoredFile, cache_folder, is_whole, read_receipt, write_receipt
from sitsfusion.fetch.transfer import FileSource, Progress, bring, digest, is_match, part_of, require_space
from sitsfusion.fetch.web import Retry
from sitsfusion.fetch.zenodo import read_record

_OWN_FILES = (RECEIPT, LOCK, "*.part", "*.part.etag")


def fetch(
    name: str | Entry,
    *,
    to: str | Path | None = None,
    files: Sequence[str] | None = None,
    source: str | Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
    retry: Retry | None = None,
) -> list[Path]:
    """Bring the files of a catalogue entry to this disk: resumed, verified, archives unpacked.

    Files that are already there with the right size and checksum are kept; partly downloaded ones (``.part``)
    are continued; others of the same name are replaced. An archive is removed once it is unpacked.

    Args:
        name: a name of the catalogue, or an entry of your own.
        to: destination folder; by default the cache folder, where `local` and `resolve` look.
        files: shell patterns of published file names, instead of the entry's own (a part of a data set).
        source: a file or folder on this disk to copy from instead of downloading; no request is made, and only
            sizes and checksums that the catalogue knows can be compared.
        base_url: address of the Zenodo server; by default $SITSFUSION_ZENODO_URL, else https://zenodo.org.
        progress: called as ``progress(done, total)`` in bytes over all files of this call.
        retry: how often and how long to insist when the connection fails.

    Returns:
        The paths of all files, those that were in archives included, sorted.

    Raises:
        InputError: an unknown name, an unusable `base_url`, empty `files`, or a `source` that does not exist.
        FetchError: nothing matches, the server refuses or stays unreachable, a size or checksum differs (the
            bad file is removed), an archive is unsafe, no space, the folder cannot be written or another fetch
            is writing to it, or a file that the entry needs is not among what came.
    """
    entry = find_entry(name)
    folder = cache_folder(entry.name) if to is None else Path(to).expanduser()
    retry = retry or Retry()
    if source is None:
        offered, licence = _published(entry, base_url, retry)
    else:
        offered, licence = _on_disk(Path(source).expanduser(), folder), None
    chosen = [_pinned(entry, file) for file in _choose(entry, offered, files)]
    _require_writable(folder)
    with sole_writer(folder):
        receipt = read_receipt(folder, entry)
        receipt = receipt.model_copy(update={"licence": licence or receipt.licence})
        receipt = _bring_all(chosen, folder, receipt, progress or _silent, retry)
    if files is None:
        _require_needs(entry, receipt)
    return [folder / path for path in receipt.only(file.name for file in chosen).paths(("*",))]


def _silent(done: int, total: int | None) -> None:
    """Report nothing."""


def _published(entry: Entry, base_url: str | None, retry: Retry) -> tuple[list[FileSource], str | None]:
    if entry.by_hand:
        raise FetchError(
            f"{entry.name}: no address is known that a program can download. Get the files from {entry.page}, "
            f"then run: sitsfusion fetch {entry.name} --source FOLDER"
        )
    if entry.record is not None:
        return read_record(entry.record, base_url, retry)
    file_name = PurePosixPath(unquote(urlsplit(entry.source).path)).name
    return [FileSource(file_name, entry.source, None, None)], None


def _on_disk(source: Path, folder: Path) -> list[FileSource]:
    """One file, or all files of a folder under their relative paths."""
    if not source.exists():
        raise InputError(f"{source}: found nothing there; expected a file or folder to copy from")
    here, there = source.resolve(), folder.resolve()
    if here.is_file():
        return [FileSource(here.name, here, here.stat().st_size, None)]
    if here in there.parents or there in here.parents:
        raise InputError(f"{source} and the destination {folder} lie in each other; choose another destination (--to)")
    found = sorted(path for path in here.rglob("*") if path.is_file() and not matches_any(path.name, _OWN_FILES))
    return [FileSource(path.relative_to(here).as_posix(), path, path.stat().st_size, None) for path in found]


def _choose(entry: Entry, offered: list[FileSource], files: Sequence[str] | None) -> list[FileSource]:
    """The files to bring: each pattern given by the user must match, of the entry's own one is enough."""
    wanted = [entry.files] if files is None else [(pattern,) for pattern in files]
    if not wanted:
        raise InputError(f"{entry.name}: found no pattern in `files`; leave it out to fetch everything")
    for patterns in wanted:
        if not any(matches_any(file.name, patterns) for file in offered):
            found = _some(file.name for file in offered)
            raise FetchError(f"{entry.name}: no file matches {' or '.join(patterns)}; found: {found}. See {entry.page}")
    chosen = [file for file in offered if any(matches_any(file.name, patterns) for patterns in wanted)]
    for file in chosen:
        if not is_safe_path(file.name) or matches_any(file.name, _OWN_FILES):
            raise FetchError(f"{entry.name}: the unsafe file name {file.name!r} is refused. See {entry.page}")
    return chosen


def _pinned(entry: Entry, file: FileSource) -> FileSource:
    """The file with the size and checksum to expect: those of the catalogue first.

    A file on this disk is compared with its own checksum where the catalogue knows none, which detects a bad copy.
    """
    known = entry.known.get(file.name, KnownFile())
    size = file.size if known.size is None else known.size
    checksum = known.checksum or (digest(file.location) if isinstance(file.location, Path) else file.checksum)
    if file.size not in (None, size) or _contradict(checksum, file.checksum):
        raise FetchError(
            f"{file.location}: found {file.size} bytes and checksum {file.checksum}, expected {size} bytes and "
            f"{checksum} for {file.name}. The published file was changed, or this is another one; see {entry.page}"
        )
    return replace(file, size=size, checksum=checksum)


def _contradict(one: str | None, other: str | None) -> bool:
    """Whether two checksums of the same algorithm differ; others cannot be compared."""
    return bool(one and other and one.split(":")[0] == other.split(":")[0] and one != other)


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FetchError(
            f"{folder}: cannot be written ({error}). Choose another folder: --to, $SITSFUSION_HOME."
        ) from error


def _bring_all(chosen: list[FileSource], folder: Path, receipt: Receipt, progress: Progress, retry: Retry) -> Receipt:
    pending = [file for file in chosen if not _is_stored(file, folder, receipt)]
    absent = [file for file in pending if not is_match(folder / file.name, file.size, file.checksum)]
    require_space(folder, sum(_missing_bytes(file, folder) for file in absent))
    receipt = receipt.only(receipt.files.keys() - {file.name for file in pending})
    write_receipt(folder, receipt)  # what was found wrong is not offered by `local` any more, even if this call fails
    total = None if any(file.size is None for file in chosen) else sum(file.size or 0 for file in chosen)
    done = sum(file.size or 0 for file in chosen if file not in absent)
    progress(done, total)
    for file in sorted(pending, key=lambda file: is_archive(file.name)):  # so that no archive takes a file's place
        if file in absent:
            bring(file, folder / file.name, _shifted(progress, done, total), retry)
            done += file.size or 0
        receipt = _settle(file, folder, receipt)
    return receipt


def _shifted(progress: Progress, before: int, total: int | None) -> Progress:
    """Turn the progress of one file into that of the whole call."""
    return lambda done, size: progress(before + done, size if total is None else total)


def _is_stored(file: FileSource, folder: Path, receipt: Receipt) -> bool:
    """Whether the receipt knows this very file and it is still good: by content, or by sizes if it was unpacked."""
    stored = receipt.files.get(file.name)
    if stored is None or file.size not in (None, stored.size):
        return False
    if stored.members is None:
        return is_match(folder / file.name, stored.size, file.checksum or stored.checksum)
    return file.checksum in (None, stored.checksum) and is_whole(folder, stored.members)


def _missing_bytes(file: FileSource, folder: Path) -> int:
    part = part_of(folder / file.name)
    return max(0, (file.size or 0) - (part.stat().st_size if part.exists() else 0))


def _settle(file: FileSource, folder: Path, receipt: Receipt) -> Receipt:
    """Unpack the file if it is an archive, and enter it into the receipt."""
    target = folder / file.name
    stored = StoredFile(size=target.stat().st_size, checksum=file.checksum or digest(target))
    if is_archive(file.name):
        taken = receipt.only(receipt.files.keys() - {file.name}).sizes().keys() | {RECEIPT, LOCK}
        stored = stored.model_copy(update={"members": unpack(target, folder, taken)})
    receipt = receipt.model_copy(update={"files": receipt.files | {file.name: stored}})
    write_receipt(folder, receipt)
    if stored.members is not None and not (isinstance(file.location, Path) and file.location.samefile(target)):
        target.unlink()
    return receipt


def _require_needs(entry: Entry, receipt: Receipt) -> None:
    for need in entry.needs:
        if not receipt.paths((need,)):
            raise FetchError(
                f"{entry.name}: expected a file {need}, found: {_some(receipt.sizes())}. "
                f"See {entry.page} and choose other files (files=, --files) or another source (source=, --source)."
            )


def _some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    listed = sorted(names)
    return (", ".join(listed[:20]) or "none") + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
