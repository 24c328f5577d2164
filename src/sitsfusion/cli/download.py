"""Commands that make LS2S2 sites from an openEO service, step by step: `sitsfusion download ...`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from sitsfusion.cli.app import Exit, Json, err, out, show_json
from sitsfusion.errors import SitsFusionError

if TYPE_CHECKING:
    from sitsfusion.datasets.ls2s2_openeo import Outcome
    from sitsfusion.datasets.ls2s2_splits import Aoi
    from sitsfusion.fetch.transfer import Progress as Told

download = typer.Typer(
    name="download",
    help="Make LS2S2 sites from an openEO service: submit, download, extract, check. Every step can be repeated: what "
    "is there is kept. Exit code 1: something is not there yet, or failed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


Lines = tuple[bool, list[str]]  # whether a step went well, and what to say


class CubeName(StrEnum):
    """The cubes of a site."""

    SENTINEL2 = "sentinel2"
    LANDSAT = "landsat"
    LANDSAT_PAN = "landsat_pan"


Sites = Annotated[
    list[str], typer.Argument(help="descriptions (json), names of LS2S2 sites, `train` or `test`", show_default=False)
]
Root = Annotated[Path, typer.Option("--out", help="folder of the sites' folders", show_default=False)]
Only = Annotated[
    list[CubeName] | None, typer.Option(help="these cubes", show_default="sentinel2, landsat, landsat_pan")
]
Service = Annotated[str | None, typer.Option(help="address of the openEO service", show_default="VITO's, as published")]
Auth = Annotated[
    Literal["oidc", "basic"],
    typer.Option(help="oidc: browser, or $OPENEO_AUTH_METHOD; basic: $OPENEO_USERNAME, $OPENEO_PASSWORD"),
]


@download.command()
def submit(
    sites: Sites,
    root: Root,
    only: Only = None,
    max_cloud_cover: Annotated[float, typer.Option(help="of a product, percent", min=0, max=100)] = 75,
    failed: Annotated[bool, typer.Option("--failed", help="submit failed jobs again")] = False,
    override: Annotated[bool, typer.Option("--override", help="submit everything again")] = False,
    service: Service = None,
    auth: Auth = "oidc",
    as_json: Json = False,
) -> None:
    """Create and start the jobs that make the cubes of sites.

    Example: sitsfusion download submit 31TCJ_12 34TFS_24 --out data/test
    """
    from sitsfusion.datasets import ls2s2_openeo

    again: Literal["never", "failed", "always"] = "always" if override else "failed" if failed else "never"
    found, names = _sites(sites), _names(only)
    connection = ls2s2_openeo.connect(service or ls2s2_openeo.SERVICE, auth)
    _report(ls2s2_openeo.submit(connection, found, root, names, max_cloud_cover=max_cloud_cover, again=again), as_json)


@download.command("download")
def bring(
    sites: Sites,
    root: Root,
    only: Only = None,
    wait: Annotated[bool, typer.Option("--wait", help="until the service has made everything")] = False,
    poll: Annotated[float, typer.Option(help="seconds between two questions, with --wait", min=0)] = 60,
    override: Annotated[bool, typer.Option("--override", help="also what is there")] = False,
    service: Service = None,
    auth: Auth = "oidc",
    as_json: Json = False,
) -> None:
    """Bring the cubes that the service has made.

    Example: sitsfusion download download 31TCJ_12 34TFS_24 --out data/test --wait
    """
    from sitsfusion.datasets import ls2s2_openeo

    found, names = _sites(sites), _names(only)
    connection = ls2s2_openeo.connect(service or ls2s2_openeo.SERVICE, auth)
    with _bars() as progress:
        outcomes = ls2s2_openeo.download(
            connection, found, root, names, override=override, poll_s=poll if wait else None, progress=progress
        )
        _report(outcomes, as_json)


@download.command()
def extract(
    sites: Sites,
    root: Root,
    only: Only = None,
    min_clear: Annotated[float, typer.Option(help="least share of clear pixels of a date", min=0, max=1)] = 0.25,
    release: Annotated[Literal["1.0.0", "2.0.0"], typer.Option(help="whose Landsat masks")] = "2.0.0",
    quality: Annotated[bool, typer.Option("--quality", help="also write quality layers")] = False,
    override: Annotated[bool, typer.Option("--override", help="also cubes that were extracted before")] = False,
) -> None:
    """Turn cubes into the files of a site: images, masks and indices, which are made to agree (`clean`).

    Example: sitsfusion download extract 31TCJ_12 34TFS_24 --out data/test
    """
    from sitsfusion.datasets.ls2s2_extract import extract_site

    names = _names(only)

    def step(aoi: Aoi) -> Lines:
        done = extract_site(
            aoi, root / aoi.name, names, min_clear=min_clear, release=release, quality=quality, override=override
        )
        told = {name: f"{found.written} of {found.dates} dates are clear" for name, found in done.items()}
        return True, [f"{name}: {told.get(name, 'has an index, left as it is')}" for name in names]

    _each(_sites(sites), step)


@download.command()
def clean(sites: Sites, root: Root) -> None:
    """Make the Landsat indices of sites agree, and remove the dates that are of no use. `extract` does it too.

    Example: sitsfusion download clean 31TCJ_12 --out data/test
    """
    from sitsfusion.datasets.ls2s2_rows import clean as agree

    def step(aoi: Aoi) -> Lines:
        return True, [f"{len(agree(root / aoi.name))} dates removed"]

    _each(_sites(sites), step)


@download.command()
def check(sites: Sites, root: Root, only: Only = None) -> None:
    """Look whether sites are whole: every file there and of the right size, one patch read as training does.

    Example: sitsfusion download check 31TCJ_12 34TFS_24 --out data/test
    """
    from sitsfusion.datasets.ls2s2_check import check as examine

    def step(aoi: Aoi) -> Lines:
        found = examine(aoi, root / aoi.name, _names(only))
        whole = all(finding.level != "error" for finding in found)
        return whole, [f"{finding.level}: {finding.message}" for finding in found] or ["whole"]

    _each(_sites(sites), step)


def _sites(texts: list[str]) -> list[Aoi]:
    from sitsfusion.datasets.ls2s2_splits import find_aois

    return find_aois(texts)


def _names(only: list[CubeName] | None) -> list[Any]:
    return [name.value for name in CubeName if only is None or name in only]


def _each(aois: list[Aoi], step: Callable[[Aoi], Lines]) -> None:
    """Do a step for every site; a site that fails does not stop the others."""
    failed = 0
    for number, aoi in enumerate(aois, 1):
        try:
            with err.status(f"[{number}/{len(aois)}] {aoi.name}"):
                good, lines = step(aoi)
        except SitsFusionError as error:
            good, lines = False, [f"error: {error}"]
        failed += not good
        for line in lines:
            out.print(f"{aoi.name}: {line}", markup=False, highlight=False)
    if failed:
        err.print(f"{failed} of {len(aois)} sites failed", markup=False, highlight=False)
        raise typer.Exit(Exit.TILES_FAILED)


def _report(outcomes: Iterable[Outcome], as_json: bool) -> None:
    """Print outcomes as they come (as JSON: at the end), each cube's only when it changes."""
    last: dict[tuple[str, str], Outcome] = {}
    for outcome in outcomes:
        key = outcome.site, outcome.cube
        if last.get(key) != outcome and not as_json:
            out.print(
                f"{outcome.site} {outcome.cube}: {outcome.state}: {outcome.detail}", markup=False, highlight=False
            )
        last[key] = outcome
    if as_json:
        show_json([outcome.__dict__ for outcome in last.values()])
    if any(outcome.state in ("waiting", "failed") for outcome in last.values()):
        raise typer.Exit(Exit.TILES_FAILED)


@contextmanager
def _bars() -> Iterator[Callable[[str, str], Told] | None]:
    """One bar per cube that comes, on a terminal."""
    if not err.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Bars(*columns, console=err, transient=True) as bars:

        def begin(site: str, cube: str) -> Told:
            task = bars.add_task(f"{site} {cube}", total=None)

            def told(done: int, total: int | None) -> None:
                bars.update(task, completed=done, total=total)

            return told

        yield begin
