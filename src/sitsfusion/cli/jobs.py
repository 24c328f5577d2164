"""Commands that plan and run jobs: fuse, plan, demo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sitsfusion.cli.app import Exit, Json, app, err, out, show_json, table
from sitsfusion.cli.options import JobOptions, shard_of, with_options

if TYPE_CHECKING:
    from sitsfusion.engine.job import Job
    from sitsfusion.engine.run import Outcome


@app.command()
@with_options(JobOptions)
def fuse(
    given: JobOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace another plan's results")] = False,
    shard: Annotated[str, typer.Option(help="I/N: every N-th tile from the I-th", show_default=False)] = "0/1",
    no_page: Annotated[bool, typer.Option("--no-page", help="leave out the HTML page")] = False,
    as_json: Json = False,
) -> None:
    """Fuse images: all bands at the dates asked for, cloud-free. Repeat to resume.

    Example: sitsfusion fuse fine=sentinel2 coarse=landsat --every 5d
    """
    from sitsfusion.api import execute
    from sitsfusion.cli.place import job_of, scene_of

    job = job_of(given, scene_of(given))
    parts = shard_of(shard)
    with _progress(quiet=as_json) as advance:
        outcome = execute(job, overwrite=overwrite, shard=parts, progress=advance)
    written = _page(job) if not no_page and parts[1] == 1 else None
    if as_json:
        show_json(_outcome(job, outcome, written))
    else:
        _print_outcome(job, outcome, written)
    if not outcome.complete:
        raise typer.Exit(Exit.TILES_FAILED)


@app.command()
@with_options(JobOptions)
def plan(
    given: JobOptions,
    no_measure: Annotated[bool, typer.Option("--no-measure", help="do not time a small tile")] = False,
    as_json: Json = False,
) -> None:
    """Say what `fuse` would do with the same options, and what it would cost.

    Example: sitsfusion plan scene.yaml --every 5d --method naive
    """
    from sitsfusion.cli.place import job_of, scene_of
    from sitsfusion.engine.job import check_disk
    from sitsfusion.engine.timing import estimate_seconds

    job = job_of(given, scene_of(given))
    seconds = None if no_measure else estimate_seconds(job)
    check_disk(job)
    if as_json:
        show_json(_planned(job, seconds))
    else:
        _print_plan(job, seconds)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="where everything is written")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="of the made-up landscape")] = 0,
    size: Annotated[int, typer.Option(help="side in 10 m pixels, a multiple of 3")] = 120,
) -> None:
    """Make up a scene of which the truth is known, fuse it, show the errors and a page.

    Example: sitsfusion demo --out demo-output
    """
    from sitsfusion.demo import run_demo

    result = run_demo(folder, seed=seed, size=size, say=lambda text: out.print(text, markup=False, highlight=False))
    for title, headings, rows in result.tables:
        table(title, headings, rows)
    out.print(f"images:  {result.images}\npage:    {result.page}", markup=False, highlight=False)


class _progress:  # noqa: N801  (a context manager, used like a function)
    """A progress bar with rate and time left on a terminal; silent elsewhere."""

    def __init__(self, quiet: bool) -> None:
        shown = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(TextColumn("tiles"), *shown, *times, console=err, disable=quiet or not err.is_terminal)

    def __enter__(self) -> Callable[[Any, int, int], None]:
        self._bar.start()
        task = self._bar.add_task("tiles", total=None, rate="")

        def advance(marker: Any, finished: int, total: int) -> None:
            elapsed = self._bar.tasks[0].elapsed or 0
            rate = f"{finished / elapsed:.2f} tiles/s" if elapsed else ""
            self._bar.update(task, completed=finished, total=total, rate=rate)

        return advance

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _page(job: Job) -> Path | None:
    from sitsfusion.report.job_page import write_job_page

    return write_job_page(job)


def _planned(job: Job, seconds: float | None) -> dict[str, Any]:
    from sitsfusion.engine.store import plan_note

    bill = job.bill()
    return {**plan_note(job), **bill.__dict__, "seconds": seconds}


def _print_plan(job: Job, seconds: float | None) -> None:
    bill, tiles = job.bill(), job.tiles
    rows = [["scene", f"{job.scene.name}, {tiles.size[0]} x {tiles.size[1]} cells of {job.scene.cells.affine.a:g}"]]
    rows += [["day 0", str(job.scene.day_origin)]]
    for role, cube in job.scene.cubes.items():
        span = f"{cube.dates[0]} to {cube.dates[-1]}" if cube.dates else "none"
        rows.append([role, f"{cube.sensor.name}, {len(cube)} dates ({span}), bands {' '.join(cube.bands)}"])
    rows.append(["tiles", f"{len(tiles)} of {tiles.height} x {tiles.width} cells, {bill.tasks} tasks"])
    rows.append(["reads", f"{bill.bytes_read / 1e6:.1f} MB as stored"])
    rows.append(["writes", f"up to {bill.bytes_written / 1e6:.1f} MB to {job.output.folder}"])
    rows.append(["peak memory", f"{bill.peak_bytes / 2**20:.0f} MiB per worker, {job.resources.workers} worker(s)"])
    rows.append(["time", "not measured" if seconds is None else f"about {_duration(seconds)}"])
    rows.append(["plan", job.plan_id])
    rows += [["note", note] for note in job.plan.notes]
    table(f"{job.method.card.name}: {job.method.card.title}", ["", ""], rows)
    steps = []
    for step in job.plan.steps:
        inputs = ", ".join(
            f"{len(days)} {role} ({days[0]} to {days[-1]})" for role, days in step.inputs.items() if days
        )
        outputs = ", ".join(f"{role} at {len(q.dates)} date(s) from {q.dates[0]}" for role, q in step.query.items())
        steps.append([step.name, inputs or "no image", outputs])
    table("steps", ["step", "inputs", "outputs"], steps)
    _print_refused(job)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _outcome(job: Job, outcome: Outcome, page: Path | None) -> dict[str, Any]:
    return {
        **_planned(job, None),
        "resumed": outcome.resumed,
        "done": outcome.done,
        "failed": [{"task": m.task, "error": m.error} for m in outcome.failed],
        "folder": str(job.output.folder),
        "page": str(page) if page else None,
    }


def _print_outcome(job: Job, outcome: Outcome, page: Path | None) -> None:
    images = sum(len(q.dates) for q in job.query.values())
    lines = [f"{images} images in {job.output.folder} ({outcome.resumed} tile(s) were there already)"]
    lines += [f"page: {page}"] if page else []
    out.print("\n".join(lines), markup=False, highlight=False)
    _print_refused(job)
    for marker in outcome.failed:
        err.print(f"failed {marker.task}: {marker.error}", markup=False, highlight=False)
    if outcome.failed:
        err.print("the other tiles are written; correct the input and repeat the command", markup=False)


def _print_refused(job: Job) -> None:
    if job.plan.refused:
        rows = [[r.role, str(r.day), r.reason] for r in job.plan.refused]
        table("dates that cannot be predicted", ["role", "date", "reason"], rows)
