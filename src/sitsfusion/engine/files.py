"""Small files and folders of a job, put in place whole: nothing half-written can be seen, however a process ends."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sitsfusion.errors import ReadError, WriteError

# In a job's folder: the identity of its plan; the folder of tiles and markers.
PLAN, WORK = "plan.json", "work"


def part_of(path: Path) -> Path:
    """A name beside `path` to write to first; no other process, on no other machine, has the same."""
    return path.with_name(f"{path.name}.{uuid4().hex}.part")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is either absent or complete.

    Raises:
        WriteError: the disk is full or not writable.
    """
    with _written_part(path, text) as part:
        part.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file; None when it is absent or was cut short (a machine that lost power).

    Raises:
        ReadError: it is there and may not be read.
    """
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    return found if isinstance(found, dict) else None


def claim_text(path: Path, text: str) -> bool:
    """As `write_text`, but only if there is no such file yet; False when there is (another process was first)."""
    with _written_part(path, text) as part:
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:  # file systems without hard links (FAT, some network disks): whole, but the last one wins
            part.replace(path)
        return True


@contextmanager
def _written_part(path: Path, text: str) -> Iterator[Path]:
    part = part_of(path)
    try:
        part.write_text(text)
        yield part
    except OSError as error:
        why = error.strerror or error
        raise WriteError(f"{path} cannot be written: {why}; free disk space or use another folder") from error
    finally:
        part.unlink(missing_ok=True)


def place_folder(part: Path, final: Path) -> None:
    """Give a finished folder its name; if another process made the same folder first, that one stays."""
    try:
        part.replace(final)
    except OSError:
        if not final.exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that it holds; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
