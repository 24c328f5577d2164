"""Bring one file: resumed, counted, verified, and only then given its final name.

While it comes, a file is called ``NAME.part`` (with ``NAME.part.etag``, the server's mark of that version).
A part is continued with ``Range`` and ``If-Range``; the server may ignore the range or refuse it (416): then
the file starts anew. Only one process may bring files to a folder (see `lock`).
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Protocol

from sitsfusion.errors import FetchError
from sitsfusion.fetch.web import Interrupted, RangeRefused, Retry, insist, open_url

_CHUNK = 2**20
_ELSEWHERE = "Free some space, or choose another folder with --to or $SITSFUSION_HOME."
_CONTENT_RANGE = re.compile(r"^bytes (\d+)-(\d+)/(\d+|\*)$")


class Progress(Protocol):
    """Told after each piece how many bytes are here, of how many in all (None: not known)."""

    def __call__(self, done: int, total: int | None) -> None:
        """Report `done` of `total` bytes."""


@dataclass(frozen=True)
class FileSource:
    """A file that can be brought: name (relative, with "/"), web address or local path, bytes, "algorithm:hex".

    `headers` go with each request to the web address; they may hold a secret.
    """

    name: str
    location: str | Path
    size: int | None
    checksum: str | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def bring(source: FileSource, target: Path, progress: Progress, retry: Retry) -> None:
    """Download or copy `source` to `target`, replacing what is there only once the new file is verified.

    Raises:
        FetchError: the server refuses, sends too much or gives up; size or checksum differ (the bad file is
            removed); the disk is full or the folder cannot be written.
    """
    part = part_of(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source.location, Path):
            _save(_pieces_of(source.location), part, 0, source.size, progress)
            problem = _mismatch(part, source)
        else:
            problem = _download(source, source.location, part, progress, retry)
        if problem is not None:
            _forget(part)
            raise FetchError(problem)
        part.replace(target)
        _etag_file(part).unlink(missing_ok=True)
    except FetchError:
        raise
    except OSError as error:
        free = shutil.disk_usage(next(folder for folder in target.parents if folder.is_dir())).free
        raise FetchError(
            f"{target}: {error}; the file has {source.size} bytes, {free} are available. {_ELSEWHERE}"
        ) from error


def part_of(target: Path) -> Path:
    """Where the incomplete file lies."""
    return target.with_name(f"{target.name}.part")


def _download(source: FileSource, url: str, part: Path, progress: Progress, retry: Retry) -> str | None:
    """Complete `part`; returns what is wrong with it, None if nothing is."""
    resumed = part.exists()
    insist(lambda: _attempt(source, url, part, progress, retry.timeout_s), retry)
    problem = _mismatch(part, source)
    if problem is None or not resumed:
        return problem
    # The part of an earlier run may itself be what is wrong: one fresh download decides.
    _forget(part)
    insist(lambda: _attempt(source, url, part, progress, retry.timeout_s), retry)
    return _mismatch(part, source)


def _attempt(source: FileSource, url: str, part: Path, progress: Progress, timeout_s: float) -> None:
    """One request that continues `part` as far as it goes; Interrupted if the file is still incomplete."""
    have = _usable_bytes(source, part)
    if have and have == source.size:
        return
    try:
        response = open_url(url, {**source.headers, **_request_headers(part, have)}, timeout_s)
    except RangeRefused:
        _forget(part)
        if not have:
            raise
        return _attempt(source, url, part, progress, timeout_s)
    with response:
        start, total = _announced(url, response, part, have)
        if total is not None and source.size not in (None, total):
            _forget(part)
            raise FetchError(
                f"{source.name}: the server announces {total} bytes, expected {source.size}. "
                "The published file was changed; check its page before you use it."
            )
        if start == 0:
            _forget(part)  # before the mark of another version is kept beside old bytes
        _keep_etag(part, response)
        expected = source.size if total is None else total
        end = _save(_pieces(url, response, start, total), part, start, expected, progress)
    if expected is not None and end < expected:
        raise Interrupted(f"{url}: the connection ended after {end} of {expected} bytes")


def _usable_bytes(source: FileSource, part: Path) -> int:
    """Bytes of the part to continue from: none unless a checksum or the server's mark can tell a mixed file."""
    have = part.stat().st_size if part.exists() else 0
    verifiable = source.checksum is not None or _etag_file(part).exists()
    if have and (not verifiable or (source.size is not None and have > source.size)):
        _forget(part)
        return 0
    return have


def _request_headers(part: Path, have: int) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if _etag_file(part).exists():
            headers["If-Range"] = _etag_file(part).read_text(encoding="latin-1")
    return headers


def _announced(url: str, response: HTTPResponse, part: Path, have: int) -> tuple[int, int | None]:
    """First byte that will come, and the size of the whole file where the server says it."""
    if response.status != 206:
        return 0, response.length
    found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    etag, kept = response.headers.get("ETag"), _etag_file(part)
    same_version = etag is None or not kept.exists() or kept.read_text(encoding="latin-1") == etag
    if found is None or int(found[1]) != have or not same_version:
        _forget(part)
        raise Interrupted(f"{url}: the server sent another part of the file than asked for")
    return have, None if found[3] == "*" else int(found[3])


def _keep_etag(part: Path, response: HTTPResponse) -> None:
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):  # a weak mark does not promise the same bytes
        _etag_file(part).write_text(etag, encoding="latin-1")
    else:
        _etag_file(part).unlink(missing_ok=True)


def _pieces(url: str, response: HTTPResponse, start: int, total: int | None) -> Iterator[bytes]:
    """The body as it arrives, at most up to `total`; Interrupted where the connection drops."""
    position = start
    while total is None or position < total:
        try:
            # read1 hands over what has arrived; read(n) would lose it when the connection drops before n bytes.
            piece = response.read1(_CHUNK if total is None else min(_CHUNK, total - position))
        except (OSError, HTTPException) as error:
            raise Interrupted(f"{url}: {error or type(error).__name__} after {position} bytes") from error
        if not piece:
            return
        position += len(piece)
        yield piece


def _pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def _save(pieces: Iterable[bytes], part: Path, start: int, expected: int | None, progress: Progress) -> int:
    """Append the pieces to a part of `start` bytes, or begin it; returns where the file now ends."""
    end = start
    with part.open("ab" if start else "wb") as stream:
        for piece in pieces:
            end += len(piece)
            if expected is not None and end > expected:
                break
            stream.write(piece)
            progress(end, expected)
    if expected is not None and end > expected:
        _forget(part)
        raise FetchError(
            f"{part.stem}: expected {expected} bytes, more came. "
            "The published file was changed; check its page before you use it."
        )
    return end


def is_match(path: Path, size: int | None, checksum: str | None) -> bool:
    """Whether a file has this size and checksum; a value of None is not compared, False if neither is known."""
    if (size is None and checksum is None) or not path.is_file():
        return False
    if size is not None and path.stat().st_size != size:
        return False
    return checksum is None or digest(path, checksum.split(":")[0]) == checksum


def _mismatch(part: Path, source: FileSource) -> str | None:
    """What was expected and found, None if size and checksum are as declared (or not declared)."""
    size = part.stat().st_size
    checksum = digest(part, source.checksum.split(":")[0]) if source.checksum else None
    if source.size in (None, size) and checksum == source.checksum:
        return None
    return (
        f"{source.name}: expected {source.size} bytes and checksum {source.checksum}, "
        f"found {size} bytes and {checksum}. "
        "The file was removed. Run the same command again; if it fails again, the published file was changed "
        "or something on the way alters it: check its page."
    )


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Checksum of a file as "algorithm:hex"; FetchError if it cannot be read."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    try:
        for piece in _pieces_of(path):
            state.update(piece)
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error}). Correct its permissions or remove it.") from error
    return f"{algorithm}:{state.hexdigest()}"


def require_space(folder: Path, needed: int) -> None:
    """FetchError unless the disk of an existing folder has `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(f"{folder}: {needed} bytes are needed, {free} are available. {_ELSEWHERE}")


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)
