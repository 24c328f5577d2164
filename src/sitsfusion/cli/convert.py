"""Commands that turn archives of public data sets into what training reads: `sitsfusion convert ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sitsfusion.cli.app import out

convert = typer.Typer(
    name="convert",
    help="Turn the archives of a public data set, as distributed, into the files that training reads.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@convert.command()
def earthnet2021(
    source: Annotated[Path, typer.Argument(help="folder with train/, iid_test_split/, ...", show_default=False)],
    destination: Annotated[Path, typer.Argument(metavar="OUT", help="folder of the HDF5 file", show_default=False)],
    split: Annotated[Literal["train", "iid", "ood", "extreme", "seasonal"], typer.Option(help="which archive")],
    mode: Annotated[
        Literal["train", "val", "all"], typer.Option(help="of split train: tiles of training, of validation, or all")
    ] = "all",
) -> None:
    """EarthNet2021: one HDF5 file per split, with the cloudy frames listed.

    Example: sitsfusion convert earthnet2021 EarthNet2021 data --split train --mode val
    """
    from sitsfusion.datasets.earthnet2021_convert import convert_earthnet2021

    done = convert_earthnet2021(source, destination, split, mode)
    out.print(f"{done.file}: {done.samples} cubes, {done.usable} of them usable", markup=False, highlight=False)


@convert.command()
def sen12mscrts(
    source: Annotated[Path, typer.Argument(help="folder with ROIs1158/, ROIs1868/, ...", show_default=False)],
    destination: Annotated[Path, typer.Argument(metavar="OUT", help="folder of the HDF5 file", show_default=False)],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="which tiles")],
    region: Annotated[list[str] | None, typer.Option(help="only these ROIs", show_default="all")] = None,
    sar: Annotated[bool, typer.Option("--sar/--no-sar", help="with the Sentinel-1 images")] = True,
) -> None:
    """SEN12MS-CR-TS: one HDF5 file per split. Run `sitsfusion detect-clouds` on it next.

    Example: sitsfusion convert sen12mscrts SEN12MSCRTS data --split test --no-sar
    """
    from sitsfusion.datasets.sen12mscrts_convert import convert_sen12mscrts

    done = convert_sen12mscrts(source, destination, split, regions=region, sar=sar)
    lacking = f"; not found: {', '.join(done.missing)}" if done.missing else ""
    out.print(f"{done.file}: {done.samples} patches{lacking}", markup=False, highlight=False)


@convert.command()
def breizhsr(
    root: Annotated[
        Path, typer.Argument(help="folder with dataset_train.pkl and dataset_test.pkl", show_default=False)
    ],
    max_views: Annotated[int, typer.Option(help="Sentinel-2 images kept of each site")] = 8,
    order: Annotated[
        Literal["closest", "stored"], typer.Option(help="which: closest in time, or the first stored, as published")
    ] = "closest",
    prepared: Annotated[
        bool, typer.Option("--prepared", help="the published preprocessing was run already: only list its files")
    ] = False,
) -> None:
    """BreizhSR: the tensors of the published preprocessing, below ROOT/preprocessed.

    Example: sitsfusion convert breizhsr BreizhSR --max-views 8
    """
    from sitsfusion.datasets.breizhsr_convert import convert_breizhsr, list_prepared

    done = list_prepared(root) if prepared else convert_breizhsr(root, max_views=max_views, order=order)
    out.print(f"{root}: {done.sites} sites", markup=False, highlight=False)
    if done.views_left_out:
        out.print(f"{done.views_left_out} Sentinel-2 images of another size than their site were left out")
    for why in done.left_out:
        out.print(f"left out: {why}", markup=False, highlight=False)
