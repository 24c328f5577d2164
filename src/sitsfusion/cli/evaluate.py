"""Commands that compare methods: evaluate, benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sitsfusion.cli.app import Json, app, err, out, show_json
from sitsfusion.cli.options import values
from sitsfusion.errors import InputError

if TYPE_CHECKING:
    from sitsfusion.evaluation.cases import Case
    from sitsfusion.evaluation.results import Result
    from sitsfusion.evaluation.runner import MethodSpec, Settings

Folder = Annotated[Path, typer.Option("--out", help="gets results, tables and figures")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N")]
Memory = Annotated[float | None, typer.Option(help="budget in GiB", show_default=False)]
Threads = Annotated[int | None, typer.Option(help="CPU threads", show_default=False)]
Keep = Annotated[bool, typer.Option("--keep", help="keep the predicted images")]
Brisque = Annotated[Path | None, typer.Option(help="support vectors of BRISQUE", show_default=False)]


@app.command()
def evaluate(
    places: Annotated[list[Path], typer.Argument(help="scene.yaml, LS2S2 site, ...; one or more", show_default=False)],
    strategy: Annotated[list[str], typer.Option(help="GAPS, RANDOM, NOHR, ...; may be repeated")],
    methods: Annotated[str, typer.Option(help="comma-separated, see `methods`")] = "naive,tamrfsits",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="METHOD.OPTION=VALUE or STRATEGY.OPTION=VALUE", show_default=False)
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="day 0 of the strategy (default: January 1st)", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="of the strategy's draw")] = 42,
    margin: Annotated[int, typer.Option(help="pixels left out along the border", min=0)] = 30,
    min_clear: Annotated[float, typer.Option(help="least share of clear pixels of an image", min=0, max=1)] = 0.0,
    folder: Folder = Path("evaluation"),
    keep: Keep = False,
    brisque: Brisque = None,
    device: Device = "auto",
    memory: Memory = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Hide dates of your images, predict them, and score the predictions. Repeat to resume.

    Example: sitsfusion evaluate site --strategy GAPS --methods naive,tamrfsits --set GAPS.gap=60
    """
    from sitsfusion.dates import parse_day
    from sitsfusion.evaluation.cases import Case, strategy_of
    from sitsfusion.evaluation.runner import MethodSpec
    from sitsfusion.evaluation.sites import PlaceSite

    names = [name.strip() for name in methods.split(",") if name.strip()]
    options = _options(set_, [*names, *strategy])
    chosen = [(strategy_of(name), _strategy_options(options.get(name, {}))) for name in strategy]
    day = parse_day(origin) if origin else None
    cases = [
        Case(PlaceSite(place), one, given, origin=day, seed=seed, min_clear=min_clear)
        for place in places
        for one, given in chosen
    ]
    specs = [MethodSpec(name, options.get(name, {})) for name in names]
    _run(cases, specs, folder, _settings(margin, keep, brisque, (device, memory, threads)), (0, 1), as_json)


@app.command()
def benchmark(
    suite: Annotated[str | None, typer.Argument(help="name or YAML file of a suite", show_default=False)] = None,
    folder: Folder = Path("benchmark"),
    shard: Annotated[str, typer.Option(help="I/N: every N-th site from the I-th")] = "0/1",
    data: Annotated[Path | None, typer.Option(help="folder of the LS2S2 data set", show_default=False)] = None,
    site: Annotated[list[Path] | None, typer.Option(help="in place of the suite's sites", show_default=False)] = None,
    only: Annotated[str | None, typer.Option(help="comma-separated methods of the suite", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="show the suites and stop")] = False,
    keep: Keep = False,
    brisque: Brisque = None,
    device: Device = "auto",
    memory: Memory = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Run a suite: methods x strategies x sites, into tables and figures. Repeat to resume.

    Example: sitsfusion benchmark simulated --shard 0/4
    """
    from sitsfusion.evaluation.sites import PlaceSite
    from sitsfusion.evaluation.suite import packaged, read_suite, sites_of

    if list_:
        for name in packaged():
            out.print(f"{name}: {read_suite(name)[0].description}", markup=False, highlight=False)
        return
    if suite is None:
        raise InputError(f"no suite; give a YAML file or one of: {', '.join(packaged())}")
    found, base = read_suite(suite)
    sites = [PlaceSite(path) for path in site] if site else sites_of(found, base, data)
    settings = _settings(found.margin, keep, brisque, (device, memory, threads))
    _run(found.cases(sites), _only(found.specs(), only), folder, settings, _shard(shard), as_json)


def _run(
    cases: Sequence[Case],
    specs: Sequence[MethodSpec],
    folder: Path,
    settings: Settings,
    shard: tuple[int, int],
    as_json: bool,
) -> None:
    """Run, write tables and figures, say what came of it."""
    from sitsfusion.evaluation.runner import run
    from sitsfusion.evaluation.tables import write_tables

    def say(result: Result, resumed: bool) -> None:
        what = "was there already" if resumed else result.reason or f"done in {result.seconds:.0f} s"
        err.print(f"{result.case}, {result.method}: {what}", markup=False, highlight=False)

    results = run(cases, specs, folder, settings, shard=shard, progress=None if as_json else say)
    files = {name: str(file) for name, file in write_tables(folder).items()}
    figures = _figures(folder, as_json)
    counts = {status: sum(one.status == status for one in results) for status in ("done", "refused")}
    if as_json:
        show_json({**counts, "tables": files, "figures": figures})
        return
    out.print(f"{counts['done']} results, {counts['refused']} refused; read {files['summary.md']}", markup=False)
    if figures:
        out.print(f"{len(figures)} figures in {folder / 'figures'}", markup=False)


def _figures(folder: Path, quiet: bool) -> list[str]:
    from sitsfusion.errors import MissingExtraError
    from sitsfusion.evaluation.figures import write_figures

    try:
        return [str(file) for file in write_figures(folder)]
    except MissingExtraError as error:
        if not quiet:
            err.print(f"no figures: {error}", markup=False, highlight=False)
        return []


def _settings(margin: int, keep: bool, brisque: Path | None, machine: tuple[str, float | None, int | None]) -> Settings:
    from sitsfusion.engine.job import Resources
    from sitsfusion.evaluation.runner import Settings

    device, memory, threads = machine
    budget = None if memory is None else int(memory * 2**30)
    return Settings(margin, keep, brisque, Resources(device=device, memory=budget, threads=threads))


def _options(texts: Sequence[str] | None, known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """NAME.OPTION=VALUE by name."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in values(texts, "--set").items():
        name, dot, option = key.partition(".")
        if not dot or name not in known:
            raise InputError(f"--set {key!r} does not begin with a chosen method or strategy: {', '.join(known)}")
        found.setdefault(name, {})[option] = value
    return found


def _strategy_options(given: Mapping[str, Any]) -> Any:
    from pydantic import ValidationError

    from sitsfusion.strategies import StrategyOptions

    try:
        return StrategyOptions.model_validate(given)
    except ValidationError as error:
        known = ", ".join(StrategyOptions.model_fields)
        raise InputError(f"strategy options {dict(given)} do not fit: {error}; the options are {known}") from error


def _only(specs: Sequence[MethodSpec], names: str | None) -> Sequence[MethodSpec]:
    if names is None:
        return specs
    wanted = [name.strip() for name in names.split(",")]
    labels = [spec.label for spec in specs]
    unknown = [name for name in wanted if name not in labels]
    if unknown:
        raise InputError(f"the suite has no {', '.join(unknown)}; it has {', '.join(labels)}")
    return [spec for spec in specs if spec.label in wanted]


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not slash or not index.isdigit() or not count.isdigit():
        raise InputError(f"--shard {text!r} is not of the form I/N, such as 0/4")
    return int(index), int(count)
