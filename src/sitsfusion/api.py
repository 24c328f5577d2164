"""The two calls that most users need: `plan` and `fuse`."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sitsfusion import methods
from sitsfusion.dates import parse_dates
from sitsfusion.doctor import check_radiometry
from sitsfusion.engine.finalise import finalise
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.run import Outcome, Progress, run_job
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.errors import InputError, RunError
from sitsfusion.io import open_scene
from sitsfusion.methods.base import Method
from sitsfusion.prediction import Prediction, open_prediction
from sitsfusion.query import Query, query_of
from sitsfusion.scene import Scene

Place = str | Path | Scene
Dates = str | Sequence[date] | Query


@dataclass(frozen=True)
class Wanted:
    """What is wanted beyond the dates; see `query_of`."""

    roles: Sequence[str] | None = None
    bands: Mapping[str, Sequence[str]] | None = None
    resolution: float | None = None


def plan(
    place: Place,
    dates: Dates,
    method: str | Method = "tamrfsits",
    *,
    output: OutputSpec,
    wanted: Wanted = Wanted(),
    resources: Resources = Resources(),
    check: bool = True,
    **options: Any,
) -> Job:
    """Decide everything about a job and write nothing.

    Args:
        place: a scene, or what `open_scene` opens.
        dates: a text as on the command line ("2022-01-01/2022-12-31/5d", "inputs", ...), dates, or a full query.
        method: a name or an instance.
        output: where and how to write.
        wanted: roles, bands and resolution, if not all bands of all images at the finest grid.
        resources: device, precision, workers, memory budget, tile size, seed.
        check: look at a small window of some images of each role and refuse numbers that are no reflectances or
            kelvins (a scale or offset that was not applied).
        **options: of the method.

    Raises:
        SitsFusionError: the scene, the query, the method's needs or the budget do not fit; the message says how.
    """
    scene = place if isinstance(place, Scene) else open_scene(place)
    chosen = methods.make(method, options)
    if check:
        _refuse_absurd_numbers(scene)
    if chosen.card.needs_clear_share:
        scene = with_clear_shares(scene)
    return plan_job(scene, _query(scene, chosen, dates, wanted), chosen, output, resources)


def fuse(
    place: Place,
    dates: Dates,
    method: str | Method = "tamrfsits",
    *,
    out: str | Path | OutputSpec | None = None,
    wanted: Wanted = Wanted(),
    resources: Resources = Resources(),
    progress: Progress | None = None,
    check: bool = True,
    **options: Any,
) -> Prediction:
    """Fuse the images of a place: every band wanted, at every date, with quality layers and provenance.

    A folder `out` that holds a part of the same job is completed; one of another job is refused. Without `out` the
    results (float32) live in a temporary folder as long as the prediction does.

    Args:
        place: see `plan`, as for all that is not explained here.
        dates: wanted.
        method: name or instance.
        out: folder of the results, or a full `OutputSpec`.
        wanted: roles, bands, resolution.
        resources: of the machine.
        progress: called after each tile.
        check: refuse numbers that are no reflectances or kelvins.
        **options: of the method.

    Returns:
        Lazy cubes by role, refused dates with reasons, provenance.

    Raises:
        RunError: some tiles failed; the others are written and a repeated call runs only the failed ones.
        SitsFusionError: as `plan`.
    """
    temporary = _TemporaryFolder() if out is None else None
    if temporary is not None:
        spec = OutputSpec(temporary.path, format="zarr", encoding="float32")
    else:
        spec = out if isinstance(out, OutputSpec) else OutputSpec(Path(str(out)))
    job = plan(place, dates, method, output=spec, wanted=wanted, resources=resources, check=check, **options)
    outcome = execute(job, progress=progress)
    if not outcome.complete:
        first = outcome.failed[0]
        raise RunError(
            f"{len(outcome.failed)} tile(s) failed; the first, {first.task}: {first.error}. The others are in "
            f"{spec.folder}; correct the input and call again to run only these"
        )
    return open_prediction(spec.folder, keep=temporary)


class _TemporaryFolder:
    """A folder that goes with its last reference."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="sitsfusion-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def execute(
    job: Job, *, overwrite: bool = False, shard: tuple[int, int] = (0, 1), progress: Progress | None = None
) -> Outcome:
    """Run a planned job and, unless it is one shard of several, join and describe its results."""
    outcome = run_job(job, overwrite=overwrite, shard=shard, progress=progress)
    if shard[1] == 1:
        finalise(job)
    return outcome


def _refuse_absurd_numbers(scene: Scene) -> None:
    problems = [finding for finding in check_radiometry(scene) if finding.level == "error"]
    if problems:
        listed = "; ".join(f"{p.role}: {p.message} -> {p.remedy}" for p in problems)
        raise InputError(f"{listed} (`sitsfusion doctor` says more)")


def _query(scene: Scene, method: Method, dates: Dates, wanted: Wanted) -> Query:
    if isinstance(dates, Mapping):
        return dates
    days = parse_dates(dates, inputs=scene.dates()) if isinstance(dates, str) else tuple(dates)
    return query_of(
        scene, days, method.outputs(scene), roles=wanted.roles, bands=wanted.bands, resolution=wanted.resolution
    )
