"""Commands for public data sets: `sitsfusion dataset ...`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from sitsfusion.cli.app import Json, out, show_json, table
from sitsfusion.cli.options import values
from sitsfusion.errors import InputError, WriteError

dataset = typer.Typer(
    name="dataset",
    help="LS2S2 sites: list them, look at them, measure their bands (`download` makes them).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class View(StrEnum):
    """What `look` can write."""

    COLOURS = "colours"
    THERMAL = "thermal"
    PATCH = "patch"


Sites = Annotated[list[Path], typer.Argument(help="folders of LS2S2 sites", show_default=False)]


@dataset.command()
def statistics(
    sites: Sites,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE of Ls2s2DataConfig", show_default=False)
    ] = None,
    patches: Annotated[int, typer.Option(help="at most this many, chosen at random", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="of that choice")] = 42,
    deviation: Annotated[
        Literal["within", "overall"], typer.Option(help="within patches (TAMRFSITS 2.0.0), or of all pixels (1.0.0)")
    ] = "within",
    name: Annotated[str, typer.Option(help="of the set in the YAML file")] = "mine",
    file: Annotated[Path | None, typer.Option("--out", help="YAML file to write", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Means and standard deviations of the clear pixels of each band, to standardise a network with.

    Units: reflectance, kelvin / 1000.

    Example: sitsfusion dataset statistics data/train/* --out mine.yaml
    """
    from sitsfusion.datasets.ls2s2_module import training_statistics
    from sitsfusion.datasets.statistics import to_yaml

    found = training_statistics(_config(sites, {**values(set_, "--set"), "seed": seed}), patches)
    lists = found.standardisation(deviation)
    if file is not None:
        _write(file, to_yaml(name, found, deviation))
    if as_json:
        show_json({"counts": {"lr": found.lr.count, "hr": found.hr.count}, "deviation": deviation, **lists})
        return
    for side, side_found in (("lr", found.lr), ("hr", found.hr)):
        rows = [
            [str(band), f"{mean:.6f}", f"{std:.6f}"]
            for band, (mean, std) in enumerate(zip(lists[f"{side}_mean"], lists[f"{side}_std"], strict=True))
        ]
        table(f"{side}: {side_found.count} pixels of {side_found.batches} patches", ["band", "mean", "std"], rows)


def _config(sites: list[Path], fields: dict[str, Any]) -> Any:
    from sitsfusion.datasets.ls2s2_module import Ls2s2DataConfig

    try:
        return Ls2s2DataConfig.model_validate(
            {"training_sites": sites, "train_ratio": 1.0, "validation_ratio": 0.0, **fields}
        )
    except ValidationError as error:
        raise InputError(f"--set: {error}") from error


@dataset.command()
def look(
    site: Annotated[Path, typer.Argument(help="folder of an LS2S2 site", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="folder for the images", show_default=False)],
    only: Annotated[
        list[View] | None,
        typer.Option(help="figures in natural colours, of temperature, or GeoTIFFs of a patch", show_default="all"),
    ] = None,
    patch_size: Annotated[float, typer.Option(help="side of the patch in the south-west corner, m")] = 1650,
) -> None:
    """Figures of all dates of a site, and every date of one of its patches as GeoTIFFs.

    Example: sitsfusion dataset look data/test/31TCJ_12 looked --only colours
    """
    from sitsfusion.datasets import ls2s2_look

    wanted = only or list(View)
    files: list[Path] = []
    if View.COLOURS in wanted:
        files += [
            ls2s2_look.colour_synopsis(site, folder, "landsat"),
            ls2s2_look.colour_synopsis(site, folder, "sentinel2"),
        ]
    if View.THERMAL in wanted:
        files.append(ls2s2_look.thermal_synopsis(site, folder))
    if View.PATCH in wanted:
        written = ls2s2_look.export_patch(site, folder, patch_size)
        out.print(f"{len(written)} images in {folder / 'lr'} and {folder / 'hr'}", markup=False, highlight=False)
    for file in files:
        out.print(str(file), markup=False, highlight=False)


@dataset.command()
def sites(
    split: Annotated[Literal["train", "test"] | None, typer.Option(help="only these", show_default=False)] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="write <name>.json of each site here", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the 105 sites of LS2S2 1.0.0 (name, box, dates), or write their descriptions.

    Example: sitsfusion dataset sites --split test --out aois
    """
    from sitsfusion.datasets.ls2s2_splits import aois

    found = aois(split)
    if folder is not None:
        for name, aoi in found.items():
            _write(folder / f"{name}.json", aoi.model_dump_json() + "\n")
        out.print(f"{len(found)} descriptions in {folder}", markup=False, highlight=False)
    elif as_json:
        show_json([aoi.model_dump(mode="json") for aoi in found.values()])
    else:
        rows = [
            [name, aoi.crs, *(f"{edge:.0f}" for edge in aoi.aoi), f"{aoi.start_date}", f"{aoi.end_date}"]
            for name, aoi in found.items()
        ]
        table("", ["site", "crs", "left", "bottom", "right", "top", "from", "before"], rows)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise WriteError(f"{file} cannot be written ({error})") from error
