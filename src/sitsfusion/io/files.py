"""Files of a place on disk: how they are named in a plan, how they are told apart, and how archives are looked into.

A *place* is a folder, or an archive (.zip, .tar, .tar.gz, .tgz). Names of its files are relative to it, with `/`.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from sitsfusion.errors import ReadError

_SAMPLE = 64 * 1024
_ZIPS, _TARS = (".zip",), (".tar", ".tar.gz", ".tgz")


def sampled_digest(path: Path) -> str:
    """Hexadecimal blake2b (16 bytes) over the size of a file and its first, middle and last 64 KiB.

    Reads at most 192 KiB however large the file is: it tells other files and other versions of a file apart, it does
    not prove that every byte is the same.

    Raises:
        ReadError: there is no such file, or it cannot be read.
    """
    try:
        size = path.stat().st_size
        digest = blake2b(str(size).encode(), digest_size=16)
        with path.open("rb") as file:
            for start in (0, max(0, (size - _SAMPLE) // 2), max(0, size - _SAMPLE)):
                file.seek(start)
                digest.update(file.read(_SAMPLE))
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); check that it is there and readable") from error
    return digest.hexdigest()


def tree_digest(folder: Path) -> str:
    """One digest of all files below a folder (a Zarr store): their names, sizes and first 4 KiB."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [path.stat() for path in files]
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return _tree_digest(folder, tuple(files), tuple(stat.st_size for stat in stats), newest)


@lru_cache(maxsize=16)
def _tree_digest(folder: Path, files: tuple[Path, ...], sizes: tuple[int, ...], _newest: int) -> str:
    # asked once per date of the store: the cache is valid while names, sizes and times stay as they are
    digest = blake2b(digest_size=16)
    for path, size in zip(files, sizes, strict=True):
        digest.update(f"{relative(path, folder)}:{size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(4096))
    return digest.hexdigest()


def relative(path: Path, place: Path) -> str:
    """A path as a plan names it: relative to the place that was opened, with `/`; the name alone if it is the place."""
    return path.name if path == place else Path(os.path.relpath(path, place)).as_posix()


def file_prints(place: Path, paths: Iterable[Path]) -> list[dict[str, object]]:
    """Entries of a fingerprint, one per different file: relative path, size in bytes, sampled checksum."""
    return [
        {"path": relative(path, place), "size": path.stat().st_size, "checksum": sampled_digest(path)}
        for path in sorted(set(paths))
    ]


# -- archives ---------------------------------------------------------------------------------------------------------


def is_archive(place: Path) -> bool:
    """Whether the name is that of an archive."""
    return place.name.lower().endswith(_ZIPS + _TARS)


def listing(place: Path) -> tuple[str, ...]:
    """Sorted names of all files below a folder or in an archive.

    Raises:
        ReadError: there is no such place, or the archive is damaged.
    """
    try:
        if not is_archive(place):
            return tuple(sorted(relative(path, place) for path in place.rglob("*") if path.is_file()))
        if place.name.lower().endswith(_ZIPS):
            with zipfile.ZipFile(place) as archive:
                return tuple(sorted(info.filename for info in archive.infolist() if not info.is_dir()))
        with tarfile.open(place) as tar:
            return tuple(sorted(member.name.removeprefix("./") for member in tar if member.isfile()))
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ReadError(f"{place} cannot be listed ({error}); download or unpack it again") from error


def read_bytes(place: Path, name: str) -> bytes:
    """Content of a (small) file of a place, by its name in `listing`.

    Raises:
        ReadError: no such file, or it cannot be read.
    """
    try:
        if not is_archive(place):
            return (place / name).read_bytes()
        if place.name.lower().endswith(_ZIPS):
            with zipfile.ZipFile(place) as archive:
                return archive.read(name)
        return _from_tar(place, name)
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ReadError(f"{name} in {place} cannot be read ({error}); download or unpack it again") from error


def gdal_path(place: Path, name: str) -> str:
    """What rasterio opens to read a file of a place: inside archives through GDAL's /vsizip/ and /vsitar/."""
    if not is_archive(place):
        return str(place / name)
    system = "vsizip" if place.name.lower().endswith(_ZIPS) else "vsitar"
    return f"/{system}/{place.resolve().as_posix()}/{name}"


def _from_tar(place: Path, name: str) -> bytes:
    with tarfile.open(place) as archive:
        for member in archive:
            if member.name.removeprefix("./") == name and member.isfile():
                file = archive.extractfile(member)
                if file is not None:
                    return file.read()
    raise KeyError(name)
