"""A local server that speaks the part of Zenodo's record API which `sitsfusion.fetch` uses, and misbehaves on request.

``GET /api/records/{id}`` answers the record's JSON, ``GET /api/records/{id}/files/{key}/content`` the bytes, with
``Range``, ``If-Range`` and ``ETag``. `faults` holds, per file key, what goes wrong with the next requests of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

RECORD_PATH = re.compile(r"^/api/records/(\d+)$")
CONTENT_PATH = re.compile(r"^/api/records/(\d+)/files/(.+)/content$")


@dataclass(frozen=True)
class Seen:
    """A request: path, headers, status of the answer, bytes of the body that were sent."""

    path: str
    headers: dict[str, str]
    status: int
    sent: int


Fault = Callable[["Handler", bytes], None]


@dataclass
class Standin:
    """What the server holds and what it saw."""

    url: str = ""
    records: dict[str, dict[str, bytes]] = field(default_factory=dict)
    licence: str | None = None
    checksums: dict[str, str] = field(default_factory=dict)  # announced instead of the true ones
    sizes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    seen: list[Seen] = field(default_factory=list)
    etags: bool = True

    def of(self, key: str) -> list[Seen]:
        """The requests for the content of one file."""
        return [each for each in self.seen if each.path.endswith(f"/files/{quote(key, safe='')}/content")]

    def record_json(self, record: str) -> dict[str, object]:
        files = [
            {
                "key": key,
                "size": self.sizes.get(key, len(body)),
                "checksum": self.checksums.get(key, "md5:" + hashlib.md5(body).hexdigest()),
                "links": {"self": f"{self.url}/api/records/{record}/files/{quote(key, safe='')}/content"},
            }
            for key, body in self.records[record].items()
        ]
        metadata = {"title": "x"} | ({"license": {"id": self.licence}} if self.licence else {})
        return {"id": int(record), "metadata": metadata, "files": files, "links": {}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    standin: Standin
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def note(self, status: int, sent: int) -> None:
        self.standin.seen.append(Seen(self.path, dict(self.headers), status, sent))

    def answer(self, status: int, body: bytes, announced: int | None = None, **headers: str) -> None:
        """Send a body; `announced` is another Content-Length than the true one (the connection then closes)."""
        self.note(status, len(body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)
        if announced is not None:
            self.close_connection = True

    def do_GET(self) -> None:
        record, content = RECORD_PATH.match(self.path), CONTENT_PATH.match(self.path)
        if record:
            key, known = "record", record[1] in self.standin.records
            body = json.dumps(self.standin.record_json(record[1])).encode() if known else b""
            serve: Fault = Handler.serve_json
        else:
            key = unquote(content[2]) if content else ""
            files = self.standin.records.get(content[1], {}) if content else {}
            known, body, serve = key in files, files.get(key, b""), serve_content
        if self.standin.faults[key]:
            serve, known = self.standin.faults[key].pop(0), True
        if known:
            serve(self, body)
        else:
            self.answer(404, b"{}")

    def serve_json(self, body: bytes) -> None:
        self.answer(200, body, Content_Type="application/json")


def etag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def serve_content(handler: Handler, body: bytes) -> None:
    """As it should be: whole, or the rest from the byte asked for if the mark still holds."""
    headers = {"ETag": etag_of(body)} if handler.standin.etags else {}
    asked = re.match(r"bytes=(\d+)-$", handler.headers.get("Range", ""))
    if asked is None or handler.headers.get("If-Range", etag_of(body)) != etag_of(body):
        return handler.answer(200, body, **headers)
    start = int(asked[1])
    if start >= len(body):
        return handler.answer(416, b"", Content_Range=f"bytes */{len(body)}")
    return handler.answer(206, body[start:], Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", **headers)


def ignore_range(handler: Handler, body: bytes) -> None:
    handler.answer(200, body, ETag=etag_of(body))


def refuse_range(handler: Handler, body: bytes) -> None:
    handler.answer(416, b"")


def wrong_range(handler: Handler, body: bytes) -> None:
    handler.answer(206, body[1:], Content_Range=f"bytes 1-{len(body) - 1}/{len(body)}", ETag=etag_of(body))


def ignore_mark(handler: Handler, body: bytes) -> None:
    """Send the rest although If-Range names another version."""
    start = int(handler.headers["Range"][6:-1])
    span = f"bytes {start}-{len(body) - 1}/{len(body)}"
    handler.answer(206, body[start:], Content_Range=span, ETag=etag_of(body))


def cut_at(count: int) -> Fault:
    """Announce everything, send `count` bytes, close properly."""
    return lambda handler, body: handler.answer(200, body[:count], announced=len(body), ETag=etag_of(body))


def drop_at(count: int) -> Fault:
    """Send `count` bytes from where asked, then reset the connection."""

    def fault(handler: Handler, body: bytes) -> None:
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        piece, rest = body[start : start + count], len(body) - start
        ranged = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        handler.answer(206 if start else 200, piece, announced=rest, ETag=etag_of(body), **ranged)
        handler.wfile.flush()
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return fault


def stall_at(count: int) -> Fault:
    """Send `count` bytes, then nothing until the client goes away (at most 5 s)."""

    def fault(handler: Handler, body: bytes) -> None:
        handler.answer(200, body[:count], announced=len(body), ETag=etag_of(body))
        handler.wfile.flush()
        handler.connection.recv(1)

    return fault


def status(code: int, **headers: str) -> Fault:
    return lambda handler, body: handler.answer(code, b"no", **headers)


def redirect_to(url: str) -> Fault:
    return lambda handler, body: handler.answer(302, b"", Location=url)


def announce_and_send(count: int) -> Fault:
    """A body of another length than the record says, consistent in itself."""
    return lambda handler, body: handler.answer(200, (body * 2)[:count])


def more_than_announced(handler: Handler, body: bytes) -> None:
    """Content-Length is right, but bytes follow."""
    handler.answer(200, body + b"surplus", announced=len(body))


def unannounced(surplus: bytes) -> Fault:
    """No Content-Length: the body ends where the connection does."""

    def fault(handler: Handler, body: bytes) -> None:
        handler.note(200, len(body) + len(surplus))
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body + surplus)
        handler.close_connection = True

    return fault


def altered(handler: Handler, body: bytes) -> None:
    """The right length, but the last byte differs."""
    handler.answer(200, body[:-1] + bytes([body[-1] ^ 1]))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away; they are meant to."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving(standin: Standin, handler: type[Handler] = Handler) -> Iterator[Standin]:
    """Serve on a free port of 127.0.0.1 in a thread."""
    server = _Server(("127.0.0.1", 0), type("BoundHandler", (handler,), {"standin": standin}))
    standin.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
