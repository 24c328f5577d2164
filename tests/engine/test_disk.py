"""A disk that fills up in the middle of a run."""

from __future__ import annotations

import errno
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sitsfusion.api import execute
from sitsfusion.engine.job import Job
from sitsfusion.engine.run import run_job
from sitsfusion.engine.store import Marker, Markers
from sitsfusion.errors import WriteError
from tests import kill
from tests.battery import outputs
from tests.engine.jobs import FORMATS, job


@pytest.mark.parametrize("kind", ["cog", "zarr"])
def test_a_disk_that_is_full_fails_tiles_and_is_told_of(
    tmp_path: Path, unbroken: Mapping[str, Path], kind: str
) -> None:
    """Files may not grow beyond some bytes: writing fails as it does on a full disk."""
    context = kill.forkserver()
    answers = context.Queue()
    child = context.Process(target=_run_on_a_full_disk, args=(job(tmp_path, spec=FORMATS[kind]), answers))
    child.start()
    failed: list[Marker] | str = answers.get(timeout=120)
    child.join(120)
    assert isinstance(failed, list), failed
    assert failed, "the limit should be below the size of the images"
    if kind == "cog":
        assert all("cannot be written" in m.error and "is the disk full" in m.error for m in failed)
    assert not list((tmp_path / "work").glob("**/*.part")), "nothing half-written"
    assert execute(job(tmp_path, spec=FORMATS[kind])).done >= len(failed)
    assert outputs(tmp_path) == outputs(unbroken[kind])


def _run_on_a_full_disk(made: Job, answers: Any) -> None:
    import torch

    torch.set_num_threads(1)
    try:
        run_job(made, shard=(14, 15))  # makes the store and the last, smallest tile
        limit = {"cog": 1800, "zarr": 700}[made.output.format]
        markers = []
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Markers, "write", lambda self, marker: markers.append(marker))
            run_job(made, shard=(0, 7))
        answers.put([m for m in markers if not m.complete])
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")


def test_a_marker_that_cannot_be_written_ends_the_run_and_keeps_what_is_done(
    tmp_path: Path, unbroken: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, count = Path.write_text, [0]

    def full(path: Path, *given: Any, **named: Any) -> int:
        count[0] += path.name.startswith("s000")
        if path.name.startswith("s000") and count[0] > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(
            WriteError, match=r"s000_r000c003.json cannot be written: No space left on device; free disk space"
        ):
            run_job(job(tmp_path))
    assert not list((tmp_path / "work").glob("*.part"))
    outcome = execute(job(tmp_path))
    assert (outcome.resumed, outcome.done) == (3, 12)
    assert outputs(tmp_path) == outputs(unbroken["cog"])
