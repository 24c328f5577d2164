"""One fetch per folder at a time."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sitsfusion.errors import FetchError

LOCK = ".sitsfusion-fetch.lock"
_NO_LOCKS_HERE = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP})

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold an existing folder; the system lets go of it when the process ends, however it ends.

    On a file system without locks (some clusters') nothing is held, and two fetches at once are the user's care.

    Raises:
        FetchError: another fetch holds the folder.
    """
    with (folder / LOCK).open("ab") as stream:
        try:
            _lock(stream.fileno())
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise FetchError(f"{folder}: another fetch is writing here ({error}). Wait for its end.") from error
        yield
