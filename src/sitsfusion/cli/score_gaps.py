"""The command that scores gap filling on sequences with simulated gaps: `sitsfusion score-gaps`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sitsfusion.cli.app import app, out, table
from sitsfusion.cli.options import values


@app.command("score-gaps")
def score_gaps(
    config: Annotated[list[Path], typer.Argument(help="YAML files with data and mask, laid over each other")],
    weights: Annotated[
        list[str] | None, typer.Option(help="U-TILISE weights: name, folder or .pth", show_default=False)
    ] = None,
    phase: Annotated[Literal["train", "val", "test"], typer.Option(help="part of the data set")] = "test",
    limit: Annotated[int | None, typer.Option(help="only so many sequences", min=1, show_default="all")] = None,
    window: Annotated[
        int | None, typer.Option(help="frames seen together", min=4, show_default="as the weights")
    ] = None,
    ignore_nan: Annotated[bool, typer.Option("--ignore-nan", help="leave undefined numbers out of means")] = False,
    csv: Annotated[Path | None, typer.Option(help="also write the table here", show_default=False)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="SECTION.KEY=VALUE of the files", show_default=False)
    ] = None,
) -> None:
    """Fill simulated gaps by weights, by copies and by interpolation, and score them by set of pixels.

    Example: sitsfusion score-gaps earthnet2021_iid.yaml --weights utilise-earthnet2021 --csv scores.csv
    """
    from sitsfusion.checkpoints.utilise import load_utilise
    from sitsfusion.datasets.utilise_config import read_config
    from sitsfusion.datasets.utilise_data import gap_samples
    from sitsfusion.evaluation.gaps import as_rows, network, score, trivial_fillers, write_scores
    from sitsfusion.fetch import resolve
    from sitsfusion.methods.utilise.sequence import SequenceOptions

    found = read_config(*config, defaults=False, changes=values(set_, "--set"))
    samples = gap_samples(found.data, found.mask, phase, seed=found.seed)
    fillers = {}
    for name in weights or []:
        net, about = load_utilise(resolve(name))
        fillers[name] = network(net, SequenceOptions(window or about.window))
    scores = score(samples, {**fillers, **trivial_fillers()}, ignore_nan=ignore_nan, limit=limit)
    table(f"means over {min(len(samples), limit or len(samples))} sequences", *as_rows(scores))
    if csv is not None:
        out.print(f"written: {write_scores(scores, csv)}", markup=False, highlight=False)
