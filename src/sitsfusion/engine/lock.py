"""One process per shard of a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sitsfusion.engine.files import WORK
from sitsfusion.errors import FetchError, PlanError
from sitsfusion.fetch.lock import sole_writer


@contextmanager
def sole_runner(folder: Path, part: str) -> Iterator[None]:
    """Hold one part of a job (a shard, the finalising); the system lets go when the process ends, however it ends.

    Raises:
        PlanError: another process holds the part.
    """
    place = folder / WORK / f"part-{part}.lock"
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_writer(place))
        except FetchError as error:
            raise PlanError(f"{folder}: another process is running this job ({part}); wait for its end") from error
        yield
