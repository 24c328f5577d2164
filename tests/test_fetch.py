"""Downloads against a local stand-in of Zenodo; no request leaves 127.0.0.1."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sitsfusion.fetch.lock as lock
import sitsfusion.fetch.transfer as transfer
import sitsfusion.fetch.web as web
from sitsfusion.errors import FetchError, InputError
from sitsfusion.fetch import Entry, Retry, available, cache_folder, fetch, find_entry, load_catalogue, local, resolve
from sitsfusion.fetch.lock import LOCK, sole_writer
from sitsfusion.fetch.store import RECEIPT
from sitsfusion.fetch.transfer import FileSource, bring
from tests import zenodo_standin as server
from tests.zenodo_standin import Standin

RECORD = "17474541"
CKPT = "968639_s1t3.ckpt"
BODY = bytes(range(256)) * 4000  # 1.02 MB: more than one piece
CONFIG = b"training_module: {}\n"
QUICK = Retry(attempts=4, first_wait_s=0.0, longest_wait_s=0.01, timeout_s=5.0)
ONE_FILE = Entry(name="one", title="One", kind="weights", source="zenodo:1", licence="CC-BY-4.0", files=("*",))


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Standin]:
    standin = Standin()
    standin.records = {RECORD: {CKPT: BODY, "config.yaml": CONFIG}, "1": {"a.bin": BODY}}
    monkeypatch.setenv("SITSFUSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    with server.serving(standin):
        monkeypatch.setenv("SITSFUSION_ZENODO_URL", standin.url)
        yield standin


def zip_from(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return stream.getvalue()


def tar_from(members: dict[str, bytes], mode: str = "w:gz", links: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        for name, goal in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, goal
            archive.addfile(info)
    return stream.getvalue()


def one(zenodo: Standin, folder: Path, **options: object) -> list[Path]:
    return fetch(ONE_FILE, to=folder, retry=QUICK, **options)  # type: ignore[arg-type]


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {RECEIPT, LOCK}


# --- catalogue


def test_shipped_catalogue_names_the_published_records() -> None:
    entries = {entry.name: entry for entry in available()}
    assert {"tamrfsits-v1", "tamrfsits-v2", "ls2s2"} <= entries.keys()
    assert entries["tamrfsits-v1"].record == "15582231"
    assert entries["tamrfsits-v2"].page == "https://zenodo.org/records/17474541"
    assert (entries["ls2s2"].record, entries["ls2s2"].kind) == ("15471890", "dataset")
    assert all(entry.main in entry.needs for entry in entries.values() if entry.kind == "weights")
    assert entries["ls2s2-myww"].page == "https://doi.org/10.6096/1029"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("colour: red", "colour"),
        ("kind: painting", "kind"),
        ("source: ftp://host/file", "zenodo:RECORD"),
        ("source: http://host/", "zenodo:RECORD"),
        ("source: by-hand:host", "by-hand"),
        ("main: other.ckpt", "needs"),
        ("files: []", "files"),
        ("known: {a.bin: {size: -1}}", "known.a.bin.size"),
        ("known: {a.bin: {checksum: 'crc:12'}}", "known.a.bin.checksum"),
    ],
)
def test_catalogue_errors_name_file_entry_and_key(tmp_path: Path, change: str, expected: str) -> None:
    fields = {"title": "T", "kind": "weights", "source": "zenodo:1", "licence": "L", "files": "[a.bin]"}
    key, value = change.split(": ", 1)
    path = tmp_path / "catalogue.yaml"
    path.write_text("x:\n" + "".join(f"  {k}: {v}\n" for k, v in (fields | {key: value}).items()))
    with pytest.raises(InputError, match=r"catalogue\.yaml: x") as caught:
        load_catalogue(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["- a", "x: 3", "x: [", ""])
def test_catalogue_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"catalogue\.yaml"):
        load_catalogue(path)


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(InputError, match="tamrfsits-v2"):
        find_entry("tamrfsits-v3")


# --- a plain download


def test_fetch_brings_verified_files_to_the_cache(zenodo: Standin) -> None:
    paths = fetch("tamrfsits-v2", retry=QUICK)
    folder = cache_folder("tamrfsits-v2")
    assert paths == [folder / CKPT, folder / "config.yaml"]
    assert (folder / CKPT).read_bytes() == BODY
    assert leftovers(folder) == {CKPT, "config.yaml"}
    assert local("tamrfsits-v2") == folder
    assert resolve("tamrfsits-v2") == folder / CKPT


def test_only_files_of_the_entry_are_downloaded(zenodo: Standin) -> None:
    zenodo.records[RECORD]["ablation.ckpt"] = b"other"
    fetch("tamrfsits-v2", retry=QUICK)
    assert zenodo.of("ablation.ckpt") == []


def test_a_second_fetch_keeps_good_files_and_asks_only_for_the_record(zenodo: Standin, tmp_path: Path) -> None:
    (path,) = one(zenodo, tmp_path)
    before = path.stat()
    zenodo.seen.clear()
    assert one(zenodo, tmp_path) == [path]
    assert [each.path for each in zenodo.seen] == ["/api/records/1"]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_good_file_put_there_by_hand_is_kept(zenodo: Standin, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(BODY)
    one(zenodo, tmp_path)
    assert zenodo.of("a.bin") == []


@pytest.mark.parametrize("wrong", [b"short", BODY[:-1] + b"\x00"])
def test_a_wrong_existing_file_is_replaced(zenodo: Standin, tmp_path: Path, wrong: bytes) -> None:
    (path,) = one(zenodo, tmp_path)
    path.write_bytes(wrong)
    one(zenodo, tmp_path)
    assert path.read_bytes() == BODY


def test_file_names_with_spaces_and_accents(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.records["1"] = {"données été.bin": BODY}
    (path,) = one(zenodo, tmp_path)
    assert path.name == "données été.bin"
    assert path.read_bytes() == BODY


def test_an_empty_file_is_a_file(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.records["1"] = {"a.bin": b""}
    (path,) = one(zenodo, tmp_path)
    assert path.read_bytes() == b""


def test_patterns_choose_files(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.records["1"] = {"a.bin": b"a", "b.bin": b"b", "c.txt": b"c"}
    assert one(zenodo, tmp_path, files=["b*", "*.txt"]) == [tmp_path / "b.bin", tmp_path / "c.txt"]
    with pytest.raises(FetchError, match=r"no file matches z\*; found: a.bin, b.bin, c.txt"):
        one(zenodo, tmp_path, files=["a*", "z*"])
    with pytest.raises(InputError, match="files"):
        one(zenodo, tmp_path, files=[])


def test_progress_counts_up_to_the_total(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.records["1"] = {"a.bin": BODY, "b.bin": b"b" * 10}
    one(zenodo, tmp_path, files=["b.bin"])
    calls: list[tuple[int, int | None]] = []
    one(zenodo, tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (10, len(BODY) + 10)
    assert calls[-1] == (len(BODY) + 10, len(BODY) + 10)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_the_licence_that_the_record_states_is_kept(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.licence = "cc-by-4.0"
    one(zenodo, tmp_path)
    assert '"cc-by-4.0"' in (tmp_path / RECEIPT).read_text()


# --- interrupted downloads


def interrupted(zenodo: Standin, folder: Path, count: int) -> None:
    """Leave a part of `count` bytes behind, as a killed run would."""
    zenodo.faults["a.bin"] = [server.cut_at(count)]
    with pytest.raises(FetchError, match=f"after {count} of {len(BODY)} bytes"):
        fetch(ONE_FILE, to=folder, retry=Retry(attempts=1))
    assert (folder / "a.bin.part").stat().st_size == count
    assert not (folder / "a.bin").exists()
    zenodo.seen.clear()


def test_a_part_is_resumed_and_only_missing_bytes_are_sent(zenodo: Standin, tmp_path: Path) -> None:
    interrupted(zenodo, tmp_path, 700_001)
    (path,) = one(zenodo, tmp_path)
    (request,) = zenodo.of("a.bin")
    assert request.headers["Range"] == "bytes=700001-"
    assert request.headers["If-Range"] == server.etag_of(BODY)
    assert (request.status, request.sent) == (206, len(BODY) - 700_001)
    assert path.read_bytes() == BODY
    assert leftovers(tmp_path) == {"a.bin"}


def test_a_part_is_resumed_without_an_etag(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.etags = False
    (tmp_path / "a.bin.part").write_bytes(BODY[:1000])
    (path,) = one(zenodo, tmp_path)
    (request,) = zenodo.of("a.bin")
    assert "If-Range" not in request.headers
    assert request.sent == len(BODY) - 1000
    assert path.read_bytes() == BODY


def test_a_server_that_ignores_ranges_restarts_the_file(zenodo: Standin, tmp_path: Path) -> None:
    interrupted(zenodo, tmp_path, 5000)
    zenodo.faults["a.bin"] = [server.ignore_range]
    (path,) = one(zenodo, tmp_path)
    assert [each.sent for each in zenodo.of("a.bin")] == [len(BODY)]
    assert path.read_bytes() == BODY


def test_a_refused_range_restarts_the_file(zenodo: Standin, tmp_path: Path) -> None:
    interrupted(zenodo, tmp_path, 5000)
    zenodo.faults["a.bin"] = [server.refuse_range]
    (path,) = one(zenodo, tmp_path)
    assert [each.status for each in zenodo.of("a.bin")] == [416, 200]
    assert "Range" not in zenodo.of("a.bin")[1].headers
    assert path.read_bytes() == BODY


def test_another_range_than_asked_restarts_the_file(zenodo: Standin, tmp_path: Path) -> None:
    interrupted(zenodo, tmp_path, 5000)
    zenodo.faults["a.bin"] = [server.wrong_range]
    (path,) = one(zenodo, tmp_path)
    assert [each.status for each in zenodo.of("a.bin")] == [206, 200]
    assert path.read_bytes() == BODY


def test_a_changed_file_is_not_mixed_with_the_old_part(zenodo: Standin, tmp_path: Path) -> None:
    interrupted(zenodo, tmp_path, 5000)
    changed = BODY[::-1]
    zenodo.records["1"]["a.bin"] = changed
    (path,) = one(zenodo, tmp_path)
    assert [each.status for each in zenodo.of("a.bin")] == [200]
    assert path.read_bytes() == changed


@pytest.mark.parametrize("junk", [b"x" * 5000, b"x" * len(BODY), b"x" * (len(BODY) + 1)])
def test_a_part_with_other_bytes_is_replaced(zenodo: Standin, tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "a.bin.part").write_bytes(junk)
    (path,) = one(zenodo, tmp_path)
    assert path.read_bytes() == BODY
    assert zenodo.of("a.bin")[-1].sent == len(BODY)


def test_a_complete_part_needs_no_request(zenodo: Standin, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(BODY)
    (path,) = one(zenodo, tmp_path)
    assert zenodo.of("a.bin") == []
    assert path.read_bytes() == BODY


def test_a_truncated_body_is_detected_and_completed(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.faults["a.bin"] = [server.cut_at(300_000)]
    (path,) = one(zenodo, tmp_path)
    assert [each.sent for each in zenodo.of("a.bin")] == [300_000, len(BODY) - 300_000]
    assert path.read_bytes() == BODY


def test_a_dropped_connection_goes_on_where_it_stopped(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.faults["a.bin"] = [server.drop_at(400_000), server.drop_at(100_000)]
    (path,) = one(zenodo, tmp_path)
    starts = [int(each.headers["Range"][6:-1]) for each in zenodo.of("a.bin")[1:]]
    assert len(starts) == 2
    assert starts == sorted(starts)
    assert path.read_bytes() == BODY


def test_a_server_that_stalls_is_asked_again(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.faults["a.bin"] = [server.stall_at(200_000)]
    hasty = Retry(attempts=2, first_wait_s=0.0, timeout_s=0.3)
    (path,) = fetch(ONE_FILE, to=tmp_path, retry=hasty)
    assert zenodo.of("a.bin")[1].headers["Range"] == "bytes=200000-"
    assert path.read_bytes() == BODY


def test_attempts_are_bounded_and_the_part_stays(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.faults["a.bin"] = [server.cut_at(1000)] * 20
    with pytest.raises(FetchError, match=r"after 1000 of 1024000 bytes.*Gave up after 4 attempts.*same command again"):
        one(zenodo, tmp_path)
    assert len(zenodo.of("a.bin")) == 4
    assert leftovers(tmp_path) == {"a.bin.part", "a.bin.part.etag"}


# --- answers that are wrong


def test_a_wrong_checksum_removes_the_file_and_says_what_was_found(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.checksums["a.bin"] = "md5:" + "0" * 32
    with pytest.raises(FetchError) as caught:
        one(zenodo, tmp_path)
    message = str(caught.value)
    assert all(part in message for part in ("a.bin", "md5:" + "0" * 32, hashlib.md5(BODY).hexdigest(), "again"))
    assert leftovers(tmp_path) == set()
    assert len(zenodo.of("a.bin")) == 1


def test_altered_bytes_are_detected(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.faults["a.bin"] = [server.altered]
    with pytest.raises(FetchError, match="removed"):
        one(zenodo, tmp_path)
    assert leftovers(tmp_path) == set()


def test_a_failed_replacement_is_no_longer_listed_as_fetched(zenodo: Standin) -> None:
    fetch("tamrfsits-v2", retry=QUICK)
    zenodo.records[RECORD][CKPT] = b"new version"
    zenodo.faults[CKPT] = [server.status(404)]
    with pytest.raises(FetchError, match="404"):
        fetch("tamrfsits-v2", retry=QUICK)
    assert local("tamrfsits-v2") is None


@pytest.mark.parametrize("count", [len(BODY) - 1, len(BODY) + 1])
def test_another_length_than_the_record_says_is_refused(zenodo: Standin, tmp_path: Path, count: int) -> None:
    zenodo.faults["a.bin"] = [server.announce_and_send(count)]
    with pytest.raises(FetchError, match=f"announces {count} bytes, expected {len(BODY)}"):
        one(zenodo, tmp_path)
    assert leftovers(tmp_path) == set()


def test_bytes_behind_the_announced_length_are_ignored(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.faults["a.bin"] = [server.more_than_announced]
    (path,) = one(zenodo, tmp_path)
    assert path.read_bytes() == BODY


def test_a_body_without_length_must_have_the_size_of_the_record(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.faults["a.bin"] = [server.unannounced(b"surplus")]
    with pytest.raises(FetchError, match=f"expected {len(BODY)} bytes, more came"):
        one(zenodo, tmp_path)
    assert leftovers(tmp_path) == set()
    zenodo.faults["a.bin"] = [server.unannounced(b"")]
    assert one(zenodo, tmp_path)[0].read_bytes() == BODY


@pytest.mark.parametrize("key", ["record", "a.bin"])
@pytest.mark.parametrize("fault", [server.status(429, Retry_After="0"), server.status(503), server.status(502)])
def test_passing_failures_are_retried(zenodo: Standin, tmp_path: Path, key: str, fault: server.Fault) -> None:
    zenodo.faults[key] = [fault]
    (path,) = one(zenodo, tmp_path)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("code", "requests", "expected"),
    [
        (404, 1, "moved or been withdrawn"),
        (403, 1, "refuses access"),
        (429, 4, "fewer requests"),
        (500, 4, "server failed"),
    ],
)
@pytest.mark.parametrize("key", ["record", "a.bin"])
def test_http_errors_are_readable(
    zenodo: Standin, tmp_path: Path, key: str, code: int, requests: int, expected: str
) -> None:
    zenodo.faults[key] = [server.status(code)] * 9
    with pytest.raises(FetchError, match=rf"{zenodo.url}.*HTTP {code}.*{expected}.*--source"):
        one(zenodo, tmp_path)
    assert 9 - len(zenodo.faults[key]) == requests
    assert leftovers(tmp_path) == set()


def test_unknown_record(zenodo: Standin, tmp_path: Path) -> None:
    del zenodo.records["1"]
    with pytest.raises(FetchError, match="api/records/1: HTTP 404"):
        one(zenodo, tmp_path)


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"files": []}', b'{"metadata": {}}', b'{"files": [{"key": "a"}]}', b"\xff\xfe"],
)
def test_an_answer_that_is_no_record_is_refused(zenodo: Standin, tmp_path: Path, answer: bytes) -> None:
    zenodo.faults["record"] = [lambda handler, body: handler.answer(200, answer)]
    with pytest.raises(FetchError, match="api/records/1"):
        one(zenodo, tmp_path)


def test_a_redirect_to_another_record_is_followed(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.records["2"] = {"b.bin": b"latest"}
    zenodo.faults["record"] = [server.redirect_to("/api/records/2")]
    assert one(zenodo, tmp_path)[0].read_bytes() == b"latest"


@pytest.mark.parametrize("goal", ["file:///etc/hostname", "ftp://127.0.0.1/a.bin"])
def test_redirects_off_the_web_are_refused(zenodo: Standin, tmp_path: Path, goal: str) -> None:
    zenodo.faults["a.bin"] = [server.redirect_to(goal)]
    with pytest.raises(FetchError, match=goal):
        one(zenodo, tmp_path)


@pytest.mark.parametrize("base", ["file:///tmp", "ftp://127.0.0.1", "127.0.0.1:80", "http://", "http://[::1"])
def test_only_web_addresses_are_accepted(tmp_path: Path, base: str) -> None:
    with pytest.raises(InputError, match="http"):
        fetch(ONE_FILE, to=tmp_path, base_url=base, retry=QUICK)


def test_a_file_link_off_the_web_is_refused(zenodo: Standin, tmp_path: Path) -> None:
    record = b'{"files": [{"key": "a", "size": 1, "checksum": "md5:00", "links": {"self": "file:///etc/hostname"}}]}'
    zenodo.faults["record"] = [lambda handler, body: handler.answer(200, record)]
    with pytest.raises(FetchError, match="file:///etc/hostname"):
        one(zenodo, tmp_path)


def test_an_unreachable_server_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with server.serving(Standin()) as gone:
        pass
    with pytest.raises(FetchError, match=r"refused.*Gave up after 4 attempts.*--source"):
        fetch(ONE_FILE, to=tmp_path, base_url=gone.url, retry=QUICK)


@pytest.mark.parametrize("name", ["../a.bin", "/a.bin", "b/../../a.bin", "..\\a.bin", "C:a.bin", RECEIPT])
def test_unsafe_file_names_are_refused(zenodo: Standin, tmp_path: Path, name: str) -> None:
    zenodo.records["1"] = {name: b"x"}
    with pytest.raises(FetchError, match="unsafe"):
        one(zenodo, tmp_path / "to")
    assert not (tmp_path / "a.bin").exists()


def test_waits_double_unless_the_server_asks_for_another(
    zenodo: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(web.time, "sleep", waits.append)
    failures = [server.status(503), server.status(503), server.status(429, Retry_After="3"), server.status(503)]
    zenodo.faults["a.bin"] = [*failures, server.status(429, Retry_After="3600")]
    fetch(ONE_FILE, to=tmp_path, retry=Retry(attempts=6, first_wait_s=1.0, longest_wait_s=5.0))
    assert waits == [1.0, 2.0, 3.0, 5.0, 5.0]


def test_waits_asked_for_by_the_server() -> None:
    assert web._asked_wait("7") == 7.0
    assert web._asked_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert web._asked_wait(None) is None
    assert web._asked_wait("soon") is None


@pytest.mark.parametrize("options", [{"attempts": 0}, {"timeout_s": 0.0}, {"first_wait_s": -1.0}])
def test_unusable_retry_options(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="attempts"):
        Retry(**options)  # type: ignore[arg-type]


# --- addresses of single files, values known beforehand


def direct(zenodo: Standin, **fields: object) -> Entry:
    address = f"{zenodo.url}/api/records/1/files/a.bin/content"
    return ONE_FILE.model_validate(ONE_FILE.model_dump() | {"source": address} | fields)


def test_the_address_of_a_file(zenodo: Standin, tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    (path,) = fetch(direct(zenodo), to=tmp_path, retry=QUICK, progress=lambda *call: calls.append(call))
    assert (path.name, path.read_bytes()) == ("content", BODY)
    assert calls[-1] == (len(BODY), len(BODY))
    zenodo.seen.clear()
    fetch(direct(zenodo), to=tmp_path, retry=QUICK)
    assert zenodo.seen == []  # the receipt remembers the checksum of what came
    path.write_bytes(b"damaged")
    fetch(direct(zenodo), to=tmp_path, retry=QUICK)
    assert path.read_bytes() == BODY


def test_an_unknown_checksum_is_resumed_by_etag_only(zenodo: Standin, tmp_path: Path) -> None:
    (tmp_path / "content.part").write_bytes(b"x" * 500)  # nothing tells what it belongs to
    zenodo.faults["a.bin"] = [server.cut_at(1000)]
    (path,) = fetch(direct(zenodo), to=tmp_path, retry=QUICK)
    assert [each.headers.get("Range") for each in zenodo.of("a.bin")] == [None, "bytes=1000-"]
    assert path.read_bytes() == BODY


def test_a_rest_of_another_version_is_not_appended(zenodo: Standin, tmp_path: Path) -> None:
    changed = BODY[::-1]
    zenodo.faults["a.bin"] = [server.cut_at(1000)]
    with pytest.raises(FetchError, match="after 1000"):
        fetch(direct(zenodo), to=tmp_path, retry=Retry(attempts=1))
    zenodo.records["1"]["a.bin"] = changed
    zenodo.faults["a.bin"] = [server.ignore_mark]
    (path,) = fetch(direct(zenodo), to=tmp_path, retry=QUICK)
    assert path.read_bytes() == changed


def test_pinned_values_are_enforced(zenodo: Standin, tmp_path: Path) -> None:
    sha = "sha256:" + hashlib.sha256(BODY).hexdigest()
    good = direct(zenodo, known={"content": {"size": len(BODY), "checksum": sha}})
    assert fetch(good, to=tmp_path / "good", retry=QUICK)[0].read_bytes() == BODY
    bad = direct(zenodo, known={"content": {"checksum": "sha256:" + "1" * 64}})
    with pytest.raises(FetchError, match=f"expected .*{'1' * 64}.*found .*{sha}"):
        fetch(bad, to=tmp_path / "bad", retry=QUICK)
    assert leftovers(tmp_path / "bad") == set()


@pytest.mark.parametrize("known", [{"size": 3}, {"checksum": "md5:" + "2" * 32}])
def test_a_record_that_contradicts_pinned_values_is_refused(
    zenodo: Standin, tmp_path: Path, known: dict[str, object]
) -> None:
    entry = ONE_FILE.model_validate(ONE_FILE.model_dump() | {"known": {"a.bin": known}})
    with pytest.raises(FetchError, match="changed"):
        fetch(entry, to=tmp_path, retry=QUICK)
    assert zenodo.of("a.bin") == []


# --- archives


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("hydra_config.zip", zip_from({"hydra_config/config.yaml": CONFIG, "__MACOSX/._config.yaml": b"x"})),
        ("hydra_config.zip", zip_from({"config.yaml": CONFIG})),
        ("hydra_config.tar", tar_from({"./hydra_config/config.yaml": CONFIG}, "w")),
        ("hydra_config.tar.gz", tar_from({"config.yaml": CONFIG})),
        ("hydra_config.tgz", tar_from({"hydra_config/config.yaml": CONFIG})),
    ],
)
def test_archives_are_unpacked_and_removed(zenodo: Standin, name: str, body: bytes) -> None:
    zenodo.records[RECORD] = {CKPT: BODY, name: body}
    folder = cache_folder("tamrfsits-v2")
    expected = [folder / CKPT, folder / "hydra_config/config.yaml"]
    assert fetch("tamrfsits-v2", retry=QUICK) == expected
    assert expected[1].read_bytes() == CONFIG
    assert leftovers(folder) == {CKPT, "config.yaml"}
    zenodo.seen.clear()
    assert fetch("tamrfsits-v2", retry=QUICK) == expected
    assert len(zenodo.seen) == 1
    expected[1].unlink()
    assert local("tamrfsits-v2") is None
    assert fetch("tamrfsits-v2", retry=QUICK) == expected
    assert expected[1].read_bytes() == CONFIG


def test_everything_may_be_in_one_archive(zenodo: Standin) -> None:
    zenodo.records[RECORD] = {"all.zip": zip_from({f"v2/{CKPT}": BODY, "v2/hydra_config/config.yaml": CONFIG})}
    fetch("tamrfsits-v2", retry=QUICK)
    assert resolve("tamrfsits-v2") == cache_folder("tamrfsits-v2") / "v2" / CKPT


def test_sites_of_a_data_set_join_one_tree(zenodo: Standin) -> None:
    zenodo.records["15471890"] = {
        "test_A.zip": zip_from({"test/A/landsat/index.csv": b"a"}),
        "test_B.zip": zip_from({"test/B/landsat/index.csv": b"b"}),
        "test_C.zip": zip_from({"test/B/landsat/index.csv": b"another of the same name"}),
    }
    fetch("ls2s2", files=["test_A*"], retry=QUICK)
    folder = local("ls2s2")
    assert folder == cache_folder("ls2s2") == resolve("ls2s2")
    fetch("ls2s2", retry=QUICK)
    assert (folder / "test/A/landsat/index.csv").read_bytes() == b"a"
    assert (folder / "test/B/landsat/index.csv").read_bytes() == b"b"
    assert (folder / "test_C/test/B/landsat/index.csv").read_bytes() == b"another of the same name"
    assert len(zenodo.of("test_A.zip")) == 1


def zip_with_link() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("d/link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def encrypted_zip() -> bytes:
    body = bytearray(zip_from({"d/a": b"a"}))
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.zip", zip_from({"d/good": b"g", "../evil": b"x"})),
        ("a.zip", zip_from({"d/good": b"g", "d/../../evil": b"x"})),
        ("a.zip", zip_from({"d/good": b"g", "/tmp/evil": b"x"})),
        ("a.zip", zip_from({"d/good": b"g", "d\\..\\..\\evil": b"x"})),
        ("a.zip", zip_with_link()),
        ("a.zip", encrypted_zip()),
        ("a.tar.gz", tar_from({"d/good": b"g", "../evil": b"x"})),
        ("a.tar", tar_from({"d/good": b"g", "/tmp/evil": b"x"}, "w")),
        ("a.tar", tar_from({"d/good": b"g"}, "w", links={"d/link": "../../evil"})),
        ("a.zip", b"not a zip"),
        ("a.tar.gz", b"not a tar"),
        ("a.tar.gz", tar_from({"d/a": os.urandom(50_000)})[:30_000]),
        ("a.zip", zip_from({})),
    ],
)
def test_unsafe_and_damaged_archives_are_refused(zenodo: Standin, tmp_path: Path, name: str, body: bytes) -> None:
    zenodo.records["1"] = {name: body}
    with pytest.raises(FetchError, match=rf"{name}: not unpacked, and removed"):
        one(zenodo, tmp_path / "to")
    assert leftovers(tmp_path) == set()
    assert not Path("/tmp/evil").exists()


def test_a_checkpoint_is_a_zip_file_that_is_not_unpacked(zenodo: Standin, tmp_path: Path) -> None:
    zenodo.records["1"] = {"a.ckpt": zip_from({"archive/data.pkl": b"x"})}
    assert one(zenodo, tmp_path) == [tmp_path / "a.ckpt"]


def test_a_record_without_a_needed_file(zenodo: Standin) -> None:
    del zenodo.records[RECORD]["config.yaml"]
    with pytest.raises(FetchError, match=rf"expected a file \*config.yaml, found: {CKPT}.*records/17474541"):
        fetch("tamrfsits-v2", retry=QUICK)
    assert local("tamrfsits-v2") is None


# --- the disk


def test_too_little_space_is_said_before_anything_is_downloaded(
    zenodo: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FetchError, match=f"{len(BODY)} bytes are needed, 1000 are available"):
        one(zenodo, tmp_path)
    assert zenodo.of("a.bin") == []


def test_space_for_the_unpacked_files_is_checked(
    zenodo: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_from({"d/zeros": bytes(1_000_000)})
    zenodo.records["1"] = {"a.zip": archive}
    usage = shutil.disk_usage(tmp_path)._replace(free=len(archive))
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FetchError, match="1000000 bytes are needed"):
        one(zenodo, tmp_path)
    assert leftovers(tmp_path) == {"a.zip"}
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "*")
    assert one(zenodo, tmp_path, base_url=zenodo.url)[0].stat().st_size == 1_000_000
    assert len(zenodo.of("a.zip")) == 1


def test_a_disk_that_fills_up_on_the_way(zenodo: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_save", full)
    with pytest.raises(FetchError, match=rf"a.bin: .*No space left.*has {len(BODY)} bytes, \d+ are available"):
        one(zenodo, tmp_path)


def test_a_folder_that_cannot_be_written(zenodo: Standin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FetchError, match=r"file.sub: cannot be written.*--to"):
        one(zenodo, tmp_path / "file" / "sub")
    assert zenodo.of("a.bin") == []


def test_a_folder_in_the_place_of_a_file(zenodo: Standin, tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(FetchError, match=r"a\.bin"):
        one(zenodo, tmp_path)


def test_a_folder_of_another_name_is_not_mixed_up(zenodo: Standin, tmp_path: Path) -> None:
    one(zenodo, tmp_path)
    with pytest.raises(FetchError, match="holds 'one', expected 'tamrfsits-v2'"):
        fetch("tamrfsits-v2", to=tmp_path, retry=QUICK)


def test_one_fetch_per_folder_at_a_time(zenodo: Standin, tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(FetchError, match="another fetch"):
        one(zenodo, tmp_path)
    assert one(zenodo, tmp_path) == [tmp_path / "a.bin"]


def test_file_systems_without_locks_are_usable(
    zenodo: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lock, "_lock", unsupported)
    assert one(zenodo, tmp_path) == [tmp_path / "a.bin"]


def test_a_damaged_receipt_says_what_to_remove(zenodo: Standin) -> None:
    fetch("tamrfsits-v2", retry=QUICK)
    (cache_folder("tamrfsits-v2") / RECEIPT).write_text("{")
    with pytest.raises(FetchError, match=RECEIPT):
        local("tamrfsits-v2")


# --- files of one's own


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    folder = tmp_path / "usb"
    (folder / "hydra_config").mkdir(parents=True)
    (folder / CKPT).write_bytes(BODY)
    (folder / "hydra_config" / "config.yaml").write_bytes(CONFIG)
    (folder / "holiday.jpg").write_bytes(b"no")
    return folder


def test_a_local_folder_replaces_the_download(zenodo: Standin, by_hand: Path) -> None:
    folder = cache_folder("tamrfsits-v2")
    assert fetch("tamrfsits-v2", source=by_hand) == [folder / CKPT, folder / "hydra_config/config.yaml"]
    assert zenodo.seen == []
    assert resolve("tamrfsits-v2").read_bytes() == BODY
    assert (by_hand / CKPT).exists()
    (by_hand / CKPT).write_bytes(b"newer")
    fetch("tamrfsits-v2", source=by_hand)
    assert resolve("tamrfsits-v2").read_bytes() == b"newer"


def test_local_files_may_lie_in_place_already(zenodo: Standin, by_hand: Path, tmp_path: Path) -> None:
    archive = by_hand / "hydra_more.zip"
    archive.write_bytes(zip_from({"more/hydra.yaml": b"x"}))
    paths = fetch("tamrfsits-v2", source=by_hand, to=by_hand)
    assert by_hand / "more/hydra.yaml" in paths
    assert archive.exists()  # the user's own copy


def test_a_local_file(zenodo: Standin, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_from({"d/a": b"a"}))
    paths = one(zenodo, tmp_path / "to", source=tmp_path / "a.zip")
    assert paths == [tmp_path / "to/d/a"]
    assert (tmp_path / "a.zip").exists()


def test_local_files_are_compared_with_pinned_values(zenodo: Standin, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"other")
    entry = ONE_FILE.model_validate(ONE_FILE.model_dump() | {"known": {"a.bin": {"checksum": "md5:" + "3" * 32}}})
    with pytest.raises(FetchError, match="3" * 32):
        fetch(entry, to=tmp_path / "to", source=tmp_path / "a.bin")
    assert leftovers(tmp_path / "to") == set()


def test_a_source_that_cannot_be_read(by_hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> Iterator[bytes]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(transfer, "_pieces_of", forbidden)
    with pytest.raises(FetchError, match=rf"{CKPT}: cannot be read .*Permission denied"):
        fetch("tamrfsits-v2", source=by_hand, to=tmp_path / "to")


def test_sources_that_cannot_be_used(zenodo: Standin, by_hand: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing there"):
        fetch("tamrfsits-v2", source=tmp_path / "absent")
    with pytest.raises(InputError, match="lie in each other"):
        fetch("tamrfsits-v2", source=by_hand, to=by_hand / "sub")
    with pytest.raises(FetchError, match="no file matches"):
        fetch("tamrfsits-v2", source=by_hand / "holiday.jpg")


# --- where things lie


def test_cache_folder_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("SITSFUSION_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert cache_folder("x") == tmp_path / ".cache/sitsfusion/x"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("x") == tmp_path / "xdg/sitsfusion/x"
    monkeypatch.setenv("SITSFUSION_HOME", "~/own")
    assert cache_folder("x") == tmp_path / "own/x"


def test_resolve_prefers_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tamrfsits-v2").mkdir()
    assert resolve("tamrfsits-v2") == Path("tamrfsits-v2")
    assert resolve(str(tmp_path)) == tmp_path


def test_resolve_tells_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITSFUSION_HOME", str(tmp_path))
    assert local("tamrfsits-v1") is None
    with pytest.raises(InputError, match=r"sitsfusion fetch tamrfsits-v1 .*--set weights=PATH"):
        resolve("tamrfsits-v1")
    with pytest.raises(InputError, match=r"sitsfusion fetch ls2s2 .*its path"):
        resolve("ls2s2")
    with pytest.raises(InputError, match=r"'my.ckpt': found neither .*tamrfsits-v2"):
        resolve("my.ckpt")


def test_importing_makes_no_request_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "import sitsfusion.fetch as f\n"
        "f.available()\n"
        "print(sorted({'torch', 'rich', 'requests', 'rasterio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what a person must download


def test_what_no_program_can_download_says_how(zenodo: Standin, tmp_path: Path) -> None:
    with pytest.raises(
        FetchError, match=r"https://doi\.org/10\.6096/1029, then run: sitsfusion fetch ls2s2-myww --source"
    ):
        fetch("ls2s2-myww", retry=QUICK)
    with pytest.raises(FetchError, match=r"the authors' publication .*sitsfusion fetch tamrfsits-results --source"):
        fetch("tamrfsits-results", retry=QUICK)
    assert zenodo.seen == []
    copy = tmp_path / "copy" / "GAPS" / "tamrfsits"
    copy.mkdir(parents=True)
    (copy / "lr_metrics.csv").write_text("a table\n")
    (copy / "notes.txt").write_text("something else\n")
    (path,) = fetch("tamrfsits-results", source=tmp_path / "copy", retry=QUICK)
    assert path == cache_folder("tamrfsits-results") / "GAPS" / "tamrfsits" / "lr_metrics.csv"
    assert resolve("tamrfsits-results") == cache_folder("tamrfsits-results")


# --- who we are


def test_secrets_go_to_the_server_they_are_for(zenodo: Standin, tmp_path: Path) -> None:
    secret = {"Authorization": "Bearer secret"}
    with server.serving(Standin(records={"1": {"a.bin": BODY}})) as elsewhere:
        there = f"{elsewhere.url}/api/records/1/files/a.bin/content"
        here = f"{zenodo.url}/api/records/1/files/a.bin/content"
        zenodo.faults["a.bin"] = [server.redirect_to(there), server.redirect_to(here)]
        for name in ("first", "second"):
            source = FileSource(name, here, None, None, secret)
            bring(source, tmp_path / name, lambda done, total: None, QUICK)
            assert (tmp_path / name).read_bytes() == BODY
        assert [each.headers.get("Authorization") for each in elsewhere.seen] == [None]
    assert [each.headers.get("Authorization") for each in zenodo.seen] == ["Bearer secret"] * 3
    assert "secret" not in repr(source)
