"""Commands that prepare the data of U-TILISE: `sitsfusion detect-clouds`, `sitsfusion simulate-gaps`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sitsfusion.cli.app import app, out
from sitsfusion.cli.options import values
from sitsfusion.errors import InputError


@app.command("detect-clouds")
def detect_clouds(
    file: Annotated[Path, typer.Argument(help="HDF5 file of `convert sen12mscrts`", show_default=False)],
    clouds: Annotated[
        Path | None,
        typer.Option(help="cloud probabilities: ROI/TILE/S2/TIME/*_patch_N.tif below this folder", show_default=False),
    ] = None,
    s2cloudless: Annotated[
        bool, typer.Option("--s2cloudless", help="run the s2cloudless that you installed (CC BY-SA)")
    ] = False,
    max_days: Annotated[
        int | None, typer.Option(help="also list what ignore_seq_with_black_images needs", min=1, show_default=False)
    ] = None,
) -> None:
    """List the cloudy and the good frames of SEN12MS-CR-TS, in the file; add cloud masks where there are none.

    Example: sitsfusion detect-clouds data/val.hdf5 --clouds my_probabilities
    """
    from sitsfusion.datasets import sen12mscrts_clouds as module

    if s2cloudless and clouds is not None:
        raise InputError("--clouds and --s2cloudless are two sources of one thing: give one of them")
    detector = module.S2Cloudless() if s2cloudless else module.CloudFiles(clouds) if clouds is not None else None
    done = module.detect_clouds(file, detector, max_days=max_days)
    told = f"{done.samples} patches, {done.usable} of them usable, {done.new_masks} with new cloud masks"
    out.print(f"{file}: {told}", markup=False, highlight=False)


@app.command("simulate-gaps")
def simulate_gaps(
    config: Annotated[Path, typer.Argument(help="YAML file with sections data and mask", show_default=False)],
    destination: Annotated[Path, typer.Argument(metavar="OUT", help="HDF5 file", show_default=False)],
    ratio_masked: Annotated[
        float | None, typer.Option(help="share of the frames that get a gap", min=0, max=1, show_default="the file's")
    ] = None,
    ratio_fully_masked: Annotated[
        float | None, typer.Option(help="share that is hidden whole", min=0, max=1, show_default="the file's")
    ] = None,
    split: Annotated[str | None, typer.Option(help="of the data set", show_default="the file's")] = None,
    seed: Annotated[int | None, typer.Option(help="of all that is drawn", show_default="misc.random_seed")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="SECTION.KEY=VALUE of the file", show_default=False)
    ] = None,
) -> None:
    """Write sequences with simulated gaps, for validation or test. An existing file gets further masks.

    Example: sitsfusion simulate-gaps earthnet2021_val.yaml data/val_simulation.hdf5 --set data.root=data
    """
    from sitsfusion.datasets.utilise_config import read_config
    from sitsfusion.datasets.utilise_data import simulate_file

    changes = values(set_, "--set") | {
        "mask.ratio_masked_frames": ratio_masked,
        "mask.ratio_fully_masked_frames": ratio_fully_masked,
        "data.split": split,
        "misc.random_seed": seed,
    }
    found = read_config(config, defaults=False, changes=changes)
    if found.mask is None:
        raise InputError(f"{config} has no section mask, which says how gaps are simulated")
    done = simulate_file(found.data, found.mask, destination, seed=found.seed)
    out.print(f"{done.file}: {done.samples} sequences, gaps in {done.group}", markup=False, highlight=False)
