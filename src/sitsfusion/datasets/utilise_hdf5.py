"""HDF5 files in the layouts that U-TILISE published: opening, lists of sequences, compressed arrays.

Needs the extra `netcdf` (h5py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sitsfusion.dates import parse_day
from sitsfusion.errors import InputError, MissingExtraError, ReadError, SitsFusionError, WriteError

if TYPE_CHECKING:
    import h5py

_GZIP = 9
MIN_GOOD = 5  # frames that a listed sequence has


def open_file(path: Path, mode: str = "r") -> h5py.File:
    """An open HDF5 file, written in the latest format of the library.

    Raises:
        ReadError: it is missing or not an HDF5 file; WriteError: it may not be written to.
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(f"the HDF5 file {path}", "netcdf") from error
    try:
        return h5py.File(path, mode, libver="latest")
    except OSError as error:
        if mode == "w" or isinstance(error, PermissionError):
            raise WriteError(f"{path} cannot be written ({error})") from error
        what = "is missing" if not path.is_file() else f"cannot be read ({error})"
        raise ReadError(f"{path} {what}; convert the archive again, or correct data.root and data.hdf5_file") from error


class Hdf5Reader:
    """A file that is opened when first read, once in each process: may be sent to the workers of a loader."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: tuple[int, h5py.File] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_open": None}

    @property
    def file(self) -> h5py.File:
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), open_file(self.path))
        return self._open[1]

    def has(self, name: str) -> bool:
        """Whether the file holds this group or array."""
        return name in self.file

    def array(self, name: str, index: Any = ()) -> NDArray[Any]:
        """An array, or a part of it. Raises ReadError where it is missing or damaged."""
        try:
            found: NDArray[Any] = np.asarray(self.file[name][index])
        except (KeyError, OSError, RuntimeError, AttributeError, TypeError) as error:
            raise ReadError(f"{self.path}: {name} cannot be read ({error}); convert the archive again") from error
        return found

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        return _texts(self.array(name))

    def dates(self, name: str) -> tuple[date, ...]:
        """A list of dates, written as YYYY-MM-DD."""
        return tuple(parse_day(text) for text in self.texts(name))

    def close(self) -> None:
        if self._open is not None and self._open[0] == os.getpid():
            self._open[1].close()
        self._open = None


def read_dates(dates: h5py.Dataset) -> tuple[date, ...]:
    """A list of dates, written as YYYY-MM-DD."""
    return tuple(parse_day(text) for text in _texts(dates[()]))


def _texts(stored: NDArray[Any]) -> list[str]:
    return [item.decode() if isinstance(item, bytes) else str(item) for item in stored]


def groups_holding(group: h5py.Group, name: str) -> list[str]:
    """Absolute paths of the groups below `group` that hold `name`, in the file's order (by name)."""
    if name in group:
        return [str(group.name)]
    below = (group[key] for key in group if hasattr(group[key], "keys"))
    return [path for child in below for path in groups_holding(child, name)]


def write_array(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    """Write a compressed array; an empty one as float64 of shape (0,), as the published files have it."""
    if values.size == 0:
        values = np.zeros(0)
    group.create_dataset(name, data=values, compression="gzip", compression_opts=_GZIP)


def write_texts(group: h5py.Group, name: str, texts: Sequence[str], *, compress: bool = False) -> None:
    """Write (or replace) a list of texts of any length."""
    import h5py

    if name in group:
        del group[name]
    options = {"compression": "gzip", "compression_opts": _GZIP} if compress and texts else {}
    group.create_dataset(name, data=np.array(texts, object), dtype=h5py.string_dtype(), **options)


def write_dates(group: h5py.Group, name: str, dates: Sequence[date], *, compress: bool = True) -> None:
    """Write a list of dates as YYYY-MM-DD."""
    write_texts(group, name, [day.isoformat() for day in dates], compress=compress)


def frame_indices(indices: NDArray[Any], frames: int) -> NDArray[Any]:
    """Indices of frames as int8, as published, or int16 where a sequence is too long for that."""
    return indices.astype(np.int8 if frames <= 128 else np.int16)


def write_frame_lists(group: h5py.Group, impaired: NDArray[Any], missing: NDArray[Any]) -> int:
    """Write (or replace) the lists of impaired, cloudy and good frames; the number of good ones."""
    lists = {
        "idx_impaired_frames": np.flatnonzero(impaired),
        "idx_cloudy_frames": np.flatnonzero(impaired & ~missing),
        "idx_good_frames": np.flatnonzero(~impaired),
        "valid_obs": (~impaired).astype(np.int64),
    }
    for name, values in lists.items():
        if name in group:
            del group[name]
        write_array(group, name, values)
    return len(lists["idx_good_frames"])


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """A file to write, which gets its name when it is complete; after an error nothing of it is left.

    Raises:
        WriteError: it exists, or cannot be written.
    """
    if path.exists():
        raise WriteError(f"{path} is there already: remove it, or choose another name")
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_file(part, "w") as file:
            yield file
        part.replace(path)
    except SitsFusionError:
        raise
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error})") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_group(path: Path, name: str) -> Iterator[h5py.File]:
    """A file to which the root group `name` is added; after an error the group is taken out again.

    Raises:
        InputError: the group exists.
        WriteError: the file cannot be written.
    """
    if not path.exists():
        with new_file(path) as file:
            file.create_group(name)
            yield file
        return
    with open_file(path, "r+") as file:
        if name in file:
            raise InputError(f"{path} holds {name} already: remove the file, or choose another folder")
        file.create_group(name)
        try:
            yield file
        except BaseException as error:
            del file[name]
            if isinstance(error, OSError) and not isinstance(error, SitsFusionError):
                raise WriteError(f"{path} cannot be written ({error})") from error
            raise
