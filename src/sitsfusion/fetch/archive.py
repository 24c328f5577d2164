"""Unpack zip and tar archives without trusting them.

Every member is looked at before anything is written: absolute paths, ``..``, backslashes, drive letters, links,
devices and encrypted members are refused, so nothing can land (or point) outside the destination.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile

from sitsfusion.errors import FetchError
from sitsfusion.fetch.transfer import require_space

_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")
# NotImplementedError is zipfile's word for a compression that it does not know; FetchError passes its text on.
_DAMAGED = (BadGzipFile, BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, NotImplementedError)


class _Refused(Exception):  # noqa: N818 - turned into a FetchError where the archive is removed
    """The archive holds something that must not be unpacked."""


@dataclass(frozen=True)
class _Member:
    """A regular file in an archive: relative path, bytes, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(name: str) -> bool:
    """By its name: a PyTorch checkpoint is a zip file too, but not one to unpack."""
    return name.lower().endswith(_SUFFIXES)


def is_safe_path(name: str) -> bool:
    """Whether a relative path with "/" stays below the folder it is joined to, on any system."""
    path = PurePosixPath(name)
    windows = "\\" in name or name[1:2] == ":"  # its separator, its drive letters
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not windows and "\0" not in name


def unpack(archive: Path, folder: Path, taken: Collection[str]) -> dict[str, int]:
    """Unpack the regular files of `archive` below `folder`.

    They go to `folder` itself if all of them lie in folders of their own and none is in `taken`; else to
    ``folder/<name of the archive without suffix>``, so that loose files of several archives stay apart.

    Args:
        archive: a zip or tar file, as its name says.
        folder: an existing folder on the same disk.
        taken: relative paths that belong to other files.

    Returns:
        Sizes in bytes by path relative to `folder`, in the order of the archive.

    Raises:
        FetchError: an unsafe member, a damaged archive or no files in it (the archive is removed and nothing
            was unpacked); not enough space or no right to write (the archive is kept).
    """
    staging = folder / f".unpacking-{archive.name}"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with _members_of(archive) as members:
            prefix = _prefix(archive, [member.name for member in members], taken)
            require_space(folder, sum(member.size for member in members))
            for member in members:
                _write(member, staging / prefix / member.name)
            sizes = {(prefix / member.name).as_posix(): member.size for member in members}
        for name in sizes:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(folder / name)
    except (_Refused, *_DAMAGED) as error:
        archive.unlink()
        raise FetchError(
            f"{archive}: not unpacked, and removed: {error}. Fetch it again; if it fails again, see the page "
            "where it is published."
        ) from error
    except OSError as error:
        if isinstance(error, FetchError):
            raise
        raise FetchError(
            f"{archive}: cannot be unpacked into {folder}: {error}. Correct this and run again."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return sizes


def _prefix(archive: Path, names: list[str], taken: Collection[str]) -> PurePosixPath:
    own_folder = PurePosixPath(_stem(archive.name))
    for prefix in (PurePosixPath(), own_folder):
        loose = prefix != own_folder and any("/" not in name for name in names)
        if not loose and not any((prefix / name).as_posix() in taken for name in names):
            return prefix
    raise FetchError(f"{archive}: its files would replace others in {own_folder}. Fetch into an empty folder (--to).")


def _stem(name: str) -> str:
    suffix = next(suffix for suffix in _SUFFIXES if name.lower().endswith(suffix))
    return name[: -len(suffix)] or "archive"


@contextmanager
def _members_of(archive: Path) -> Iterator[list[_Member]]:
    """The open archive's regular files, all of them checked; what macOS adds (``__MACOSX``) is left out."""
    reader = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    with reader(archive) as members:
        wanted = [member for member in members if not member.name.startswith("__MACOSX/")]
        if not wanted:
            raise _Refused("expected at least one file in it, found none")
        yield wanted


@contextmanager
def _zip_members(archive: Path) -> Iterator[list[_Member]]:
    with zipfile.ZipFile(archive) as opened:
        members = []
        for info in opened.infolist():
            # The upper half of external_attr is the Unix mode where the archive was written on such a system.
            mode = info.external_attr >> 16
            regular = not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)
            _require_safe(info.orig_filename, regular and not info.flag_bits & 1)
            if not info.is_dir():
                members.append(_Member(_clean(info.filename), info.file_size, partial(opened.open, info)))
        yield members


@contextmanager
def _tar_members(archive: Path) -> Iterator[list[_Member]]:
    with tarfile.open(archive) as opened:
        members = []
        for info in opened.getmembers():
            _require_safe(info.name, info.isfile() or info.isdir())
            if info.isfile():
                members.append(_Member(_clean(info.name), info.size, partial(_opened, opened, info)))
        yield members


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise tarfile.ExtractError(f"{info.name} has no content")
    return stream


def _clean(name: str) -> str:
    return PurePosixPath(name).as_posix()  # drops "./"


def _require_safe(name: str, readable: bool) -> None:
    # "." is the folder itself, which tar archives list.
    if not readable or not (is_safe_path(name) or _clean(name) == "."):
        raise _Refused(
            f"it holds {name!r}, expected unencrypted regular files below one folder "
            "(no absolute path, no '..', no link, no device)"
        )


def _write(member: _Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 2**20)
    if path.stat().st_size != member.size:
        raise EOFError(f"{member.name} ends after {path.stat().st_size} of {member.size} bytes")
