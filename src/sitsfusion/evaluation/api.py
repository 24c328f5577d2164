"""`evaluate`: run methods on cases, and write tables, figures and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sitsfusion.engine.files import write_text
from sitsfusion.errors import InputError, MissingExtraError
from sitsfusion.evaluation.cases import Work
from sitsfusion.evaluation.figures import write_figures
from sitsfusion.evaluation.image_cost import measure_costs
from sitsfusion.evaluation.paper import write_paper
from sitsfusion.evaluation.published import beside, read_published
from sitsfusion.evaluation.report import published_section, write_report
from sitsfusion.evaluation.results import Result, read_results
from sitsfusion.evaluation.runner import DEFAULTS, Progress, run
from sitsfusion.evaluation.settings import MethodSpec, Settings
from sitsfusion.evaluation.sites import PlaceSite, SceneSite, Site
from sitsfusion.evaluation.suite import StrategyEntry
from sitsfusion.evaluation.tables import as_csv, summarise, write_tables
from sitsfusion.scene import Scene

Place = str | Path | Scene | Site


@dataclass(frozen=True)
class Evaluation:
    """What came of a run.

    Attributes:
        results: of every method on every case, refused ones with the reason.
        out: folder of all files.
        report: the page to read.
        files: tables and figures by name.
    """

    results: tuple[Result, ...]
    out: Path
    report: Path
    files: Mapping[str, Path]

    def summary(self) -> list[dict[str, Any]]:
        """Mean scores per strategy, reference, kind of days, band group and method, with intervals over sites; the
        columns of `summary.csv`.
        """
        return summarise(self.out).rows()


def evaluate(
    places: Place | Sequence[Place],
    strategies: str | Sequence[str | StrategyEntry] = "GAPS",
    methods: Sequence[str | MethodSpec] = ("naive", "tamrfsits"),
    *,
    out: str | Path,
    settings: Settings = DEFAULTS,
    workers: int = 1,
    progress: Progress | None = None,
    **case: Any,
) -> Evaluation:
    """Hide images of places, let methods predict them, score the predictions. A repeated call goes on.

    Args:
        places: scenes, or what `open_scene` opens, or sites (`evaluation.sites`: with known truth).
        strategies: published names, "LEAVE_ONE_OUT", or entries with options.
        methods: names, or `MethodSpec` with options.
        out: folder of results, tables, figures and report.
        settings: margin, metrics, what else is written, resources.
        workers: processes; each takes one place after the other.
        progress: called after each method of each case.
        **case: origin, seed, min_clear, max_dates, patch of `Case`.

    Raises:
        InputError: an unknown strategy, method or option, nothing to run.
        WriteError: the disk is full.
    """
    several = [places] if isinstance(places, str | Path | Scene) or not isinstance(places, Sequence) else places
    listed = [strategies] if isinstance(strategies, str) else strategies
    unknown = sorted(set(case) - {"origin", "seed", "min_clear", "max_dates", "patch"})
    if unknown:
        raise InputError(f"evaluate has no {', '.join(unknown)}; cases have origin, seed, min_clear, max_dates, patch")
    entries = [one if isinstance(one, StrategyEntry) else StrategyEntry(name=one) for one in listed]
    cases = [entry.work(site=_site(place), **case) for place in several for entry in entries]
    specs = [MethodSpec(one) if isinstance(one, str) else one for one in methods]
    return conduct(cases, specs, Path(out), settings, workers=workers, progress=progress)


def conduct(
    cases: Sequence[Work],
    specs: Sequence[MethodSpec],
    out: Path,
    settings: Settings,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    progress: Progress | None = None,
    title: tuple[str, str] = ("Evaluation", ""),
    published: Path | None = None,
) -> Evaluation:
    """Run, then write tables, figures and the report (of all results in the folder, also those of other shards).

    Arguments are those of `run`; `title` is that of the report, and what it is about; `published` is a folder of
    published tables that are set beside ours (`published.csv`).

    Raises:
        SitsFusionError: as `run`.
    """
    results = run(cases, specs, out, settings, shard=shard, workers=workers, progress=progress)
    if settings.costs:
        measure_costs(cases, specs, results, out, settings)
    files = dict(write_tables(out))
    files |= {str(file.relative_to(out)): file for file in write_paper(out)}
    try:
        figures = write_figures(out)
    except MissingExtraError:  # the report says that they are missing, and why
        figures = []
    files |= {str(one.file.relative_to(out)): one.file for one in figures}
    section = ""
    if published is not None:
        rows = beside((row for one in read_results(out) for row in one.tidy()), read_published(published))
        files["published.csv"] = out / "published.csv"
        write_text(files["published.csv"], as_csv(rows))
        section = published_section(rows)
    report = write_report(out, *title, figures, section)
    return Evaluation(tuple(results), out, report, files)


def _site(place: Place) -> Site:
    if isinstance(place, Scene):
        return SceneSite(place)
    return PlaceSite(Path(place)) if isinstance(place, str | Path) else place
