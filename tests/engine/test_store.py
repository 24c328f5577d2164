"""The job's folder: claimed once, replaced only if it is ours, everything in it whole."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from sitsfusion.api import execute
from sitsfusion.engine.files import claim_text, part_of, place_folder, read_json, write_text
from sitsfusion.engine.run import run_job
from sitsfusion.engine.store import Marker, Markers, open_folder
from sitsfusion.errors import InputError, PlanError, ReadError, WriteError
from tests.battery import outputs
from tests.engine.jobs import job
from tests.scenes import days

pytestmark = pytest.mark.smoke
OTHER = days(3)


def test_a_folder_is_claimed_once_and_found_again(tmp_path: Path) -> None:
    made = job(tmp_path / "a" / "b")
    assert open_folder(made) is False
    note = json.loads((tmp_path / "a" / "b" / "plan.json").read_text())
    assert note["plan_id"] == made.plan_id
    assert note["tiles"] == {"rows": 3, "columns": 5, "cells": [16, 16]}
    assert note["steps"] == [{"name": "s000", "dates": {"coarse": ["2022-01-03", "2022-01-07"]}}]
    assert open_folder(made) is True


def test_results_of_another_plan_are_not_touched(tmp_path: Path) -> None:
    run_job(job(tmp_path), shard=(0, 15))
    before = outputs(tmp_path)
    other = job(tmp_path, dates=OTHER)
    with pytest.raises(
        PlanError, match=r"holds the results of another plan \(\w+, this one is \w+\).*--overwrite to replace"
    ):
        run_job(other)
    assert outputs(tmp_path) == before


def test_overwriting_removes_what_we_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    execute(job(folder))
    (folder / "notes.txt").write_text("mine")
    (folder / "photos").mkdir()
    (folder / "photos" / "field.jpg").write_text("mine too")
    (folder / "index.html").write_text("page of the old plan")
    execute(job(folder, dates=OTHER), overwrite=True)
    execute(job(tmp_path / "fresh", dates=OTHER))
    kept = outputs(folder)
    assert kept.pop("notes.txt")
    assert kept.pop("photos/field.jpg")
    assert kept == outputs(tmp_path / "fresh")


def test_overwriting_the_same_plan_resumes_it(tmp_path: Path) -> None:
    run_job(job(tmp_path), shard=(0, 3))
    assert run_job(job(tmp_path), overwrite=True).resumed == 5


def test_one_shard_may_not_overwrite(tmp_path: Path) -> None:
    run_job(job(tmp_path), shard=(0, 15))
    with pytest.raises(InputError, match="one shard must not remove what the others write"):
        run_job(job(tmp_path, dates=OTHER), overwrite=True, shard=(0, 2))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(
        PlanError, match=r"is not empty \(thesis.tex, ...\) and holds no plan of ours; choose another --out"
    ):
        run_job(job(tmp_path), overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "{", '{"plan_id": "of a project manager"}', "[1]"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_plan_that_is_not_ours_is_not_touched(tmp_path: Path, text: str, overwrite: bool) -> None:
    (tmp_path / "plan.json").write_text(text)
    (tmp_path / "work").mkdir()
    with pytest.raises(PlanError, match=r"plan.json is not a plan of ours, or damaged: nothing is touched"):
        run_job(job(tmp_path), overwrite=overwrite)
    assert {p.name for p in tmp_path.iterdir()} == {"plan.json", "work"}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(tmp_path / "out")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(PlanError, match="out cannot be made: Permission denied; choose another --out"):
        run_job(made)


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(
        WriteError, match=r"plan.json cannot be written: Permission denied; free disk space or use another"
    ):
        run_job(job(tmp_path / "out"))


def test_of_many_that_claim_a_file_at_once_one_wins(tmp_path: Path) -> None:
    path, start, won = tmp_path / "plan.json", threading.Barrier(8), []

    def claim(n: int) -> None:
        start.wait()
        if claim_text(path, f"process {n}"):
            won.append(n)

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert path.read_text() == f"process {won[0]}"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_without_hard_links_a_file_is_still_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("sitsfusion.engine.files.os.link", unsupported)
    assert claim_text(tmp_path / "plan.json", "text")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("plan.json", "text")]


def test_text_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.json"
    write_text(path, "first")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(WriteError, match=r"note.json cannot be written: No space left on device"):
            write_text(path, "second")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("note.json", "first")]


def test_a_folder_that_another_process_placed_first_stays(tmp_path: Path) -> None:
    final = tmp_path / "prediction.zarr"
    for name in ("first", "second"):
        part = part_of(final)
        part.mkdir()
        (part / name).write_text("")
        place_folder(part, final)
    assert [p.name for p in tmp_path.iterdir()] == ["prediction.zarr"]
    assert [p.name for p in final.iterdir()] == ["first"]
    with pytest.raises(OSError, match="No such file"):
        place_folder(tmp_path / "absent", tmp_path / "other")


def test_json_that_may_not_be_read_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_json(tmp_path / "absent.json") is None
    (tmp_path / "note.json").write_text("[]")
    assert read_json(tmp_path / "note.json") is None

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(ReadError, match=r"note.json cannot be read .Permission denied.; check its permissions"):
        read_json(tmp_path / "note.json")


def test_markers_come_back_as_they_were(tmp_path: Path) -> None:
    made = job(tmp_path)
    open_folder(made)
    markers = Markers(made)
    marker = Marker("s000_r000c000", made.plan_id, "done", "abc", {"coarse": {"mean": [0.1]}}, ("coarse",), 1.5, 10)
    markers.write(marker)
    assert markers.read("s000_r000c000") == marker
    assert markers.read("s000_r000c001") is None
