"""Commands that compare methods: evaluate, benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sitsfusion.cli.app import app, err, out, show_json, table
from sitsfusion.cli.options import shard_of, values, with_options
from sitsfusion.errors import InputError

if TYPE_CHECKING:
    from sitsfusion.evaluation.api import Evaluation
    from sitsfusion.evaluation.cases import Patch, Work
    from sitsfusion.evaluation.results import Result
    from sitsfusion.evaluation.settings import MethodSpec, Metrics, Settings
    from sitsfusion.evaluation.sites import Site


@dataclass(frozen=True)
class RunOptions:
    """How cases are run, and what is written."""

    folder: Annotated[Path, typer.Option("--out", help="gets results, tables, figures, report")] = Path("evaluation")
    margin: Annotated[int | None, typer.Option(help="pixels left out at the border", min=0, show_default=False)] = None
    metrics: Annotated[
        Literal["all", "paper", "none"] | None, typer.Option(help="paper: only the published ones", show_default=False)
    ] = None
    invert_masks: Annotated[bool, typer.Option("--invert-masks", help="score masked pixels, not clear ones")] = False
    published: Annotated[bool, typer.Option("--published", help="with the faults of the published tool")] = False
    brisque: Annotated[Path | None, typer.Option(help="support vectors of BRISQUE", show_default=False)] = None
    images: Annotated[bool, typer.Option("--images", help="GeoTIFFs under the published names")] = False
    animations: Annotated[bool, typer.Option("--animations", help="an HTML animation per site")] = False
    costs: Annotated[bool, typer.Option("--costs", help="measure what an image of each method costs")] = False
    keep: Annotated[bool, typer.Option("--keep", help="keep the predictions as they are")] = False
    width: Annotated[float | None, typer.Option(help="only a square of so many metres", show_default=False)] = None
    patch: Annotated[int, typer.Option(help="which one: 0 south-west, row by row northwards", min=0)] = 0
    shard: Annotated[str, typer.Option(help="I/N: every N-th site from the I-th")] = "0/1"
    workers: Annotated[int, typer.Option(help="sites at a time", min=1)] = 1
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N")] = "auto"
    memory: Annotated[float | None, typer.Option(help="budget in GiB, all workers", show_default=False)] = None
    threads: Annotated[int | None, typer.Option(help="CPU threads of each", show_default=False)] = None
    tile: Annotated[int | None, typer.Option(help="side of a tile, pixels", show_default=False)] = None
    beside: Annotated[Path | None, typer.Option(help="published tables to set beside", show_default=False)] = None
    profile: Annotated[bool, typer.Option("--profile", help="print how long each step took")] = False
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object for programs")] = False

    def settings(
        self, margin: int = 30, metrics: Metrics = "all", images: bool = False, costs: bool = False
    ) -> Settings:
        """Settings of a run; the arguments are what holds where no option was given."""
        from sitsfusion.engine.job import Resources
        from sitsfusion.evaluation.settings import Settings

        budget = None if self.memory is None else int(self.memory * 2**30) // self.workers
        return Settings(
            margin=margin if self.margin is None else self.margin,
            metrics=self.metrics or metrics,
            invert_masks=self.invert_masks,
            published=self.published,
            keep=self.keep,
            images=self.images or images,
            animations=self.animations,
            costs=self.costs or costs,
            brisque=self.brisque,
            resources=Resources(device=self.device, memory=budget, threads=self.threads, tile=self.tile),
        )

    def square(self) -> Patch | None:
        """The part of every site that is looked at."""
        from sitsfusion.evaluation.cases import Patch

        if self.width is None and self.patch:
            raise InputError(f"--patch {self.patch} needs --width, the side of the patches in metres")
        return None if self.width is None else Patch(self.width, self.patch)


@app.command()
@with_options(RunOptions)
def evaluate(
    given: RunOptions,
    places: Annotated[list[Path], typer.Argument(help="scene.yaml, LS2S2 site, ...; one or more", show_default=False)],
    strategy: Annotated[list[str], typer.Option(help="GAPS, RANDOM, ..., LEAVE_ONE_OUT; may be repeated")],
    methods: Annotated[str, typer.Option(help="comma-separated, see `methods`")] = "naive,tamrfsits",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="METHOD.OPTION=VALUE or STRATEGY.OPTION=VALUE", show_default=False)
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="day 0 of the strategy (default: January 1st)", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="of the strategy's draw")] = 42,
    min_clear: Annotated[float, typer.Option(help="least share of clear pixels of an image", min=0, max=1)] = 0.0,
    max_dates: Annotated[int | None, typer.Option(help="images per sensor, evenly thinned", show_default=False)] = None,
) -> None:
    """Hide dates of your images, predict them, and score the predictions. Repeat to resume.

    Example: sitsfusion evaluate site --strategy GAPS --methods naive,tamrfsits --set GAPS.gap=60
    """
    from sitsfusion.dates import parse_day
    from sitsfusion.evaluation.settings import MethodSpec
    from sitsfusion.evaluation.sites import PlaceSite

    names = [name.strip() for name in methods.split(",") if name.strip()]
    options = _options(set_, [*names, *strategy])
    case: dict[str, Any] = {"origin": parse_day(origin) if origin else None, "seed": seed, "min_clear": min_clear}
    case |= {"max_dates": max_dates, "patch": given.square()}
    entries = [_entry(name, options.get(name, {})) for name in strategy]
    cases = [entry.work(site=PlaceSite(place), **case) for place in places for entry in entries]
    specs = [MethodSpec(name, options.get(name, {})) for name in names]
    _run(given, cases, specs, given.settings(), ("Evaluation", f"{', '.join(strategy)} with {', '.join(names)}."))


@app.command()
@with_options(RunOptions)
def benchmark(
    given: RunOptions,
    suite: Annotated[str | None, typer.Argument(help="name or YAML file of a suite", show_default=False)] = None,
    data: Annotated[Path | None, typer.Option(help="folder of the LS2S2 data set", show_default=False)] = None,
    site: Annotated[list[Path] | None, typer.Option(help="in place of the suite's sites", show_default=False)] = None,
    simulated: Annotated[
        int | None, typer.Option(help="so many made-up sites in place of the suite's", min=1, show_default=False)
    ] = None,
    weights: Annotated[Path, typer.Option(help="folder that {weights} in a suite stands for")] = Path("weights"),
    only: Annotated[str | None, typer.Option(help="comma-separated methods of the suite", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="show the suites and stop")] = False,
) -> None:
    """Run a suite: methods x strategies x sites, into tables, figures and a report. Repeat to resume.

    Example: sitsfusion benchmark simulated --shard 0/4
    """
    from sitsfusion.evaluation.sites import PlaceSite
    from sitsfusion.evaluation.suite import SIMULATED_MARGIN, packaged, read_suite, simulated_twin, sites_of

    if list_:
        for name in packaged():
            out.print(f"{name}: {read_suite(name)[0].description}", markup=False, highlight=False)
        return
    if suite is None:
        raise InputError(f"no suite; give a YAML file or one of: {', '.join(packaged())}")
    suite = suite.removeprefix("suite=")
    if site and simulated:
        raise InputError("--site and --simulated both replace the suite's sites; give one of them")
    found, base = read_suite(suite)
    margin = min(found.margin, SIMULATED_MARGIN) if simulated else found.margin
    sites: Sequence[Site] = [PlaceSite(path) for path in site or ()]
    if not sites:
        sites = simulated_twin(simulated) if simulated else sites_of(found, base, data)
    settings = given.settings(margin, found.metrics, found.images, found.costs)
    specs = _only(found.specs(weights), only)
    _run(given, found.cases(sites, given.square()), specs, settings, (f"Benchmark {suite}", found.description))


@app.command()
def cost(
    file: Annotated[Path, typer.Option("--out", help="tab-separated table")] = Path("cost.csv"),
    tile: Annotated[int, typer.Option(help="side of the tile, coarse pixels", min=1)] = 55,
    inputs: Annotated[str, typer.Option(help="numbers of input images")] = "8,16,32,64,128",
    targets: Annotated[str, typer.Option(help="numbers of days asked for")] = "12,24",
    runs: Annotated[int, typer.Option(help="that are timed", min=1)] = 5,
    device: Annotated[str, typer.Option(help="cpu, cuda")] = "cpu",
) -> None:
    """Measure seconds and memory of TAMRFSITS by the number of images and days (random weights).

    Example: sitsfusion cost --inputs 8,16 --targets 12 --runs 1
    """
    from sitsfusion.engine.files import write_text
    from sitsfusion.evaluation.cost import CostOptions, cost_table
    from sitsfusion.evaluation.tables import as_csv

    rows = cost_table(CostOptions(tile, _numbers(inputs), _numbers(targets), runs, device))
    write_text(file, as_csv(rows, delimiter="\t"))
    table("", list(rows[0]), [[f"{value:.4g}" for value in row.values()] for row in rows])


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise InputError(f"{text!r} is not a list of whole numbers such as 8,16,32")
    return tuple(int(part) for part in text.split(","))


def _run(
    given: RunOptions, cases: Sequence[Work], specs: Sequence[MethodSpec], settings: Settings, title: tuple[str, str]
) -> None:
    """Run, write everything, say what came of it."""
    from sitsfusion.evaluation.api import conduct

    def say(result: Result, resumed: bool) -> None:
        what = "was there already" if resumed else result.reason or f"done in {result.seconds:.0f} s"
        err.print(f"{result.case}, {result.method}: {what}", markup=False, highlight=False)
        for step, seconds in result.timings.items() if given.profile else ():
            err.print(f"  {step}: {seconds:.3f} s", markup=False, highlight=False)

    how = {"shard": shard_of(given.shard), "workers": given.workers, "title": title, "published": given.beside}
    found = conduct(cases, specs, given.folder, settings, progress=None if given.as_json else say, **how)  # type: ignore[arg-type]
    counts = {status: sum(one.status == status for one in found.results) for status in ("done", "refused")}
    if given.as_json:
        files = {name: str(file) for name, file in found.files.items()}
        show_json({**counts, "report": str(found.report), "files": files})
        return
    _show_scores(found)
    out.print(f"{counts['done']} results, {counts['refused']} refused; read {found.report}", markup=False)


def _show_scores(found: Evaluation) -> None:
    """Mean scores of hidden, then of given days, over all images of each method."""
    rows = found.summary()
    for group, title in (("masked", "Hidden days"), ("clear", "Given days")):
        shown = [
            [row["strategy"], row["reference"], row["band_group"], row["method"]]
            + ["" if row.get(metric) is None else f"{row[metric]:.4f}" for metric in ("rmse", "sam", "frr", "brisque")]
            for row in rows
            if row["group"] == group
        ]
        if shown:
            table(title, ["strategy", "against", "bands", "method", "RMSE", "SAM", "FRR", "BRISQUE"], shown)


def _options(texts: Sequence[str] | None, known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """NAME.OPTION=VALUE by name."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in values(texts, "--set").items():
        name, dot, option = key.partition(".")
        if not dot or name not in known:
            raise InputError(f"--set {key!r} does not begin with a chosen method or strategy: {', '.join(known)}")
        found.setdefault(name, {})[option] = value
    return found


def _entry(name: str, options: Mapping[str, Any]) -> Any:
    """A strategy with options; `role` is that of the leave-one-out protocol."""
    from pydantic import ValidationError

    from sitsfusion.evaluation.cases import strategy_of
    from sitsfusion.evaluation.suite import LEAVE_ONE_OUT, StrategyEntry
    from sitsfusion.strategies import StrategyOptions

    if name != LEAVE_ONE_OUT:
        strategy_of(name)
    own = {key: value for key, value in options.items() if key != "role"}
    role = {"role": options["role"]} if "role" in options else {}
    try:
        return StrategyEntry(name=name, options=StrategyOptions.model_validate(own), **role)
    except ValidationError as error:
        known = ", ".join(StrategyOptions.model_fields)
        raise InputError(f"strategy options {dict(options)} do not fit: {error}; the options are {known}") from error


def _only(specs: Sequence[MethodSpec], names: str | None) -> Sequence[MethodSpec]:
    if names is None:
        return specs
    wanted = [name.strip() for name in names.split(",")]
    labels = [spec.label for spec in specs]
    unknown = [name for name in wanted if name not in labels]
    if unknown:
        raise InputError(f"the suite has no {', '.join(unknown)}; it has {', '.join(labels)}")
    return [spec for spec in specs if spec.label in wanted]
